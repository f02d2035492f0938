/** The planner's refusals: each says why there is no exact plan, and what to write instead. */
import { TesseraeError } from "../../base/errors.ts";

export const GATHER = "use fed.gather, which brings the shards' rows together and runs the rest there";

const MERGED: ReadonlySet<string> = new Set(["count", "sum", "avg", "min", "max"]);

/** How an aggregate or a window is written whose call stands where the planner cannot see into it. One that is never put together is not called buildable. */
export function howToCall(name: string): string {
  return MERGED.has(name)
    ? `Build it with eb.fn.${name}(…): how it is put together from the shards' answers must be seen.`
    : `It cannot be put together from the shards' parts: ${GATHER}. Inside one key, grouped or partitioned by the distribution column, build it with eb.fn.agg("${name}", […]).`;
}

export function unsupported(problem: string, advice: string, table?: string): TesseraeError {
  return new TesseraeError("FAN_OUT_UNSUPPORTED", `${problem} ${advice}`, {
    cluster: "shards",
    operation: "fan-out",
    table,
  });
}
