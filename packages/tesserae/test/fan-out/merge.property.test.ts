/**
 * The merge against what one would do with all rows at hand: sort them, and look at each group. Values of every type, nulls, ties, many and few sources, batches of every size.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  FanOutPlan,
  MergedAggregate,
  SortedColumn,
  ValueExpression,
} from "../../src/fan-out/fan-out-plan.ts";
import { comparisonOf } from "../../src/fan-out/merge/compare.ts";
import { compareDecimals, decimalText, toDecimal } from "../../src/fan-out/merge/decimals.ts";
import { compileExpression } from "../../src/fan-out/merge/expressions.ts";
import { FirstRows } from "../../src/fan-out/merge/first-rows.ts";
import type { ShardRow } from "../../src/fan-out/merge/shard-rows.ts";
import { describeType, type LogicalType } from "../../src/schema/logical-type.ts";
import {
  ascending,
  BIGINT,
  BOOLEAN,
  column,
  decimal,
  INT,
  planOf,
  sourceOf,
  valuesOf,
} from "./merge-plans.ts";
import { ORDERED_KINDS, valuesOfKind } from "./merge-values.ts";

type Compare = (a: unknown, b: unknown) => number;

const direction = fc.record({ descending: fc.boolean(), nullsFirst: fc.boolean() });

function nullable(
  compare: Compare,
  { descending, nullsFirst }: Pick<SortedColumn, "descending" | "nullsFirst">,
): Compare {
  return (a, b) => {
    if (a === null || b === null) return a === b ? 0 : (a === null) === nullsFirst ? -1 : 1;
    return descending ? compare(b, a) : compare(a, b);
  };
}

/** Rows on sources, each source's rows in the plan's order and in batches of one size. */
function distribute(
  rows: readonly ShardRow[],
  homes: readonly number[],
  order: (a: ShardRow, b: ShardRow) => number,
) {
  const sources: ShardRow[][] = Array.from(
    { length: Math.max(1, ...homes.map((home) => home + 1)) },
    () => [],
  );
  for (const [at, row] of rows.entries()) sources[homes[at % homes.length] as number]?.push(row);
  for (const source of sources) source.sort(order);
  return sources;
}

const homes = fc.array(fc.nat(6), { minLength: 1, maxLength: 20 });
const batchSize = fc.integer({ min: 1, max: 7 });

