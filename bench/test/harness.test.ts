import { describe, expect, test } from "vitest";
import { quickPace } from "../src/harness.ts";
import { type Case, inFlight, measureCase, type Pace } from "../src/measure.ts";
import { type BenchResult, formatSpeed, formatTable } from "../src/report.ts";
import { median, rotated, spread, throughput } from "../src/statistics.ts";

describe("the arithmetic", () => {
  test("takes the middle value, or the mean of the two in the middle", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
    expect(() => median([])).toThrow("nothing");
  });

  test("does not sort its argument, nor by text", () => {
    const values = [10, 9, 100];
    expect(spread(values)).toEqual({ median: 10, min: 9, max: 100 });
    expect(values).toEqual([10, 9, 100]);
  });

  test("counts operations a second", () => {
    expect(throughput(500, 250)).toBe(2000);
  });

  test("lets each variant begin in turn", () => {
    expect([0, 1, 2, 3].map((round) => rotated(["a", "b", "c"], round).join(""))).toEqual([
      "abc",
      "bca",
      "cab",
      "abc",
    ]);
  });
});

/** A clock that moves only when a variant says so. */
function simulate(
  cost_ms: Record<string, (round: number) => number>,
  extra: Partial<Case> = {},
  pace: Partial<Pace> = {},
) {
  let clock = 0;
  const calls: string[] = [];
  const counts: Record<string, number> = {};
  const variants = Object.fromEntries(
    Object.entries(cost_ms).map(([name, cost]) => [
      name,
      async (operations: number) => {
        calls.push(name);
        counts[name] = (counts[name] ?? 0) + 1;
        clock += operations * cost((counts[name] ?? 1) - 1);
      },
    ]),
  );
  const item: Case = { case: "c", engine: "sqlite", baseline: "bare", variants, ...extra };
  const whole: Pace = {
    rounds: 3,
    slice_ms: 100,
    warmUp_ms: 50,
    deadline_ms: Number.POSITIVE_INFINITY,
    now: () => clock,
    ...pace,
  };
  return { rows: measureCase(item, whole), calls };
}

describe("a case", () => {
  test("compares within each round, and reports the median of the rounds", async () => {
    // The machine slows down fourfold in round 1, for both; in round 2 only the library is slow.
    const bare = (round: number) => [1, 4, 1][round] as number;
    const library = (round: number) => [2, 8, 10][round] as number;
    const { rows, calls } = simulate({ bare, library }, { operations: 10 });
    expect(await rows).toEqual([
      {
        case: "c",
        engine: "sqlite",
        baseline: "bare",
        variant: "library",
        rounds: 3,
        ratio: { median: 0.5, min: 0.1, max: 0.5 },
        opsPerSecond: { variant: 125, baseline: 1000 },
        unit: "operations",
      },
    ]);
    expect(calls).toEqual(["bare", "library", "library", "bare", "bare", "library"]);
  });

  test("warms up, then takes the operations that fill a slice of the baseline", async () => {
    const seen: number[] = [];
    let clock = 0;
    const run = (cost: number) => async (operations: number) => {
      if (cost === 1) seen.push(operations);
      clock += operations * cost;
    };
    const item: Case = {
      case: "c",
      engine: "mysql",
      baseline: "bare",
      variants: { bare: run(1), slow: run(2) },
    };
    const pace = { rounds: 2, slice_ms: 100, warmUp_ms: 50, deadline_ms: 1e9, now: () => clock };
    const [row] = await measureCase(item, pace);
    expect(seen.slice(-2)).toEqual([100, 100]);
    expect(row?.ratio.median).toBe(0.5);
  });

  test("lets each variant fill a slice of its own, where the case says so", async () => {
    const seen: Record<string, number> = {};
    let clock = 0;
    const run = (name: string, cost: number) => async (operations: number) => {
      seen[name] = operations;
      clock += operations * cost;
    };
    const item: Case = {
      case: "c",
      engine: "mysql",
      baseline: "bare",
      ownPace: true,
      variants: { bare: run("bare", 1), slow: run("slow", 50) },
    };
    const pace = { rounds: 1, slice_ms: 100, warmUp_ms: 50, deadline_ms: 1e9, now: () => clock };
    const [row] = await measureCase(item, pace);
    expect(seen).toEqual({ bare: 100, slow: 2 });
    expect(row?.ratio.median).toBe(0.02);
  });

  test("counts an operation's weight", async () => {
    const { rows } = simulate(
      { bare: () => 1, library: () => 1 },
      { operations: 10, weight: 100, unit: "rows" },
    );
    expect((await rows)[0]?.opsPerSecond).toEqual({ variant: 100_000, baseline: 100_000 });
  });

  test("begins no further round behind its deadline, but has one", async () => {
    const { rows } = simulate({ bare: () => 1, library: () => 1 }, { operations: 10 }, { deadline_ms: 5 });
    expect((await rows)[0]?.rounds).toBe(1);
  });

  test("refuses a baseline that it does not have", async () => {
    await expect(simulate({ library: () => 1 }).rows).rejects.toThrow('no variant "bare"');
  });
});

test("a run keeps so many operations in flight, and does each once", async () => {
  let open = 0;
  let most = 0;
  const done: number[] = [];
  await inFlight(8, async (number) => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
    done.push(number);
  })(100);
  expect(most).toBe(8);
  expect(done.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, number) => number));
});

test("a quick run shares its time among the cases that are left", () => {
  const pace = quickPace(0, 4, 3, () => 8_000);
  expect(pace.deadline_ms).toBe(8_000 + 9_000);
  expect(pace.rounds * 3 * pace.slice_ms + 3 * pace.warmUp_ms).toBeLessThanOrEqual(9_000);
});

test("the table is aligned and says what the figures do not show", () => {
  const row = {
    case: "point read",
    engine: "mysql",
    baseline: "bare",
    variant: "prepared",
    rounds: 3,
    unit: "operations",
  };
  const result: BenchResult = {
    name: "demo",
    about: "A demonstration.",
    quick: false,
    machine: { cpus: 2, model: "CPU", memory_gib: 8, node: "v24.0.0", os: "Linux 6" },
    versions: { kysely: "0.29.9" },
    rounds: 3,
    rows: [
      {
        ...row,
        ratio: { median: 0.97, min: 0.9, max: 1 },
        opsPerSecond: { variant: 41_234.4, baseline: 42_000 },
      },
      {
        ...row,
        variant: "x",
        ratio: { median: 0.5, min: 0.4, max: 0.6 },
        opsPerSecond: { variant: 0.51234, baseline: 1 },
      },
    ],
    notComparable: ["One process only."],
  };
  const lines = formatTable(result).split("\n");
  const [header, first, second] = lines.slice(4, 7);
  expect(first?.indexOf("0.970")).toBe(second?.indexOf("0.500"));
  expect(header?.trimEnd().length).toBe(first?.length);
  expect(first).toContain("41,234 operations");
  expect(second).toContain("0.512 operations");
  expect(lines.at(-1)).toBe("Not comparable: One process only.");
  expect(formatSpeed(999.4)).toBe("999");
});
