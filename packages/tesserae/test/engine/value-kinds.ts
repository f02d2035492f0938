/** For each logical type: values at its extremes, values at random, its order, and what it refuses. */
import fc from "fast-check";
import type { LogicalType } from "../../src/schema/logical-type.ts";

export interface ValueKind {
  readonly type: LogicalType;
  /** Different from each other. */
  readonly extremes: readonly unknown[];
  readonly arbitrary: fc.Arbitrary<unknown>;
  /** The order of the type; undefined where it has none. */
  readonly compare?: (a: never, b: never) => number;
  /** The value as it comes back, where it has more than one form. */
  readonly normalize?: (value: unknown) => unknown;
}

function byOperator(a: number | bigint | string | Date, b: number | bigint | string | Date): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

/** UTF-8 keeps the order of code points, which UTF-16 does not. */
function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function byDecimal(a: string, b: string): number {
  return byOperator(BigInt(a.replace(".", "")), BigInt(b.replace(".", "")));
}

function canonicalDecimal(scale: number): (value: unknown) => string {
  return (value) => {
    const [, sign = "", whole = "", fraction = ""] = /^([+-]?)0*(\d*)\.?(\d*)$/.exec(value as string) ?? [];
    const digits = fraction.padEnd(scale, "0").slice(0, scale);
    const zero = /^0*$/.test(whole + digits);
    return `${sign === "-" && !zero ? "-" : ""}${whole || "0"}${scale === 0 ? "" : `.${digits}`}`;
  };
}

function arbitraryDecimal(precision: number, scale: number): fc.Arbitrary<string> {
  const limit = 10n ** BigInt(precision) - 1n;
  return fc.bigInt({ min: -limit, max: limit }).chain((unscaled) =>
    fc.boolean().map((shorten) => {
      const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
      const whole = digits.slice(0, digits.length - scale);
      const fraction = digits.slice(digits.length - scale);
      const text = scale === 0 ? whole : `${whole}.${fraction}`;
      return `${unscaled < 0n ? "-" : ""}${shorten && scale > 0 ? text.replace(/\.?0+$/, "") || "0" : text}`;
    }),
  );
}

function decimalKind(precision: number, scale: number, extremes: readonly string[]): ValueKind {
  return {
    type: { kind: "decimal", precision, scale },
    extremes,
    arbitrary: arbitraryDecimal(precision, scale),
    compare: byDecimal,
    normalize: canonicalDecimal(scale),
  };
}

/** Any code point but NUL and surrogates, often one that a wrong collation would fold, pad or misorder. */
const character = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ..."aAbBäÄßéeE zZ_%'\"\\0\t\n",
      "\u0301",
      "\u200b",
      "\ufeff",
      "\uffff",
      "\u{10000}",
      "\u{10ffff}",
      "😀",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter((text) => text !== "\0"),
  },
);
const arbitraryText = (length: number) =>
  fc
    .array(character, { maxLength: length })
    .map((characters) => [...characters.join("")].slice(0, length).join(""));

function textKind(length: number | undefined, extremes: readonly string[]): ValueKind {
  return {
    type: { kind: "text", length, caseInsensitive: false },
    extremes,
    arbitrary: arbitraryText(length ?? 200),
    compare: byCodePoint,
  };
}

const TEXTS = [
  "",
  " ",
  "a",
  "A",
  "a ",
  " a",
  "ä",
  "a\u0308",
  "ß",
  "ss",
  "e",
  "é",
  "\t",
  "\u0001",
  "\u007f",
  "\u0080",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "\u{10000}",
  "\u{10ffff}",
  "😀",
  "😀😀",
  "'",
  "\\",
  "\\0",
  "%",
  "null",
  "1",
  "10",
  "9",
];

const EARLIEST = "0001-01-01T00:00:00";
const LATEST = "9999-12-31T23:59:59";

const arbitraryTime = fc.integer({ min: Date.parse(`${EARLIEST}.000Z`), max: Date.parse(`${LATEST}.999Z`) });
const arbitraryMicroseconds = fc
  .tuple(arbitraryTime, fc.integer({ min: 0, max: 999 }))
  .map(([time, micros]) => `${new Date(time).toISOString().slice(0, 23)}${String(micros).padStart(3, "0")}Z`);

const BYTES = [
  [],
  [0],
  [0, 0],
  [0, 255],
  [1],
  [39],
  [92],
  [128],
  [255],
  [255, 0],
  [255, 255],
  [0xc3, 0x28],
].map((list) => new Uint8Array(list));

