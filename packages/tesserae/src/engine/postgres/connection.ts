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
import type { PostgresSession } from "./session.ts";

/** A snapshot is what PostgreSQL's repeatable read takes. */
const ISOLATION: Readonly<Record<IsolationLevel, string>> = {
  "read uncommitted": "read uncommitted",
  "read committed": "read committed",
  "repeatable read": "repeatable read",
  serializable: "serializable",
  snapshot: "repeatable read",
};

export class PostgresConnection implements Connection {
  readonly #session: PostgresSession;
  readonly #giveBack: (broken: boolean) => void;
  #released = false;
  /** A stream outside of a transaction has opened one of its own. */
  #streaming = false;

  constructor(session: PostgresSession, giveBack: (broken: boolean) => void) {
    this.#session = session;
    this.#giveBack = giveBack;
  }

  run(statement: Statement): Promise<EngineResult> {
    if (this.#released || this.#streaming) return Promise.reject(this.#unusable());
    return this.#session.run(statement);
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    if (this.#released || this.#streaming) throw this.#unusable();
    if (this.#session.inTransaction) {
      yield* this.#session.stream(statement, chunkRows);
      return;
    }
    // A portal lives in a transaction.
    await this.#session.command("begin");
    this.#streaming = true;
    let done = false;
    try {
      yield* this.#session.stream(statement, chunkRows);
      done = true;
    } finally {
      this.#streaming = false;
      // A consumer that stops early has what it wanted; an error has undone everything already.
      if (!this.#session.broken) {
        const ended = this.#session.command("commit");
        await (done ? ended : ended.catch(() => undefined));
      }
    }
  }

  async begin(options: BeginOptions = {}): Promise<void> {
    const { isolation, readOnly } = options;
    const level = isolation === undefined ? "" : ` isolation level ${ISOLATION[isolation]}`;
    await this.#command(`begin${level}${readOnly === true ? " read only" : ""}`);
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

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    this.#giveBack(broken);
  }

  #command(sql: string): Promise<string> {
    return this.#released || this.#streaming ? Promise.reject(this.#unusable()) : this.#session.command(sql);
  }

  #unusable(): TesseraeError {
    return new TesseraeError(
      "QUERY_FAILED",
      this.#released
        ? "The connection was released; it belongs to somebody else now."
        : "A stream is being read on this connection outside of a transaction. Begin one around both, or use another connection.",
    );
  }
}
