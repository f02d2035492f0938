/**
 * One shard's part of a run: its statement is sent, its rows come in batches, and when nobody wants more of them the statement is stopped on the server.
 *
 * The first batch is asked for at once, the others when the merge wants them, so that a slow reader makes the shards wait. Of each shard at most three batches are in memory: the one that is
 * merged, the one that came meanwhile, and what the driver reads ahead.
 *
 * A shard whose connection was lost before any of its rows came is asked once more, on another connection.
 */
import { TesseraeError } from "../../base/errors.ts";
import type { Semaphore } from "../../base/semaphore.ts";
import type { Connection, RawRow, Statement } from "../../engine/contract.ts";
import { toEngineError } from "../../engine/engine-error.ts";
import type { Target } from "../../session/target.ts";
import type { ShardEvent } from "./fan-out-options.ts";
import type { RowDecoder } from "./row-decoder.ts";
import type { RunStop } from "./run-stop.ts";

/** How long a stopped statement may take to end before its connection is closed. */
const STOP_MS = 2_000;
/** Waiting for one's turn ends with the run. */
const FOR_EVER_MS = 2 ** 31 - 1;

export type Batch = unknown[][];
type BatchResult = IteratorResult<Batch, undefined>;

const READ = { mode: "read" } as const;
const NO_MORE: BatchResult = { done: true, value: undefined };

export interface ShardWork {
  readonly shard: number;
  readonly target: Target;
  readonly statement: Statement;
  readonly decode: RowDecoder;
  /** Rows of a batch; `all` where there are so few that one answer holds them. */
  readonly batchRows: number | "all";
  /** A connection that is somebody else's, in a snapshot; without, one of the pool. */
  readonly snapshot?: { readonly connection: Connection; end(broken: boolean): Promise<void> } | undefined;
}

/** What the readers of a run have in common. */
export interface ReaderRun {
  readonly stop: RunStop;
  /** Undefined where all shards may work at once. */
  readonly turns: Semaphore | undefined;
  readonly shardDeadlineMs: number | undefined;
  readonly tell: ((event: ShardEvent) => void) | undefined;
  /** Decides what a failed shard means: raises what ends the run, or returns where the shard's rows just end. `used`: some of its rows are in the answer already. */
  onFailed(shard: number, error: TesseraeError, used: boolean): void;
}

export class ShardReader implements AsyncIterator<Batch, undefined> {
  /** For messages of the merge. */
  readonly shard: number;
  readonly #work: ShardWork;
  readonly #run: ReaderRun;
  #first: Promise<BatchResult> | undefined;
  #connection: Connection | undefined;
  #chunks: AsyncIterator<RawRow[]> | undefined;
  /** What the server was asked and has not answered. */
  #asked: Promise<unknown> | undefined;
  #over = false;
  #used = false;
  #closing: Promise<void> | undefined;
  #leftMs: number;
  #beganAt = 0;
  #rows = 0;

  constructor(work: ShardWork, run: ReaderRun) {
    this.shard = work.shard;
    this.#work = work;
    this.#run = run;
    this.#leftMs = run.shardDeadlineMs ?? Number.POSITIVE_INFINITY;
  }