function bytesKind(length: number | undefined): ValueKind {
  return {
    type: { kind: "bytes", length },
    extremes: [...BYTES, new Uint8Array(length ?? 70_000).fill(255)],
    arbitrary: fc.uint8Array({ maxLength: length ?? 300 }),
    compare: byBytes,
  };
}

const WHOLE = /^-?\d+$/;

/** A whole number beyond 2^53 comes back as a bigint, a bigint within as a number, and −0 as 0. */
function normalizeJson(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (typeof value === "number") {
    const text = JSON.stringify(value);
    return Number.isSafeInteger(value) || !WHOLE.test(text) ? value + 0 : BigInt(text);
  }
  if (Array.isArray(value)) return value.map(normalizeJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, normalizeJson(entry)]));
}

const arbitraryJson = fc
  .letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }),
        fc.boolean(),
        fc.constant(null),
      ),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(fc.string({ unit: "binary" }), tie("value"), { maxKeys: 4 }),
    ),
  }))
  .value.filter((value) => value !== null);

export const VALUE_KINDS: readonly ValueKind[] = [
  {
    type: { kind: "int" },
    extremes: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 10, 9],
    arbitrary: fc.integer(),
    compare: byOperator,
    normalize: (value) => (value as number) + 0,
  },
  {
    type: { kind: "bigint" },
    extremes: [
      0n,
      1n,
      -1n,
      2n ** 53n,
      2n ** 53n + 1n,
      -(2n ** 53n) - 1n,
      2n ** 63n - 1n,
      2n ** 63n - 2n,
      -(2n ** 63n),
    ],
    arbitrary: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    compare: byOperator,
  },
  decimalKind(9, 6, ["0", "0.000001", "-0.000001", "999.999999", "-999.999999", "12.5", "1.000000000"]),
  decimalKind(5, 0, ["0", "99999", "-99999", "7", "00010"]),
  decimalKind(15, 15, ["0", "0.999999999999999", "-0.999999999999999", "0.000000000000001"]),
  decimalKind(38, 0, ["0", "9".repeat(38), `-${"9".repeat(38)}`, `1${"0".repeat(37)}`, "-1"]),
  decimalKind(38, 30, [
    "0",
    `99999999.${"9".repeat(30)}`,
    `-99999999.${"9".repeat(30)}`,
    `0.${"0".repeat(29)}1`,
    `-0.${"0".repeat(29)}1`,
    "1.5",
  ]),
  {
    type: { kind: "double" },
    extremes: [
      0,
      1,
      -1,
      0.1,
      5e-324,
      -5e-324,
      2.2250738585072014e-308,
      Number.MAX_VALUE,
      -Number.MAX_VALUE,
      2 ** 53,
      2 ** 53 + 2,
      1 / 3,
      1e21,
    ],
    arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }),
    compare: byOperator,
    normalize: (value) => (value as number) + 0,
  },
  {
    type: { kind: "boolean" },
    extremes: [true, false],
    arbitrary: fc.boolean(),
    compare: byOperator as (a: never, b: never) => number,
  },
  textKind(60, [...TEXTS, "x".repeat(60), "😀".repeat(60)]),
  textKind(undefined, [...TEXTS, "x".repeat(70_000), "😀".repeat(20_000)]),
  {
    type: { kind: "json" },
    extremes: [
      {},
      [],
      "",
      " ",
      "null",
      0,
      -1,
      1.5,
      true,
      false,
      { a: null, b: { c: [1, "x", false] } },
      2n ** 53n,
      -(2n ** 63n),
      2n ** 64n,
      10n ** 40n,
      1e300,
      1e21,
      5e-324,
      2 ** 53 - 1,
      { z: 1, a: 2, "": 3, "ä😀": '\u0000\u2028"\\/' },
      [[[[[[]]]]]],
      { n: 12345678901234567890n, m: [9007199254740993n, 0.5] },
      "x".repeat(70_000),
    ],
    arbitrary: arbitraryJson,
    normalize: normalizeJson,
  },
  {
    type: { kind: "timestamp", precision: 3 },
    extremes: [
      `${EARLIEST}.000Z`,
      `${LATEST}.999Z`,
      "1969-12-31T23:59:59.999Z",
      "1970-01-01T00:00:00.000Z",
      "1899-12-31T12:00:00.001Z",
      "2038-01-19T03:14:08.000Z",
      "2024-02-29T00:00:00.120Z",
      "2024-03-31T02:30:00.000Z",
      "0099-12-31T00:00:00.000Z",
    ].map((text) => new Date(text)),
    arbitrary: arbitraryTime.map((time) => new Date(time)),
    compare: byOperator,
  },
  {
    type: { kind: "timestamp", precision: 6 },
    extremes: [
      `${EARLIEST}.000000Z`,
      `${LATEST}.999999Z`,
      "1969-12-31T23:59:59.999999Z",
      "1970-01-01T00:00:00.000001Z",
      "2024-02-29T12:00:00.100000Z",
      "2024-02-29T12:00:00.1Z",
      "2024-02-29T12:00:01Z",
    ],
    arbitrary: arbitraryMicroseconds,
    compare: byOperator,
    normalize: (value) => {
      const [moment = "", fraction = ""] = (value as string).slice(0, -1).split(".");
      return `${moment}.${fraction.padEnd(6, "0")}Z`;
    },
  },
  {
    type: { kind: "date" },
    extremes: [
      "0001-01-01",
      "9999-12-31",
      "1582-10-10",
      "1900-02-28",
      "2000-02-29",
      "1969-12-31",
      "1970-01-01",
    ],
    arbitrary: arbitraryTime.map((time) => new Date(time).toISOString().slice(0, 10)),
    compare: byOperator,
  },
  {
    type: { kind: "uuid" },
    extremes: [
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      "0FFFFFFF-0000-1000-8000-000000000001",
      "10000000-0000-7000-8000-000000000000",
      "00000000-0000-0000-0000-000000000001",
      "80000000-0000-4000-8000-000000000000",
    ],
    arbitrary: fc.uuid(),
    compare: byOperator,
    normalize: (value) => (value as string).toLowerCase(),
  },
  bytesKind(300),
  bytesKind(undefined),
] as readonly ValueKind[];

