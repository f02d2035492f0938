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
import { isNotPreparable } from "./errors.ts";
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

  constructor(session: MysqlSession, owner: ConnectionOwner) {
    this.#session = session;
    this.#owner = owner;
  }

  run(statement: Statement): Promise<EngineResult> {
    if (this.#released || this.#streaming) return Promise.reject(this.#unusable());
    return this.#session.run(statement);
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
    const { isolation, readOnly } = options;
    const characteristics = [
      ...(isolation === "snapshot" ? ["with consistent snapshot"] : []),
      ...(readOnly === true ? ["read only"] : []),
    ];
    const begin = `start transaction ${characteristics.join(", ")}`.trimEnd();
    if (isolation !== undefined)
      await this.#command(`set transaction isolation level ${ISOLATION[isolation]}`);
    await this.#command(begin);
  }

  async commit(): Promise<void> {
    await this.#command("commit");
  }

  async rollback(): Promise<void> {
    await this.#command("rollback");
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

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    // A stream that nobody reads any more would block the connection for whoever comes next.
    this.#owner.giveBack(this.#session, broken || this.#streaming);
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