  /** Asks the shard. Resolves when its first rows have come, or it has failed; never rejects. */
  start(): Promise<void> {
    this.#first = this.#expect(this.#begin());
    return this.#first.then(
      () => undefined,
      () => undefined,
    );
  }

  async next(): Promise<BatchResult> {
    const { stop } = this.#run;
    stop.check();
    const coming = this.#first ?? this.#expect(this.#more());
    this.#first = undefined;
    const result = await stop.until(coming);
    if (result.done !== true) this.#used = true;
    return result;
  }

  /** Stops the statement where it runs, and gives the connection back. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The next batch; its error is the run's, or the end of this shard. */
  #expect(batch: Promise<BatchResult>): Promise<BatchResult> {
    const coming = batch.catch((error: unknown) => this.#fail(error));
    // Nobody may be waiting for it when it fails.
    coming.catch(() => undefined);
    return coming;
  }

  #fail(error: unknown): BatchResult {
    const { shard, target, statement } = this.#work;
    const { stop, tell } = this.#run;
    const isFirst = !this.#over;
    this.#over = true;
    void this.close();
    // What comes after the end of a run comes from it.
    if (stop.stopped) throw stop.reason;
    const failure = toEngineError(error, target.kit.dialect, { ...target.place, sql: statement.sql });
    if (isFirst) tell?.({ shard, kind: "failed", rows: this.#rows, ms: this.#ms(), error: failure });
    this.#run.onFailed(shard, failure, this.#used);
    return NO_MORE;
  }

  async #begin(): Promise<BatchResult> {
    const { stop, turns } = this.#run;
    if (turns !== undefined && !turns.tryTake())
      await turns.take({
        timeoutMs: FOR_EVER_MS,
        signal: stop.signal,
        onTimeout: () => new Error("unreachable"),
      });
    try {
      for (let again = false; ; again = true) {
        try {
          return await this.#ask();
        } catch (error) {
          if (again || stop.stopped || this.#work.snapshot !== undefined) throw error;
          if (this.#work.target.kit.dialect.classify(error).code !== "CONNECTION_LOST") throw error;
          this.#giveBack(true);
        }
      }
    } finally {
      turns?.give();
    }
  }

  async #ask(): Promise<BatchResult> {
    const { shard, target, statement, batchRows, decode, snapshot } = this.#work;
    const { stop, tell } = this.#run;
    stop.check();
    if (this.#beganAt === 0) this.#beganAt = performance.now();
    if (!target.readiness.ready) await this.#inTime(target.readiness.wait());
    if (snapshot !== undefined) this.#connection = snapshot.connection;
    else
      await this.#inTime(
        this.#acquire().then((connection) => {
          this.#connection = connection;
          // It may come when the shard was given up.
          if (this.#over) this.#giveBack(false);
        }),
      );
    const connection = this.#connection as Connection;
    stop.check();
    tell?.({ shard, kind: "began" });
    if (batchRows !== "all") {
      this.#chunks = connection.stream(statement, batchRows)[Symbol.asyncIterator]();
      return this.#more();
    }
    const { rows } = await this.#inTime(this.#answer(connection.run(statement)));
    this.#giveBack(false);
    const batch = decode(rows);
    this.#tellRows(batch.length);
    this.#end();
    return { done: false, value: batch };
  }

  #acquire(): Promise<Connection> {
    const { database } = this.#work.target;
    const { open, inUse } = database.stats;
    // Where one is free nobody waits, and no signal has to be made and listened to.
    if (inUse < open) return database.acquire(READ);
    return database.acquire({ mode: "read", signal: this.#run.stop.signal });
  }

  async #more(): Promise<BatchResult> {
    if (this.#over || this.#chunks === undefined) return NO_MORE;
    const next = await this.#inTime(this.#answer(this.#chunks.next()));
    if (next.done === true) {
      this.#giveBack(false);
      this.#end();
      return NO_MORE;
    }
    const batch = this.#work.decode(next.value);
    this.#tellRows(batch.length);
    return { done: false, value: batch };
  }

  #tellRows(rows: number): void {
    this.#rows += rows;
    const { tell } = this.#run;
    if (tell !== undefined && rows > 0) tell({ shard: this.#work.shard, kind: "rows", rows, ms: this.#ms() });
  }

  #end(): void {
    this.#over = true;
    this.#run.tell?.({ shard: this.#work.shard, kind: "done", rows: this.#rows, ms: this.#ms() });
  }

  #ms(): number {
    return this.#beganAt === 0 ? 0 : performance.now() - this.#beganAt;
  }

  /** Remembers that the server works. */
  #answer<T>(work: Promise<T>): Promise<T> {
    const asked = work.finally(() => {
      if (this.#asked === asked) this.#asked = undefined;
    });
    this.#asked = asked;
    return asked;
  }

  /** The wait counts for the shard's deadline; what the reader of the rows takes does not. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    if (this.#leftMs === Number.POSITIVE_INFINITY) return work;
    const began = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(this.#late()), Math.max(0, this.#leftMs));
    });
    try {
      const result = await Promise.race([work, late]);
      // An engine inside the process keeps timers from being heard.
      if (performance.now() - began > this.#leftMs) throw this.#late();
      return result;
    } finally {
      clearTimeout(timer);
      this.#leftMs -= performance.now() - began;
      // Whoever gave up the wait does not hear its end.
      work.catch(() => undefined);
    }
  }

  #late(): TesseraeError {
    return new TesseraeError(
      "FAN_OUT_DEADLINE",
      `The shard was waited for longer than ${this.#run.shardDeadlineMs} ms. Ask for less, or raise shardDeadlineMs.`,
      this.#work.target.place,
    );
  }

  async #close(): Promise<void> {
    this.#over = true;
    const connection = this.#connection;
    if (connection === undefined) return;
    const timer = setTimeout(() => this.#giveBack(true), STOP_MS);
    timer.unref();
    try {
      if (this.#asked !== undefined) {
        const ended = this.#asked.catch(() => undefined);
        await connection.interrupt?.();
        await ended;
      }
      await this.#chunks?.return?.();
      this.#giveBack(false);
    } catch {
      this.#giveBack(true);
    } finally {
      clearTimeout(timer);
    }
  }

  #giveBack(broken: boolean): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    this.#chunks = undefined;
    const { snapshot } = this.#work;
    if (snapshot === undefined) connection.release(broken);
    else void snapshot.end(broken).catch(() => undefined);
  }
}

/** The error of a run that one shard ended. */
/** `hint`: the other shards could still give their rows, if the caller said so. */
export function shardFailed(shard: number, cause: TesseraeError, hint: boolean): TesseraeError {
  const said = /[.!?]$/.test(cause.message) ? cause.message : `${cause.message}.`;
  const instead = ` To have the other shards' rows all the same, use fed.everywhere.using({ mode: "partial" }).`;
  return new TesseraeError(
    "FAN_OUT_FAILED",
    `Shard ${shard} failed, and with it the query over the shards: ${cause.code}: ${said}${hint ? instead : ""}`,
    { cluster: "shards", shard, sql: cause.sql, retryable: cause.retryable, cause },
  );
}
