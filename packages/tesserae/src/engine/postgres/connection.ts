/** A connection in one caller's hands, between `acquire` and `release`. */
import type { PoolClient, QueryResult } from "pg";
import { TesseraeError } from "../../base/errors.ts";
import type {
  BeginOptions,
  Connection,
  EngineResult,
  IsolationLevel,
  RawRow,
  Statement,
} from "../contract.ts";
import { engineResult } from "./codecs.ts";
import { quoteIdentifier } from "./ddl.ts";
import type { PostgresSession } from "./session.ts";

/** A snapshot is what PostgreSQL's repeatable read takes. */
const ISOLATION: Readonly<Record<IsolationLevel, string>> = {
  "read uncommitted": "read uncommitted",
  "read committed": "read committed",
  "repeatable read": "repeatable read",
  serializable: "serializable",
  snapshot: "repeatable read",
};

/** What the pool does for a connection of its own. */
export interface ConnectionOwner {
  giveBack(session: PostgresSession, broken?: boolean): void;
  /** Ends the statement that runs on the session. */
  cancelStatement(session: PostgresSession): Promise<void>;
}

export class PostgresConnection implements Connection {
  readonly #session: PostgresSession;
  readonly #owner: ConnectionOwner;
  readonly #transactionSql: string | undefined;
  /** The end of the statement that was asked for last: `pg`'s own queue is deprecated. */
  #last: Promise<unknown> = Promise.resolve();
  #released = false;
  #streaming = false;

  /** `transactionSql` stands at the beginning of each transaction. */
  constructor(session: PostgresSession, owner: ConnectionOwner, transactionSql: string | undefined) {
    this.#session = session;
    this.#owner = owner;
    this.#transactionSql = transactionSql;
  }

  async run(statement: Statement): Promise<EngineResult> {
    if (statement.lockWaitMs === undefined) return engineResult(await this.#execute(statement));
    await this.#command(`set local lock_timeout = ${Math.max(1, Math.round(statement.lockWaitMs))}`);
    // After an error the transaction can only be rolled back, and the setting with it.
    const result = engineResult(await this.#execute(statement));
    await this.#command("set local lock_timeout to default");
    return result;
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    this.#checkUsable();
    this.#streaming = true;
    try {
      await this.#last;
      if (statement.streamWhole === true && !this.#session.inTransaction)
        yield* this.#session.streamWhole(statement, Math.max(1, chunkRows), () => this.interrupt());
      else yield* this.#session.stream(statement, chunkRows);
    } finally {
      this.#streaming = false;
    }
  }

  /** Gives the driver's own client to `work`, for a statement of a kind of its own (COPY); nothing else runs on the connection meanwhile. */
  async lend<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    this.#checkUsable();
    this.#streaming = true;
    try {
      await this.#last;
      return await work(this.#session.client);
    } finally {
      this.#streaming = false;
    }
  }

  async begin(options: BeginOptions = {}): Promise<void> {
    const { isolation, readOnly, references } = options;
    const level = isolation === undefined ? "" : ` isolation level ${ISOLATION[isolation]}`;
    const begin = `begin${level}${readOnly === true ? " read only" : ""}`;
    // By way of a pooler the server's connection, with its settings, is another one for each transaction.
    if (this.#transactionSql === undefined) await this.#command(begin);
    else await this.#inTurn(() => this.#session.script(`${begin}; ${this.#transactionSql}`));
    if (references !== "unchecked") return;
    try {
      await this.#command("set local session_replication_role = replica");
    } catch (error) {
      // Without the right to it the transaction has failed already.
      await this.#command("rollback");
      throw error;
    }
  }

  async commit(): Promise<void> {
    const tag = await this.#command("commit");
    // After a failed statement PostgreSQL answers a commit with a rollback, and without an error.
    if (tag === "ROLLBACK") {
      throw new TesseraeError(
        "QUERY_FAILED",
        "The transaction was rolled back instead of committed, because a statement in it had failed. Let the error of the statement end the transaction, or run the statement behind a savepoint.",
      );
    }
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

  async interrupt(): Promise<void> {
    if (!this.#released) await this.#owner.cancelStatement(this.#session);
  }

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    // A stream that nobody reads to its end holds the connection.
    this.#owner.giveBack(this.#session, broken || this.#streaming);
  }

  async #command(sql: string): Promise<string> {
    return (await this.#execute({ sql, parameters: [] })).command;
  }

  #execute(statement: Statement): Promise<QueryResult<RawRow>> {
    return this.#inTurn(() => this.#session.run(statement));
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#checkUsable();
    const result = this.#last.then(() => {
      this.#checkReleased();
      return work();
    });
    this.#last = result.catch(() => undefined);
    return result;
  }

  #checkUsable(): void {
    this.#checkReleased();
    if (this.#streaming)
      throw new TesseraeError(
        "QUERY_FAILED",
        "A stream is being read on this connection. Read it to its end first, or use another connection.",
      );
  }

  #checkReleased(): void {
    if (this.#released)
      throw new TesseraeError(
        "QUERY_FAILED",
        "The connection was released; it belongs to somebody else now.",
      );
  }
}
