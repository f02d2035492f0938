/** A connection in one caller's hands, between `acquire` and `release`. */
import { TesseraeError } from "../../base/errors.ts";
import type {
  BeginOptions,
  Connection,
  EngineResult,
  IsolationLevel,
  RawRow,
  Statement,
} from "../contract.ts";
import { quoteIdentifier } from "./ddl.ts";
import { isInterrupted, isNotPreparable } from "./errors.ts";
import { streamChunks } from "./row-stream.ts";
import type { MysqlSession } from "./session.ts";

/** A snapshot is what InnoDB's repeatable read takes. */
const ISOLATION: Readonly<Record<IsolationLevel, string>> = {
  "read uncommitted": "read uncommitted",
  "read committed": "read committed",
  "repeatable read": "repeatable read",
  serializable: "serializable",
  snapshot: "repeatable read",
};

/** A day, in seconds. */
const SLOW_READER_S = 86_400;

/** MySQL knows no limit to idling in a transaction. */
const readersLimit = (seconds: string): string =>
  `set @tesserae_session = 1 /*M!100300 , idle_readonly_transaction_timeout = ${seconds} */`;

/** What the pool does for a connection of its own. */
export interface ConnectionOwner {
  giveBack(session: MysqlSession, broken: boolean): void;
  /** Ends the statement that runs on the session, and leaves its transaction as it is. */
  killStatement(session: MysqlSession): Promise<void>;
}

export class MysqlConnection implements Connection {
  readonly #session: MysqlSession;
  readonly #owner: ConnectionOwner;
  #released = false;
  #streaming = false;
  /** The session checks no foreign keys until the transaction ends. */
  #unchecked = false;
  /** Until then its read-only transactions may idle. */
  #patient = false;

  constructor(session: MysqlSession, owner: ConnectionOwner) {
    this.#session = session;
    this.#owner = owner;
  }

  run(statement: Statement): Promise<EngineResult> {
    if (this.#released || this.#streaming) return Promise.reject(this.#unusable());
    const { lockWaitMs } = statement;
    return lockWaitMs === undefined ? this.#session.run(statement) : this.#runFor(lockWaitMs, statement);
  }

  /** `innodb_lock_wait_timeout` counts whole seconds, so the statement is stopped from another connection. Its transaction stays open. */
  async #runFor(lockWaitMs: number, statement: Statement): Promise<EngineResult> {
    let stopping: Promise<void> | undefined;
    const timer = setTimeout(() => {
      // Without a connection for it the server's own time-out counts.
      stopping = this.#owner.killStatement(this.#session).catch(() => undefined);
    }, lockWaitMs);
    try {
      return await this.#session.run(statement);
    } catch (error) {
      if (stopping === undefined || !isInterrupted(error)) throw error;
      throw new TesseraeError("LOCK_TIMEOUT", `The statement waited ${lockWaitMs} ms for a lock.`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
      if (stopping !== undefined) {
        await stopping;
        // The order may have come when the statement was over: it must not hit the next one.
        await this.#session.command("do 0").catch(() => undefined);
      }
    }
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    if (this.#released || this.#streaming) throw this.#unusable();
    this.#streaming = true;
    const kill = () => this.#owner.killStatement(this.#session);
    try {
      yield* streamChunks(this.#session, statement, Math.max(1, chunkRows), kill);
    } catch (error) {
      if (!isNotPreparable(error)) throw error;
      yield* streamChunks(this.#session, { ...statement, prepare: false }, Math.max(1, chunkRows), kill);
    } finally {
      this.#streaming = false;
    }
  }

  async begin(options: BeginOptions = {}): Promise<void> {
    const { isolation, readOnly, references, slowReader } = options;
    const characteristics = [
      ...(isolation === "snapshot" ? ["with consistent snapshot"] : []),
      ...(readOnly === true ? ["read only"] : []),
    ];
    const begin = `start transaction ${characteristics.join(", ")}`.trimEnd();
    if (references === "unchecked") {
      await this.#command("set foreign_key_checks = 0");
      this.#unchecked = true;
    }
    if (slowReader === true) {
      await this.#command(readersLimit(String(SLOW_READER_S)));
      this.#patient = true;
    }
    if (isolation !== undefined)
      await this.#command(`set transaction isolation level ${ISOLATION[isolation]}`);
    await this.#command(begin);
  }

  async commit(): Promise<void> {
    await this.#command("commit").finally(() => this.#checkAgain());
  }

  async rollback(): Promise<void> {
    await this.#command("rollback").finally(() => this.#checkAgain());
  }

  async #checkAgain(): Promise<void> {
    if (this.#unchecked) await this.#command("set foreign_key_checks = 1");
    this.#unchecked = false;
    if (this.#patient) await this.#command(readersLimit("default"));
    this.#patient = false;
  }

  async savepoint(name: string): Promise<void> {
    await this.#command(`savepoint ${quoteIdentifier(name)}`);
  }

  async rollbackToSavepoint(name: string): Promise<void> {
    await this.#command(`rollback to savepoint ${quoteIdentifier(name)}`);
  }

  async releaseSavepoint(name: string): Promise<void> {
    await this.#command(`release savepoint ${quoteIdentifier(name)}`);
  }

  async interrupt(): Promise<void> {
    if (this.#released) return;
    await this.#owner.killStatement(this.#session);
    // The order may have come when the statement was over: it must not hit the next one. It waits behind the statement itself.
    this.#session.command("do 0").catch(() => undefined);
  }

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    // A stream that nobody reads any more would block the connection for whoever comes next, and who comes next wants foreign keys checked, and a limit.
    this.#owner.giveBack(this.#session, broken || this.#streaming || this.#unchecked || this.#patient);
  }

  #command(sql: string): Promise<EngineResult> {
    return this.#released || this.#streaming ? Promise.reject(this.#unusable()) : this.#session.command(sql);
  }

  #unusable(): TesseraeError {
    return new TesseraeError(
      "QUERY_FAILED",
      this.#released
        ? "The connection was released; it belongs to somebody else now."
        : "A stream is being read on this connection, and MariaDB and MySQL answer one statement after the other. Read it to its end first, or use another connection.",
    );
  }
}
