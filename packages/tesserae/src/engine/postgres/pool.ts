/**
 * One database behind `pg`'s pool. What is added to it: callers may leave the queue, an exhausted pool is told from a server that cannot be
 * reached, closing waits for what is in use, and no lost connection is an uncaught error or keeps its place in the pool.
 *
 * `#waiting` holds who asked the pool and has no answer yet, each by its `reject`; `#held` the connections that somebody uses.
 */
import type { ClientConfig, Pool, PoolClient } from "pg";
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
import { readerOf } from "./codecs.ts";
import { PostgresConnection } from "./connection.ts";
import { loadDriver } from "./driver.ts";
import { isServerError } from "./errors.ts";
import type { DriverConfig } from "./options.ts";
import { engineResult, PostgresSession } from "./session.ts";

const CLOSE_TIMEOUT_MS = 10_000;
/** How soon a connection that the server had no room for is asked for again. */
const RETRY_MS = 50;
const ROLLBACK: Statement = { sql: "rollback", parameters: [] };

type Reject = (error: unknown) => void;

export class PostgresDatabase implements Database {
  readonly engine: Engine;
  readonly #config: ClientConfig;
  readonly #options: PoolOptions;
  readonly #sessions = new Map<PoolClient, PostgresSession>();
  readonly #held = new Set<PostgresSession>();
  readonly #waiting = new Set<Reject>();
  #pool: Pool | undefined;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, config: DriverConfig, options: PoolOptions) {
    this.engine = engine;
    this.#config = {
      ...config,
      connectionTimeoutMillis: options.connectTimeoutMs,
      types: { getTypeParser: readerOf as never },
    };
    this.#options = options;
  }

  get stats(): PoolStats {
    const inUse = this.#held.size;
    return { open: inUse + (this.#pool?.idleCount ?? 0), inUse, waiting: this.#waiting.size };
  }

  run(statement: Statement): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      this.#take((session) => {
        session.execute(statement, (error, result) => {
          this.giveBack(session);
          if (error === undefined) resolve(engineResult(result));
          else reject(error);
        });
      }, reject);
    });
  }

  acquire({ signal }: AcquireOptions = {}): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const leave = () => {
        if (this.#waiting.delete(refuse)) reject(signal?.reason);
      };
      const refuse = (error: unknown) => {
        signal?.removeEventListener("abort", leave);
        reject(error);
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#take((session) => {
        signal?.removeEventListener("abort", leave);
        resolve(new PostgresConnection(session, this));
      }, refuse);
    });
  }

  #take(given: (session: PostgresSession) => void, reject: Reject): void {
    if (this.#closing !== undefined) {
      reject(this.#closedError());
      return;
    }
    this.#waiting.add(reject);
    if (this.#pool !== undefined) this.#connect(this.#pool, given, reject);
    else
      this.#openPool().then(
        (pool) => this.#waiting.has(reject) && this.#connect(pool, given, reject),
        (error: unknown) => this.#waiting.delete(reject) && reject(error),
      );
  }

  #connect(pool: Pool, given: (session: PostgresSession) => void, reject: Reject, until?: number): void {
    pool.connect((error, client, done) => {
      // Who has left the queue meanwhile has been answered.
      if (!this.#waiting.has(reject)) {
        done();
      } else if (client !== undefined) {
        this.#waiting.delete(reject);
        const session = this.#sessions.get(client) as PostgresSession;
        this.#held.add(session);
        given(session);
      } else {
        this.#connectFailed(error as Error, pool, given, reject, until);
      }
    });
  }

  #connectFailed(
    error: Error,
    pool: Pool,
    given: (session: PostgresSession) => void,
    reject: Reject,
    until = performance.now() + this.#options.acquireTimeoutMs,
  ): void {
    // The server has no connection left for us, but we have some: one of them comes free.
    if (isLimit(error) && this.stats.open > 0 && performance.now() < until) {
      setTimeout(() => this.#waiting.has(reject) && this.#connect(pool, given, reject, until), RETRY_MS);
      return;
    }
    this.#waiting.delete(reject);
    reject(this.#connectError(error, pool));
  }

  async #openPool(): Promise<Pool> {
    const driver = await loadDriver(() => import("pg"), "pg");
    this.#pool ??= this.#makePool(driver);
    return this.#pool;
  }

  #makePool(pg: Pick<typeof import("pg"), "Client" | "Pool">): Pool {
    const config = this.#config;
    const { connectionsMax, acquireTimeoutMs, idleTimeoutMs, statementCacheEntries } = this.#options;
    const pool = new pg.Pool({
      max: connectionsMax,
      connectionTimeoutMillis: acquireTimeoutMs,
      idleTimeoutMillis: idleTimeoutMs,
      // The pool would make the wait for a connection the limit of connecting, too.
      Client: class extends pg.Client {
        constructor() {
          super(config);
        }
      },
    });
    // Without listeners the loss of a connection would end the process.
    pool.on("error", () => undefined);
    pool.on("connect", (client) => {
      const session = new PostgresSession(client, statementCacheEntries);
      this.#sessions.set(client, session);
      client.on("error", () => {
        session.broken = true;
        this.#release(session, true);
      });
      client.once("end", () => this.#sessions.delete(client));
    });
    return pool;
  }

  /** Back to the pool, without an open transaction. Idempotent. */
  giveBack(session: PostgresSession, broken = false): void {
    if (broken || session.wornOut) this.#release(session, true);
    else if (!session.inTransaction) this.#release(session, false);
    else session.execute(ROLLBACK, (error) => this.#release(session, error !== undefined));
  }

  #release(session: PostgresSession, destroy: boolean): void {
    if (!this.#held.delete(session)) return;
    if (destroy) session.broken = true;
    session.client.release(destroy);
  }

  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    for (const reject of this.#waiting) reject(this.#closedError());
    this.#waiting.clear();
    if (this.#pool === undefined) return;
    const sockets = [...this.#sessions.values()].map((session) => session.ended);
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.all([this.#pool.end(), ...sockets]), timeout]);
    clearTimeout(timer);
    for (const session of this.#held) this.#release(session, true);
  }

  #closedError(): TesseraeError {
    return new TesseraeError(
      "CLOSED",
      `The pool of ${this.engine.address.display} is closed; no more work is taken.`,
    );
  }

  #connectError(error: Error, pool: Pool): TesseraeError {
    const { acquireTimeoutMs, connectionsMax } = this.#options;
    const { display } = this.engine.address;
    // Where the pool counts more connections than there are, it still waits for the server.
    const connecting = pool.totalCount > this.#held.size + pool.idleCount;
    if (error.message === "timeout exceeded when trying to connect" && !connecting)
      return new TesseraeError(
        "CONNECTION_LIMIT",
        `No connection to ${display} came free within ${acquireTimeoutMs} ms: all ${connectionsMax} are in use. Keep transactions short, or raise connectionsMax.`,
      );
    const text = error.message || String((error as NodeJS.ErrnoException).code);
    return new TesseraeError(
      isLimit(error) ? "CONNECTION_LIMIT" : "CONNECT_FAILED",
      `Could not connect to ${display}: ${text}`,
      { operation: "connect", cause: error },
    );
  }
}

/** The server, the database or the role has as many connections as it may have. */
function isLimit(error: Error): boolean {
  return isServerError(error) && error.code === "53300";
}
