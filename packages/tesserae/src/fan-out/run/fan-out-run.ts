/**
 * One query over the shards, from its plan to its answer:
 *
 *     which shards ─▶ gates ─▶ ask all ─▶ first rows of each ─▶ each row seen once? ─▶ merge ─▶ answer
 *
 * An attempt is given up and made again, with nothing handed out, where keys have moved to shards that were not asked, and where a shard failed whose rows are in the answer already
 * and the answer may do without that shard. Whatever ends an attempt stops the statements of all its shards on their servers.
 */
import type { QueryId, SelectQueryNode } from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import { askedShards } from "./asked-shards.ts";
import type { FanOutContext } from "./fan-out-context.ts";
import type { FanOutSettings } from "./fan-out-options.ts";
import type { PlannedQuery } from "./planned-queries.ts";
import { PlannedStatement } from "./planned-statement.ts";
import { rowDecoder } from "./row-decoder.ts";
import { batchRowsFor, withShardColumn } from "./run-plan.ts";
import { RunStop } from "./run-stop.ts";
import { type ReaderRun, ShardReader, type ShardWork, shardFailed } from "./shard-reader.ts";
import type { AskedShard, ShardSnapshot } from "./steady-reads.ts";

/** How often the shards are asked again because keys have moved meanwhile. */
const MOVED_MAX = 10;

export type AnswerRow = Record<string, unknown>;

/** A shard whose rows are not in the answer. */
export interface MissingShard {
  readonly shard: number;
  readonly error: TesseraeError;
}

export interface FanOutQuestion {
  readonly planned: PlannedQuery;
  readonly queryId: QueryId;
  /** The session's own keys; undefined for all. */
  readonly keys: readonly KeyValue[] | undefined;
  readonly settings: FanOutSettings;
  /** The caller's, beside the session's. */
  readonly signal: AbortSignal | undefined;
}

/** Why an attempt is made again; never seen by callers. */
class Again {
  readonly fresh: boolean;

  constructor(fresh: boolean) {
    this.fresh = fresh;
  }
}

/** What it takes to start the shards of one attempt. */
interface Start {
  readonly asked: readonly AskedShard[];
  readonly batchRows: number | "all";
  readonly run: ReaderRun;
  /** Each reader that was made, for the attempt's end. */
  readonly open: ShardReader[];
  /** Passes the gates, if that has not been done. */
  readonly enter: () => Promise<void>;
}

export class FanOutRun {
  readonly #context: FanOutContext;
  readonly #question: FanOutQuestion;
  /** With the shard's column, where it is asked for. */
  readonly #plan: FanOutPlan;
  readonly #began = performance.now();
  readonly #missing = new Map<number, TesseraeError>();
  readonly #asked = new Set<number>();
  /** Those that differ from the plan's: with keys, or with what a shard does not own left out. */
  readonly #statements = new Map<SelectQueryNode, PlannedStatement>();

  constructor(context: FanOutContext, question: FanOutQuestion) {
    const { planned, settings } = question;
    const { plan } = planned;
    this.#context = context;
    this.#question = question;
    this.#plan = settings.shardColumn === undefined ? plan : withShardColumn(plan, settings.shardColumn);
  }

