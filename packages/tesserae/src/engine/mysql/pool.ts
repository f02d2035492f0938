/**
 * The pool of one database: mysql2's, with a limit to the wait for a connection and a way out of the queue. mysql2 has no way to take a
 * caller out of its queue: a connection that comes for one who left goes back at once.
 */
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pool, PoolConnection } from "mysql2";
import { TesseraeError } from "../../base/errors.ts";
import { type HostAndPort, redactUrl } from "../address.ts";
import { connectFailure } from "../connect-failure.ts";
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
import { readOnlyError } from "../failover-errors.ts";
import { type ConnectionOwner, MysqlConnection } from "./connection.ts";
import type { Driver, DriverConfig } from "./driver.ts";
import { isConnectionLimit, LostError } from "./errors.ts";
import type { MysqlSettings } from "./options.ts";
import { greetingOf, serverTooOld } from "./server-version.ts";
import { MysqlSession } from "./session.ts";

const CLOSE_TIMEOUT_MS = 10_000;
/** A server that does not answer the farewell is left without it. */
const FAREWELL_MS = 1_000;

/** Where the pool's connections lead, and who looks after them. */
export interface MysqlServer {
  readonly settings: MysqlSettings;
  readonly host: HostAndPort;
  readonly load: () => Promise<Driver>;
  readonly watch: PoolWatch | undefined;
}

/** One of the two, once. */
type Taken = (error: unknown, session?: MysqlSession) => void;

export class MysqlDatabase implements Database, ConnectionOwner {
  readonly engine: Engine;
  readonly #settings: MysqlSettings;
  readonly #config: DriverConfig;
  readonly #load: () => Promise<Driver>;
  readonly #watch: PoolWatch | undefined;
  readonly #options: PoolOptions;
  /** Every connection that is set up, in use or not. */
  readonly #sessions = new Map<PoolConnection, MysqlSession>();
  readonly #waiters = new Set<Taken>();
  #opened: { readonly driver: Driver; readonly pool: Pool } | undefined;
  /** Connections asked of mysql2 that have not come, also for callers who left. */
  #asked = 0;
  #inUse = 0;
  #closing: Promise<void> | undefined;
  #drained: () => void = () => {};

