/** What became of a write over all shards. */
import { TesseraeError } from "../../base/errors.ts";

/**
 * `done`: committed. `failed`: nothing was written there. `unknown`: the answer of the commit was lost, so that it was written or not; look, or run it again if twice is as good as once.
 */
export type WriteState = "done" | "failed" | "unknown";

export interface ShardWrite {
  readonly shard: number;
  readonly state: WriteState;
  /** 0 unless it is done. */
  readonly affectedRows: bigint;
  readonly error: TesseraeError | undefined;
}

/** Keys that changed their shard meanwhile, which were written by themselves. */
export interface MovingWrite {
  /** In words: `key 12`, `key 12 and 2 more`, `the range from 0 to 100`. */
  readonly what: string;
  readonly state: WriteState;
  readonly affectedRows: bigint;
  readonly error: TesseraeError | undefined;
}

export interface RerunOptions {
  /** Also what is `unknown`: right for a statement that does no more the second time than the first, such as `set open = false`, and not for `set hits = hits + 1`. Default false. */
  readonly unknown?: boolean;
}

export interface EverywhereWriteReport {
  /** In the order of their numbers. */
  readonly shards: readonly ShardWrite[];
  readonly moving: readonly MovingWrite[];
  /** Of all that is done. */
  readonly affectedRows: bigint;
  /** Runs again what failed, and nothing that is done; keys that have moved since are followed. Raises FAN_OUT_WRITE_FAILED as the first run does. */
  rerun(options?: RerunOptions): Promise<EverywhereWriteReport>;
}

/** FAN_OUT_WRITE_FAILED: some shards were not written. Those that were stay so. */
export class EverywhereWriteError extends TesseraeError {
  readonly report: EverywhereWriteReport;

  constructor(report: EverywhereWriteReport, federation: string) {
    const bad = [
      ...report.shards.map((each) => ({ ...each, name: `shard ${each.shard}` })),
      ...report.moving.map((each) => ({ ...each, name: each.what })),
    ].filter(({ state }) => state !== "done");
    const [first] = bad;
    const told = bad.map(({ name, state, error }) => `${name} (${state}: ${error?.code ?? "not reached"})`);
    super(
      "FAN_OUT_WRITE_FAILED",
      `The write was not made everywhere: ${told.join(", ")}. Elsewhere it is committed and stays: ${report.affectedRows} rows. error.report says what became of each shard; error.report.rerun() runs again what failed. ` +
        `The first error: ${first?.error?.message ?? "none"}`,
      {
        federation,
        shard: report.shards.find(({ state }) => state !== "done")?.shard,
        cluster: "shards",
        operation: "everywhere",
        cause: first?.error,
        // What failed may succeed; what is unknown must be decided about.
        retryable: false,
      },
    );
    this.report = report;
  }
}
