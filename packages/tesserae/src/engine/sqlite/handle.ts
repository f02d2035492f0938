/**
 * One open SQLite connection with its prepared statements. Everything here is synchronous, as node:sqlite is; who may use the handle
 * when, and what happens when the file is locked, is the pool's business.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { TesseraeError } from "../../base/errors.ts";
import { LruMap } from "../../base/lru.ts";
import type { EngineResult, RawRow, Statement } from "../contract.ts";
import { registerDecimalFunctions } from "./decimal-functions.ts";
import { type RowBuilder, rowBuilder } from "./row-builder.ts";
import { kindOf, type StatementKind } from "./statement-kind.ts";

export type Synchronous = "extra" | "full" | "normal" | "off";

export interface HandleOptions {
  readonly path: string;
  readonly role: "writer" | "reader";
  readonly synchronous: Synchronous;
  readonly cacheKib: number;
  readonly statementCacheEntries: number;
  readonly schema: SchemaVersion;
}

/** Raised with each change of the tables that this process makes in the file; its handles share it. */
export interface SchemaVersion {
  current: number;
}

/** How long a change of the tables by another process may go unnoticed. Asking each time would cost half as much again as a point read. */
const SCHEMA_CHECK_MS = 10;

interface Prepared {
  readonly statement: StatementSync;
  readonly kind: StatementKind;
  /** Undefined for a statement without result columns, whose number is `width`. */
  readonly build: RowBuilder | undefined;
  readonly width: number;
  /** The insert is into a table with AUTOINCREMENT: only then does SQLite's last rowid say something about it. */
  readonly givesId: boolean;
}

