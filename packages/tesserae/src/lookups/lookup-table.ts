/**
 * The tables that main keeps lookups in: one for each column, `tesserae_lookup_<table>_<column>`. A row says which key a value belongs to. Who wants to
 * write the value under a key has the row first; `token` changes whenever somebody claims the value anew, so that what was found out about an older claim is
 * never used against a newer one. `state` is `reserved` until the sweeper has seen a row with the value, then `confirmed`; nothing but the sweeper's own
 * work depends on it.
 */
import { controlColumn, controlTable, LOOKUP_TABLE_PREFIX } from "../engine/control-tables.ts";
import { derivedName } from "../schema/define-schema.ts";
import type { ColumnModel, FederationModel, SchemaModel, TableModel } from "../schema/model.ts";

/** One column of a federated table whose values main knows the keys of. */
export interface Lookup {
  readonly table: TableModel;
  readonly column: ColumnModel;
  readonly federation: FederationModel;
  /** Main's table. */
  readonly model: TableModel;
}

export type LookupState = "reserved" | "confirmed";

/** All lookups of a schema, in the order in which claims are made: the same for everybody, lest two wait for each other. */
export function lookupsOf(schema: SchemaModel): Lookup[] {
  return lookupsBy(schema, ({ lookups }, { name }) => lookups.includes(name)).sort((one, other) =>
    one.model.name < other.model.name ? -1 : 1,
  );
}

/** Those that an older schema may have had, or a later one may: the other columns of federated tables. */
export function absentLookupsOf(schema: SchemaModel): Lookup[] {
  return lookupsBy(schema, ({ kind, lookups }, { name }) => kind === "federated" && !lookups.includes(name));
}

function lookupsBy(
  schema: SchemaModel,
  isMeant: (table: TableModel, column: ColumnModel) => boolean,
): Lookup[] {
  return [...schema.tables.values()].flatMap((table) =>
    table.columns
      .filter((column) => isMeant(table, column))
      .map((column) => {
        const federation = schema.federations.get(table.federation as string) as FederationModel;
        return { table, column, federation, model: lookupTable(table, column, federation) };
      }),
  );
}

function lookupTable(table: TableModel, column: ColumnModel, federation: FederationModel): TableModel {
  const name = derivedName([LOOKUP_TABLE_PREFIX, table.name, column.name]);
  return controlTable(
    name,
    [
      controlColumn("value", column.type),
      controlColumn("key_value", federation.key),
      controlColumn("token", { kind: "bigint" }),
      controlColumn("state", { kind: "text", length: 10, caseInsensitive: false }),
      controlColumn("written", { kind: "timestamp", precision: 3 }),
    ],
    ["value"],
    // What the sweeper reads: claims that nobody has settled yet.
    [{ name: derivedName([name, "state"]), columns: ["state", "value"] }],
  );
}
