/** A pooled connection as Kysely's, and Kysely's driver over it: transactions and savepoints go to the engine's own calls. */
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult, TransactionSettings } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { Connection } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { Planned } from "./dialect-kit.ts";
import { RoutedQuery } from "./routed-query.ts";
import type { Bound } from "./run-routed.ts";
import { toQueryResult } from "./statement-plan.ts";
import type { Target } from "./target.ts";

export class RoutedConnection implements DatabaseConnection {
  readonly target: Target;
  readonly connection: Connection;
  /** Whose session opened it; undefined for main's. */
  readonly tenant: string | undefined;
  inTransaction = false;

  constructor(target: Target, connection: Connection, tenant: string | undefined) {
    this.target = target;
    this.connection = connection;
    this.tenant = tenant;
  }

  executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    const planned = this.#planned(compiled);
    return this.runBound({
      statement: planned.plan.statement(planned.sql, planned.parameters),
      plan: planned.plan,
    });
  }

  /** Runs a statement that was bound already: a prepared query inside an open transaction. */
  async runBound(bound: Bound): Promise<QueryResult<never>> {
    try {
      return toQueryResult(await this.connection.run(bound.statement), bound.plan);
    } catch (error) {
      throw this.#failed(error, bound.statement.sql);
    }
  }

  async *streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    const planned = this.#planned(compiled);
    try {
      for await (const rows of this.connection.stream(
        planned.plan.statement(planned.sql, planned.parameters),
        chunkSize,
      )) {
        yield { rows: planned.plan.decode(rows) as R[] };
      }
    } catch (error) {
      throw this.#failed(error, planned.sql);
    }
  }

  /** A step of the transaction itself, with its errors in the library's words. */
  async step(operation: string, run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      throw toEngineError(error, this.target.kit.dialect, { ...this.target.place, operation });
    }
  }

  /** Every executor hands over its own compiled queries; anything else has passed no session's check. */
  #planned(compiled: CompiledQuery): Planned {
    if (compiled instanceof RoutedQuery) return compiled.plannedFor(this.target.kit);
    throw new TesseraeError(
      "RAW_REFUSED",
      "A statement reached a connection past its session. Execute it on the session: fed.at(key).executeQuery(…), or fed.at(key).unfiltered() for raw SQL.",
      this.target.place,
    );
  }

  #failed(error: unknown, sql: string): TesseraeError {
    return toEngineError(error, this.target.kit.dialect, { ...this.target.place, sql });
  }
}

/** Kysely hands back the connections that the executor provided; nothing else ever reaches this driver. */
export class RoutedDriver implements Driver {
  async init(): Promise<void> {}

  acquireConnection(): Promise<DatabaseConnection> {
    throw new Error("connections come from the executor");
  }

  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    const routed = connection as RoutedConnection;
    if (routed.inTransaction) {
      throw new TesseraeError(
        "TRANSACTION_NESTED",
        "A transaction is open here already. Use its own handle, or a savepoint: startTransaction() gives savepoints.",
        routed.target.place,
      );
    }
    const options = { isolation: settings.isolationLevel, readOnly: settings.accessMode === "read only" };
    await routed.step("begin", () => routed.connection.begin(options));
    routed.inTransaction = true;
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const routed = connection as RoutedConnection;
    await routed.step("commit", () => routed.connection.commit());
    routed.inTransaction = false;
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const routed = connection as RoutedConnection;
    routed.inTransaction = false;
    // The error that led here matters more than a connection that broke meanwhile: releasing it ends the transaction all the same.
    await routed.connection.rollback().catch(() => routed.connection.release(true));
  }

  savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    return routed.step("savepoint", () => routed.connection.savepoint(name));
  }

  rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    return routed.step("rollback to savepoint", () => routed.connection.rollbackToSavepoint(name));
  }

  releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    return routed.step("release savepoint", () => routed.connection.releaseSavepoint(name));
  }

  async releaseConnection(): Promise<void> {}

  /** A session owns no connection: `fed.close()` closes the federation's. */
  async destroy(): Promise<void> {}
}