const text = (length: number | undefined): LogicalType => ({ kind: "text", length, caseInsensitive: false });

/** `undefined` is of no type; null never reaches a codec. */
export const INVALID_VALUES: readonly { readonly type: LogicalType; readonly values: readonly unknown[] }[] =
  [
    {
      type: { kind: "int" },
      values: [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN, 1n, "1", true, undefined, {}],
    },
    { type: { kind: "bigint" }, values: [2n ** 63n, -(2n ** 63n) - 1n, 1, "1", undefined, new Date()] },
    {
      type: { kind: "decimal", precision: 5, scale: 2 },
      values: [
        "1000",
        "-1000.00",
        "0.001",
        "",
        "-",
        ".",
        "1e2",
        " 1",
        "1 ",
        "NaN",
        "Infinity",
        "0x1",
        1,
        1n,
        undefined,
      ],
    },
    {
      type: { kind: "double" },
      values: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1n, "1", undefined],
    },
    { type: { kind: "boolean" }, values: [0, 1, "true", undefined, new Boolean(true)] },
    { type: text(3), values: ["abcd", "😀😀😀😀", "a\0", "\ud800", "a\udc00", 1, undefined, ["a"]] },
    { type: text(undefined), values: ["\0", "\udfff", 1n, undefined] },
    {
      type: { kind: "json" },
      values: [
        undefined,
        Number.NaN,
        [Number.POSITIVE_INFINITY],
        () => 1,
        Symbol("x"),
        "\ud800",
        { a: ["\udc00"] },
        circle(),
      ],
    },
    {
      type: { kind: "timestamp", precision: 3 },
      values: [
        new Date(Number.NaN),
        new Date("+010000-01-01T00:00:00.000Z"),
        new Date("0000-12-31T23:59:59.999Z"),
        "2024-01-01T00:00:00.000Z",
        0,
        undefined,
      ],
    },
    {
      type: { kind: "timestamp", precision: 6 },
      values: [
        "2024-02-30T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00+01:00",
        "2024-01-01T00:00:00.1234567Z",
        "0000-01-01T00:00:00Z",
        new Date(),
        0,
        undefined,
      ],
    },
    {
      type: { kind: "date" },
      values: [
        "2023-02-29",
        "1900-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "0000-01-01",
        "10000-01-01",
        "2024-1-1",
        "2024-01-01T00:00:00Z",
        new Date(),
        undefined,
      ],
    },
    {
      type: { kind: "uuid" },
      values: [
        "",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "g0000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-0000000000000",
        new Uint8Array(16),
        undefined,
      ],
    },
    {
      type: { kind: "bytes", length: 2 },
      values: [new Uint8Array(3), [1], "ab", new ArrayBuffer(2), undefined],
    },
  ];

function circle(): unknown {
  const value: Record<string, unknown> = {};
  value["self"] = [value];
  return value;
}
