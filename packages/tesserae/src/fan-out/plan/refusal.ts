/** The planner's refusals: each says why there is no exact plan, and what to write instead. */
import { TesseraeError } from "../../base/errors.ts";

export const GATHER = "use fed.gather, which brings the shards' rows together and runs the rest there";

export function unsupported(problem: string, advice: string, table?: string): TesseraeError {
  return new TesseraeError("FAN_OUT_UNSUPPORTED", `${problem} ${advice}`, {
    cluster: "shards",
    operation: "fan-out",
    table,
  });
}