describe.each(ORDERED_KINDS.map((kind) => [describeType(kind.type), kind] as const))(
  "rows by %s",
  (_, kind) => {
    const compare = kind.compare as Compare;
    const type = kind.type as LogicalType;

    test("are compared as the engines do", () => {
      const compared = comparisonOf(type) as Compare;
      fc.assert(
        fc.property(valuesOfKind(kind), valuesOfKind(kind), (a, b) => {
          if (a === null || b === null) return;
          expect(Math.sign(compared(a, b))).toBe(Math.sign(compare(a, b)) + 0);
          expect(compared(a, structuredClone(a))).toBe(0);
        }),
        { numRuns: 200 },
      );
    });

    test("merged from sources that are sorted are all rows sorted; equal ones stay in the order of their sources", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(valuesOfKind(kind), { maxLength: 8, selector: String }),
          fc.array(fc.nat(7), { maxLength: 40 }),
          direction,
          homes,
          batchSize,
          fc.nat(10),
          fc.option(fc.nat(30), { nil: undefined }),
          async (values, picks, way, homes, batchSize, offset, limit) => {
            const order = nullable(compare, way);
            const byValue = (a: ShardRow, b: ShardRow) => order(a[0], b[0]);
            const rows =
              values.length === 0 ? [] : picks.map((pick, at) => [values[pick % values.length], at]);
            const sources = distribute(rows, homes, byValue);
            const sorted = [{ column: 0, type, ...way }];
            const plan = planOf([type, INT], { sorted, offset, limit });
            const expected = sources
              .flat()
              .sort(byValue)
              .slice(offset, limit === undefined ? undefined : offset + limit);
            expect(
              await valuesOf(
                plan,
                sources.map((source) => sourceOf(source, batchSize)),
              ),
            ).toEqual(expected);

            const distinct = planOf([type], { sorted, combine: { kind: "distinct" } });
            const different = sources
              .flat()
              .sort(byValue)
              .filter((row, at, all) => at === 0 || byValue(all[at - 1] as ShardRow, row) !== 0);
            const single = sources.map((source) =>
              sourceOf(
                source.map(([value]) => [value]),
                batchSize,
              ),
            );
            expect(await valuesOf(distinct, single)).toEqual(different.map(([value]) => [value]));

            const reordered = planOf([type, INT], {
              order: [
                { value: column(0), type, ...way },
                { ...ascending(1, INT), value: column(1) },
              ],
              offset,
              limit,
            });
            const byBoth = rows.toSorted((a, b) => byValue(a, b) || (a[1] as number) - (b[1] as number));
            const inOrder = byBoth.slice(offset, limit === undefined ? undefined : offset + limit);
            expect(
              await valuesOf(
                reordered,
                sources.map((source) => sourceOf(source, batchSize)),
              ),
            ).toEqual(inOrder);
          },
        ),
        { numRuns: 60 },
      );
    });

    test("make the groups, smallest, largest and different values that a look at all rows gives", async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(valuesOfKind(kind), fc.option(fc.nat(2)), fc.nat(5)), { maxLength: 30 }),
          direction,
          homes,
          batchSize,
          async (rows, way, homes, batchSize) => {
            const byKey = nullable((a, b) => (a as number) - (b as number), {
              descending: true,
              nullsFirst: true,
            });
            const byValue = nullable(compare, way);
            const order = (a: ShardRow, b: ShardRow) => byKey(a[1], b[1]) || byValue(a[0], b[0]);
            // What a shard gives: a row for each key and value, with its count.
            const sources = distribute(
              rows.map(([value, key]) => [value, key, 1n]),
              homes,
              order,
            ).map((source) => {
              const partial: unknown[][] = [];
              for (const [value, key] of source) {
                const last = partial.at(-1);
                if (last !== undefined && order(last, [value, key]) === 0) last[2] = (last[2] as bigint) + 1n;
                else partial.push([value, key, 1n]);
              }
              return partial;
            });
            const aggregates: MergedAggregate[] = [
              { kind: "count", column: 2 },
              { kind: "min", column: 0, type },
              { kind: "max", column: 0, type },
              { kind: "countDistinct", column: 0, type },
            ];
            const sorted = [
              { column: 1, type: INT, descending: true, nullsFirst: true },
              { column: 0, type, ...way },
            ];
            const plan = planOf([type, INT, BIGINT], {
              sorted,
              combine: { kind: "group", keys: [1], aggregates },
            });
            const expected = [...new Set(rows.map(([, key]) => key))].sort(byKey).map((key) => {
              const members = rows.filter((row) => row[1] === key);
              const values = members
                .map(([value]) => value)
                .filter((value) => value !== null)
                .sort(compare);
              const different = values.filter(
                (value, at) => at === 0 || compare(values[at - 1], value) !== 0,
              );
              return [
                key,
                BigInt(members.length),
                values[0] ?? null,
                values.at(-1) ?? null,
                BigInt(different.length),
              ];
            });
            expect(
              await valuesOf(
                plan,
                sources.map((source) => sourceOf(source, batchSize)),
              ),
            ).toEqual(expected);
          },
        ),
        { numRuns: 60 },
      );
    });
  },
);

