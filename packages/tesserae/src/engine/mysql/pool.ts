/**
 * The pool of one database. It is ours and not mysql2's: that one has no limit to the wait for a connection and hands no connection out without a turn
 * of the event loop; here a caller may leave the queue, and an exhausted pool can be told from a server that cannot be reached.
 *
 * Who changes what: `#sessions` holds every open connection, in use or not; `#idle` those that nobody uses, the most recently used last;
 * `#opening` counts the attempts on their way. A connection that broke leaves `#sessions` at once, wherever it is. Callers wait only while `#idle` is empty.
 */
import { TesseraeError } from "../../base/errors.ts";
import { redactUrl } from "../address.ts";
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
import { type ConnectionOwner, MysqlConnection } from "./connection.ts";
import type { Driver, DriverConfig, DriverConnection } from "./driver.ts";
import { isConnectionLimit } from "./errors.ts";
import type { MysqlSettings } from "./options.ts";
import { MysqlSession, type SessionOwner } from "./session.ts";

const CLOSE_TIMEOUT_MS = 10_000;
/** mysql2 closes the statements of a connection with it; its own cache must not be the smaller one. */
const DRIVER_CACHE_ENTRIES_MORE = 16;

interface Waiter {
  resolve(session: MysqlSession): void;
  reject(error: unknown): void;
}

export class MysqlDatabase implements Database, SessionOwner, ConnectionOwner {
  readonly engine: Engine;
  readonly #config: DriverConfig;
  readonly #sessionSql: string;
  readonly #load: () => Promise<Driver>;
  readonly #options: PoolOptions;
  readonly #sessions = new Set<MysqlSession>();
  readonly #idle: MysqlSession[] = [];
  readonly #waiters = new Set<Waiter>();
  #opening = 0;
  #sweeper: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(engine: Engine, settings: MysqlSettings, load: () => Promise<Driver>, options: PoolOptions) {
    this.engine = engine;
    this.#config = {
      ...settings.driver,
      connectTimeout: options.connectTimeoutMs,
      maxPreparedStatements: options.statementCacheEntries + DRIVER_CACHE_ENTRIES_MORE,
    };
    this.#sessionSql = settings.sessionSql;
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
    return new MysqlConnection(await this.#take(options.signal), this);
  }

  #take(signal: AbortSignal | undefined): Promise<MysqlSession> {
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
      this.#closing === undefined &&
      this.#opening < this.#waiters.size &&
      this.#sessions.size + this.#opening < this.#options.connectionsMax
    ) {
      this.#opening += 1;
      this.#open().then(
        (session) => {
          this.#opening -= 1;
          this.#sessions.add(session);
          this.#makeFree(session);
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

  async #open(): Promise<MysqlSession> {
    const driver = await this.#load();
    const client = driver.createConnection(this.#config);
    const session = new MysqlSession(client, driver, this.#options.statementCacheEntries);
    // Without a listener the loss of an idle connection would end the process.
    client.on("error", () => this.#lost(session));
    client.on("end", () => this.#lost(session));
    try {
      await connected(client);
      await session.command(this.#sessionSql);
    } catch (error) {
      client.destroy();
      throw error;
    }
    return session;
  }

  #openFailed(error: unknown): void {
    // The server has no connection left for us, but we have some: one of them comes free.
    if (isConnectionLimit(error) && this.#sessions.size > 0) return;
    const [waiter] = this.#waiters;
    if (waiter !== undefined) {
      this.#waiters.delete(waiter);
      waiter.reject(error instanceof TesseraeError ? error : this.#connectError(error));
    }
    this.#openMore();
  }

  #lost(session: MysqlSession): void {
    session.broken = true;
    if (!this.#sessions.delete(session)) return;
    const index = this.#idle.indexOf(session);
    if (index >= 0) this.#idle.splice(index, 1);
    this.#openMore();
    this.#checkDrained();
  }

  /** SessionOwner: a statement of `run` is over. */
  ended(session: MysqlSession): void {
    this.giveBack(session, false);
  }

  /** ConnectionOwner. */
  giveBack(session: MysqlSession, broken: boolean): void {
    if (broken || session.broken || !session.autocommit) {
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

  /** ConnectionOwner: on a connection of its own, outside the pool's limit, since the pool may be exhausted by those that wait for this. */
  async killStatement(session: MysqlSession): Promise<void> {
    const driver = await this.#load();
    const client = driver.createConnection(this.#config);
    client.on("error", () => undefined);
    try {
      await connected(client);
      await new Promise<void>((resolve, reject) => {
        client.query(`kill query ${session.client.threadId}`, [], (error) =>
          error === null ? resolve() : reject(error),
        );
      });
    } finally {
      client.destroy();
    }
  }

  #makeFree(session: MysqlSession): void {
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

  #destroy(session: MysqlSession): void {
    session.broken = true;
    session.client.destroy();
    this.#lost(session);
  }

  #sweepLater(): void {
    if (this.#sweeper !== undefined) return;
    this.#sweeper = setTimeout(
      () => {
        this.#sweeper = undefined;
        const limit = performance.now() - this.#options.idleTimeoutMs;
        // The least recently used ones stand first.
        while (this.#idle.length > 0 && (this.#idle[0] as MysqlSession).idleSince <= limit) {
          const [session] = this.#idle;
          this.#lost(session as MysqlSession);
          void farewell(session as MysqlSession);
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
    const farewells = this.#idle.splice(0).map((session) => {
      this.#sessions.delete(session);
      return farewell(session);
    });
    if (this.#sessions.size + this.#opening > 0) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeoutMs);
      });
      const drained = new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      await Promise.race([drained, timeout]);
      clearTimeout(timer);
    }
    for (const session of [...this.#sessions]) this.#destroy(session);
    await Promise.all(farewells);
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
    const code = isConnectionLimit(error) ? "CONNECTION_LIMIT" : "CONNECT_FAILED";
    return new TesseraeError(
      code,
      `Could not connect to ${this.engine.address.display}: ${redactUrl(text)}`,
      {
        operation: "connect",
        cause: error,
      },
    );
  }
}

function connected(client: DriverConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    client.connect((error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
}

/** Takes leave of the server, so that it does not count the connection as aborted; cut if the server does not answer. */
function farewell(session: MysqlSession): Promise<void> {
  session.broken = true;
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      session.client.destroy();
      resolve();
    }, 1_000);
    session.client.end(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
