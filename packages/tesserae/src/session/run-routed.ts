/**
 * Runs one statement where its key lives, following the key when it moves: a write that the guard refused goes to the new shard, a read
 * whose lease ended while it ran is made again.
 */
import type { QueryResult } from "kysely";
import type { ErrorPlace } from "../base/errors.ts";
import type { Statement } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { type StatementPlan, toQueryResult } from "./statement-plan.ts";
import type { RoutedTarget, Target } from "./target.ts";

/** How often a write that the guard refused follows a changed route before the refusal is the caller's. */
const REROUTES_MAX = 5;

export interface Bound {
  readonly statement: Statement;
  readonly plan: StatementPlan;
}

export interface Way {
  readonly place: ErrorPlace;
  route(): RoutedTarget | Promise<RoutedTarget>;
  reroute(refused: RoutedTarget): Promise<RoutedTarget | undefined>;
  holds(routed: RoutedTarget): boolean;
}

export async function runRouted(
  way: Way,
  first: RoutedTarget,
  bind: (target: Target) => Bound,
): Promise<QueryResult<never>> {
  let routed = first;
  for (let reroutes = 0; ; reroutes++) {
    const { target } = routed;
    const { statement, plan } = bind(target);
    try {
      const result = toQueryResult(await target.database.run(statement), plan);
      // A read may have been overtaken by a cut-over while it ran: the lease must still hold now that the rows are here.
      if (!plan.readOnly || way.holds(routed)) return result;
      const now = await way.route();
      if (now.target === target && now.epoch === routed.epoch) return result;
      routed = now;
    } catch (error) {
      const failure = toEngineError(error, target.kit.dialect, {
        ...target.place,
        ...way.place,
        sql: statement.sql,
      });
      const next =
        failure.code === "GUARD_REFUSED" && failure.retryable && reroutes < REROUTES_MAX
          ? await way.reroute(routed)
          : undefined;
      if (next === undefined) throw failure;
      routed = next;
    }
  }
}
