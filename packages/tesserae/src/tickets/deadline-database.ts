/**
 * A database whose every answer has a deadline. What a statement that comes too late has done nobody knows, so its connection is closed and not given back; a
 * connection that is still being made may come and serve the next caller. The wait for a free connection is not the server's slowness and does not count; but who still
 * queues when an answer comes too late hears of it at once, and does not wait for a server that hangs.
 */
import { TesseraeError } from "../base/errors.ts";
import { Semaphore } from "../base/semaphore.ts";
import type {
  AcquireOptions,
  BeginOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolStats,
  RawRow,
  Statement,
} from "../engine/contract.ts";

/** A timer that runs later than this was kept from it. */
const BUSY_MS = 50;

export interface DeadlineOptions {
  /** How long connecting and a statement may take together. */
  readonly timeoutMs: number;
  /** Callers at the same time; the others queue. No more than the pool has connections. */
  readonly connectionsMax: number;
  /** How long a caller queues. */
  readonly acquireTimeoutMs: number;
}

export class DeadlineDatabase implements Database {
  readonly engine: Engine;
  readonly #inner: Database;
  readonly #options: DeadlineOptions;
  readonly #permits: Semaphore;

  constructor(inner: Database, options: DeadlineOptions) {
    this.engine = inner.engine;
    this.#inner = inner;
    this.#options = options;
    this.#permits = new Semaphore(options.connectionsMax);
  }

  get stats(): PoolStats {
    return this.#inner.stats;
  }

  async run(statement: Statement): Promise<EngineResult> {
    await this.#permit();
    const deadline = this.#deadline();
    let connection: Connection | undefined;
    try {
      connection = await this.#inner.acquire({ signal: deadline.signal });
      return await deadline.limit(connection.run(statement));
    } finally {
      deadline.end();
      connection?.release(deadline.passed);
      this.#permits.give();
    }
  }

  async acquire(options: AcquireOptions = {}): Promise<Connection> {
    await this.#permit();
    const deadline = this.#deadline();
    try {
      const connection = await this.#inner.acquire({ ...options, signal: deadline.signal });
      return new DeadlineConnection(
        connection,
        () => this.#deadline(),
        () => this.#permits.give(),
      );
    } catch (error) {
      this.#permits.give();
      throw error;
    } finally {
      deadline.end();
    }
  }

  close(timeoutMs?: number): Promise<void> {
    return this.#inner.close(timeoutMs);
  }

  #deadline(): Deadline {
    const { timeoutMs } = this.#options;
    const { display } = this.engine.address;
    return new Deadline(display, timeoutMs, () =>
      this.#permits.rejectWaiters(
        new TesseraeError(
          "CONNECTION_LIMIT",
          `All connections to ${display} are in use, and it did not answer one of them within ${timeoutMs} ms.`,
        ),
      ),
    );
  }

  #permit(): Promise<void> {
    const { acquireTimeoutMs: timeoutMs, connectionsMax } = this.#options;
    return this.#permits.take({
      timeoutMs,
      onTimeout: () =>
        new TesseraeError(
          "CONNECTION_LIMIT",
          `No connection to ${this.engine.address.display} came free within ${timeoutMs} ms: all ${connectionsMax} are in use.`,
        ),
    });
  }
}

/**
 * One wait for one answer. Timers run before sockets are read: after a moment in which the process was busy with something else the answer may be there already. So the
 * sockets have their turn first, and a wait that could not even be looked after in time begins once more.
 */
class Deadline {
  readonly #controller = new AbortController();
  readonly #timeoutMs: number;
  readonly #fail: () => void;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  #isLast = false;
  #ended = false;

  constructor(address: string, timeoutMs: number, onPassed: () => void) {
    this.#timeoutMs = timeoutMs;
    this.#fail = () => {
      const late = new TesseraeError("CONNECTION_LOST", `${address} did not answer within ${timeoutMs} ms.`);
      this.#controller.abort(late);
      onPassed();
    };
    this.#start();
  }

  #start(): void {
    this.#dueAt = performance.now() + this.#timeoutMs;
    this.#timer = setTimeout(() => {
      const wasBusy = performance.now() - this.#dueAt > BUSY_MS;
      setImmediate(() => {
        if (this.#ended) return;
        if (!wasBusy || this.#isLast) {
          this.#fail();
          return;
        }
        this.#isLast = true;
        this.#start();
      });
    }, this.#timeoutMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get passed(): boolean {
    return this.#controller.signal.aborted;
  }

  limit<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { signal } = this.#controller;
      const tooLate = () => reject(signal.reason);
      signal.addEventListener("abort", tooLate, { once: true });
      answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", tooLate));
    });
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }
}

/** Each statement has the deadline. After one that came too late the connection is good for nothing but being closed. */
class DeadlineConnection implements Connection {
  readonly #inner: Connection;
  readonly #deadline: () => Deadline;
  readonly #released: () => void;
  #late: TesseraeError | undefined;
  #isReleased = false;

  constructor(inner: Connection, deadline: () => Deadline, released: () => void) {
    this.#inner = inner;
    this.#deadline = deadline;
    this.#released = released;
  }

  run(statement: Statement): Promise<EngineResult> {
    return this.#limit(() => this.#inner.run(statement));
  }

  stream(statement: Statement, chunkRows: number): AsyncIterable<RawRow[]> {
    return this.#inner.stream(statement, chunkRows);
  }

  begin(options?: BeginOptions): Promise<void> {
    return this.#limit(() => this.#inner.begin(options));
  }

  commit(): Promise<void> {
    return this.#limit(() => this.#inner.commit());
  }

  rollback(): Promise<void> {
    return this.#limit(() => this.#inner.rollback());
  }

  savepoint(name: string): Promise<void> {
    return this.#limit(() => this.#inner.savepoint(name));
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#limit(() => this.#inner.rollbackToSavepoint(name));
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#limit(() => this.#inner.releaseSavepoint(name));
  }

  release(broken = false): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#inner.release(broken || this.#late !== undefined);
    this.#released();
  }

  async #limit<T>(work: () => Promise<T>): Promise<T> {
    if (this.#late !== undefined) throw this.#late;
    const deadline = this.#deadline();
    try {
      return await deadline.limit(work());
    } catch (error) {
      if (deadline.passed) this.#late = error as TesseraeError;
      throw error;
    } finally {
      deadline.end();
    }
  }
}
