/**
 * One raw statement on every shard, and the rows of all behind one another, in the order of the shards. It knows nothing of what the statement means: an order, a limit or a sum is
 * each shard's own. All shards or none: the first that fails ends the others, and its error says which it was.
 */
import { type Kysely, RawNode } from "kysely";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { ControlStore } from "../engine/control-store.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { mayWrite } from "../session/function-calls.ts";
import { isReadOnlyRaw } from "../session/read-only.ts";
import { openSession } from "../session/sessions.ts";
import type { Target } from "../session/target.ts";
import { refuseUnknownOptions } from "./manager-options.ts";
import { readMovesMarker } from "./moves-marker.ts";
import { rawStatement, runRaw } from "./raw-sql.ts";
import { ShardBinding } from "./shard-binding.ts";

export interface QueryAllOptions {
  /** The statement may write. Without it nothing can be written: what might runs in transactions that are read only. Default false. */
  readonly write?: boolean;
  /**
   * While a tenant moves its rows may be on two shards. `refuse` (default) raises MOVE_UNDER_WAY then, also where a move began while the shards were asked; `allow` gives what the shards
   * have. A statement that writes is refused only before it is sent.
   */
  readonly whileMoving?: "refuse" | "allow";
  /** A column of this name is added to each row: the number of its shard. */
  readonly shardColumn?: string;
  /** Shards asked at the same time. Default 8. */
  readonly concurrency?: number;
  readonly signal?: AbortSignal;
}

export interface QueryAllParts {
  readonly shards: ReadonlyMap<number, Target>;
  readonly control: ControlStore;
  readonly federation: string;
}

export type Row = Record<string, unknown>;

const CONCURRENCY_DEFAULT = 8;
const OPERATION = "queryAll";

/** A text that writes as its first word says is not sent: a server that refuses a write is suspected of being a replica. The servers find out about the others. */
const WRITING =
  /^(?:\s|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/)*(?:insert|update|delete|replace|merge|truncate)\b/i;

const OPTIONS: Readonly<Record<keyof QueryAllOptions, true>> = {
  write: true,
  whileMoving: true,
  shardColumn: true,
  concurrency: true,
  signal: true,
};

export async function queryAll(
  parts: QueryAllParts,
  sql: string,
  parameters: readonly unknown[],
  options: QueryAllOptions,
): Promise<Row[]> {
  refuseUnknownOptions(options, OPTIONS, OPERATION);
  const { write = false, whileMoving = "refuse", shardColumn, signal } = options;
  if (!write && WRITING.test(sql)) throw wantsToWrite(sql);
  const concurrency = checkConcurrency(options.concurrency);
  signal?.throwIfAborted();
  const before = whileMoving === "refuse" ? await restingMarker(parts) : undefined;
  const abort = new AbortController();
  const either = signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]);
  const queue = [...parts.shards];
  const answers = new Map<number, Row[]>();
  let failure: { readonly error: unknown } | undefined;
  const work = async () => {
    for (let next = queue.shift(); next !== undefined && failure === undefined; next = queue.shift()) {
      const [shard, target] = next;
      try {
        answers.set(shard, await ask(target, { sql, parameters, write, signal: either }));
      } catch (error) {
        failure ??= { error: signal?.aborted ? signal.reason : named(error, shard, target) };
        abort.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, queue.length) }, work));
  if (failure !== undefined) throw failure.error;
  if (before !== undefined && !write) {
    const after = await restingMarker(parts);
    if (after.last !== before.last) throw underWay(parts.federation, after.last);
  }
  const rows: Row[] = [];
  for (const shard of parts.shards.keys())
    for (const row of answers.get(shard) ?? [])
      rows.push(shardColumn === undefined ? row : { ...row, [shardColumn]: shard });
  return rows;
}

interface Question {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly write: boolean;
  readonly signal: AbortSignal;
}

async function ask(target: Target, { sql, parameters, write, signal }: Question): Promise<Row[]> {
  signal.throwIfAborted();
  const session: Kysely<unknown> = openSession(new ShardBinding(target));
  const { name } = target.kit.dialect;
  const statement = rawStatement(sql, parameters, name);
  const reads = isReadOnlyRaw(RawNode.createWithSql(sql)) && !mayWrite(sql, name);
  if (write || reads) return (await runRaw(session, statement, signal)).rows;
  // What a text calls may write: the database itself is asked to let nothing be written.
  return session
    .transaction()
    .setAccessMode("read only")
    .execute(async (tx) => (await runRaw(tx, statement)).rows)
    .catch((error: unknown) => {
      // What only reads is taken by every server: it was the transaction that let nothing be written.
      throw isTesseraeError(error, "SERVER_READ_ONLY") ? wantsToWrite(sql, error) : error;
    });
}

function wantsToWrite(sql: string, cause?: TesseraeError): TesseraeError {
  return new TesseraeError(
    "FAN_OUT_READ_ONLY",
    `${OPERATION} only reads, and this statement writes. To write on every shard, give { write: true }: ${OPERATION}(sql, params, { write: true }).`,
    { operation: OPERATION, sql, cause },
  );
}

function named(error: unknown, shard: number, target: Target): TesseraeError {
  if (isTesseraeError(error, "FAN_OUT_READ_ONLY")) return error;
  const known = toEngineError(error, target.kit.dialect, { ...target.place, operation: OPERATION });
  return known.knowing(
    `It was shard ${shard} that failed, and so ${OPERATION} gives no rows of any.`,
    known.retryable,
  );
}

async function restingMarker({ control, federation }: QueryAllParts) {
  const marker = await readMovesMarker(control);
  if (marker.underWay !== undefined) throw underWay(federation, marker.underWay);
  return marker;
}

function underWay(federation: string, move: bigint): TesseraeError {
  return new TesseraeError(
    "MOVE_UNDER_WAY",
    `Tenants move (move ${move}), so that rows may be on two shards, and raw SQL cannot tell which of them count. Ask through fed.everywhere, which counts each row once; wait for the move; or take what the shards have: ${OPERATION}(sql, params, { whileMoving: "allow" }).`,
    { federation, operation: OPERATION },
  );
}

function checkConcurrency(concurrency = CONCURRENCY_DEFAULT): number {
  if (Number.isSafeInteger(concurrency) && concurrency >= 1) return concurrency;
  throw new TesseraeError(
    "VALUE_INVALID",
    `${OPERATION}: concurrency is ${concurrency}; give a whole number of 1 or more.`,
    { operation: OPERATION },
  );
}
