import { describe, expect, test } from "vitest";
import { bigint, defineSchema, federated, global, int } from "../../src/index.ts";

const key = bigint();

describe("table sequences", () => {
  test("have the table's name, start at 1 and step by 1 unless said", () => {
    const { model } = defineSchema({
      key,
      tables: {
        invoices: global({ id: int().table() }),
        orders: federated("user_id", {
          id: bigint().table({ sequence: "numbers", start: 10, step: 3n }),
          user_id: bigint(),
        }),
      },
    });
    const idOf = (table: string) => model.tables.get(table)?.column.get("id")?.id;
    expect(idOf("invoices")).toEqual({ kind: "table", sequence: "invoices", start: 1n, step: 1n });
    expect(idOf("orders")).toEqual({ kind: "table", sequence: "numbers", start: 10n, step: 3n });
  });

  test("may be shared by columns that say the same of them, and by no others", () => {
    const pair = (first: object, second: object) => () =>
      defineSchema({
        key,
        tables: {
          first: global({ id: bigint().table({ sequence: "shared", ...first }) }),
          second: global({ id: bigint().table({ sequence: "shared", ...second }) }),
        },
      });
    expect(pair({ step: 3 }, { step: 3n })).not.toThrow();
    for (const [first, second] of [
      [{ step: 3 }, { step: 10 }],
      [{}, { step: 2 }],
      [{ start: 5 }, {}],
    ] as const)
      expect(pair(first, second)).toThrow(
        expect.objectContaining({ code: "SCHEMA_SEQUENCE_CONFLICT", table: "second", column: "id" }),
      );
  });

  test("fit their column", () => {
    const one = (options: object) => () =>
      defineSchema({ key, tables: { t: global({ id: int().table(options) }) } });
    expect(one({ start: 2 ** 31 - 1 })).not.toThrow();
    for (const options of [
      { start: 0 },
      { start: 2 ** 31 },
      { step: 0 },
      { step: -1 },
      { step: 2 ** 31 },
      { sequence: "" },
      { sequence: "s".repeat(121) },
    ])
      expect(one(options)).toThrow(expect.objectContaining({ code: "SCHEMA_COLUMN_INVALID", table: "t" }));
    for (const options of [{ start: 1.5 }, { step: Number.NaN }, { step: 2 ** 60 }])
      expect(one(options)).toThrow(expect.objectContaining({ code: "SCHEMA_DEFINITION_INVALID" }));
  });
});
