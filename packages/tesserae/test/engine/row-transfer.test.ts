/** Rows between databases, on every engine and across: nothing is lost, changed or invented, and a digest tells when it is. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { logTableName } from "../../src/engine/control-tables.ts";
import type { RowSlice, TransferRow } from "../../src/engine/row-transfer.ts";
import { canonicalRow } from "../../src/engine/transfer-values.ts";
import {
  bigint,
  boolean,
  bytes,
  date,
  decimal,
  int,
  json,
  text,
  timestamp,
  uuid,
} from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import type { ColumnModel, SchemaModel, TableModel } from "../../src/schema/model.ts";
import { federated } from "../../src/schema/table.ts";
import { addResidence, enginePairs, TransferPair } from "./transfer-pair.ts";
import { VALUE_KINDS } from "./value-kinds.ts";

const { model } = defineSchema({
  federations: { users: bigint(), blogs: text(60) },
  tables: {
    things: federated(
      "user_id",
      {
        user_id: bigint(),
        id: bigint(),
        a: text(40).nullable(),
        b: text().nullable(),
        c: bytes().nullable(),
        n: int().nullable(),
      },
      { federation: "users", unique: [["user_id", "a"]] },
    ),
    odd: federated(
      "blog",
      {
        at: timestamp(6),
        blog: text(60),
        name: text(60).caseInsensitive(),
        token: uuid(),
        price: decimal(20, 5),
        raw: bytes(20),
        day: date(),
        moment: timestamp(),
        yes: boolean(),
        small: decimal(9, 2),
        whole: int(),
        value: text(20),
      },
      {
        federation: "blogs",
        primaryKey: ["at", "blog", "name", "token", "price", "raw", "day", "moment", "yes", "small", "whole"],
      },
    ),
    single: federated(
      "user_id",
      { user_id: bigint(), j: json().nullable() },
      { federation: "users", primaryKey: ["user_id"] },
    ),
  },
});

const slice = (table: TableModel, ...keys: bigint[]): RowSlice => ({
  table,
  scope: { kind: "points", keys },
});

/** The column of each value kind, nullable, beside a key of two columns. */
function kindsModel(): { model: SchemaModel; table: TableModel } {
  const base = defineSchema({
    key: bigint(),
    tables: { kinds: federated("user_id", { user_id: bigint(), id: bigint() }) },
  }).model;
  const extra = VALUE_KINDS.map(
    ({ type }, index): ColumnModel => ({
      name: `v${index}`,
      type,
      nullable: true,
      default: undefined,
      id: undefined,
    }),
  );
  const old = base.tables.get("kinds") as TableModel;
  const columns = [...old.columns, ...extra];
  const table = { ...old, columns, column: new Map(columns.map((column) => [column.name, column])) };
  return { model: { ...base, tables: new Map([["kinds", table]]) }, table };
}

/** A row for each extreme of any type, and one of nulls alone. JSON is its text here. */
function extremeRows(): TransferRow[] {
  const jsonTexts = [
    "null",
    "{}",
    '{"b":1,"a":[1.50,2]}',
    " [ 1 ] ",
    '"?\'\\\\ \\u0000"',
    "123456789012345678901234567890",
    `"${"x".repeat(70_000)}"`,
  ];
  const lists = VALUE_KINDS.map((kind) =>
    kind.type.kind === "json"
      ? jsonTexts
      : kind.extremes.map((value) => (kind.normalize ?? ((same: unknown) => same))(value)),
  );
  const rows = Math.max(...lists.map((list) => list.length));
  return [
    ...Array.from({ length: rows }, (_, row) => [
      1n,
      BigInt(row),
      ...lists.map((list) => list[row % list.length]),
    ]),
    [1n, -1n, ...lists.map(() => null)],
  ];
}

const sorted = (rows: readonly TransferRow[]) => rows.map(canonicalRow).sort();

