/**
 * One host among those that may hold the primary, asked over a connection of its own: the pool may be exhausted by those who wait for the answer.
 *
 * That connection is older than every connection of the pool that was opened because of its answer (`FailoverDatabase`). An address that leads to another server after a promotion
 * leads newer connections there, so while the oldest one is on a server that takes writes, the address has not moved away from it, and once it is lost the pool is left, too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, Database, PoolOptions, PoolWatch } from "./contract.ts";
import { closedError, reasonOf } from "./failover-errors.ts";

/** A host that has said nothing for so long is looked past. */
const SILENT_MS = 2_000;
/** How long a connection to a server without writes is believed to lead where the address leads. */
const OUTDATED_MS = 500;
/** A connection without an answer for so long is lost. */
const LOST_MS = 10_000;

/** A server of the list. */
export interface FailoverServer {
  /** `db-1:3306` */
  readonly name: string;
  open(options: PoolOptions, watch?: PoolWatch): Database;
}

export type HostAnswer =
  | { readonly kind: "unasked" }
  | { readonly kind: "writable" }
  | { readonly kind: "readOnly" }
  | { readonly kind: "unreachable"; readonly error: unknown }
  | { readonly kind: "silent" };

const SILENT: HostAnswer = { kind: "silent" };

export class FailoverHost {
  readonly server: FailoverServer;
  /** The last answer; `silent` while one is overdue. */
  answer: HostAnswer = { kind: "unasked" };
  /** The last answer was overdue: nobody waits for the next one while another host takes writes. */
  slow = false;
  /** What is asked through. Another one tells that the address may lead elsewhere by now. */
  connection: Connection | undefined;
  #connectedAt = 0;
  readonly #statusSql: string;
  readonly #options: PoolOptions;
  #pool: Database | undefined;
  #asking: Promise<void> | undefined;
  #closed = false;

  constructor(server: FailoverServer, statusSql: string, options: PoolOptions) {
    this.server = server;
    this.#statusSql = statusSql;
    this.#options = { ...options, connectionsMax: 1, acquireTimeoutMs: options.connectTimeoutMs };
  }

  get reason(): string {
    switch (this.answer.kind) {
      case "writable":
        return "takes writes";
      case "readOnly":
        return "takes no writes";
      case "unreachable":
        return reasonOf(this.answer.error);
      default:
        return "does not answer";
    }
  }

  /** Resolves with the answer, or when it is overdue. Never rejects. */
  async ask(): Promise<void> {
    this.#closed = false;
    if (this.slow) this.answer = SILENT;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    const answered = new AbortController();
    const silence = sleep(SILENT_MS, undefined, { signal: answered.signal, ref: false }).then(
      () => {
        this.answer = SILENT;
        this.slow = true;
      },
      () => undefined,
    );
    await Promise.race([this.#asking, silence]);
    answered.abort();
  }

  /** The next question goes by a new connection. */
  forget(): void {
    this.connection?.release(true);
    this.connection = undefined;
  }

  /** Nobody takes writes: the address may have been given to another server since this one was connected to. */
  forgetOutdated(): void {
    if (this.answer.kind === "readOnly" && performance.now() - this.#connectedAt > OUTDATED_MS) this.forget();
  }

  /** May be asked again later. */
  async close(): Promise<void> {
    this.#closed = true;
    const pool = this.#pool;
    this.#pool = undefined;
    this.forget();
    await pool?.close(0);
  }

  async #ask(): Promise<void> {
    const begun = performance.now();
    const answer = await this.#answer();
    this.slow = performance.now() - begun > SILENT_MS;
    this.answer = answer;
  }

  async #answer(): Promise<HostAnswer> {
    if (this.connection !== undefined) {
      // A connection that was lost says that the server was, or the way to it; a new one says what is there now.
      const answer = await this.#askThrough(this.connection).catch(() => undefined);
      if (answer !== undefined) return answer;
      this.forget();
    }
    try {
      if (this.#closed) throw closedError(this.server.name);
      this.#pool ??= this.server.open(this.#options);
      const connection = await this.#pool.acquire();
      if (this.#closed) {
        connection.release(true);
        throw closedError(this.server.name);
      }
      this.connection = connection;
      this.#connectedAt = performance.now();
      return await this.#askThrough(connection);
    } catch (error) {
      this.forget();
      return { kind: "unreachable", error };
    }
  }

  async #askThrough(connection: Connection): Promise<HostAnswer> {
    const lost = new AbortController();
    const late = sleep(LOST_MS, undefined, { signal: lost.signal, ref: false }).then(() => {
      throw new Error(`no answer within ${LOST_MS} ms`);
    });
    try {
      const asked = connection.run({ sql: this.#statusSql, parameters: [], prepare: false, readOnly: true });
      const { rows } = await Promise.race([asked, late]);
      return { kind: Number(rows[0]?.writable) === 1 ? "writable" : "readOnly" };
    } finally {
      late.catch(() => undefined);
      lost.abort();
    }
  }
}
