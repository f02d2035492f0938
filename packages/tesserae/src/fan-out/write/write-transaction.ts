/** One shard's transaction of a write over all shards: opened, run in, and committed as far as anybody can know. */
import { createQueryId } from "kysely";
import { isTesseraeError, type TesseraeError } from "../../base/errors.ts";
import type { Connection, EngineResult, Statement } from "../../engine/contract.ts";
import { toEngineError } from "../../engine/engine-error.ts";
import type { Target } from "../../session/target.ts";
import type { WriteNode } from "./checked-write.ts";

/** The commit was sent, and its answer did not come: what it was for is written or not. */
export class CommitUnknown extends Error {
  readonly reason: TesseraeError;

  constructor(reason: TesseraeError) {
    super("the answer of a commit was lost", { cause: reason });
    this.reason = reason;
  }
}

export class WriteTransaction {
  readonly target: Target;
  readonly #connection: Connection;
  #ended = false;

  private constructor(target: Target, connection: Connection) {
    this.target = target;
    this.#connection = connection;
  }

  /** Read committed: each statement sees what is committed when it begins, and so does the guard. */
  static async open(target: Target, signal: AbortSignal | undefined): Promise<WriteTransaction> {
    if (!target.readiness.ready) await target.readiness.wait();
    let connection: Connection | undefined;
    try {
      connection = await target.database.acquire({ signal });
      await connection.begin({ isolation: "read committed" });
      return new WriteTransaction(target, connection);
    } catch (error) {
      connection?.release(true);
      if (signal?.aborted && error === signal.reason) throw error;
      throw toEngineError(error, target.kit.dialect, { ...target.place, operation: "everywhere" });
    }
  }

  async run(statement: Statement): Promise<EngineResult> {
    try {
      return await this.#connection.run(statement);
    } catch (error) {
      const { sql } = statement;
      throw toEngineError(error, this.target.kit.dialect, {
        ...this.target.place,
        sql,
        operation: "everywhere",
      });
    }
  }

  /** Rows that the statement changed. */
  async write(node: WriteNode): Promise<bigint> {
    const { sql, parameters, plan } = this.target.kit.compile(node, createQueryId());
    return (await this.run(plan.statement(sql, parameters))).affectedRows ?? 0n;
  }

  /** CommitUnknown when nobody can say. */
  async commit(): Promise<void> {
    this.#ended = true;
    try {
      await this.#connection.commit();
    } catch (error) {
      this.#connection.release(true);
      const place = { ...this.target.place, operation: "everywhere" };
      const failure = toEngineError(error, this.target.kit.dialect, place);
      // What the server says of a commit, it knows; a connection that broke says nothing.
      if (isTesseraeError(failure, "CONNECTION_LOST")) throw new CommitUnknown(failure);
      throw failure;
    }
    this.#connection.release();
  }

  /** Nothing of it stays. Does nothing after a commit. */
  async rollBack(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const broken = await this.#connection.rollback().then(
      () => false,
      () => true,
    );
    this.#connection.release(broken);
  }
}
