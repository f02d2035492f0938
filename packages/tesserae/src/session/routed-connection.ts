/** A pooled connection as Kysely's, and Kysely's driver over it: transactions and savepoints go to the engine's own calls. */
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult, TransactionSettings } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { Connection, EngineResult, Statement } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { Claims } from "./claims.ts";
import type { Planned } from "./dialect-kit.ts";
import { runClaiming, wroteRows } from "./lookup-writer.ts";
import { RoutedQuery } from "./routed-query.ts";
import { asksAfterwards, type Bound, boundFor, staleRead } from "./run-routed.ts";
import { toQueryResult } from "./statement-plan.ts";
import type { RoutedTarget, Target } from "./target.ts";
import type { Way } from "./way.ts";

/** Whose statement runs on a connection: the session that opened it, or one that joined its transaction. */
export interface Traveller {
  /** The key, with its federation; undefined for main. */
  readonly tenant: string | undefined;
  readonly way: Way;
  readonly routed: RoutedTarget;
}

export class RoutedConnection implements DatabaseConnection {
  readonly target: Target;
  readonly connection: Connection;
  readonly opener: Traveller;
  inTransaction = false;
  /** Whose key must still live here at the commit, by key. */
  #atCommit: Map<string | undefined, Traveller> | undefined;
  /** Keys, each at an epoch, whose rows are known to be here: where this is a replica. */
  readonly #admitted = new Set<string>();
  /** What the transaction wrote to columns with a lookup. */
  #claims: Claims[] = [];
  #savepoints: { readonly name: string; readonly claims: number }[] = [];
  /** Errors raised here, before any commit, because a key had moved or was about to. */
  #overtaken: Set<unknown> | undefined;

  constructor(connection: Connection, opener: Traveller) {
    this.target = opener.routed.target;
    this.connection = connection;
    this.opener = opener;
  }

  /** Whose session opened it; undefined for main's. */
  get tenant(): string | undefined {
    return this.opener.tenant;
  }

  /** Whether the error was raised here because a key had moved or was about to, and nothing was committed. */
  wasOvertaken(error: unknown): boolean {
    return this.#overtaken?.has(error) === true;
  }

  executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    return this.executeFor(this.opener, compiled);
  }

  executeFor<R>(traveller: Traveller, compiled: CompiledQuery): Promise<QueryResult<R>> {
    return this.runBound(traveller, boundFor(traveller.way, this.#planned(compiled)));
  }

  /** Runs a statement that was bound already: a prepared query inside an open transaction. */
  async runBound(traveller: Traveller, { statement, plan, claims }: Bound): Promise<QueryResult<never>> {
    let result: QueryResult<never>;
    try {
      const raw = await (claims === undefined
        ? this.connection.run(statement)
        : this.#runClaiming(statement, claims));
      result = toQueryResult(raw, plan);
    } catch (error) {
      throw this.#failed(error, statement.sql);
    }
    if (asksAfterwards(traveller.way, plan, result) === "residence") {
      if (this.inTransaction) this.askAtCommit(traveller);
      else await this.#refuseMoved(traveller);
    }
    return result;
  }

  /** Main has to know what a transaction wrote before it commits, and a statement outside of any has one of its own. */
  async #runClaiming(statement: Statement, claims: Claims): Promise<EngineResult> {
    if (!this.inTransaction)
      return runClaiming(this.connection, statement, () => claims.claimer.claim([claims], this));
    const result = await this.connection.run(statement);
    if (wroteRows(result)) this.#claims.push(claims);
    return result;
  }

  /** Claims what the transaction wrote and did not take back, also for keys of other federations that joined it. Last before its commit, when all its rows are there. */
  async claim(): Promise<void> {
    if (this.#claims.length === 0) return;
    for (const claimer of new Set(this.#claims.map((claims) => claims.claimer)))
      await claimer.claim(
        this.#claims.filter((claims) => claims.claimer === claimer),
        this,
      );
    this.#claims = [];
  }

  savepoint(name: string): void {
    this.#savepoints.push({ name, claims: this.#claims.length });
  }

  /** What was written since is not there. The savepoint stays. */
  rolledBackTo(name: string): void {
    // For some engines `A` and `a` are one name. Taken for one everywhere, a value too many may be claimed, and none too few.
    const isNamed = (savepoint: { readonly name: string }) =>
      savepoint.name.toLowerCase() === name.toLowerCase();
    const at = this.#savepoints.findLastIndex(isNamed);
    const savepoint = this.#savepoints[at];
    if (savepoint === undefined) return;
    this.#savepoints.length = at + 1;
    this.#claims.length = savepoint.claims;
  }

  /** A transaction begins: what an earlier one on this connection noted is over. */
  begun(): void {
    this.inTransaction = true;
    this.#atCommit = undefined;
    this.#claims = [];
    this.#savepoints = [];
    // It may be on another server than the one before.
    this.#admitted.clear();
    this.#admitted.add(keyAt(this.opener));
    if (this.opener.way.strict) this.askAtCommit(this.opener);
  }

  /**
   * A key that joins a transaction on a replica. That server was asked for the opener's rows and not for its; asked in the transaction itself, so that the answer is of the
   * moment that it shows.
   */
  async admit(traveller: Traveller): Promise<void> {
    const name = keyAt(traveller);
    if (this.#admitted.has(name)) return;
    const { way, routed } = traveller;
    if (!(await way.hasArrived(routed, this.connection)))
      throw new TesseraeError(
        "REPLICA_WITHOUT_KEY",
        `The open transaction reads on a replica of ${this.target.name} that does not show the rows of ${traveller.tenant} as they are now, because it moved and the replica is behind. ` +
          "Begin the transaction with this key, which chooses a replica that has it; or read outside of the transaction, or in one of the primary's.",
        { ...this.target.place, ...way.place },
      );
    this.#admitted.add(name);
  }

  /** Has the transaction end with READ_STALE if the key has moved away by then. */
  askAtCommit(traveller: Traveller): void {
    this.#atCommit ??= new Map();
    this.#atCommit.set(traveller.tenant, traveller);
  }

  get asksAtCommit(): boolean {
    return this.#atCommit !== undefined;
  }

  /** Last before the commit; in a transaction that reads one snapshot the answer is the snapshot's, as what was read is. */
  async refuseMoved(): Promise<void> {
    for (const traveller of this.#atCommit?.values() ?? []) await this.#refuseMoved(traveller);
  }

  async #refuseMoved({ way, routed }: Traveller): Promise<void> {
    if ((await way.findMoved(routed, this.connection)) === undefined) return;
    throw this.#overtake(staleRead(way).at(this.target.place));
  }

  streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.streamFor<R>(this.opener, compiled, chunkSize);
  }

  /**
   * In a strict session outside a transaction the stream has one of its own, which reads one snapshot: the residence is asked in it first, because rows
   * that were handed out cannot be taken back. READ_STALE comes before the first row or not at all.
   */
  async *streamFor<R>(
    traveller: Traveller,
    compiled: CompiledQuery,
    chunkSize: number,
  ): AsyncIterableIterator<QueryResult<R>> {
    const { way } = traveller;
    const planned = this.#planned(compiled);
    const { plan, sql, parameters } = planned;
    if (plan.writesLookups) {
      // Main has to know the values before any row is handed out.
      const { rows } = await this.runBound(traveller, boundFor(way, planned));
      for (let start = 0; start < rows.length; start += chunkSize)
        yield { rows: rows.slice(start, start + chunkSize) as R[] };
      return;
    }
    const inSnapshot = way.strict && !this.inTransaction;
    try {
      if (inSnapshot) {
        await this.connection.begin({ isolation: "repeatable read", readOnly: true });
        await this.#refuseMoved(traveller);
      }
      for await (const rows of this.connection.stream(plan.statement(sql, parameters), chunkSize)) {
        yield { rows: plan.decode(rows) as R[] };
      }
    } catch (error) {
      throw this.#failed(error, sql);
    } finally {
      if (inSnapshot) await this.rollBack();
    }
  }

  /** The error that led here matters more than a connection that broke meanwhile: releasing it ends the transaction all the same. */
  async rollBack(): Promise<void> {
    await this.connection.rollback().catch(() => this.connection.release(true));
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
    const failure = toEngineError(error, this.target.kit.dialect, { ...this.target.place, sql });
    return failure.code === "GUARD_REFUSED" ? this.#overtake(failure) : failure;
  }

  #overtake(error: TesseraeError): TesseraeError {
    this.#overtaken ??= new Set();
    this.#overtaken.add(error);
    return error;
  }
}

function keyAt({ tenant, routed }: Traveller): string {
  return `${routed.epoch} ${tenant}`;
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
    routed.begun();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const routed = connection as RoutedConnection;
    await routed.claim();
    if (routed.asksAtCommit) await routed.refuseMoved();
    await routed.step("commit", () => routed.connection.commit());
    routed.inTransaction = false;
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const routed = connection as RoutedConnection;
    routed.inTransaction = false;
    await routed.rollBack();
  }

  async savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    await routed.step("savepoint", () => routed.connection.savepoint(name));
    routed.savepoint(name);
  }

  async rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    await routed.step("rollback to savepoint", () => routed.connection.rollbackToSavepoint(name));
    routed.rolledBackTo(name);
  }

  releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    const routed = connection as RoutedConnection;
    return routed.step("release savepoint", () => routed.connection.releaseSavepoint(name));
  }

  async releaseConnection(): Promise<void> {}

  /** A session owns no connection: `fed.close()` closes the federation's. */
  async destroy(): Promise<void> {}
}
