/**
 * The pool of one SQLite file. SQLite knows one writer at a time, so the pool has:
 *
 * - one writer handle, behind the *gate*: a fair queue shared by everything in the process that writes to the file. A transaction holds the gate
 *   from begin to the end; a single statement takes it for its own duration;
 * - one shared reader for single reads: node:sqlite is synchronous, so such a read is over before anyone else can come;
 * - readers of their own for read transactions and streams, opened on demand and closed when idle. A cursor or transaction pins a snapshot,
 *   which on the shared reader would make every other read stale.
 *
 * A `Connection` is a claim on the pool, not a handle: it gets the writer or a reader when it begins a transaction, so that a caller who holds
 * a connection and does nothing with it stops nobody. `connectionsMax` counts these claims.
 *
 * In memory there is one handle for all, and reads wait at the gate as well.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { TesseraeError } from "../../base/errors.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type {
  AcquireOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolOptions,
  PoolStats,
  RawRow,
  Statement,
} from "../contract.ts";
import { retryBusy } from "./busy.ts";
import { chunksOf } from "./chunks.ts";
import { type ConnectionHost, type Lease, SqliteConnection } from "./connection.ts";
import { classifySqliteError, isBusy } from "./errors.ts";
import type { Handle } from "./handle.ts";
import { isRead } from "./statement-kind.ts";
import type { Store } from "./store.ts";

const CLOSE_TIMEOUT_MS = 10_000;
const CLOSE_POLL_MS = 5;

export class SqliteDatabase implements Database, ConnectionHost {
  readonly engine: Engine;
  readonly #store: Store;
  readonly #options: PoolOptions;
  readonly #slots: Semaphore;
  readonly #gate: Semaphore;
  #writer: Handle | undefined;
  #reader: Handle | undefined;
  #opening: Promise<void> | undefined;
  readonly #idleReaders: { readonly handle: Handle; readonly since: number }[] = [];
  #leasedReaders = 0;
  /** Statements that wait: for the gate, another process or the first connection. */
  #pending = 0;
  #writerLease: Lease | undefined;
  #sweepTimer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;

  constructor(engine: Engine, store: Store, options: PoolOptions) {
    this.engine = engine;
    this.#store = store;
    this.#options = options;
    this.#slots = new Semaphore(options.connectionsMax);
    this.#gate = store.gate;
  }

  get stats(): PoolStats {
    const open =
      (this.#writer === undefined ? 0 : 1) +
      (this.#reader === undefined ? 0 : 1) +
      this.#idleReaders.length +
      this.#leasedReaders;
    return { open, inUse: this.#slots.taken, waiting: this.#slots.waiting + this.#pending };
  }

  run(statement: Statement): Promise<EngineResult> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    return this.route(statement, statement.readOnly === true);
  }

  /** Runs one statement outside any transaction. The hot path is synchronous: nothing to wait for, no promise but the result's. */
  route(statement: Statement, read: boolean): Promise<EngineResult> {
    const handle =
      read && this.#reader !== undefined ? this.#reader : this.#gate.free ? this.#writer : undefined;
    if (handle !== undefined) {
      try {
        return Promise.resolve(handle.execute(statement));
      } catch (error) {
        if (!isBusy(error)) {
          this.#dropIfFatal(handle, error);
          return Promise.reject(error);
        }
      }
    }
    return this.#runSlowly(statement, read);
  }

  async #runSlowly(statement: Statement, read: boolean): Promise<EngineResult> {
    this.#pending += 1;
    try {
      await this.#ensureOpen();
      const reader = read ? this.#reader : undefined;
      if (reader !== undefined) return await this.#retry(() => reader.execute(statement));
      const lease = await this.leaseWriter();
      try {
        return await this.#retry(() => lease.handle.execute(statement));
      } finally {
        lease.end(false);
      }
    } finally {
      this.#pending -= 1;
    }
  }

  acquire(options: AcquireOptions = {}): Promise<Connection> {
    if (
      this.#writer !== undefined &&
      this.#closing === undefined &&
      options.signal?.aborted !== true &&
      this.#slots.tryTake()
    ) {
      return Promise.resolve(this.#connection(options));
    }
    return this.#acquireSlowly(options);
  }

  async #acquireSlowly(options: AcquireOptions): Promise<Connection> {
    if (this.#closing !== undefined) throw this.#closedError();
    await this.#slots.take({
      timeoutMs: this.#options.acquireTimeoutMs,
      signal: options.signal,
      onTimeout: () => this.#limitError("connection"),
    });
    try {
      await this.#ensureOpen();
    } catch (error) {
      this.#slots.give();
      throw error;
    }
    return this.#connection(options);
  }

  #connection(options: AcquireOptions): Connection {
    return new SqliteConnection(this, options.mode === "read", () => this.#slots.give());
  }

  /** The writer, with the gate. */
  async leaseWriter(): Promise<Lease> {
    await this.#gate.take({
      timeoutMs: this.#options.acquireTimeoutMs,
      onTimeout: () => this.#limitError("writer"),
    });
    try {
      await this.#ensureOpen();
    } catch (error) {
      this.#gate.give();
      throw error;
    }
    const lease = this.#writerLeaseOf(this.#writer as Handle);
    this.#writerLease = lease;
    return lease;
  }

  #writerLeaseOf(handle: Handle): Lease {
    let ended = false;
    return {
      handle,
      end: (broken) => {
        // The pool ends it when it is closed for good; its holder may notice later.
        if (ended) return;
        ended = true;
        this.#writerLease = undefined;
        if (broken && this.#writer === handle) this.#dropWriter(handle);
        this.#gate.give();
      },
    };
  }

  /** A reader of the caller's own; in memory the only handle, with the gate. */
  async leaseReader(): Promise<Lease> {
    const open = this.#store.openReader;
    if (open === undefined) return this.leaseWriter();
    await this.#ensureOpen();
    const handle =
      this.#idleReaders.pop()?.handle ?? (await this.#retry(() => open(this.#options.statementCacheEntries)));
    this.#leasedReaders += 1;
    const end = (broken: boolean) => {
      this.#leasedReaders -= 1;
      if (broken || this.#closing !== undefined || !handle.open) return handle.close();
      this.#idleReaders.push({ handle, since: performance.now() });
      this.#sweepLater();
    };
    return { handle, end };
  }

  /** Begin, for one: waits for locks of other processes. */
  retryBusy<T>(work: () => T): Promise<T> {
    return this.#retry(work);
  }

  /** Rows in chunks, outside a transaction. What writes runs as a whole: SQLite itself keeps all rows of a RETURNING in memory. */
  async *stream(
    statement: Statement,
    chunkRows: number,
    read: boolean,
  ): AsyncGenerator<RawRow[], void, undefined> {
    if (!read && !isRead(statement.sql)) {
      const { rows } = await this.route(statement, false);
      for (let start = 0; start < rows.length; start += chunkRows) yield rows.slice(start, start + chunkRows);
      return;
    }
    const lease = await this.leaseReader();
    try {
      yield* chunksOf(lease.handle, statement, chunkRows);
    } finally {
      lease.end(false);
    }
  }

  #retry<T>(work: () => T): Promise<T> {
    return retryBusy(this.#store.settings.lockTimeoutMs, work);
  }

  #ensureOpen(): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closedError());
    if (this.#writer !== undefined && (this.#reader !== undefined || this.#store.openReader === undefined))
      return Promise.resolve();
    this.#opening ??= this.#openHandles().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** The writer first: it makes the file, and the log that readers need. */
  async #openHandles(): Promise<void> {
    const { statementCacheEntries } = this.#options;
    this.#writer ??= await this.#retry(() => this.#store.openWriter(statementCacheEntries));
    const { openReader } = this.#store;
    if (openReader !== undefined) this.#reader ??= await this.#retry(() => openReader(statementCacheEntries));
  }

  /** The next use opens it again: a file that could not be read for a moment does not stay unreadable. */
  #dropIfFatal(handle: Handle, error: unknown): void {
    if (!classifySqliteError(error).fatal) return;
    if (handle === this.#writer && this.#gate.free) this.#dropWriter(handle);
    if (handle !== this.#reader) return;
    handle.close();
    this.#reader = undefined;
  }

  #dropWriter(handle: Handle): void {
    this.#store.closeWriter(handle);
    this.#writer = undefined;
  }

  /** One timer at a time, for the reader that has been idle for longest. */
  #sweepLater(): void {
    const oldest = this.#idleReaders[0];
    if (oldest === undefined || this.#sweepTimer !== undefined) return;
    const waitMs = Math.max(1, oldest.since + this.#options.idleTimeoutMs - performance.now());
    this.#sweepTimer = setTimeout(() => {
      this.#sweepTimer = undefined;
      const limit = performance.now() - this.#options.idleTimeoutMs;
      while ((this.#idleReaders[0]?.since ?? Number.POSITIVE_INFINITY) <= limit)
        this.#idleReaders.shift()?.handle.close();
      this.#sweepLater();
    }, waitMs);
    this.#sweepTimer.unref();
  }

  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing ??= this.#drainAndClose(timeoutMs);
    return this.#closing;
  }

  async #drainAndClose(timeoutMs: number): Promise<void> {
    // The caller's `#closing` is set before anything below runs.
    await nextTurn();
    this.#slots.rejectWaiters(this.#closedError());
    const deadline = performance.now() + timeoutMs;
    while (this.#slots.taken + this.#pending + this.#leasedReaders > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL_MS));
    }
    this.#closed = true;
    clearTimeout(this.#sweepTimer);
    for (const { handle } of this.#idleReaders.splice(0)) handle.close();
    this.#reader?.close();
    this.#reader = undefined;
    // The writer last: the last connection to close moves the log into the file.
    const lease = this.#writerLease;
    if (this.#writer !== undefined) this.#dropWriter(this.#writer);
    lease?.end(true);
  }

  #closedError(): TesseraeError {
    return new TesseraeError(
      "CLOSED",
      `The pool of ${this.engine.address.display} is closed; no more work is taken.`,
      { operation: "acquire" },
    );
  }

  #limitError(what: "connection" | "writer"): TesseraeError {
    const { connectionsMax, acquireTimeoutMs } = this.#options;
    const message =
      what === "connection"
        ? `All ${connectionsMax} connections to ${this.engine.address.display} were in use for ${acquireTimeoutMs} ms. Release them sooner, or raise connectionsMax.`
        : `${this.engine.address.display} had another write transaction open for ${acquireTimeoutMs} ms; SQLite writes one at a time. Keep transactions short, and do not write outside a transaction while one is open in the same request.`;
    return new TesseraeError("CONNECTION_LIMIT", message, { operation: "acquire" });
  }
}
