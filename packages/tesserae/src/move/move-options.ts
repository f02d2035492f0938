/** The options of moves, checked before anything else. */
import { TesseraeError } from "../base/errors.ts";
import type { MoveOptions } from "./move-status.ts";
import { parseHours } from "./throttle.ts";

const BATCH_KEYS_MAX = 1_000;

interface Bounds {
  readonly least: number;
  readonly most?: number;
  readonly why?: string;
}

const OTHERS: ReadonlySet<string> = new Set([
  "to",
  "hours",
  "awaitReplicas",
  "waitFor",
  "onProgress",
  "signal",
]);

/** VALUE_INVALID for an option that is none, or out of its bounds. `leaseMs`: the least time of grace. */
export function checkMoveOptions(
  options: Readonly<Partial<MoveOptions>> & { readonly to?: unknown },
  operation: string,
  leaseMs: number,
): void {
  const numbers: Readonly<Record<string, Bounds>> = {
    rowsPerSecond: { least: 1 },
    graceMs: { least: leaseMs, why: ", the lease in which other processes may still read at the source" },
    pauseBudgetMs: { least: 1 },
    replicaLagMs: { least: 1 },
    parallel: { least: 1 },
    batchKeys: { least: 1, most: BATCH_KEYS_MAX },
    batchRows: { least: 1 },
  };
  const refuse = (problem: string) =>
    new TesseraeError("VALUE_INVALID", `${operation}: ${problem}.`, { operation });
  if (typeof options !== "object" || options === null)
    throw refuse("the options are missing; give at least { to: shard } where something moves");
  for (const [name, value] of Object.entries(options)) {
    const bounds = numbers[name];
    if (bounds === undefined && !OTHERS.has(name))
      throw refuse(
        `there is no option "${name}". Known are ${[...Object.keys(numbers), ...OTHERS].join(", ")}`,
      );
    if (bounds === undefined || value === undefined) continue;
    const { least, most, why = "" } = bounds;
    if (typeof value === "number" && value >= least && value <= (most ?? Number.MAX_SAFE_INTEGER)) continue;
    throw refuse(
      `${name} is ${String(value)}; give a number from ${least}${most === undefined ? "" : ` to ${most}`}${why}`,
    );
  }
  if (options.hours !== undefined) parseHours(options.hours);
  const { waitFor, awaitReplicas } = options;
  if (awaitReplicas !== undefined && typeof awaitReplicas !== "boolean")
    throw refuse(`awaitReplicas is ${String(awaitReplicas)}; give true or false`);
  if (waitFor !== undefined && waitFor !== "done" && waitFor !== "arrived")
    throw refuse(`waitFor is "${String(waitFor)}"; give "done" or "arrived"`);
}
