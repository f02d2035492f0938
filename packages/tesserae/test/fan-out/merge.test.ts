/** What the merge does besides giving the right values: when it asks, what it holds, how it ends. */
import { describe, expect, test } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import type { MergedAggregate } from "../../src/fan-out/fan-out-plan.ts";
import { combineShards } from "../../src/fan-out/merge/combine-shards.ts";
import type { ShardBatch } from "../../src/fan-out/merge/shard-rows.ts";
import {
  answerOf,
  ascending,
  BIGINT,
  BOOLEAN,
  column,
  constant,
  decimal,
  planOf,
  sourceOf,
  TEXT,
  valuesOf,
  watchedSource,
} from "./merge-plans.ts";

const LIMITS = { groupsMax: 100 };
const byNumber = { sorted: [ascending(0, BIGINT)] };
const numbers = (...values: (number | null)[]) =>
  values.map((value) => [value === null ? null : BigInt(value)]);

/** Until everything that can go on without us has gone on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("reading the shards", () => {
  test("all are asked at the same time, and each one batch ahead", async () => {
    const open = Promise.withResolvers<void>();
    const slow = watchedSource(async (call) => {
      await open.promise;
      return call < 2 ? numbers(5 + call) : undefined;
    });
    const others = [sourceOf(numbers(1, 2, 3, 4), 1), sourceOf(numbers(1, 9), 1)];
    const answer = combineShards(planOf([BIGINT], byNumber), [slow, ...others], LIMITS);
    const first = answer.next();
    await settle();
    // The first batch waits for nobody; of each source that answered, the next is on its way or there.
    expect([slow, ...others].map(({ asked }) => asked)).toEqual([1, 1, 1]);
    open.resolve();
    await first;
    await settle();
    expect(others.map(({ asked }) => asked)).toEqual([2, 2]);
    await answer.return();
  });

  test("in no order, rows come from whoever has some, in turn, and nobody runs ahead", async () => {
    const never = watchedSource(() => new Promise(() => {}));
    const fast = [1, 2].map((shard) => watchedSource((call) => [[`${shard}.${call}`]]));
    const answer = combineShards(planOf([TEXT]), [never, ...fast], LIMITS);
    const seen: unknown[] = [];
    for (let count = 0; count < 6; count++) {
      seen.push((await answer.next()).value?.[0]?.["o0"]);
      await settle();
    }
    expect(seen).toEqual(["1.0", "2.0", "1.1", "2.1", "1.2", "2.2"]);
    // Three taken, the next one there: it was asked for when the third was taken.
    expect(fast.map(({ asked }) => asked)).toEqual([4, 4]);
    await answer.return();
    expect([never, ...fast].map(({ returned }) => returned)).toEqual([1, 1, 1]);
  });

  test("empty batches and sources are nothing", async () => {
    const batches: ShardBatch[] = [[], numbers(2), [], [], numbers(4), []];
    const sources = [watchedSource((call) => batches[call]), sourceOf([]), sourceOf(numbers(1, 3))];
    expect(await valuesOf(planOf([BIGINT], byNumber), sources)).toEqual(numbers(1, 2, 3, 4));
    expect(await valuesOf(planOf([BIGINT], byNumber), [])).toEqual([]);
    expect(await valuesOf(planOf([BIGINT]), [])).toEqual([]);
  });
});

describe("the end", () => {
  const endless = () => watchedSource((call) => numbers(2 * call, 2 * call + 1));

  test("comes with the limit: all sources are returned, and no more is asked", async () => {
    const sources = [endless(), endless(), sourceOf(numbers(0))];
    const plan = planOf([BIGINT], { ...byNumber, offset: 2, limit: 4 });
    expect(await valuesOf(plan, sources)).toEqual(numbers(0, 1, 1, 2));
    expect(sources.map(({ returned }) => returned)).toEqual([1, 1, 0]);
    expect(Math.max(...sources.map(({ asked }) => asked))).toBeLessThanOrEqual(4);
  });

  test("of a limit of 0 asks nobody", async () => {
    for (const order of [[], [{ ...ascending(0, BIGINT), value: column(0) }]]) {
      const source = endless();
      expect(await valuesOf(planOf([BIGINT], { limit: 0, order }), [source])).toEqual([]);
      expect([source.asked, source.returned]).toEqual([0, 1]);
    }
  });

  test("comes when the reader leaves, and the sources have been returned by then", async () => {
    let closed = false;
    const slow = watchedSource((call) => numbers(call));
    slow.return = async () => {
      await settle();
      closed = true;
    };
    const answer = combineShards(planOf([BIGINT], byNumber), [slow, endless()], LIMITS);
    for await (const rows of answer) if (rows.length > 0) break;
    expect(closed).toBe(true);
  });

  test("comes with the first error, as it is, though another shard never answers", async () => {
    const error = new Error("shard 2 is gone");
    const never = watchedSource(() => new Promise(() => {}));
    const failing = watchedSource((call) => (call === 0 ? numbers(1) : Promise.reject(error)));
    const failsToClose = {
      ...endless(),
      return: () => Promise.reject(new Error("and so is its connection")),
    };
    const other = endless();
    for (const sorted of [[], byNumber.sorted]) {
      const answer = answerOf(planOf([BIGINT], { sorted }), [never, failing, failsToClose, other]);
      await expect(answer).rejects.toBe(error);
    }
    expect([never.returned, failing.returned, other.returned]).toEqual([2, 0, 2]);
  });
});

describe("a promised order that is not kept", () => {
  test("is an error that names shard and column, and no wrong answer", async () => {
    const plan = planOf([BIGINT, TEXT], { sorted: [ascending(0, BIGINT), ascending(1, TEXT)] });
    for (const batchSize of [1, 2, 10]) {
      const rows = [
        [1n, "a"],
        [2n, "b"],
        [2n, "B"],
        [3n, "c"],
      ];
      const failure = await answerOf(plan, [sourceOf([[2n, "a"]], 1, 4), sourceOf(rows, batchSize, 7)]).catch(
        (error) => error,
      );
      expect(isTesseraeError(failure, "FAN_OUT_ORDER")).toBe(true);
      expect([failure.shard, failure.column]).toEqual([7, "c1"]);
      expect(failure.message).toContain(`Shard 7 gave rows that are not in the order of "c1"`);
    }
  });
});

describe("groups", () => {
  const count: MergedAggregate = { kind: "count", column: 1 };
  const grouped = {
    sorted: [ascending(0, TEXT)],
    combine: { kind: "group", keys: [0], aggregates: [count] },
  } as const;
  const rows = ["a", "b", "c", "d", "e"].map((key, at) => [key, BigInt(at)]);

  test("without keys are one, also of no rows", async () => {
    const aggregates: MergedAggregate[] = [
      { kind: "count", column: 0 },
      { kind: "sum", column: 1, type: BIGINT },
      { kind: "sum", column: 2, type: decimal(2) },
      { kind: "avg", sum: 1, count: 0, type: decimal(4) },
      { kind: "min", column: 1, type: BIGINT },
      { kind: "max", column: 1, type: BIGINT },
    ];
    const plan = planOf([BIGINT, BIGINT, decimal(2)], { combine: { kind: "group", keys: [], aggregates } });
    const nothing = [[0n, null, null, null, null, null]];
    expect(await valuesOf(plan, [])).toEqual(nothing);
    expect(await valuesOf(plan, [sourceOf([[0n, null, null]]), sourceOf([[0n, null, null]])])).toEqual(
      nothing,
    );
    const parts = [
      sourceOf([[2n, -5n, "0.10"]]),
      sourceOf([[0n, null, null]]),
      sourceOf([[1n, 1n, "-0.30"]]),
    ];
    expect(await valuesOf(plan, parts)).toEqual([[3n, -4n, "-0.20", "-1.3333", -5n, 1n]]);
  });

  test("in another order than their keys' are held up to groupsMax", async () => {
    const order = [{ value: column(1), type: BIGINT, descending: true, nullsFirst: false }];
    const plan = planOf([TEXT, BIGINT], { ...grouped, order });
    expect(await valuesOf(plan, [sourceOf(rows)], 5)).toEqual(rows.toReversed());
    const source = watchedSource((call) => [[`key ${10 + call}`, 1n]]);
    const failure = await answerOf(plan, [source], 3).catch((error) => error);
    expect(isTesseraeError(failure, "FAN_OUT_TOO_MANY_GROUPS")).toBe(true);
    expect(source.returned).toBe(1);
    const topTwo = planOf([TEXT, BIGINT], { ...grouped, order, offset: 1, limit: 2 });
    expect(await valuesOf(topTwo, [sourceOf(rows)], 3)).toEqual([rows[3], rows[2]]);
  });

  test("are kept by having where it is true, not where it is unknown", async () => {
    const having = {
      kind: "comparison",
      operator: ">=",
      left: column(1, BIGINT),
      right: constant("2.5", decimal(1)),
      operands: decimal(1),
      type: BOOLEAN,
    } as const;
    const plan = planOf([TEXT, BIGINT], { ...grouped, having, limit: 1 });
    expect(await valuesOf(plan, [sourceOf(rows)])).toEqual([["d", 3n]]);
    const sums = planOf([TEXT, BIGINT], {
      ...grouped,
      combine: { kind: "group", keys: [0], aggregates: [{ kind: "sum", column: 1, type: BIGINT }] },
      having,
    });
    expect(
      await valuesOf(sums, [
        sourceOf([
          ["a", null],
          ["b", 7n],
        ]),
      ]),
    ).toEqual([["b", 7n]]);
  });

  test("whose rows are not sorted by the keys, or by what is counted, are no plan", async () => {
    const unsorted = planOf([TEXT, BIGINT], { ...grouped, sorted: [] });
    await expect(answerOf(unsorted, [])).rejects.toThrow("not sorted by the keys");
    const combine = {
      ...grouped.combine,
      aggregates: [{ kind: "countDistinct", column: 1, type: BIGINT } as const],
    };
    await expect(answerOf(planOf([TEXT, BIGINT], { ...grouped, combine }), [])).rejects.toThrow(
      "whose kinds are counted",
    );
  });

  test("count and average beyond what a number holds, and refuse a sum beyond 64 bits", async () => {
    const combine = (aggregate: MergedAggregate) =>
      ({ kind: "group", keys: [], aggregates: [aggregate] }) as const;
    const large = 2n ** 63n - 1n;
    const sources = () => [sourceOf([[large, 2n]]), sourceOf([[large, 1n]])];
    const average = planOf([BIGINT, BIGINT], {
      combine: combine({ kind: "avg", sum: 0, count: 1, type: decimal(4) }),
    });
    expect(await valuesOf(average, sources())).toEqual([["6148914691236517204.6667"]]);
    const sum = planOf([BIGINT, BIGINT], { combine: combine({ kind: "sum", column: 0, type: BIGINT }) });
    const failure = await answerOf(sum, sources()).catch((error) => error);
    expect(isTesseraeError(failure, "VALUE_INVALID")).toBe(true);
  });
});
