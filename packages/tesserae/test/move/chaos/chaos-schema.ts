/**
 * The tables that the chaos suite moves: rows that refer to themselves and to each other, and a second unique key whose values are swapped
 * while the rows move.
 */
import { bigint, defineSchema, type Federation, federated, int, json, text } from "../../../src/index.ts";

export const chaosSchema = defineSchema({
  key: bigint(),
  tables: {
    folders: federated("owner", {
      id: bigint(),
      owner: bigint(),
      parent_id: bigint().nullable().references("folders"),
      version: int(),
    }),
    items: federated(
      "owner",
      {
        id: bigint(),
        owner: bigint(),
        folder_id: bigint().nullable().references("folders"),
        slot: bigint(),
        version: int(),
        body: text(400),
        details: json().nullable(),
      },
      { unique: [["owner", "slot"]] },
    ),
    marks: federated("owner", {
      id: bigint(),
      owner: bigint(),
      item_id: bigint().references("items"),
      marker: bigint(),
    }),
  },
});

export type ChaosFederation = Federation<typeof chaosSchema>;

export type ChaosTable = "folders" | "items" | "marks";
export const CHAOS_TABLES: readonly ChaosTable[] = ["folders", "items", "marks"];

/** A row's values as one text, the same for the same values whichever engine they come from. */
export function rowText(row: Readonly<Record<string, unknown>>): string {
  const names = Object.keys(row).sort();
  return JSON.stringify(names.map((name) => [name, valueText(row[name])]));
}

function valueText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