const INSERT_TARGET = /^[^("]*?\binto\s+(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_]*))/i;

/** Declared types whose values fit a JavaScript number, or are none. Of any other result column the integers are read as bigint. */
const NOT_BIGINT: ReadonlySet<string> = new Set(["INT", "REAL", "TEXT", "BLOB"]);

export class Handle {
  readonly #database: DatabaseSync;
  readonly #statements: LruMap<string, Prepared>;
  /**
   * A statement is kept from its second use on. node:sqlite closes a statement when it is collected as garbage, and one that has aged in the cache is
   * collected late: a quarter of a million statements that each ran once left 580 MB behind, instead of 230.
   */
  readonly #usedOnce: LruMap<string, true>;
  /** Opened as a reader: SQLite refuses every write on it. */
  readonly readOnly: boolean;
  readonly #schema: SchemaVersion;
  #knownVersion: number;
  #knownFileVersion: unknown;
  #versionStatement: StatementSync;
  #checkAt = 0;
  /** Tables were changed in the open transaction: others see it at the commit. */
  #changesTables = false;

  /** Opens the file and sets the connection up. Raises SQLITE_BUSY when another process is just then making or recovering the file. */
  constructor(options: HandleOptions) {
    this.#database = new DatabaseSync(options.path, { enableForeignKeyConstraints: true });
    this.#statements = new LruMap(options.statementCacheEntries);
    this.#usedOnce = new LruMap(options.statementCacheEntries);
    this.readOnly = options.role === "reader";
    this.#schema = options.schema;
    this.#knownVersion = options.schema.current;
    try {
      this.#setUp(options);
      this.#versionStatement = this.#database.prepare("pragma schema_version");
      this.#versionStatement.setReturnArrays(true);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  #setUp(options: HandleOptions): void {
    // The pool waits without stopping the process; SQLite's own waiting would freeze it.
    this.#database.exec("pragma busy_timeout = 0");
    const { journal_mode: mode } = this.#database.prepare("pragma journal_mode").get() as {
      journal_mode: string;
    };
    if (mode !== "wal" && mode !== "memory") this.#database.exec("pragma journal_mode = wal");
    this.#database.exec(`pragma synchronous = ${options.synchronous}`);
    // REPLACE fires delete triggers, and so the guard, only with recursive triggers.
    this.#database.exec("pragma recursive_triggers = on");
    this.#database.exec("pragma trusted_schema = off");
    this.#database.exec("pragma temp_store = memory");
    this.#database.exec(`pragma cache_size = -${options.cacheKib}`);
    // After a large transaction the log file shrinks to this again.
    this.#database.exec("pragma journal_size_limit = 67108864");
    if (options.role === "reader") this.#database.exec("pragma query_only = on");
    registerDecimalFunctions(this.#database);
  }

  get inTransaction(): boolean {
    return this.#database.isOpen && this.#database.isTransaction;
  }

  get open(): boolean {
    return this.#database.isOpen;
  }

  /** Text without parameters and result, such as `begin immediate`. */
  exec(sql: string): void {
    this.#database.exec(sql);
    if (this.#changesTables && !this.#database.isTransaction) {
      this.#changesTables = false;
      this.#schema.current += 1;
    }
  }

  /** A write transaction has the write lock from here on, a read transaction its snapshot. */
  begin(read: boolean): void {
    if (!read) {
      this.#database.exec("begin immediate");
      return;
    }
    // When the read met a lock, the transaction is open already.
    if (!this.#database.isTransaction) this.#database.exec("begin");
    // Only the first read takes the snapshot.
    this.#database.exec("select 1 from sqlite_schema limit 1");
  }

  execute(statement: Statement): EngineResult {
    if (this.#schema.current !== this.#knownVersion || performance.now() >= this.#checkAt)
      this.#checkSchema();
    const prepared =
      statement.prepare === false ? this.#compile(statement.sql) : this.#prepared(statement.sql);
    const parameters = bindable(statement.parameters);
    if (prepared.build === undefined) {
      const result = runWithoutRows(prepared, parameters);
      if (prepared.kind === "other") this.#noteTableChange();
      return result;
    }
    const rows = readRows(prepared, parameters);
    const build =
      rows[0] === undefined || rows[0].length === prepared.width
        ? prepared.build
        : builderOf(prepared.statement);
    const built = rows as unknown as RawRow[];
    for (let i = 0; i < rows.length; i++) built[i] = build(rows[i] as unknown[]);
    return {
      rows: built,
      affectedRows: prepared.kind === "read" ? undefined : BigInt(rows.length),
      insertId: undefined,
    };
  }

  #noteTableChange(): void {
    if (this.#database.isTransaction) this.#changesTables = true;
    this.#schema.current += 1;
  }

  /**
   * SQLite prepares a statement again by itself when tables have changed, and what was remembered of its columns is then wrong. A `select *` between
   * whose runs another process has both dropped and added a column would give a value under another's name.
   */
  #checkSchema(): void {
    const [version] = this.#versionStatement.get() as unknown as [unknown];
    if (version !== this.#knownFileVersion || this.#schema.current !== this.#knownVersion) {
      this.#statements.clear();
      // The connection reads the tables' definitions again when a statement runs, not when one is prepared.
      this.#database.prepare("select 1 from sqlite_schema limit 1").get();
    }
    this.#knownFileVersion = version;
    this.#knownVersion = this.#schema.current;
    this.#checkAt = performance.now() + SCHEMA_CHECK_MS;
  }

  /** Rows one by one. The statement is this caller's own: running a cached one again would end the iteration. */
  *iterate(statement: Statement): Generator<RawRow, void, undefined> {
    const prepared = this.#compile(statement.sql);
    const parameters = bindable(statement.parameters);
    if (prepared.build === undefined) {
      runWithoutRows(prepared, parameters);
      return;
    }
    for (const values of prepared.statement.iterate(...parameters))
      yield prepared.build(values as unknown as unknown[]);
  }

  /** Closes the connection, with an open transaction rolled back. Idempotent. */
  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #prepared(sql: string): Prepared {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const prepared = this.#compile(sql);
    if (this.#usedOnce.get(sql) === undefined) {
      this.#usedOnce.set(sql, true);
    } else {
      this.#usedOnce.delete(sql);
      this.#statements.set(sql, prepared);
    }
    return prepared;
  }

  #compile(sql: string): Prepared {
    const kind = kindOf(sql);
    if (kind === "state") {
      throw new TesseraeError(
        "QUERY_FAILED",
        "The statement would change the state of a connection that others use next. Use transaction() for transactions, and options of sqlite(…) for settings.",
      );
    }
    const statement = this.#database.prepare(sql);
    const columns = statement.columns();
    if (columns.length === 0) {
      statement.setReadBigInts(true);
      return {
        statement,
        kind,
        build: undefined,
        width: 0,
        givesId: kind === "insert" && this.#hasAutoIncrement(sql),
      };
    }
    if (needsBigints(columns)) statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    return { statement, kind, build: builderOf(statement), width: columns.length, givesId: false };
  }

  #hasAutoIncrement(sql: string): boolean {
    const target = INSERT_TARGET.exec(sql);
    const table = target?.[1]?.replaceAll('""', '"') ?? target?.[2];
    if (table === undefined) return false;
    const row = this.#database
      .prepare("select sql from sqlite_schema where type = 'table' and name = ? collate nocase")
      .get(table);
    return /\bautoincrement\b/i.test(String(row?.["sql"] ?? ""));
  }
}

function runWithoutRows(prepared: Prepared, parameters: SQLInputValue[]): EngineResult {
  const { changes, lastInsertRowid } = prepared.statement.run(...parameters);
  const changed = prepared.kind === "insert" || prepared.kind === "change";
  return {
    rows: [],
    affectedRows: changed ? (changes as bigint) : undefined,
    insertId: prepared.givesId && changes === 1n ? (lastInsertRowid as bigint) : undefined,
  };
}

type Columns = ReturnType<StatementSync["columns"]>;

function needsBigints(columns: Columns): boolean {
  return columns.some(({ type }) => type === null || !NOT_BIGINT.has(type));
}

function builderOf(statement: StatementSync): RowBuilder {
  const columns = statement.columns();
  const bigints = needsBigints(columns);
  return rowBuilder(columns.map(({ name, type }) => ({ name, narrow: bigints && type === "INT" })));
}

/** The declared types may have changed since the statement was prepared: then a read is made again, with bigints. */
function readRows({ statement, kind }: Prepared, parameters: SQLInputValue[]): unknown[][] {
  try {
    return statement.all(...parameters) as unknown as unknown[][];
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_OUT_OF_RANGE") throw error;
    statement.setReadBigInts(true);
    if (kind !== "read") throw error;
    return statement.all(...parameters) as unknown as unknown[][];
  }
}

/** node:sqlite takes an object in the first place for named parameters: a Date there would shift all others by one. */
function bindable(parameters: readonly unknown[]): SQLInputValue[] {
  const first = parameters[0];
  if (typeof first === "object" && first !== null && !ArrayBuffer.isView(first)) {
    throw new TesseraeError(
      "VALUE_INVALID",
      "The statement's first parameter is an object, which SQLite has no type for. Pass text, a number, a bigint, bytes or null.",
    );
  }
  return parameters as SQLInputValue[];
}