const keysOf = (table: TableModel, rows: readonly TransferRow[]) => {
  const positions = table.primaryKey.map((name) => table.columns.findIndex((column) => column.name === name));
  return rows.map((row) => positions.map((position) => row[position]));
};

/** Rows of `things` of one key: a text or null, a long text, bytes, a number. */
function things(key: bigint, count: number, first = 1): TransferRow[] {
  return Array.from({ length: count }, (_, n) => [
    key,
    BigInt(first + n),
    `name ${first + n}`,
    n % 3 === 0 ? null : "?".repeat(n),
    n % 4 === 0 ? null : new Uint8Array([n & 255, 0, 255]),
    n,
  ]);
}

/** Rows whose primary key has a column of every type that it may have. */
function oddRows(): TransferRow[] {
  const pick = (kind: string, index: number) => {
    const { extremes, normalize = (same: unknown) => same } = VALUE_KINDS.find(({ type }) =>
      kind === "timestamp6"
        ? type.kind === "timestamp" && type.precision === 6
        : type.kind === kind && !(type.kind === "timestamp" && type.precision === 6),
    ) as (typeof VALUE_KINDS)[number];
    return normalize(extremes[index % extremes.length]);
  };
  return Array.from({ length: 40 }, (_, n) => [
    pick("timestamp6", n),
    n % 2 === 0 ? "a 'blog'" : "😀",
    pick("text", n),
    pick("uuid", n),
    ["0.00000", "-999999999999999.99999", "999999999999999.99999", "12345678901234.50000"][n % 4],
    new Uint8Array([[0, 255], [], [39, 92], [255]][n % 4] as number[]),
    pick("date", n),
    pick("timestamp", n),
    n % 3 === 0,
    ["0.00", "-9999999.99", "0.01"][n % 3],
    [2 ** 31 - 1, -(2 ** 31), n][n % 3],
    `value ${n}`,
  ]);
}

/** Cuts what `scope` has into slices of `rows` rows. */
async function cut(pair: TransferPair, whole: RowSlice, rows: number): Promise<RowSlice[]> {
  const slices: RowSlice[] = [];
  let after: readonly unknown[] | undefined;
  for (;;) {
    const upTo = await pair.transfer.boundary(pair.from, { ...whole, after }, rows);
    slices.push({ ...whole, after, upTo });
    if (upTo === undefined) return slices;
    after = upTo;
  }
}

