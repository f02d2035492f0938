/**
 * One database behind `pg`'s pool. What is added to it: callers may leave the queue, an exhausted pool is told from a server that cannot be
 * reached, closing waits for what is in use, and no lost connection is an uncaught error or keeps its place in the pool.
 *
 * `#waiting` holds who asked the pool and has no answer yet, each by its `reject`; `#held` the connections that somebody uses.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, ClientConfig, Pool, PoolClient } from "pg";
import type {
  AcquireOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolOptions,
  PoolStats,
  PoolWatch,
  Statement,
} from "../contract.ts";
import { cancelStatement } from "./cancel.ts";
import { engineResult, readerOf } from "./codecs.ts";
import { type ConnectionOwner, PostgresConnection } from "./connection.ts";
import { checkDirect, checkPooled } from "./connection-check.ts";
import { loadDriver } from "./driver.ts";
import { closedError, connectError, isLimit } from "./errors.ts";
import type { DriverConfig } from "./options.ts";
import type { PoolerSettings } from "./pooler.ts";
import { PostgresSession } from "./session.ts";

const CLOSE_TIMEOUT_MS = 10_000;
/** How soon a connection that the server had no room for is asked for again. */
const RETRY_MS = 50;
const ROLLBACK: Statement = { sql: "rollback", parameters: [] };

/** What `pg`'s client is told at its start, which its declarations leave out. */
type StartedClient = new (
  config: ClientConfig,
) => Client & { getStartupConf(): Readonly<Record<string, string>> };

type Given = (session: PostgresSession) => void;
type Reject = (error: unknown) => void;

export class PostgresDatabase implements Database, ConnectionOwner {
  readonly engine: Engine;
  readonly #config: ClientConfig;
  readonly #pooler: PoolerSettings | undefined;
  readonly #options: PoolOptions;
  readonly #watch: PoolWatch | undefined;
  readonly #sessions = new Map<PoolClient, PostgresSession>();
  readonly #held = new Set<PostgresSession>();
  readonly #waiting = new Set<Reject>();
  #pool: Pool | undefined;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, config: DriverConfig, options: PoolOptions, watch?: PoolWatch) {
    this.engine = engine;
    this.#watch = watch;
    const { pooler, ...client } = config;
    this.#pooler = pooler;
    this.#config = {
      ...client,
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
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const leave = () => {
      if (this.#waiting.delete(reject)) reject(signal?.reason);
    };
    if (signal?.aborted) reject(signal.reason);
    else
      this.#take((session) => {
        resolve(new PostgresConnection(session, this, this.#pooler?.transactionSql));
      }, reject);
    if (signal === undefined) return promise;
    signal.addEventListener("abort", leave, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", leave));
  }

  #take(given: Given, reject: Reject): void {
    if (this.#closing !== undefined) {
      reject(closedError(this.engine.address.display));
      return;
    }
    this.#waiting.add(reject);
    if (this.#pool !== undefined) this.#connect(this.#pool, given, reject);
    else
      loadDriver(() => import("pg"), "pg").then(
        (driver) => {
          this.#pool ??= this.#makePool(driver);
          this.#connect(this.#pool, given, reject);
        },
        (error: unknown) => this.#waiting.delete(reject) && reject(error),
      );
  }

  #connect(pool: Pool, given: Given, reject: Reject, since = performance.now()): void {
    if (!this.#waiting.has(reject)) return;
    pool.connect((error, client, done) => {
      if (!this.#waiting.has(reject)) {
        // Who has left the queue meanwhile has been answered. `pg` gives no `done` with the end of a wait.
        if (client !== undefined) done();
      } else if (client !== undefined) {
        this.#waiting.delete(reject);
        const session = this.#sessions.get(client) as PostgresSession;
        this.#held.add(session);
        given(session);
      } else if (
        isLimit(error) &&
        this.stats.open > 0 &&
        performance.now() - since < this.#options.acquireTimeoutMs
      ) {
        // The server has no connection left for us, but we have some: one of them comes free.
        setTimeout(() => this.#connect(pool, given, reject, since), RETRY_MS);
      } else {
        this.#waiting.delete(reject);
        // Where the pool counts more connections than there are, it still waits for the server.
        const exhausted = pool.totalCount <= this.stats.open;
        reject(connectError(error as Error, exhausted, this.engine.address.display, this.#options));
      }
    });
  }

  #makePool(pg: Pick<typeof import("pg"), "Client" | "Pool">): Pool {
    const config = this.#config;
    const startup = this.#pooler?.startup;
    const { connectionsMax, acquireTimeoutMs, idleTimeoutMs } = this.#options;
    const statementCacheEntries = this.#pooler === undefined ? this.#options.statementCacheEntries : 0;
    const pool = new pg.Pool({
      max: connectionsMax,
      connectionTimeoutMillis: acquireTimeoutMs,
      idleTimeoutMillis: idleTimeoutMs,
      // The pool would make the wait for a connection the limit of connecting, too.
      Client: class extends (pg.Client as unknown as StartedClient) {
        constructor() {
          super(config);
        }

        /** What a connection begins with. `pg` has no option for parameters of the server's; that they have arrived is looked at. */
        override getStartupConf(): Readonly<Record<string, string>> {
          return { ...super.getStartupConf(), ...startup };
        }
      } as unknown as typeof pg.Client,
      verify: (client, done) => {
        this.#check(client).then(() => done(), done);
      },
    });
    // Without listeners the loss of a connection would end the process.
    pool.on("error", () => undefined);
    pool.on("connect", (client) => {
      const session = new PostgresSession(client, statementCacheEntries, () => this.#watch?.suspect());
      this.#sessions.set(client, session);
      client.on("error", () => {
        session.broken = true;
        this.#watch?.suspect();
        this.#release(session, true);
      });
      client.once("end", () => this.#sessions.delete(client));
    });
    return pool;
  }

  /** Before a new connection is used: does it go where it was said to go, and where it was needed? */
  async #check(client: PoolClient): Promise<void> {
    const { display } = this.engine.address;
    const { acquireTimeoutMs, connectTimeoutMs } = this.#options;
    const connection = { client, display, watch: this.#watch };
    if (this.#pooler !== undefined) await checkPooled({ ...connection, timeoutMs: acquireTimeoutMs });
    else if ((await checkDirect({ ...connection, timeoutMs: connectTimeoutMs })) === "other")
      this.#sessions.get(client)?.leaveNames();
  }

  /** ConnectionOwner. Back to the pool, without an open transaction. Idempotent. */
  giveBack(session: PostgresSession, broken = false): void {
    if (broken || session.wornOut) this.#release(session, true);
    else if (!session.inTransaction) this.#release(session, false);
    else session.execute(ROLLBACK, (error) => this.#release(session, error !== undefined));
  }

  /** ConnectionOwner. */
  async cancelStatement(session: PostgresSession): Promise<void> {
    // A pooler hands the order on when it likes, and by then another client may have the server's connection: this one is not used again.
    if (this.#pooler !== undefined) session.broken = true;
    const { Client } = await loadDriver(() => import("pg"), "pg");
    await cancelStatement(new Client(this.#config), session.client);
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
    for (const reject of this.#waiting) reject(closedError(this.engine.address.display));
    this.#waiting.clear();
    if (this.#pool === undefined) return;
    const sockets = [...this.#sessions.values()].map((session) => session.ended);
    const ended = Promise.all([this.#pool.end(), ...sockets]);
    await Promise.race([ended, sleep(timeoutMs, undefined, { ref: false })]);
    for (const session of this.#held) this.#release(session, true);
  }
}
