import { describe, expect, it } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import {
  bigint,
  bytes,
  decimal,
  defineSchema,
  double,
  type ErrorCode,
  federated,
  global,
  int,
  json,
  reference,
  text,
  timestamp,
  uuid,
} from "../../src/index.ts";

const id = bigint().ticket();

function refusal(define: () => unknown): {
  code: ErrorCode;
  message: string;
  table: string | undefined;
  column: string | undefined;
} {
  try {
    define();
  } catch (error) {
    if (isTesseraeError(error))
      return { code: error.code, message: error.message, table: error.table, column: error.column };
    throw error;
  }
  throw new Error("was not refused");
}

describe("defineSchema", () => {
  it("derives keys, names and references", () => {
    const { model } = defineSchema({
      key: bigint(),
      tables: {
        dots: federated(
          "user_id",
          { id, user_id: bigint(), sheet_id: bigint().references("sheets") },
          { indexes: [["user_id", "sheet_id"]] },
        ),
        sheets: federated(
          "user_id",
          { id, user_id: bigint(), label: text(255) },
          { unique: [["user_id", "label"]] },
        ),
        users: global({ id, name: text(64).unique() }),
      },
    });
    expect([...model.tables.keys()]).toEqual(["sheets", "dots", "users"]);
    expect(model.tables.get("dots")).toMatchObject({
      kind: "federated",
      federation: "default",
      keyColumn: "user_id",
      primaryKey: ["user_id", "id"],
      foreignKeys: [
        { columns: ["user_id", "sheet_id"], table: "sheets", referencedColumns: ["user_id", "id"] },
      ],
    });
    expect(model.tables.get("users")).toMatchObject({
      primaryKey: ["id"],
      uniques: [{ name: "users_name_key", columns: ["name"] }],
    });
    expect(model.tables.get("users")?.column.get("id")?.id).toEqual({ kind: "ticket", sequence: "users" });
  });

  it("cuts long derived names without making two the same", () => {
    const long = "a".repeat(55);
    const { model } = defineSchema({
      key: bigint(),
      tables: {
        [long]: global(
          { id, [`${long}b`]: int(), [`${long}c`]: int() },
          { indexes: [[`${long}b`], [`${long}c`]] },
        ),
      },
    });
    const names = model.tables.get(long)?.indexes.map((index) => index.name) ?? [];
    expect(names.every((name) => name.length <= 60)).toBe(true);
    expect(new Set(names).size).toBe(2);
  });

  const notes = { id, user_id: bigint(), body: text(10) };
  const one = (table: Parameters<typeof defineSchema>[0]["tables"][string]) => () =>
    defineSchema({ key: bigint(), tables: { notes: table } });

  it.each<[string, () => unknown, ErrorCode, string?, string?]>([
    [
      "a table without its distribution column",
      one(federated("user_id" as "id", { id })),
      "SCHEMA_KEY_COLUMN_MISSING",
      "notes",
      "user_id",
    ],
    [
      "a distribution column that may be null",
      one(federated("user_id", { id, user_id: bigint().nullable() })),
      "SCHEMA_KEY_COLUMN_NULLABLE",
      "notes",
      "user_id",
    ],
    [
      "a distribution column of another type",
      one(federated("user_id", { id, user_id: int() })),
      "SCHEMA_KEY_TYPE",
      "notes",
      "user_id",
    ],
    [
      "a primary key without the key",
      one(federated("user_id", notes, { primaryKey: ["id"] })),
      "SCHEMA_KEY_NOT_IN_PRIMARY_KEY",
      "notes",
      "user_id",
    ],
    [
      "a unique column that engines compare differently",
      one(federated("user_id", { ...notes, body: json().unique() })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "body",
    ],
    [
      "a lookup by a column that several rows of a key may share",
      one(federated("user_id", notes, { lookup: ["body"] })),
      "SCHEMA_LOOKUP_INVALID",
      "notes",
      "body",
    ],
    [
      "a lookup by the key",
      one(federated("user_id", notes, { lookup: ["user_id"] })),
      "SCHEMA_LOOKUP_INVALID",
      "notes",
      "user_id",
    ],
    [
      "a lookup of a global table",
      one(global({ id: bigint() }, { lookup: ["id"] } as never)),
      "SCHEMA_LOOKUP_INVALID",
      "notes",
      "id",
    ],
    [
      "a unique index without the key",
      one(federated("user_id", notes, { unique: [["body", "id"]] })),
      "SCHEMA_KEY_NOT_IN_UNIQUE",
      "notes",
      "body",
    ],
    [
      "auto-increment on a federated table",
      one(federated("user_id", { id: bigint().autoIncrement(), user_id: bigint() })),
      "SCHEMA_AUTO_INCREMENT",
      "notes",
      "id",
    ],
    [
      "auto-increment on a reference table",
      one(reference({ id: bigint().autoIncrement() })),
      "SCHEMA_AUTO_INCREMENT",
      "notes",
      "id",
    ],
    [
      "auto-increment beside the primary key",
      one(global({ id, n: int().autoIncrement() })),
      "SCHEMA_COLUMN_INVALID",
      "notes",
      "n",
    ],
    [
      "an unknown federation",
      one(federated("user_id", notes, { federation: "blogs" })),
      "SCHEMA_FEDERATION_UNKNOWN",
      "notes",
    ],
    ["no id and no primary key", one(global({ name: text(5) })), "SCHEMA_PRIMARY_KEY_MISSING", "notes", "id"],
    [
      "a nullable primary key",
      one(global({ id: bigint().nullable() })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "id",
    ],
    [
      "an index over unbounded text",
      one(global({ id, body: text() }, { indexes: [["body"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "body",
    ],
    [
      "an index over json",
      one(global({ id, body: json() }, { indexes: [["body"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "body",
    ],
    [
      "an index too wide",
      one(global({ id, a: text(500), b: text(500) }, { indexes: [["a", "b"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "a",
    ],
    [
      "an index over a column that is not there",
      one(global({ id }, { indexes: [["other" as "id"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "other",
    ],
    [
      "an index that names a column twice",
      one(global({ id }, { indexes: [["id", "id"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "id",
    ],
    [
      "the same index twice",
      one(global({ id, n: int() }, { indexes: [["n"], ["n"]] })),
      "SCHEMA_INDEX_INVALID",
      "notes",
      "n",
    ],
    ["a decimal of 39 digits", one(global({ id, n: decimal(39, 2) })), "SCHEMA_COLUMN_INVALID", "notes", "n"],
    [
      "a scale beyond the precision",
      one(global({ id, n: decimal(5, 6) })),
      "SCHEMA_COLUMN_INVALID",
      "notes",
      "n",
    ],
    ["a text of length 0", one(global({ id, n: text(0) })), "SCHEMA_COLUMN_INVALID", "notes", "n"],
    ["a default for json", one(global({ id, n: json().default({}) })), "SCHEMA_COLUMN_INVALID", "notes", "n"],
    [
      "a reserved table name",
      () => defineSchema({ key: bigint(), tables: { tesserae_x: global({ id }) } }),
      "SCHEMA_NAME_INVALID",
      "tesserae_x",
    ],
    ["a column name with a space", one(global({ id, "a b": int() })), "SCHEMA_NAME_INVALID", "notes", "a b"],
    [
      "tables that differ in case only",
      () => defineSchema({ key: bigint(), tables: { a: global({ id }), A: global({ id }) } }),
      "SCHEMA_NAME_INVALID",
      "A",
    ],
    [
      "columns that differ in case only",
      one(global({ id, a: int(), A: int() })),
      "SCHEMA_NAME_INVALID",
      "notes",
      "A",
    ],
    ["a key of type int", () => defineSchema({ key: double() as never, tables: {} }), "SCHEMA_KEY_TYPE"],
    ["a text key without length", () => defineSchema({ key: text(), tables: {} }), "SCHEMA_KEY_TYPE"],
    ["a text key that is too long", () => defineSchema({ key: text(226), tables: {} }), "SCHEMA_KEY_TYPE"],
    ["a bytes key that is too long", () => defineSchema({ key: bytes(901), tables: {} }), "SCHEMA_KEY_TYPE"],
    [
      "a case-insensitive key",
      () => defineSchema({ key: text(20).caseInsensitive(), tables: {} }),
      "SCHEMA_KEY_TYPE",
    ],
    [
      "a misspelt option",
      one(global({ id }, { index: [["id"]] } as never)),
      "SCHEMA_DEFINITION_INVALID",
      "notes",
    ],
    ["a table that is none", one({} as never), "SCHEMA_DEFINITION_INVALID", "notes"],
    ["a column that is none", one(global({ id, n: 3 as never })), "SCHEMA_DEFINITION_INVALID", "notes", "n"],
    [
      "a misspelt definition",
      () => defineSchema({ key: bigint(), table: {} } as never),
      "SCHEMA_DEFINITION_INVALID",
    ],
    ["no key", () => defineSchema({ tables: {} } as never), "SCHEMA_KEY_TYPE"],
    [
      "both key and federations",
      () => defineSchema({ key: bigint(), federations: { a: bigint() }, tables: {} } as never),
      "SCHEMA_KEY_TYPE",
    ],
    [
      "a federation name too long for its control tables",
      () => defineSchema({ federations: { ["f".repeat(41)]: bigint() }, tables: {} }),
      "SCHEMA_NAME_INVALID",
    ],
    ["no federations", () => defineSchema({ federations: {}, tables: {} }), "SCHEMA_KEY_TYPE"],
  ])("refuses %s", (_, define, code, table, column) => {
    const seen = refusal(define);
    expect(seen).toMatchObject({
      code,
      ...(table === undefined ? {} : { table }),
      ...(column === undefined ? {} : { column }),
    });
    if (table !== undefined) expect(seen.message).toContain(`"${table}"`);
  });

  const sheets = federated("user_id", { id, user_id: bigint(), theme: bigint() });
  const pair =
    (from: unknown, to: unknown = sheets) =>
    () =>
      defineSchema({ key: bigint(), tables: { sheets: to, from } as never });
  it.each<[string, () => unknown, ErrorCode]>([
    [
      "to a table that is not there",
      pair(federated("user_id", { id, user_id: bigint().references("nobody") })),
      "SCHEMA_FOREIGN_KEY_TARGET",
    ],
    [
      "global to federated",
      pair(global({ id, sheet: bigint().references("sheets") })),
      "SCHEMA_FOREIGN_KEY_CLUSTERS",
    ],
    [
      "federated to global",
      pair(federated("user_id", { id, user_id: bigint().references("sheets") }), global({ id })),
      "SCHEMA_FOREIGN_KEY_CLUSTERS",
    ],
    [
      "reference to federated",
      pair(reference({ id, sheet: bigint().references("sheets") })),
      "SCHEMA_FOREIGN_KEY_CLUSTERS",
    ],
    [
      "without the key",
      pair(
        federated(
          "user_id",
          { id, user_id: bigint(), sheet: bigint() },
          { foreignKeys: [{ columns: ["sheet"], references: { table: "sheets", columns: ["id"] } }] },
        ),
      ),
      "SCHEMA_FOREIGN_KEY_COLUMNS",
    ],
    [
      "with the key at another position",
      pair(
        federated(
          "user_id",
          { id, user_id: bigint(), sheet: bigint() },
          {
            foreignKeys: [
              { columns: ["sheet", "user_id"], references: { table: "sheets", columns: ["user_id", "id"] } },
            ],
          },
        ),
      ),
      "SCHEMA_FOREIGN_KEY_WITHOUT_KEY",
    ],
    [
      "between different types",
      pair(federated("user_id", { id, user_id: bigint(), sheet: uuid().references("sheets") })),
      "SCHEMA_FOREIGN_KEY_COLUMNS",
    ],
    [
      "to a column that is not unique",
      pair(
        federated("user_id", {
          id,
          user_id: bigint(),
          sheet: bigint().references("sheets", { column: "theme" }),
        }),
      ),
      "SCHEMA_FOREIGN_KEY_COLUMNS",
    ],
    [
      "set null over a column that may not be",
      pair(
        federated("user_id", {
          id,
          user_id: bigint(),
          sheet: bigint().nullable().references("sheets", { onDelete: "set null" }),
        }),
      ),
      "SCHEMA_FOREIGN_KEY_COLUMNS",
    ],
  ])("refuses a foreign key %s", (_, define, code) => {
    expect(refusal(define)).toMatchObject({ code, table: "from" });
  });

  it("allows references to reference tables, within main, and of a table to itself", () => {
    const { model } = defineSchema({
      key: bigint(),
      tables: {
        themes: reference({ id: bigint(), label: text(20) }),
        users: global({ id, boss: bigint().nullable().references("users") }),
        sheets: federated("user_id", {
          id,
          user_id: bigint(),
          theme: bigint().references("themes"),
          parent: bigint().nullable().references("sheets"),
          at: timestamp().defaultNow(),
        }),
      },
    });
    expect(model.tables.get("sheets")?.foreignKeys.map((key) => key.columns)).toEqual([
      ["theme"],
      ["user_id", "parent"],
    ]);
  });
});