describe("decimals", () => {
  /** Units and fraction digits, and so the exact value. */
  const anyDecimal = fc.record({
    units: fc.oneof(fc.bigInt(-2000n, 2000n), fc.bigInt(-(10n ** 38n), 10n ** 38n)),
    scale: fc.nat(12),
  });
  const textOf = (value: { units: bigint; scale: number }) => decimalText(value, value.scale);
  const at24 = ({ units, scale }: { units: bigint; scale: number }) => units * 10n ** BigInt(24 - scale);

  test("are read, written, and compared by their value, however many fraction digits they have", () => {
    fc.assert(
      fc.property(anyDecimal, anyDecimal, fc.nat(4), (a, b, zeros) => {
        expect(toDecimal(textOf(a))).toEqual(a);
        expect(Math.sign(compareDecimals(textOf(a), textOf(b)))).toBe(
          at24(a) < at24(b) ? -1 : at24(a) > at24(b) ? 1 : 0,
        );
        expect(compareDecimals(textOf(a), decimalText(a, a.scale + zeros))).toBe(0);
      }),
    );
    expect(compareDecimals("-0.0", "0")).toBe(0);
  });

  test("add up exactly, whatever their digits; averages are rounded half away from zero", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyDecimal, { minLength: 1, maxLength: 20 }),
        fc.boolean(),
        async (values, exact) => {
          const scale = exact ? 24 : 12;
          const aggregates: MergedAggregate[] = [
            { kind: "sum", column: 0, type: decimal(scale) },
            { kind: "avg", sum: 0, count: 1, type: decimal(3) },
          ];
          const plan = planOf([decimal(scale), BIGINT], { combine: { kind: "group", keys: [], aggregates } });
          const sum = values.reduce((total, value) => total + at24(value), 0n);
          const count = BigInt(values.length);
          const unit = 10n ** 21n * count;
          const magnitude = sum < 0n ? -sum : sum;
          const rounded = magnitude / unit + (2n * (magnitude % unit) >= unit ? 1n : 0n);
          const average = decimalText({ units: sum < 0n ? -rounded : rounded, scale: 3 }, 3);
          const rows = values.map((value) => [textOf(value), 1n]);
          const expected = [[decimalText({ units: sum, scale: 24 }, scale), average]];
          expect(await valuesOf(plan, [sourceOf(rows), sourceOf([[null, 0n]])])).toEqual(expected);
        },
      ),
    );
  });

  test("add up for each group anew", async () => {
    const aggregates: MergedAggregate[] = [
      { kind: "sum", column: 1, type: decimal(2) },
      { kind: "avg", sum: 1, count: 0, type: decimal(3) },
    ];
    const parts = {
      sorted: [ascending(0, BIGINT)],
      combine: { kind: "group", keys: [0], aggregates },
    } as const;
    const large = "99999999999999999999.99";
    const rows = [
      [1n, "0.25"],
      [2n, large],
      [3n, "0.50"],
      [4n, null],
    ];
    expect(await valuesOf(planOf([BIGINT, decimal(2)], parts), [sourceOf(rows)])).toEqual([
      [1n, "0.25", "0.250"],
      [2n, large, "49999999999999999999.995"],
      [3n, "0.50", "0.167"],
      [4n, null, null],
    ]);
  });

  test("are computed with by the rules of the scale", () => {
    const computed = (
      operator: "+" | "-" | "*",
      left: ValueExpression,
      right: ValueExpression,
      type: LogicalType,
    ) => compileExpression({ kind: "arithmetic", operator, left, right, type });
    fc.assert(
      fc.property(anyDecimal, anyDecimal, (a, b) => {
        const row = [textOf(a), textOf(b)];
        const [left, right] = [column(0), column(1)];
        const [x, y] = [at24(a), at24(b)];
        expect(computed("+", left, right, decimal(24))(row)).toBe(
          decimalText({ units: x + y, scale: 24 }, 24),
        );
        expect(computed("-", left, right, decimal(24))(row)).toBe(
          decimalText({ units: x - y, scale: 24 }, 24),
        );
        expect(computed("*", left, right, decimal(24))(row)).toBe(
          decimalText({ units: x * y, scale: 48 }, 24),
        );
      }),
    );
    expect(computed("*", column(0), column(1), BIGINT)([2n, 3])).toBe(6n);
    expect(computed("-", column(0), column(1), INT)([2, 3])).toBe(-1);
    expect(computed("+", column(0), column(1), decimal(2))([2n, "0.5"])).toBe("2.50");
    expect(computed("+", column(0), column(1), BIGINT)([2n, null])).toBe(null);
    expect(() => computed("*", column(0), column(0), BIGINT)([2n ** 40n])).toThrow(
      "out of the range of bigint()",
    );
  });
});