  constructor(engine: Engine, { settings, host, load, watch }: MysqlServer, options: PoolOptions) {
    this.engine = engine;
    this.#settings = settings;
    this.#watch = watch;
    this.#config = {
      ...settings.driver(host),
      connectTimeout: options.connectTimeoutMs,
      maxPreparedStatements: options.statementCacheEntries,
    };
    this.#load = load;
    this.#options = options;
  }

  get stats(): PoolStats {
    return { open: this.#sessions.size, inUse: this.#inUse, waiting: this.#waiters.size };
  }

  run(statement: Statement): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      this.#take(undefined, (error, session) => {
        if (session === undefined) {
          reject(error);
          return;
        }
        session.start(statement, (failure, result) => {
          this.giveBack(session, false);
          if (failure === null) resolve(result as EngineResult);
          else reject(failure);
        });
      });
    });
  }

  acquire(options: AcquireOptions = {}): Promise<Connection> {
    return new Promise((resolve, reject) => {
      this.#take(options.signal, (error, session) => {
        if (session === undefined) reject(error);
        else resolve(new MysqlConnection(session, this));
      });
    });
  }

  #take(signal: AbortSignal | undefined, done: Taken): void {
    if (signal?.aborted) {
      done(signal.reason);
      return;
    }
    if (this.#closing !== undefined) {
      done(this.#closedError());
      return;
    }
    if (this.#opened === undefined) {
      this.#load().then((driver) => {
        this.#opened ??= { driver, pool: this.#createPool(driver) };
        this.#take(signal, done);
      }, done);
      return;
    }
    // Nobody waits for a connection that is free: mysql2 gives it in this turn of the event loop.
    const isFree = this.#inUse + this.#asked < this.#sessions.size;
    const timer = isFree
      ? undefined
      : setTimeout(() => settle(this.#timeoutError()), this.#options.acquireTimeoutMs);
    const leave = () => settle(signal?.reason);
    const settle: Taken = (error, session) => {
      this.#waiters.delete(settle);
      clearTimeout(timer);
      signal?.removeEventListener("abort", leave);
      done(error, session);
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#waiters.add(settle);
    this.#ask(this.#opened.pool, (error, session) => {
      if (this.#waiters.has(settle)) settle(error, session);
      else if (session !== undefined) this.giveBack(session, false);
    });
  }

  #createPool(driver: Driver): Pool {
    const { connectionsMax, idleTimeoutMs } = this.#options;
    return driver.createPool({
      ...this.#config,
      connectionLimit: connectionsMax,
      // Only with fewer than all does mysql2 look for connections that idle. A pool of one keeps its connection.
      maxIdle: Math.max(1, connectionsMax - 1),
      idleTimeout: idleTimeoutMs,
      gracefulEnd: true,
    });
  }

  /** A connection from mysql2, set up if it is new. */
  #ask(pool: Pool, done: Taken): void {
    this.#asked += 1;
    pool.getConnection((error, client) => {
      if (error !== null) this.#arrived(error, undefined, done);
      else {
        const session = this.#sessions.get(client);
        if (session !== undefined) this.#arrived(null, session, done);
        else this.#setUp(client, done);
      }
    });
  }

  #setUp(client: PoolConnection, done: Taken): void {
    const { driver } = this.#opened as { readonly driver: Driver };
    const session = new MysqlSession(client, driver);
    // Without a listener the loss of an idle connection would end the process.
    const lost = () => this.#forget(session);
    client.on("error", lost).on("end", lost);
    const ready = (error: Error | null) => {
      if (session.broken || error !== null) {
        client.destroy();
        this.#arrived(error, undefined, done);
        return;
      }
      this.#sessions.set(client, session);
      this.#arrived(null, session, done);
    };
    // Before a statement that such a server would not understand.
    const tooOld = serverTooOld(greetingOf(client), this.engine.address.display);
    if (tooOld !== undefined) {
      ready(tooOld);
      return;
    }
    session.start({ sql: this.#settings.sessionSql, parameters: [], prepare: false }, (error) => {
      if (this.#watch === undefined || session.broken || error !== null) ready(error);
      else this.#checkWritable(this.#watch, session, ready);
    });
  }

  #checkWritable({ statusSql }: PoolWatch, session: MysqlSession, done: (error: Error | null) => void): void {
    const sql = `select status.writable, @@global.server_id as server from (${statusSql}) as status`;
    session.start({ sql, parameters: [], prepare: false }, (error, result) => {
      const { writable, server } = result?.rows[0] ?? {};
      session.serverId = String(server);
      const refused = error === null && Number(writable) !== 1;
      done(refused ? readOnlyError(this.engine.address.display) : error);
    });
  }

  #arrived(error: Error | null, session: MysqlSession | undefined, done: Taken): void {
    this.#asked -= 1;
    if (session === undefined) {
      done(this.#connectError(error));
      return;
    }
    this.#inUse += 1;
    session.inUse = true;
    done(null, session);
  }

  /** ConnectionOwner. */
  giveBack(session: MysqlSession, broken: boolean): void {
    if (!session.inUse) return;
    if (broken || session.broken || !session.autocommit) {
      this.#destroy(session);
    } else if (!session.inTransaction) {
      this.#notInUse(session);
      session.client.release();
    } else {
      session.start({ sql: "rollback", parameters: [], prepare: false }, (error) =>
        this.giveBack(session, error !== null),
      );
    }
  }

  /** ConnectionOwner: on a connection of its own, outside the pool's limit, since the pool may be exhausted by those that wait for this. */
  async killStatement(session: MysqlSession): Promise<void> {
    const driver = await this.#load();
    const client = driver.createConnection(this.#config);
    client.on("error", () => undefined);
    const query = (sql: string) =>
      new Promise<unknown>((resolve, reject) => {
        client.query(sql, (error, result) => (error === null ? resolve(result) : reject(error)));
      });
    try {
      // The address may lead to another server by now, where somebody else has the connection's number.
      if (session.serverId !== undefined) {
        const [row] = (await query("select @@global.server_id as server")) as { server: unknown }[];
        if (String(row?.server) !== session.serverId)
          throw new LostError("The address leads to another server.");
      }
      await query(`kill query ${session.client.threadId}`);
    } finally {
      client.destroy();
    }
  }

  #destroy(session: MysqlSession): void {
    this.#forget(session);
    this.#notInUse(session);
    session.client.destroy();
    // mysql2 leaves a statement under way without an answer for good, unless its socket has an error.
    const { stream } = session.client as unknown as { readonly stream: Socket };
    stream.destroy(new LostError("The connection was closed while the statement ran."));
  }

  #forget(session: MysqlSession): void {
    session.broken = true;
    if (this.#sessions.delete(session.client)) this.#watch?.suspect();
  }

  #notInUse(session: MysqlSession): void {
    if (!session.inUse) return;
    session.inUse = false;
    this.#inUse -= 1;
    if (this.#inUse === 0) this.#drained();
  }

  close(timeoutMs: number = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    // `#closing` is set only when this function first waits.
    await null;
    for (const leave of [...this.#waiters]) leave(this.#closedError());
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    if (this.#inUse > 0) await Promise.race([drained, sleep(timeoutMs, undefined, { ref: false })]);
    for (const session of [...this.#sessions.values()]) if (session.inUse) this.#destroy(session);
    const pool = this.#opened?.pool;
    if (pool === undefined) return;
    const ended = new Promise<void>((resolve) => pool.end(() => resolve()));
    await Promise.race([ended, sleep(FAREWELL_MS, undefined, { ref: false })]);
    for (const session of [...this.#sessions.values()]) this.#destroy(session);
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
    if (this.#inUse < connectionsMax)
      return new TesseraeError("CONNECT_FAILED", `${display} did not answer within ${acquireTimeoutMs} ms.`);
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `No connection to ${display} came free within ${acquireTimeoutMs} ms: all ${connectionsMax} are in use. Keep transactions short, or raise connectionsMax.`,
    );
  }

  #connectError(error: Error | null): TesseraeError {
    if (error instanceof TesseraeError) return error;
    const { code: given, message = "" } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
    const text = redactUrl(message || String(given));
    return connectFailure(this.engine.address.display, text, error, isConnectionLimit(error));
  }
}
