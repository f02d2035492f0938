/**
 * Control tables as the floors above use them: SQL written once with `?`, rows in logical values, short transactions that are tried
 * again when the database ends them. It works on main's control database and on a shard alike.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorPlace, isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { TableModel } from "../schema/model.ts";
import type {
  Codec,
  Connection,
  Database,
  EngineCapabilities,
  EngineDialect,
  EngineResult,
  RawRow,
} from "./contract.ts";
import { toEngineError } from "./engine-error.ts";

/** How often a control transaction is tried that the database ended for a reason which may be gone the next time. */
const ATTEMPTS_MAX = 200;
const BACKOFF_MS_MAX = 250;
/** A pool that follows its primary lets the next try wait for it; any other one is on a server that stays read-only. */
const READ_ONLY_ATTEMPTS_MAX = 5;
/** After this time no new try is begun: a lock that nobody gives back is then the caller's to hear of. */
const RETRY_MS_MAX = 30_000;

/** What runs control SQL: a transaction, or a database outside of any. */
export interface ControlRunner {
  run(sql: string, parameters: readonly unknown[]): Promise<EngineResult>;
}

export interface ControlTransaction extends ControlRunner {
  readonly connection: Connection;
  /** With `lockWaitMs` the statement waits so long for a lock at most: LOCK_TIMEOUT. */
  run(sql: string, parameters: readonly unknown[], lockWaitMs?: number): Promise<EngineResult>;
}

export interface ControlTransactionOptions {
  /** `unchecked`: foreign keys are not checked, and none cascades. */
  readonly references?: "checked" | "unchecked" | undefined;
  /** The body is not run again, whatever ends it: the caller decides. */
  readonly once?: boolean | undefined;
}

/** Logical values of one control table's columns, in and out. */
export class RowCodec {
  readonly #columns: ReadonlyMap<string, Codec>;

  constructor(dialect: EngineDialect, table: TableModel) {
    this.#columns = new Map(table.columns.map((column) => [column.name, dialect.codec(column.type)]));
  }

  /** The driver's value for a column; null stays null. */
  encode(column: string, value: unknown): unknown {
    return value === null ? null : this.#codec(column).encode(value);
  }

  decode(column: string, raw: unknown): unknown {
    return raw === null || raw === undefined ? null : this.#codec(column).decode(raw);
  }

  /** The row with each of its columns decoded. */
  decodeRow(row: RawRow): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    for (const name of Object.keys(row)) result[name] = this.decode(name, row[name]);
    return result;
  }

  #codec(column: string): Codec {
    const codec = this.#columns.get(column);
    if (codec === undefined) throw new Error(`The control table has no column "${column}".`);
    return codec;
  }
}

export class ControlStore implements ControlRunner {
  readonly database: Database;
  readonly dialect: EngineDialect;
  readonly capabilities: EngineCapabilities;
  readonly #place: ErrorPlace;
  /** The texts are constants of the library and table names of the schema: their number is small. */
  readonly #texts = new Map<string, string>();

  readonly #gate: (() => Promise<void>) | undefined;
  #passed: Promise<void> | undefined;

  /** `gate` must let the store pass before its first statement; a refusal is asked again at the next. */
  constructor(database: Database, place: ErrorPlace = {}, gate?: () => Promise<void>) {
    this.#gate = gate;
    this.database = database;
    this.dialect = database.engine.dialect;
    this.capabilities = this.dialect.capabilities;
    this.#place = place;
  }

  /** One statement outside a transaction. */
  run(sql: string, parameters: readonly unknown[]): Promise<EngineResult> {
    return this.#guarded(() => this.database.run({ sql: this.#text(sql), parameters }), sql);
  }

  /** One plain read outside a transaction. */
  read(sql: string, parameters: readonly unknown[]): Promise<EngineResult> {
    return this.#guarded(() => this.database.run({ sql: this.#text(sql), parameters, readOnly: true }), sql);
  }

  /**
   * A short read-committed write transaction. The body must read before it writes and do nothing outside the database: it runs
   * again as a whole after a deadlock, a lock time-out, a server that became read-only, or a lost connection, of which nobody knows whether its commit took effect.
   */
  async transaction<T>(
    body: (transaction: ControlTransaction) => Promise<T>,
    options: ControlTransactionOptions = {},
  ): Promise<T> {
    const begun = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(body, options);
      } catch (error) {
        if (
          options.once === true ||
          attempt >= (isTesseraeError(error, "SERVER_READ_ONLY") ? READ_ONLY_ATTEMPTS_MAX : ATTEMPTS_MAX) ||
          performance.now() - begun > RETRY_MS_MAX ||
          !mayTryAgain(error)
        )
          throw error;
        await sleep(Math.random() * Math.min(BACKOFF_MS_MAX, 2 ** attempt));
      }
    }
  }

  async #once<T>(
    body: (transaction: ControlTransaction) => Promise<T>,
    { references }: ControlTransactionOptions,
  ): Promise<T> {
    const connection = await this.#guarded(() => this.database.acquire(), undefined);
    let broken = true;
    try {
      await this.#guarded(() => connection.begin({ isolation: "read committed", references }), undefined);
      const result = await body({
        connection,
        run: (sql, parameters, lockWaitMs) =>
          this.#guarded(() => connection.run({ sql: this.#text(sql), parameters, lockWaitMs }), sql),
      });
      await this.#guarded(() => connection.commit(), undefined);
      broken = false;
      return result;
    } catch (error) {
      // Without a rollback that worked, nobody knows what state the connection is in.
      broken = await connection.rollback().then(
        () => false,
        () => true,
      );
      throw error;
    } finally {
      connection.release(broken);
    }
  }

  async #guarded<T>(work: () => Promise<T>, sql: string | undefined): Promise<T> {
    try {
      if (this.#gate !== undefined) {
        this.#passed ??= this.#pass(this.#gate);
        await this.#passed;
      }
      return await work();
    } catch (error) {
      throw toEngineError(error, this.dialect, { ...this.#place, sql });
    }
  }

  async #pass(gate: () => Promise<void>): Promise<void> {
    try {
      await gate();
    } catch (error) {
      this.#passed = undefined;
      throw error;
    }
  }

  #text(sql: string): string {
    let text = this.#texts.get(sql);
    if (text === undefined) {
      text = this.dialect.placeholders(sql);
      this.#texts.set(sql, text);
    }
    return text;
  }
}

function mayTryAgain(error: unknown): boolean {
  if (!(error instanceof TesseraeError)) return false;
  return (
    isTesseraeError(error, "DEADLOCK") ||
    isTesseraeError(error, "LOCK_TIMEOUT") ||
    isTesseraeError(error, "SERIALIZATION") ||
    isTesseraeError(error, "CONNECTION_LOST") ||
    isTesseraeError(error, "SERVER_READ_ONLY")
  );
}