  /** Shards that the answer does without, in the order of their numbers. */
  get missing(): readonly MissingShard[] {
    return [...this.#missing].sort(([a], [b]) => a - b).map(([shard, error]) => ({ shard, error }));
  }

  /** Shards that were asked, in their order. */
  get shards(): readonly number[] {
    return [...this.#asked].sort((a, b) => a - b);
  }

  /** The whole answer. A shard is in it with all its rows or with none. */
  async collect(): Promise<AnswerRow[]> {
    for (let again = new Again(false), moved = 0; ; ) {
      const rows: AnswerRow[][] = [];
      try {
        for await (const batch of this.#attempt(again.fresh, () => "again")) rows.push(batch);
        return rows.length === 1 ? (rows[0] as AnswerRow[]) : rows.flat();
      } catch (error) {
        if (!(error instanceof Again)) throw error;
        again = error;
        if (again.fresh && ++moved >= MOVED_MAX) throw this.#keepsMoving();
      }
    }
  }

  /** The answer in batches of at most so many rows, before each of which it is looked whether the query is to end. Of a shard that fails in their midst some rows may have been handed out; a grouped or distinct answer ends with FAN_OUT_FAILED then. */
  async *stream(rowsMax: number): AsyncGenerator<AnswerRow[], void, undefined> {
    const isCombined = this.#plan.combine.kind !== "rows";
    for (let again = new Again(false), moved = 0; ; ) {
      let given = false;
      const lostMidway = () => (!given ? "again" : isCombined ? "fails" : "ends");
      try {
        for await (const batch of this.#attempt(again.fresh, lostMidway, rowsMax)) {
          given = true;
          yield batch;
        }
        return;
      } catch (error) {
        if (!(error instanceof Again)) throw error;
        again = error;
        if (again.fresh && ++moved >= MOVED_MAX) throw this.#keepsMoving();
      }
    }
  }

  async *#attempt(
    fresh: boolean,
    lostMidway: () => "again" | "ends" | "fails",
    rowsMax = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<AnswerRow[], void, undefined> {
    const { settings, signal } = this.#question;
    const stop = new RunStop(this.#began, settings.deadlineMs, [settings.signal, signal]);
    const open: ShardReader[] = [];
    let leave: (() => void) | undefined;
    let isLeftEarly = true;
    try {
      stop.check();
      const asked = await stop.until(this.#chooseShards(fresh));
      const batchRows = batchRowsFor(this.#plan, asked.length, settings.rowsInFlight);
      const enter = async () => {
        if (asked.length > 1) leave ??= await this.#context.gates.enter(asked, stop.signal);
      };
      if (batchRows !== "all") await enter();
      const run = this.#readerRun(stop, asked, lostMidway);
      const readers = await this.#startSteadily({ asked, batchRows, run, open, enter });
      const { groupsMax } = settings;
      for await (const batch of this.#context.combine(this.#plan, readers, { groupsMax }))
        for (const rows of inPieces(batch, rowsMax)) {
          // Whoever reads may take longer than the shards did.
          stop.check();
          yield rows;
        }
      isLeftEarly = false;
    } catch (error) {
      isLeftEarly = false;
      throw stop.stopped ? stop.reason : error;
    } finally {
      stop.over();
      const closed = Promise.all(open.map((reader) => reader.close())).finally(() => leave?.());
      // An answer, or an error, need not wait for the servers to stop.
      if (isLeftEarly) await closed;
    }
  }

  async #chooseShards(fresh: boolean): Promise<AskedShard[]> {
    const { keys, settings } = this.#question;
    const { plan } = this.#question.planned;
    const without = new Set(this.#missing.keys());
    const { replica } = settings;
    const asked = await askedShards({ context: this.#context, plan, keys, replica, fresh, without });
    for (const { shard } of asked) this.#asked.add(shard);
    return asked;
  }

  /** The readers whose rows may be merged: after their first rows it is known whether each row was seen once. */
  async #startSteadily({ asked, batchRows, run, open, enter }: Start): Promise<readonly ShardReader[]> {
    const { steady } = this.#context;
    const { keys, planned } = this.#question;
    const { stop } = run;
    // A reader of a stream may be busy with something else when the time is over.
    stop.whenStopped(() => {
      for (const reader of open) void reader.close();
    });
    const start = (work: ShardWork) => {
      const reader = new ShardReader(work, run);
      open.push(reader);
      return { reader, arrived: reader.start() };
    };
    // Where one shard has the answer, no row can be seen twice.
    if (steady === undefined || planned.plan.shards === "one")
      return asked.map((shard) => start(this.#workOf(shard, batchRows)).reader);
    const narrowed = keys !== undefined || planned.plan.keys !== undefined;
    const begun = steady.begin({ shards: asked, narrowed, signal: stop.signal });
    const answer = begun instanceof Promise ? await stop.until(begun) : begun;
    const started = answer.shards.map((shard) => start(this.#workOf(shard, batchRows)));
    await stop.until(Promise.all(started.map(({ arrived }) => arrived)));
    const giveUp = async () => {
      await Promise.all(started.map(({ reader }) => reader.close()));
      await enter();
    };
    const judging = answer.verdict(new Set(this.#missing.keys()), giveUp);
    const verdict = await stop.until(judging).catch((error: unknown) => {
      judging.then(endAll, () => undefined);
      throw error;
    });
    if (verdict === "right") return started.map(({ reader }) => reader);
    if (verdict === "elsewhere") throw new Again(true);
    return verdict.map((snapshot) => start(this.#workOf(snapshot, batchRows, snapshot)).reader);
  }

  #workOf(
    { shard, target, statement: node }: Pick<AskedShard, "shard" | "target" | "statement">,
    batchRows: number | "all",
    snapshot?: ShardSnapshot,
  ): ShardWork {
    const { kit } = target;
    const { statement, plan } = this.#statementOf(node).for(kit);
    const { columns } = this.#question.planned.plan;
    const number = this.#question.settings.shardColumn === undefined ? undefined : shard;
    const decode = rowDecoder(columns, plan, kit.dialect, number);
    return { shard, target, statement, decode, batchRows, snapshot };
  }

  #statementOf(node: SelectQueryNode): PlannedStatement {
    const { planned, queryId } = this.#question;
    if (node === planned.statement.node) return planned.statement;
    let statement = this.#statements.get(node);
    if (statement === undefined) {
      statement = new PlannedStatement(node, planned.statement.order, queryId);
      this.#statements.set(node, statement);
    }
    return statement;
  }

  #readerRun(
    stop: RunStop,
    asked: readonly AskedShard[],
    lostMidway: () => "again" | "ends" | "fails",
  ): ReaderRun {
    const { concurrency, shardDeadlineMs, onShard, partial } = this.#question.settings;
    return {
      stop,
      turns: asked.length > concurrency ? new Semaphore(concurrency) : undefined,
      shardDeadlineMs,
      tell:
        onShard === undefined
          ? undefined
          : (event) => {
              try {
                onShard(event);
              } catch (error) {
                stop.now(error);
              }
            },
      onFailed: (shard, error, used) => {
        this.#missing.set(shard, error);
        // Of a shard that is asked by several statements another one may have brought rows.
        const isAskedAgain = asked.filter((one) => one.shard === shard).length > 1;
        const means = used || isAskedAgain ? lostMidway() : "ends";
        const isLast = asked.every((one) => this.#missing.has(one.shard));
        if (!partial || isLast || means === "fails")
          stop.now(shardFailed(shard, error, !partial && error.retryable));
        else if (means === "again") stop.now(new Again(false));
        stop.check();
      },
    };
  }

  #keepsMoving(): TesseraeError {
    return new TesseraeError(
      "READ_STALE",
      `Keys of the query moved to other shards in each of ${MOVED_MAX} tries. Make the query again.`,
      { cluster: "shards", federation: this.#context.federation.name },
    );
  }
}

function* inPieces(rows: AnswerRow[], rowsMax: number): Generator<AnswerRow[], void, undefined> {
  if (rows.length <= rowsMax) yield rows;
  else for (let from = 0; from < rows.length; from += rowsMax) yield rows.slice(from, from + rowsMax);
}

/** Nobody wants the snapshots any more that were on their way. */
function endAll(verdict: "right" | "elsewhere" | readonly ShardSnapshot[]): void {
  if (typeof verdict === "string") return;
  for (const snapshot of verdict) void snapshot.end(false).catch(() => undefined);
}
