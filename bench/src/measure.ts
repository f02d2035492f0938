/**
 * Measuring one case. Machines drift, so variants are never compared across time: in each round every variant runs once, in rotated order, and the ratio to
 * the baseline is taken within the round. What is reported is the median of the rounds' ratios, with the least and the greatest.
 */
import { median, rotated, type Spread, spread, throughput } from "./statistics.ts";

/**
 * Runs so many operations, as many at once as its case says, and resolves when all are done. A run that times a part of itself, such as one step of
 * several, gives that time; otherwise the whole of it counts.
 */
export type Run = (operations: number) => Promise<void | { readonly elapsed_ms: number }>;

export interface Case {
  /** What is measured, such as `point read, 32 in flight`. */
  readonly case: string;
  readonly engine: string;
  /** The variant that the others are compared with. */
  readonly baseline: string;
  readonly variants: Readonly<Record<string, Run>>;
  /** Work before each slice that is not measured, such as emptying a table. */
  readonly beforeEach?: (variant: string) => Promise<void>;
  /** Operations in a slice, where the harness must not choose (it takes as many as fill the slice's time). */
  readonly operations?: number;
  /** Each variant takes as many operations as fill its own slice, and not as many as the baseline takes: for variants that are many times slower. */
  readonly ownPace?: boolean;
  /** What one operation counts for: 100 for an insert of 100 rows. 1 unless said. */
  readonly weight?: number;
  /** What is counted, in the plural. `operations` unless said. */
  readonly unit?: string;
}

export interface Row {
  readonly case: string;
  readonly engine: string;
  readonly baseline: string;
  readonly variant: string;
  readonly rounds: number;
  /** Throughput of the variant over the baseline's, round by round. */
  readonly ratio: Spread;
  /** Medians over the rounds. */
  readonly opsPerSecond: { readonly variant: number; readonly baseline: number };
  readonly unit: string;
}

export interface Pace {
  readonly rounds: number;
  /** How long one variant runs in one round. */
  readonly slice_ms: number;
  readonly warmUp_ms: number;
  /** No further round begins after this time (of `now`). */
  readonly deadline_ms: number;
  readonly now: () => number;
}

export async function measureCase(item: Case, pace: Pace): Promise<Row[]> {
  const names = Object.keys(item.variants);
  if (!names.includes(item.baseline))
    throw new Error(`The case "${item.case}" has no variant "${item.baseline}" as a baseline.`);
  const operations = await chooseOperations(item, pace);
  const rounds: Record<string, number>[] = [];
  for (let round = 0; round < pace.rounds; round += 1) {
    // One round at least: a result without figures is none.
    if (round > 0 && pace.now() >= pace.deadline_ms) break;
    const speeds: Record<string, number> = {};
    for (const name of rotated(names, round)) {
      const count = operations[name] as number;
      speeds[name] = throughput(count * (item.weight ?? 1), await timeSlice(item, name, count, pace));
    }
    rounds.push(speeds);
  }
  return names.filter((name) => name !== item.baseline).map((name) => summarize(item, name, rounds));
}

async function timeSlice(item: Case, name: string, operations: number, { now }: Pace): Promise<number> {
  await item.beforeEach?.(name);
  // Where it is allowed (`--expose-gc`), nobody pays for another one's garbage.
  globalThis.gc?.();
  const start = now();
  const timed = await (item.variants[name] as Run)(operations);
  return timed?.elapsed_ms ?? now() - start;
}

/** Warms every variant up, then takes as many operations as the baseline, or the variant itself, does in one slice. */
async function chooseOperations(item: Case, pace: Pace): Promise<Record<string, number>> {
  const names = Object.keys(item.variants);
  const forAll = (count: number) => Object.fromEntries(names.map((name) => [name, count]));
  if (item.operations !== undefined) return forAll(item.operations);
  const chosen: Record<string, number> = {};
  for (const name of names) chosen[name] = await warmUp(item, name, pace);
  return item.ownPace ? chosen : forAll(chosen[item.baseline] as number);
}

/** Gives the operations of one slice. */
async function warmUp(item: Case, name: string, pace: Pace): Promise<number> {
  let operations = 1;
  let total_ms = 0;
  for (;;) {
    const elapsed_ms = await timeSlice(item, name, operations, pace);
    total_ms += elapsed_ms;
    if (total_ms >= pace.warmUp_ms)
      return Math.max(1, Math.round((operations * pace.slice_ms) / Math.max(elapsed_ms, 1e-3)));
    const left = (pace.warmUp_ms - total_ms) / Math.max(elapsed_ms, 1e-3);
    operations = Math.max(1, Math.ceil(operations * Math.min(4, left)));
  }
}

function summarize(item: Case, name: string, rounds: readonly Record<string, number>[]): Row {
  const speeds = (of: string) => rounds.map((round) => round[of] as number);
  const ratios = rounds.map((round) => (round[name] as number) / (round[item.baseline] as number));
  return {
    case: item.case,
    engine: item.engine,
    baseline: item.baseline,
    variant: name,
    rounds: rounds.length,
    ratio: spread(ratios),
    opsPerSecond: { variant: median(speeds(name)), baseline: median(speeds(item.baseline)) },
    unit: item.unit ?? "operations",
  };
}

/** A run that keeps so many operations in flight; the operation gets its number, from 0. */
export function inFlight(count: number, operation: (number: number) => Promise<unknown>): Run {
  return async (operations) => {
    let next = 0;
    const worker = async () => {
      while (next < operations) {
        const number = next;
        next += 1;
        await operation(number);
      }
    };
    await Promise.all(Array.from({ length: Math.min(count, operations) }, worker));
  };
}
