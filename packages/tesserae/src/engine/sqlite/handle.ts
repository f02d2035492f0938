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

export type Synchronous = "extra" | "full" | "normal" | "off";

export interface HandleOptions {
  readonly path: string;
  readonly role: "writer" | "reader";
  readonly synchronous: Synchronous;
  readonly cacheKib: number;
  readonly statementCacheEntries: number;
}

/** `change` and `insert` alone have affected rows; `transaction` goes through begin, commit and their like only. */
type StatementKind = "read" | "insert" | "change" | "transaction" | "other";

interface Prepared {
  readonly statement: StatementSync;
  readonly kind: StatementKind;
  /** Undefined for a statement without result columns. */
  readonly build: RowBuilder | undefined;
  /** The insert is into a table with AUTOINCREMENT: only then does SQLite's last rowid say something about it. */
  readonly givesId: boolean;
}

const KINDS: Readonly<Record<string, StatementKind>> = {
  select: "read",
  values: "read",
  explain: "read",
  pragma: "read",
  insert: "insert",
  replace: "insert",
  update: "change",
  delete: "change",
  begin: "transaction",
  commit: "transaction",
  end: "transaction",
  rollback: "transaction",
  savepoint: "transaction",
  release: "transaction",
};

const FIRST_WORD = /^(?:\s+|--[^\n]*\n|\/\*[\s\S]*?\*\/|;)*([a-z]+)/i;
const INSERT_TARGET = /^[^("]*?\binto\s+(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_]*))/i;
const RETURNING = /\breturning\b/i;

/** Declared types whose values fit a JavaScript number, or are none. Of any other result column the integers are read as bigint. */
const NOT_BIGINT: ReadonlySet<string> = new Set(["INT", "REAL", "TEXT", "BLOB"]);

export class Handle {
  readonly #database: DatabaseSync;
  readonly #statements: LruMap<string, Prepared>;
  /** Opened as a reader: SQLite refuses every write on it. */
  readonly readOnly: boolean;

  /** Opens the file and sets the connection up. Raises SQLITE_BUSY when another process is just then making or recovering the file. */
  constructor(options: HandleOptions) {
    this.#database = new DatabaseSync(options.path, { enableForeignKeyConstraints: true });
    this.#statements = new LruMap(options.statementCacheEntries);
    this.readOnly = options.role === "reader";
    try {
      this.#setUp(options);
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
    return this.#database.isTransaction;
  }

  get open(): boolean {
    return this.#database.isOpen;
  }

  /** Text without parameters and result, such as `begin immediate`. */
  exec(sql: string): void {
    this.#database.exec(sql);
  }

  execute(statement: Statement): EngineResult {
    const prepared =
      statement.prepare === false ? this.#compile(statement.sql) : this.#prepared(statement.sql);
    const parameters = bindable(statement.parameters);
    if (prepared.build === undefined) return runWithoutRows(prepared, parameters);
    const rows = readRows(prepared, parameters);
    for (let i = 0; i < rows.length; i++) rows[i] = prepared.build(rows[i] as unknown as unknown[]);
    return {
      rows,
      affectedRows: prepared.kind === "read" ? undefined : BigInt(rows.length),
      insertId: undefined,
    };
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
    this.#statements.set(sql, prepared);
    return prepared;
  }

  #compile(sql: string): Prepared {
    const kind = kindOf(sql);
    if (kind === "transaction") {
      throw new TesseraeError(
        "QUERY_FAILED",
        "A transaction is not opened or ended by SQL text, since its connection would be someone else's next. Use transaction().",
      );
    }
    const statement = this.#database.prepare(sql);
    const columns = statement.columns();
    if (columns.length === 0) {
      statement.setReadBigInts(true);
      return { statement, kind, build: undefined, givesId: kind === "insert" && this.#hasAutoIncrement(sql) };
    }
    const bigints = columns.some(({ type }) => type === null || !NOT_BIGINT.has(type));
    if (bigints) statement.setReadBigInts(true);
    statement.setReturnArrays(true);
    const build = rowBuilder(columns.map(({ name, type }) => ({ name, narrow: bigints && type === "INT" })));
    return { statement, kind, build, givesId: false };
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

/** The declared types may have changed since the statement was prepared: then a read is made again, with bigints. */
function readRows({ statement, kind }: Prepared, parameters: SQLInputValue[]): RawRow[] {
  try {
    return statement.all(...parameters) as unknown as RawRow[];
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_OUT_OF_RANGE") throw error;
    statement.setReadBigInts(true);
    if (kind !== "read") throw error;
    return statement.all(...parameters) as unknown as RawRow[];
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

function kindOf(sql: string): StatementKind {
  const word = FIRST_WORD.exec(sql)?.[1]?.toLowerCase() ?? "";
  if (word === "with")
    return RETURNING.test(sql) || /\)\s*(?:insert|update|delete|replace)\b/i.test(sql) ? "change" : "read";
  return KINDS[word] ?? "other";
}