describe.each(enginePairs())("rows from $source to $target", (names) => {
  test("keep every value of every type", async () => {
    const { model: kinds, table } = kindsModel();
    await using pair = await TransferPair.of(names, kinds);
    await pair.residence("default", "p", 1n);
    const rows = extremeRows();
    await pair.seed(table, rows);
    expect(await pair.transfer.copy(pair.from, pair.to, slice(table, 1n))).toBe(rows.length);
    const there = await pair.transfer.read("target", pair.to, table, keysOf(table, rows));
    expect(sorted(there)).toEqual(sorted(rows));
    const digest = await pair.transfer.digest("source", pair.from, slice(table, 1n));
    expect(digest.rows).toBe(rows.length);
    expect(await pair.transfer.digest("target", pair.to, slice(table, 1n))).toEqual(digest);
    const hashes = await pair.transfer.primaryKeysOf("source", pair.from, slice(table, 1n));
    expect(hashes.size).toBe(rows.length);
    expect(await pair.transfer.primaryKeysOf("target", pair.to, slice(table, 1n))).toEqual(hashes);
  });

  test("go in slices of a primary key of many types", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("odd");
    const rows = oddRows();
    for (const blog of ["a 'blog'", "😀"]) await pair.residence("blogs", "p", blog);
    await pair.seed(table, rows);
    for (const keys of [["a 'blog'"], ["a 'blog'", "😀"]]) {
      const whole: RowSlice = { table, scope: { kind: "points", keys } };
      const slices = await cut(pair, whole, 7);
      const expected = rows.filter((row) => keys.includes(row[1] as string));
      expect(slices).toHaveLength(Math.ceil(expected.length / 7));
      for (const part of slices) {
        const copied = await pair.transfer.copy(pair.from, pair.to, part);
        expect(copied).toBe(await pair.transfer.count("source", pair.from, part));
        expect(copied).toBe(part.upTo === undefined ? expected.length % 7 || 7 : 7);
        expect(await pair.transfer.digest("target", pair.to, part)).toEqual(
          await pair.transfer.digest("source", pair.from, part),
        );
      }
      const there = await pair.transfer.read("target", pair.to, table, keysOf(table, rows));
      expect(sorted(there)).toEqual(sorted(expected));
      const deleted = await pair.transfer.delete(pair.to, "target", table, keysOf(table, rows));
      expect(deleted).toBe(expected.length);
    }
  });

  test("that are not there are nothing", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("things");
    const nothing = { rows: 0 };
    for (const part of [slice(table, 5n), slice(table)]) {
      expect(await pair.transfer.boundary(pair.from, part, 1)).toBeUndefined();
      expect(await pair.transfer.copy(pair.from, pair.to, part)).toBe(0);
      const digest = await pair.transfer.digest("source", pair.from, part);
      expect(digest).toMatchObject(nothing);
      expect(await pair.transfer.digest("target", pair.to, part)).toEqual(digest);
      expect(await pair.transfer.deleteSlice("target", pair.to, part, 10)).toBe(0);
    }
    expect(await pair.transfer.read("source", pair.from, table, [[5n, 1n]])).toEqual([]);
    expect(await pair.transfer.delete(pair.to, "target", table, [[5n, 1n]])).toBe(0);
    await pair.transfer.write(pair.to, table, []);
  });

  test("of a table with one row a key", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("single");
    for (const key of [1n, 2n, 3n]) await pair.residence("users", "p", key);
    await pair.seed(table, [
      [1n, '{"a" : 1}'],
      [2n, null],
      [3n, "null"],
    ]);
    expect(await pair.transfer.boundary(pair.from, slice(table, 1n), 1)).toBeUndefined();
    const all = slice(table, 1n, 2n, 3n);
    expect(await pair.transfer.boundary(pair.from, all, 2)).toEqual([2n]);
    expect(await pair.transfer.copy(pair.from, pair.to, { ...all, upTo: [2n] })).toBe(2);
    expect(await pair.transfer.copy(pair.from, pair.to, { ...all, after: [2n] })).toBe(1);
    expect(await pair.transfer.count("target", pair.to, { ...slice(table, 2n), after: [2n] })).toBe(0);
    expect(await pair.transfer.count("target", pair.to, { ...slice(table, 2n), upTo: [2n] })).toBe(1);
    expect(await pair.transfer.digest("target", pair.to, all)).toEqual(
      await pair.transfer.digest("source", pair.from, all),
    );
  });

  test("of a range leave out the keys that have a point", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("things");
    await pair.residence("users", "r", 0n, 100n);
    await pair.residence("users", "r", 100n, null);
    await pair.residence("users", "p", 7n);
    const rows = [5n, 7n, 9n, 99n, 100n].flatMap((key) => things(key, 5));
    await pair.seed(table, rows);
    const range: RowSlice = {
      table,
      scope: { kind: "range", low: 0n, high: 100n, federation: "users" },
    };
    for (const part of await cut(pair, range, 4)) await pair.transfer.copy(pair.from, pair.to, part);
    const moved = rows.filter(([key]) => key !== 7n && key !== 100n);
    expect(sorted(await pair.transfer.read("target", pair.to, table, keysOf(table, rows)))).toEqual(
      sorted(moved),
    );
    expect(await pair.transfer.count("source", pair.from, range)).toBe(moved.length);
    const open: RowSlice = {
      table,
      scope: { kind: "range", low: 7n, high: null, federation: "users" },
    };
    expect(await pair.transfer.count("source", pair.from, open)).toBe(15);
    expect(await pair.transfer.deleteSlice("source", pair.from, range, 4)).toBe(4);
    expect(await pair.transfer.deleteSlice("source", pair.from, range, 400)).toBe(moved.length - 4);
    expect(await pair.transfer.count("source", pair.from, slice(table, 7n))).toBe(5);
  });

  test("have another digest after any change", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("things");
    await pair.residence("users", "p", 1n);
    const whole = slice(table, 1n);
    const row: TransferRow = [1n, 1n, "ab", "", new Uint8Array([1, 2, 3]), 1];
    const others = things(1n, 5, 10);
    await pair.seed(table, [row, ...others]);
    await pair.transfer.copy(pair.from, pair.to, whole);
    const expected = await pair.transfer.digest("source", pair.from, whole);
    expect(await pair.transfer.digest("target", pair.to, whole)).toEqual(expected);
    const changed: readonly TransferRow[] = [
      [1n, 1n, "ab", "", new Uint8Array([1, 2, 2]), 1],
      [1n, 1n, "aB", "", new Uint8Array([1, 2, 3]), 1],
      [1n, 1n, "ab", null, new Uint8Array([1, 2, 3]), 1],
      [1n, 1n, "", "ab", new Uint8Array([1, 2, 3]), 1],
      [1n, 1n, "a", "b", new Uint8Array([1, 2, 3]), 1],
      [1n, 1n, "ab", "", new Uint8Array([1, 2, 3, 0]), 1],
      [1n, 1n, "ab", "", null, 1],
      [1n, 1n, "ab", "", new Uint8Array(), 1],
      [1n, 1n, "ab", "", new Uint8Array([1, 2, 3]), 2],
      [1n, 1n, "ab", "", new Uint8Array([1, 2, 3]), null],
      [1n, 2n, "ab", "", new Uint8Array([1, 2, 3]), 1],
      [1n, 1n, "ab ", "", new Uint8Array([1, 2, 3]), 1],
    ];
    const seen = new Set([expected.digest]);
    for (const other of changed) {
      await pair.transfer.delete(pair.to, "target", table, [
        [1n, 1n],
        [1n, 2n],
      ]);
      await pair.transfer.write(pair.to, table, [other]);
      seen.add((await pair.transfer.digest("target", pair.to, whole)).digest);
    }
    await pair.transfer.write(pair.to, table, [[1n, 3n, null, null, null, null]]);
    seen.add((await pair.transfer.digest("target", pair.to, whole)).digest);
    await pair.transfer.delete(pair.to, "target", table, keysOf(table, others));
    seen.add((await pair.transfer.digest("target", pair.to, whole)).digest);
    expect(seen.size).toBe(changed.length + 3);
    // Back to what it was.
    await pair.transfer.deleteSlice("target", pair.to, whole, 1_000);
    await pair.transfer.write(pair.to, table, [...others].reverse());
    await pair.transfer.write(pair.to, table, [row]);
    expect(await pair.transfer.digest("target", pair.to, whole)).toEqual(expected);
  });

  test("of several megabytes travel beside small ones", { timeout: 60_000 }, async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("things");
    await pair.residence("users", "p", 1n);
    const large = Buffer.alloc(3_000_000, Buffer.from([0, 39, 92, 255, 10, 9])).subarray();
    const rows: TransferRow[] = [
      ...things(1n, 200),
      [1n, 1_000n, "large", "'\\\n\t😀".repeat(300_000), new Uint8Array(large), 1],
      [1n, 1_001n, "other", "ä".repeat(2_000_000), null, 1],
      ...things(1n, 1_200, 2_000),
    ];
    for (let start = 0; start < rows.length; start += 200)
      await pair.seed(table, rows.slice(start, start + 200));
    expect(await pair.transfer.copy(pair.from, pair.to, slice(table, 1n))).toBe(rows.length);
    expect(await pair.transfer.digest("target", pair.to, slice(table, 1n))).toEqual(
      await pair.transfer.digest("source", pair.from, slice(table, 1n)),
    );
    const [there] = await pair.transfer.read("target", pair.to, table, [[1n, 1_000n]]);
    expect(canonicalRow(there as TransferRow) === canonicalRow(rows[200] as TransferRow)).toBe(true);
  });

  test("that meet another in their way raise CONSTRAINT_UNIQUE, and the occupant can be removed", async () => {
    await using pair = await TransferPair.of(names, model);
    const table = pair.table("things");
    await pair.residence("users", "p", 1n);
    await pair.seed(table, things(1n, 2_000));
    // Another row has the unique text of row 1 000 at the target; its own has null, which is in nobody's way.
    await pair.transfer.write(pair.to, table, [
      [1n, 5_000n, "name 1000", null, null, 0],
      [1n, 5_001n, null, null, null, 0],
    ]);
    const whole = slice(table, 1n);
    await pair.to.begin({ isolation: "read committed" });
    await expect(pair.transfer.copy(pair.from, pair.to, whole)).rejects.toMatchObject({
      code: "CONSTRAINT_UNIQUE",
    });
    await pair.to.rollback();
    // Both connections go on.
    const half = { ...whole, upTo: [1n, 500n] };
    expect(await pair.transfer.copy(pair.from, pair.to, half)).toBe(500);
    await pair.to.begin({ isolation: "read committed" });
    await expect(pair.transfer.copy(pair.from, pair.to, whole)).rejects.toMatchObject({
      code: "CONSTRAINT_UNIQUE",
    });
    await pair.to.rollback();
    const rest = { ...whole, after: [1n, 500n] };
    const rows = await pair.transfer.read("source", pair.from, table, [
      [1n, 999n],
      [1n, 1_000n],
    ]);
    const nulls: TransferRow = [1n, 9_000n, null, null, null, 0];
    expect(await pair.transfer.deleteOccupants(pair.to, table, [...rows, nulls])).toBe(1);
    expect(await pair.transfer.deleteOccupants(pair.to, table, rows)).toBe(0);
    expect(await pair.transfer.read("target", pair.to, table, [[1n, 5_001n]])).toHaveLength(1);
    await pair.transfer.delete(pair.to, "target", table, [[1n, 5_001n]]);
    expect(await pair.transfer.copy(pair.from, pair.to, rest)).toBe(1_500);
    expect(await pair.transfer.digest("target", pair.to, whole)).toEqual(
      await pair.transfer.digest("source", pair.from, whole),
    );
  });
});

