/** The tables and random rows on which random queries over all shards are asked, and asked again of one database with all rows. */
import fc from "fast-check";
import {
  bigint,
  boolean,
  bytes,
  date,
  decimal,
  double,
  int,
  text,
  timestamp,
  uuid,
} from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated, reference } from "../../src/schema/table.ts";

export const randomSchema = defineSchema({
  key: bigint(),
  tables: {
    themes: reference({
      id: bigint(),
      label: text(40).nullable(),
      n: int().nullable(),
      weight: decimal(9, 2).nullable(),
    }),
    people: federated("owner", {
      id: bigint(),
      owner: bigint(),
      theme_id: bigint().nullable(),
      name: text(40).nullable(),
      n: int().nullable(),
      big: bigint().nullable(),
      price: decimal(9, 2).nullable(),
      wide: decimal(30, 6).nullable(),
      ratio: double().nullable(),
      open: boolean().nullable(),
      seen: timestamp().nullable(),
      exact: timestamp(6).nullable(),
      day: date().nullable(),
      token: uuid().nullable(),
      data: bytes(20).nullable(),
    }),
    notes: federated("owner", {
      id: bigint(),
      owner: bigint(),
      person_id: bigint().nullable(),
      label: text(40).nullable(),
      n: int().nullable(),
      price: decimal(9, 2).nullable(),
    }),
    tags: federated("owner", {
      id: bigint(),
      owner: bigint(),
      note_id: bigint().nullable(),
      label: text(40).nullable(),
    }),
  },
});

export type RandomTable = "themes" | "people" | "notes" | "tags";
export type RandomRow = Readonly<Record<string, unknown>>;
export type RandomData = Readonly<Record<RandomTable, readonly RandomRow[]>>;

/** Few keys, so that each has some rows; on both sides of zero. */
export const OWNERS: readonly bigint[] = [-3n, 1n, 2n, 3n, 10n, 9_007_199_254_740_993n];

/** Texts whose order by code point is another one than by UTF-16 units, by letters or without trailing blanks. */
export const TEXTS: readonly string[] = [
  "",
  " ",
  "a",
  "a ",
  "A",
  "aa",
  "ä",
  "é",
  "z",
  "日本",
  "\uFFFD",
  "😀",
  "😀a",
  "\u{10FFFF}",
  "it's %_",
];
const BIGS = [0n, 1n, -1n, 9_007_199_254_740_993n, -9_007_199_254_740_995n, 100_000_000_000_000_001n];
const PRICES = ["0.00", "0.01", "-0.01", "1.50", "-99.99", "1234567.89", "10.00"];
const WIDES = ["0.000000", "0.000001", "-0.000001", "123456789012345678.123456", "-98765432109876543.210987"];
const RATIOS = [0, 0.1, -0.1, 0.2, 1e300, -2.5e-10, 3];
const MOMENTS = [
  "1969-12-31T23:59:59.999Z",
  "1970-01-01T00:00:00.000Z",
  "2024-02-29T12:00:00.001Z",
  "2026-11-21T20:00:00.500Z",
];
const EXACT = ["0987-01-02T03:04:05.000001Z", "2024-02-29T12:00:00.000001Z", "2024-02-29T12:00:00.000002Z"];
const DAYS = ["0987-06-05", "1970-01-01", "2024-02-29", "2026-11-21"];
const TOKENS = [
  "00000000-0000-0000-0000-000000000001",
  "0f000000-0000-7000-8000-0000000000ff",
  "f0000000-0000-7000-8000-000000000000",
];
const DATA = [[], [0], [0, 0], [127], [128], [255, 0]];

const nullable = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 4 });
const oneOf = <T>(values: readonly T[]) => fc.constantFrom(...values);
const id = fc.integer({ min: 1, max: 8 }).map(BigInt);
const whole = fc.oneof(fc.integer({ min: -3, max: 5 }), oneOf([2_147_483_647, -2_147_483_648]));
const owner = oneOf(OWNERS);
const label = nullable(oneOf(TEXTS));

const rows = <T extends RandomRow>(row: fc.Arbitrary<T>, maxLength: number) =>
  fc.uniqueArray(row, {
    maxLength,
    selector: (value) => `${value["owner"] ?? ""}/${value["id"]}`,
  });

/** Rows of all tables. The owners are the keys; which shard each of them lives on is the test's own draw. */
export const randomData: fc.Arbitrary<RandomData> = fc.record({
  themes: rows(
    fc.record({ id, label, n: nullable(fc.integer({ min: -3, max: 5 })), weight: nullable(oneOf(PRICES)) }),
    6,
  ),
  people: rows(
    fc.record({
      id,
      owner,
      theme_id: nullable(id),
      name: label,
      n: nullable(whole),
      big: nullable(oneOf(BIGS)),
      price: nullable(oneOf(PRICES)),
      wide: nullable(oneOf(WIDES)),
      ratio: nullable(oneOf(RATIOS)),
      open: nullable(fc.boolean()),
      seen: nullable(oneOf(MOMENTS).map((moment) => new Date(moment))),
      exact: nullable(oneOf(EXACT)),
      day: nullable(oneOf(DAYS)),
      token: nullable(oneOf(TOKENS)),
      data: nullable(oneOf(DATA).map((data) => Uint8Array.from(data))),
    }),
    25,
  ),
  notes: rows(
    fc.record({
      id,
      owner,
      person_id: nullable(id),
      label,
      n: nullable(fc.integer({ min: -3, max: 5 })),
      price: nullable(oneOf(PRICES)),
    }),
    20,
  ),
  tags: rows(fc.record({ id, owner, note_id: nullable(id), label }), 10),
});

/** Values that a column is compared with: those of its rows, and others. */
export function comparedValue(kind: string, draw: (count: number) => number): unknown {
  const pick = <T>(values: readonly T[]) => values[draw(values.length)] as T;
  switch (kind) {
    case "int":
      return draw(7) - 2;
    case "bigint":
      return pick(BIGS);
    case "price":
      return pick(PRICES);
    case "wide":
      return pick(WIDES);
    case "double":
      return pick(RATIOS);
    case "boolean":
      return draw(2) === 1;
    case "timestamp":
      return new Date(pick(MOMENTS));
    case "exact":
      return pick(EXACT);
    case "date":
      return pick(DAYS);
    case "uuid":
      return pick(TOKENS);
    case "bytes":
      return Uint8Array.from(pick(DATA));
    default:
      return pick(TEXTS);
  }
}
