/**
 * The bench harness. A bench is a file in `benches/` whose default export is `defineBench({ … })`; its name is the file's.
 *
 * `npm run bench -- NAME` measures and writes `results/NAME.json`; `--quick` ends within a minute and writes nothing, `--json` prints the result as JSON.
 */
import { type BenchContext, BenchRun } from "./context.ts";
import { type Case, measureCase, type Row } from "./measure.ts";
import { type BenchResult, describeMachine, type Figure, packageVersions } from "./report.ts";

export type { BenchContext, DatabaseOptions } from "./context.ts";
export { type Case, inFlight, type Run } from "./measure.ts";
export type { Figure } from "./report.ts";

export interface Bench {
  readonly name: string;
  /** One sentence: what is measured against what. */
  readonly about: string;
  /** What the figures do not show, in sentences. */
  readonly notComparable: readonly string[];
  /** Rounds of a full run, where the usual fifteen would take too long. */
  readonly rounds?: number;
  /** Fills the databases and returns the cases. What it opened is closed by `context.onEnd`. */
  setup(context: BenchContext): Promise<{
    readonly cases: readonly Case[];
    /** What this run found on this machine, in sentences: who was left out and why, settings. */
    readonly remarks?: readonly string[];
    /** Measured when all cases have run: what is no ratio. */
    figures?(): Promise<Figure[]>;
  }>;
}

export function defineBench(bench: Bench): Bench {
  return bench;
}

const FULL = { rounds: 15, slice_ms: 500, warmUp_ms: 1000 };
const QUICK_ROUNDS = 5;

/** A quick run's time, with room for stopping the servers before the minute is over. */
const QUICK_LIMIT_MS = 48_000;

export interface BenchOptions {
  readonly quick?: boolean;
  readonly say?: (line: string) => void;
}

export async function runBench(bench: Bench, options: BenchOptions = {}): Promise<BenchResult> {
  const start = performance.now();
  const quick = options.quick ?? false;
  const rounds = bench.rounds ?? FULL.rounds;
  const run = new BenchRun(quick, options.say ?? (() => {}));
  try {
    const { cases, figures, remarks } = await bench.setup(run);
    const rows: Row[] = [];
    for (const [index, item] of cases.entries()) {
      const pace = quick
        ? quickPace(start, cases.length - index, Object.keys(item.variants).length)
        : { ...fullPace(), rounds };
      if (quick && performance.now() - start >= QUICK_LIMIT_MS) {
        run.say(`No time left for: ${item.case} (${item.engine})`);
        continue;
      }
      run.say(`${index + 1}/${cases.length} ${item.case} (${item.engine})`);
      rows.push(...(await measureCase(item, pace)));
    }
    const measured = await figures?.();
    return {
      name: bench.name,
      about: bench.about,
      quick,
      machine: describeMachine(),
      versions: { ...packageVersions(), ...run.engines },
      rounds: quick ? QUICK_ROUNDS : rounds,
      rows,
      ...(measured === undefined ? {} : { figures: measured }),
      ...(remarks === undefined ? {} : { remarks }),
      notComparable: bench.notComparable,
    };
  } finally {
    await run.end();
  }
}

const now = () => performance.now();

function fullPace() {
  return { ...FULL, deadline_ms: Number.POSITIVE_INFINITY, now };
}

/** Shares what is left of the minute among the cases that are left: a fifth to warm up, the rest to the rounds. */
export function quickPace(start_ms: number, casesLeft: number, variants: number, time: () => number = now) {
  const share_ms = Math.max(0, start_ms + QUICK_LIMIT_MS - time()) / casesLeft;
  return {
    rounds: QUICK_ROUNDS,
    slice_ms: Math.min(FULL.slice_ms, (share_ms * 0.7) / (QUICK_ROUNDS * variants)),
    warmUp_ms: Math.min(FULL.warmUp_ms, (share_ms * 0.2) / variants),
    deadline_ms: time() + share_ms * 0.9,
    now: time,
  };
}
