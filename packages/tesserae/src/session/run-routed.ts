/**
 * Runs one statement where its key lives, following the key when it moves: a write that the guard refused waits and goes to the shard that
 * takes it, a read whose lease ended while it ran is made again.
 */
import type { QueryResult, RootOperationNode } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import { untilAborted } from "../base/until-aborted.ts";
import type { EngineResult, Statement } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { Claims } from "./claims.ts";
import type { Planned } from "./dialect-kit.ts";
import { runClaiming } from "./lookup-writer.ts";
import { type StatementPlan, toQueryResult } from "./statement-plan.ts";
import type { RoutedTarget, Target } from "./target.ts";
import type { Way } from "./way.ts";
import type { WriteWait } from "./write-wait.ts";

/** How often a read is made again whose key moved while it ran. */
export const READS_MAX = 10;

export interface Bound {
  readonly statement: Statement;
  readonly plan: StatementPlan;
  /** What it writes to columns with a lookup. */
  readonly claims?: Claims | undefined;
}

/** A session's statement, ready to run. */
export function boundFor(way: Way, { query, sql, parameters, plan }: Planned): Bound {
  const statement = plan.statement(sql, parameters);
  return plan.writesLookups ? { statement, plan, claims: claimsOf(way, query) } : { statement, plan };
}

function claimsOf({ lookups, place }: Way, query: RootOperationNode): Claims | undefined {
  if (lookups !== undefined) return lookups.claimsOf(query);
  throw new TesseraeError(
    "LOOKUP_VALUE_UNKNOWN",
    "The statement writes a column that has a lookup, and this session does not say for which key. Write it with fed.at(key).",
    place,
  );
}

export async function runRouted(
  way: Way,
  first: RoutedTarget,
  bind: (target: Target) => Bound,
  signal?: AbortSignal,
): Promise<QueryResult<never>> {
  let routed = first;
  let wait: WriteWait | undefined;
  try {
    for (let reads = 1; ; ) {
      const { target } = routed;
      const { statement, plan, claims } = bind(target);
      let result: QueryResult<never>;
      try {
        const raw =
          claims !== undefined
            ? await runAndClaim(target, statement, claims, signal)
            : signal === undefined
              ? await target.database.run(statement)
              : await runUntilAborted(target, statement, signal);
        result = toQueryResult(raw, plan);
      } catch (error) {
        if (signal?.aborted && error === signal.reason) throw error;
        const place = { ...target.place, ...way.place, sql: statement.sql };
        const failure = toEngineError(error, target.kit.dialect, place);
        if (failure.code === "GUARD_REFUSED") wait ??= way.beginWait(signal);
        if (failure.code !== "GUARD_REFUSED" || wait === undefined) throw failure;
        routed = await wait.after(routed, failure);
        continue;
      }
      const asked = asksAfterwards(way, plan, result);
      // A read may have been overtaken by a cut-over while it ran: the lease must still hold now that the rows are here.
      if (asked === "nobody" || (asked === "lease" && way.holds(routed))) return result;
      const moved =
        asked === "lease"
          ? differing(routed, await way.route())
          : await way.findMoved(routed, target.database);
      if (moved === undefined) return result;
      if (reads++ >= READS_MAX) throw staleRead(way);
      routed = moved;
    }
  } finally {
    wait?.end();
  }
}

/**
 * Who tells that a statement's result is from the right shard. A write that met rows passed the guard. One that met none passed nothing: on the shard
 * that the key has left it would leave out rows which were written at the other one, so that shard's residence is asked, whatever the consistency of reads.
 */
export function asksAfterwards(
  way: Way,
  plan: StatementPlan,
  result: QueryResult<never>,
): "nobody" | "lease" | "residence" {
  if (plan.unguarded === "always") return way.strict ? "residence" : "lease";
  if (plan.unguarded === "unknown" || result.rows.length > 0) return "nobody";
  return (result.numAffectedRows ?? 0n) === 0n ? "residence" : "nobody";
}

export function staleRead(way: Way): TesseraeError {
  return new TesseraeError(
    "READ_STALE",
    "What was read may be out of date: its key moved to another shard meanwhile. Run the transaction or the read again.",
    way.place,
  );
}

function differing(routed: RoutedTarget, now: RoutedTarget): RoutedTarget | undefined {
  return now.target === routed.target && now.epoch === routed.epoch ? undefined : now;
}

/**
 * Rejects with the signal's reason as soon as it is aborted; the statement then ends by itself, and its connection goes back after it. A plain read whose connection was
 * lost is made once again, as the pool does for those without a signal.
 */
async function runUntilAborted(
  target: Target,
  statement: Statement,
  signal: AbortSignal,
): Promise<EngineResult> {
  for (let lost = 0; ; lost++) {
    signal.throwIfAborted();
    const connection = await target.database.acquire({ signal });
    const running = connection.run(statement);
    const ended = () => connection.release();
    running.then(ended, ended);
    try {
      return await untilAborted(running, signal);
    } catch (error) {
      if (lost > 0 || signal.aborted || statement.readOnly !== true) throw error;
      if (target.kit.dialect.classify(error).code !== "CONNECTION_LOST") throw error;
    }
  }
}

/** A write whose values main has to know: in a transaction of its own. Once it runs, the signal stops it no more. */
async function runAndClaim(
  target: Target,
  statement: Statement,
  claims: Claims,
  signal: AbortSignal | undefined,
): Promise<EngineResult> {
  const connection = await target.database.acquire({ signal });
  try {
    return await runClaiming(connection, statement, () =>
      claims.claimer.claim([claims], { target, connection }),
    );
  } finally {
    connection.release();
  }
}