test("the first of many in no order are those that sorting all would bring to the front", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50), { maxLength: 300 }), fc.nat(60), fc.boolean(), (keys, most, all) => {
      const max = all ? Number.POSITIVE_INFINITY : most;
      const first = new FirstRows<readonly [number, number]>((a, b) => a[0] - b[0], max);
      const items = keys.map((key, at) => [key, at] as const);
      for (const item of items) {
        first.add(item);
        expect(first.size).toBeLessThanOrEqual(max);
      }
      expect(first.sorted()).toEqual(items.toSorted((a, b) => a[0] - b[0]).slice(0, max));
    }),
  );
});

describe("expressions", () => {
  const truth = [true, false, null];

  test("know true, false, and what is not known", () => {
    const operands = [column(0, BOOLEAN), column(1, BOOLEAN)];
    const and = compileExpression({ kind: "and", operands, type: BOOLEAN });
    const or = compileExpression({ kind: "or", operands, type: BOOLEAN });
    const not = compileExpression({ kind: "not", operand: column(0), type: BOOLEAN });
    const isNull = compileExpression({ kind: "isNull", operand: column(0), negated: false, type: BOOLEAN });
    const isNotNull = compileExpression({ kind: "isNull", operand: column(0), negated: true, type: BOOLEAN });
    const table = truth.flatMap((a) => truth.map((b) => [and([a, b]), or([a, b])]));
    expect(table).toEqual([
      [true, true],
      [false, true],
      [null, true],
      [false, true],
      [false, false],
      [false, null],
      [null, true],
      [false, null],
      [null, null],
    ]);
    expect(truth.map((a) => [not([a]), isNull([a]), isNotNull([a])])).toEqual([
      [false, false, true],
      [true, false, true],
      [null, true, false],
    ]);
  });

  test("compare values of two types as the one that holds both", () => {
    const compared = (operator: "=" | "<>" | "<" | "<=" | ">" | ">=", operands: LogicalType) =>
      compileExpression({
        kind: "comparison",
        operator,
        left: column(0),
        right: column(1),
        operands,
        type: BOOLEAN,
      });
    expect(compared("=", decimal(2))([2n, "2.00"])).toBe(true);
    expect(compared("<>", decimal(2))(["2.001", 2])).toBe(true);
    expect(compared(">", BIGINT)([2n ** 60n, 7])).toBe(true);
    expect(compared("<=", { kind: "double" })(["0.5", 0.5])).toBe(true);
    expect(compared(">=", BIGINT)([null, 7n])).toBe(null);
    const micros = { kind: "timestamp", precision: 6 } as const;
    expect(compared("<", micros)([new Date(5), "1970-01-01T00:00:00.005001Z"])).toBe(true);
    expect(compared("=", micros)(["1970-01-01T00:00:00.5Z", "1970-01-01T00:00:00.500000Z"])).toBe(true);
  });

  test("coalesce to the first that is known, in the form of their common type", () => {
    const first = (type: LogicalType | undefined) =>
      compileExpression({ kind: "coalesce", operands: [column(0), column(1)], type });
    expect(first(decimal(2))([null, 0n])).toBe("0.00");
    expect(first(decimal(4))(["1.25", 0n])).toBe("1.2500");
    expect(first(BIGINT)([null, 0])).toBe(0n);
    expect(first(undefined)([null, null])).toBe(null);
    expect(first({ kind: "timestamp", precision: 6 })([null, new Date(0)])).toBe(
      "1970-01-01T00:00:00.000000Z",
    );
  });
});

test("a plan's output may be anything of the combined row, by any name", async () => {
  const output: FanOutPlan["output"] = [
    {
      name: "twice",
      value: { kind: "arithmetic", operator: "+", left: column(0), right: column(0), type: INT },
    },
    { name: "__proto__", value: column(0) },
  ];
  const [row] = (await valuesOf(planOf([INT], { output }), [sourceOf([[4]])])) as [unknown[]];
  expect(row).toEqual([8, 4]);
});
