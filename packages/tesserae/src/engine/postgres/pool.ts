/**
 * The pool of one database. It is ours and not pg-pool: a connection that is free is handed out at once, without a turn of the event loop and
 * two timers for each statement, a pool that is exhausted can be told from a server that cannot be reached, and a caller may leave the queue.
 *
 * Who changes what: `#sessions` holds every open connection, in use or not; `#idle` those that nobody uses, the most recently used last;
 * `#opening` counts the attempts on their way. A connection that broke leaves `#sessions` at once, wherever it is. Callers wait only while `#idle` is empty.
 */
import type { Client, ClientConfig } from "pg";
import { TesseraeError } from "../../base/errors.ts";
import type {
  AcquireOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolOptions,
  PoolStats,
  Statement,
} from "../contract.ts";
import { PostgresConnection } from "./connection.ts";
import { isServerError } from "./errors.ts";
import type { DriverConfig } from "./options.ts";
import { PostgresSession, type SessionOwner } from "./session.ts";

const CLOSE_TIMEOUT_MS = 10_000;

interface Waiter {
  resolve(session: PostgresSession): void;
  reject(error: unknown): void;
}

export type MakeClient = (config: ClientConfig) => Client;

export class PostgresDatabase implements Database, SessionOwner {
  readonly engine: Engine;
  readonly #config: ClientConfig;
  readonly #load: () => Promise<MakeClient>;
  readonly #options: PoolOptions;
  readonly #sessions = new Set<PostgresSession>();
  readonly #idle: PostgresSession[] = [];
  readonly #waiters = new Set<Waiter>();
  #opening = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(engine: Engine, config: DriverConfig, load: () => Promise<MakeClient>, options: PoolOptions) {
    this.engine = engine;
    this.#config = { ...config, connectionTimeoutMillis: options.connectTimeoutMs };
    this.#load = load;
    this.#options = options;
  }

  get stats(): PoolStats {
    return {
      open: this.#sessions.size,
      inUse: this.#sessions.size - this.#idle.length,
      waiting: this.#waiters.size,
    };
  }

  run(statement: Statement): Promise<EngineResult> {
    const session = this.#idle.pop();
    return session === undefined ? this.#runLater(statement) : session.run(statement, this);
  }

  async #runLater(statement: Statement): Promise<EngineResult> {
    const session = await this.#take(undefined);
    return session.run(statement, this);
  }

  async acquire(options: AcquireOptions = {}): Promise<Connection> {
    const session = await this.#take(options.signal);
    return new PostgresConnection(session, (broken) => this.#giveBack(session, broken));
  }

  #take(signal: AbortSignal | undefined): Promise<PostgresSession> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const session = this.#idle.pop();
    if (session !== undefined) return Promise.resolve(session);
    if (this.#closing !== undefined) return Promise.reject(this.#closedError());
    return new Promise((resolve, reject) => {
      const leave = (error: unknown) => {
        this.#waiters.delete(waiter);
        waiter.reject(error);
      };
      const onAbort = () => leave(signal?.reason);
      const timer = setTimeout(() => leave(this.#timeoutError()), this.#options.acquireTimeoutMs);
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        resolve: (free) => {
          settle();
          resolve(free);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#openMore();
    });
  }

  /** Opens connections while somebody waits for one that is not on its way yet. */
  #openMore(): void {
    while (
      this.#opening < this.#waiters.size &&
      this.#sessions.size + this.#opening < this.#options.connectionsMax
    ) {
      this.#opening += 1;
      this.#open().then(
        (session) => {
          this.#opening -= 1;
          if (session.broken) this.#openMore();
          else this.#makeFree(session);
          this.#checkDrained();
        },
        (error: unknown) => {
          this.#opening -= 1;
          this.#openFailed(error);
          this.#checkDrained();
        },
      );
    }
  }

  async #open(): Promise<PostgresSession> {
    const makeClient = await this.#load();
    const client = makeClient(this.#config);
    const session = new PostgresSession(client, this.#options.statementCacheEntries);
    // Without a listener the loss of an idle connection would end the process.
    client.on("error", () => this.#lost(session));
    client.on("end", () => this.#lost(session));
    await client.connect();
    if (!session.broken) this.#sessions.add(session);
    return session;
  }

  #openFailed(error: unknown): void {
    const limited = isServerError(error) && error.code === "53300";
    // The server has no connection left for us, but we have some: one of them comes free.
    if (limited && this.#sessions.size > 0) return;
    const [waiter] = this.#waiters;
    if (waiter !== undefined) {
      this.#waiters.delete(waiter);
      waiter.reject(error instanceof TesseraeError ? error : this.#connectError(error));
    }
    this.#openMore();
  }

  #lost(session: PostgresSession): void {
    session.broken = true;
    if (!this.#sessions.delete(session)) return;
    const index = this.#idle.indexOf(session);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#openMore();
    this.#checkDrained();
  }

  /** SessionOwner: a statement of `run` is over. */
  ended(session: PostgresSession): void {
    this.#giveBack(session, false);
  }

  #giveBack(session: PostgresSession, broken: boolean): void {
    if (broken || session.broken) {
      this.#destroy(session);
    } else if (!session.inTransaction) {
      this.#makeFree(session);
    } else {
      session.command("rollback").then(
        () => this.#makeFree(session),
        () => this.#destroy(session),
      );
    }
  }

  #makeFree(session: PostgresSession): void {
    if (session.broken || this.#closing !== undefined) {
      this.#destroy(session);
    } else if (this.#waiters.size > 0) {
      const [waiter] = this.#waiters;
      this.#waiters.delete(waiter as Waiter);
      waiter?.resolve(session);
    } else {
      session.idleSince = performance.now();
      this.#idle.push(session);
      this.#sweepLater();
    }
  }

  /** Closes a connection: politely when nothing runs on it, else `pg` cuts the socket. */
  #destroy(session: PostgresSession): void {
    session.broken = true;
    session.client.end().catch(() => undefined);
    this.#lost(session);
  }

  #sweepLater(): void {
    if (this.#sweeper !== undefined) return;
    this.#sweeper = setTimeout(
      () => {
        this.#sweeper = undefined;
        const limit = performance.now() - this.#options.idleTimeoutMs;
        // The least recently used ones stand first.
        while (this.#idle.length > 0 && (this.#idle[0] as PostgresSession).idleSince <= limit) {
          this.#destroy(this.#idle[0] as PostgresSession);
        }
        if (this.#idle.length > 0) this.#sweepLater();
      },
      Math.max(10, this.#options.idleTimeoutMs / 2),
    );
    this.#sweeper.unref();
  }

  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    // The callers' `#closing` is set only when this function first waits.
    await null;
    clearTimeout(this.#sweeper);
    for (const waiter of [...this.#waiters]) waiter.reject(this.#closedError());
    this.#waiters.clear();
    const ended = [...this.#idle.splice(0)].map((session) => {
      this.#sessions.delete(session);
      session.broken = true;
      return session.client.end().catch(() => undefined);
    });
    if (this.#sessions.size + this.#opening > 0) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
      });
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#drained = resolve;
        }),
        timeout,
      ]);
      clearTimeout(timer);
    }
    for (const session of [...this.#sessions]) this.#destroy(session);
    await Promise.all(ended);
  }

  #checkDrained(): void {
    if (this.#closing !== undefined && this.#sessions.size + this.#opening === 0) this.#drained?.();
  }

  #closedError(): TesseraeError {
    return new TesseraeError(
      "CLOSED",
      `The pool of ${this.engine.address.display} is closed; no more work is taken.`,
    );
  }

  #timeoutError(): TesseraeError {
    const { acquireTimeoutMs, connectionsMax } = this.#options;
    const { display } = this.engine.address;
    if (this.#sessions.size < connectionsMax && this.#opening > 0) {
      return new TesseraeError("CONNECT_FAILED", `${display} did not answer within ${acquireTimeoutMs} ms.`);
    }
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `No connection to ${display} came free within ${acquireTimeoutMs} ms: all ${connectionsMax} are in use. Keep transactions short, or raise connectionsMax.`,
    );
  }

  #connectError(error: unknown): TesseraeError {
    const text =
      error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : String(error);
    const code = isServerError(error) && error.code === "53300" ? "CONNECTION_LIMIT" : "CONNECT_FAILED";
    return new TesseraeError(code, `Could not connect to ${this.engine.address.display}: ${text}`, {
      operation: "connect",
      cause: error,
    });
  }
}