forEachEngine((engine) => {
  test(`keys of rows that the guard of ${engine.name} has logged are read as they were`, async () => {
    const names = { source: engine.name, target: engine.name };
    await using pair = await TransferPair.of(names, model);
    const odd = pair.table("odd");
    const single = pair.table("single");
    for (const low of ["a 'blog'", "😀"])
      await addResidence(pair.source, model, { federation: "blogs", kind: "p", low, state: "leaving" });
    const keys = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 0n];
    for (const low of keys)
      await addResidence(pair.source, model, { federation: "users", kind: "p", low, state: "leaving" });
    const rows = oddRows();
    await pair.seed(odd, rows);
    await pair.seed(
      single,
      keys.map((key) => [key, null]),
    );
    const logged = async (federation: string, table: TableModel) => {
      const texts = await pair.source.column(
        `select primary_key from ${logTableName(federation)} order by id`,
      );
      return texts.map((text) => pair.transfer.parseLogKey(table, String(text)));
    };
    expect(await logged("users", single)).toEqual(keys.map((key) => [key]));
    const found = await logged("blogs", odd);
    expect(found).toEqual(keysOf(odd, rows));
    // The text of a key is a form of the log's, too.
    for (const key of found)
      expect(pair.transfer.parseLogKey(odd, pair.transfer.primaryKeyText(key))).toEqual(key);
  });
});
