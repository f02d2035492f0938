/**
 * SQLite in memory, for who cannot have DuckDB. It has no exact decimals and no exact sums beyond 64 bits: a source with a decimal column is refused, and a sum that is too
 * large is SQLite's own error. It computes on the calling thread, so that a deadline is looked at between rows alone; and it knows no types but its own, so that a computed
 * column comes back as what it is stored as.
 */
import { DatabaseSync } from "node:sqlite";
import { TesseraeError } from "../../../base/errors.ts";
import type { Codec } from "../../../engine/contract.ts";
import { sqliteCodec } from "../../../engine/sqlite/codecs.ts";
import { isRead } from "../../../engine/sqlite/statement-kind.ts";
import { describeType, type LogicalType } from "../../../schema/logical-type.ts";
import {
  type AnalyticalEngine,
  type BoundParameter,
  type GatheredRow,
  type GatheredTable,
  type NamedParts,
  quoteName,
  type TableLoader,
} from "../analytical-engine.ts";
import { refuse } from "../source-columns.ts";

const PAGE_BYTES = 4096;
const BATCH_ROWS = 1000;

type Read = (raw: unknown) => unknown;
type SqliteValue = null | number | bigint | string | Uint8Array;

export async function openSqlite(
  limits: { readonly memoryLimitBytes: number },
  signal: AbortSignal | undefined,
): Promise<AnalyticalEngine> {
  const database = new DatabaseSync(":memory:", { readBigInts: true, allowExtension: false });
  // Sorting and grouping stay in memory, too, and are counted in no limit of SQLite's.
  database.exec(`
    pragma page_size = ${PAGE_BYTES};
    pragma max_page_count = ${Math.max(16, Math.floor(limits.memoryLimitBytes / PAGE_BYTES))};
    pragma journal_mode = off;
    pragma trusted_schema = off;
  `);
  return new SqliteGatherEngine(database, signal);
}

class SqliteGatherEngine implements AnalyticalEngine {
  readonly #database: DatabaseSync;
  readonly #signal: AbortSignal | undefined;
  readonly #types = new Map<string, LogicalType>();

  constructor(database: DatabaseSync, signal: AbortSignal | undefined) {
    this.#database = database;
    this.#signal = signal;
  }

  /** SQLite shows no tree: every word of the text counts as a name, and a star or a natural join means all columns. */
  async namedParts(sql: string): Promise<NamedParts> {
    const text = sql.toLowerCase();
    const words = new Set(text.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []);
    const meansAll = words.has("natural") || text.replaceAll(/count\s*\(\s*\*\s*\)/g, "").includes("*");
    return { tables: words, columns: meansAll ? undefined : words };
  }

  async createTable({ name, columns }: GatheredTable): Promise<void> {
    const declared = columns.map((column) => {
      if (column.type.kind === "decimal")
        throw refuse(
          name,
          `has a column "${column.name}" of type ${describeType(column.type)}, and SQLite would compute with it in binary fractions. Gather with DuckDB`,
        );
      this.#types.set(typeKey(name, column.name), column.type);
      return `${quoteName(column.name)} ${declarationOf(column.type)}`;
    });
    this.#database.exec(`create table ${quoteName(name)} (${declared.join(", ")}) strict`);
  }

  async check(sql: string, parameters: number): Promise<void> {
    if (!isRead(sql) || /^\s*explain\b/i.test(sql)) throw noSelect(sql);
    checkParameters(sql, parameters);
    const columns = this.#refusing(sql, () => this.#database.prepare(sql)).columns();
    if (new Set(columns.map(({ name }) => name)).size !== columns.length)
      throw new TesseraeError(
        "GATHER_SQL",
        'The result has two columns of one name. Give them names of their own with "as".',
        { operation: "gather", sql },
      );
  }

  async load({ name, columns }: GatheredTable): Promise<TableLoader> {
    const places = columns.map(() => "?").join(", ");
    const insert = this.#database.prepare(`insert into ${quoteName(name)} values (${places})`);
    const codecs = columns.map((column) => ({ name: column.name, codec: codecOf(column.type) }));
    return {
      append: (row) => {
        const values = codecs.map(({ name: column, codec }) => {
          const value = row[column];
          return (value === null ? null : codec.encode(value)) as SqliteValue;
        });
        this.#refusing(undefined, () => insert.run(...values));
      },
      end: () => {},
    };
  }

  async close(): Promise<void> {
    this.#database.close();
  }

  async *rows(sql: string, parameters: readonly BoundParameter[]): AsyncGenerator<GatheredRow[]> {
    const statement = this.#refusing(sql, () => this.#database.prepare(sql));
    // Every table was filled: from here on nothing is written, whatever the SQL says.
    this.#database.exec("pragma query_only = 1");
    const readers = statement.columns().map(({ name, table, column }) => {
      const type = table === null || column === null ? undefined : this.#types.get(typeKey(table, column));
      const read: Read = type === undefined ? (raw) => raw : sqliteCodec(type).decode;
      return [name, read] as const;
    });
    const bound = Object.fromEntries(
      parameters.map((parameter, index) => [`$${index + 1}`, encodeParameter(parameter)]),
    );
    const rows = this.#refusing(sql, () => statement.iterate(bound));
    let batch: GatheredRow[] = [];
    for (;;) {
      const next = this.#refusing(sql, () => rows.next());
      if (next.done === true) break;
      const raw = next.value as GatheredRow;
      const row: GatheredRow = {};
      for (const [name, read] of readers) row[name] = raw[name] === null ? null : read(raw[name]);
      batch.push(row);
      if (batch.length === BATCH_ROWS) {
        yield batch;
        batch = [];
        this.#signal?.throwIfAborted();
      }
    }
    this.#signal?.throwIfAborted();
    if (batch.length > 0) yield batch;
  }

  #refusing<T>(sql: string | undefined, call: () => T): T {
    try {
      return call();
    } catch (error) {
      if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== "ERR_SQLITE_ERROR")
        throw error;
      const { errcode } = error as { errcode?: number };
      if (errcode === SQLITE_FULL || errcode === SQLITE_NOMEM)
        throw new TesseraeError(
          "GATHER_TOO_LARGE",
          "What is gathered does not fit into memoryLimitBytes. Gather less, raise the limit, or use DuckDB, which goes on in a temporary folder.",
          { operation: "gather", sql, cause: error },
        );
      throw new TesseraeError("GATHER_SQL", `SQLite refused the SQL of a gathering: ${error.message}`, {
        operation: "gather",
        sql,
        cause: error,
      });
    }
  }
}

const SQLITE_NOMEM = 7;
const SQLITE_FULL = 13;

function typeKey(table: string, column: string): string {
  return `${table}\n${column}`;
}

function declarationOf(type: LogicalType): string {
  switch (type.kind) {
    case "int":
    case "bigint":
    case "boolean":
      return "INTEGER";
    case "decimal":
    case "double":
      return "REAL";
    case "uuid":
    case "bytes":
      return "BLOB";
    case "text":
      return type.caseInsensitive ? "TEXT COLLATE NOCASE" : "TEXT";
    default:
      return "TEXT";
  }
}

/** A text's length was its column's to check; what was computed of it may be longer. */
function codecOf(type: LogicalType): Codec {
  return sqliteCodec(type.kind === "text" || type.kind === "bytes" ? { ...type, length: undefined } : type);
}

/** SQLite takes what is not bound for null, and says nothing. */
function checkParameters(sql: string, given: number): void {
  const code = sql.replaceAll(/'[^']*'|"[^"]*"|`[^`]*`|--[^\n]*|\/\*[\s\S]*?\*\//g, " ");
  if (/[?:@]\w*/.test(code))
    throw new TesseraeError("GATHER_SQL", "The parameters of fed.gather are $1, $2, ….", {
      operation: "gather",
      sql,
    });
  const named = new Set(code.match(/\$\w+/g) ?? []);
  const expected = Array.from({ length: given }, (_, index) => `$${index + 1}`);
  if (named.size !== given || expected.some((name) => !named.has(name)))
    throw new TesseraeError(
      "GATHER_SQL",
      `The SQL's parameters ($1, $2, …): ${named.size}. Given: ${given}.`,
      { operation: "gather", sql },
    );
}

function encodeParameter({ value, type }: BoundParameter): SqliteValue {
  if (value === null || value === undefined) return null;
  if (type !== undefined) return sqliteCodec(type).encode(value) as SqliteValue;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof Date) return sqliteCodec({ kind: "timestamp", precision: 3 }).encode(value) as string;
  return value as SqliteValue;
}

function noSelect(sql: string): TesseraeError {
  return new TesseraeError("GATHER_SQL", "fed.gather takes one select; this SQL does something else.", {
    operation: "gather",
    sql,
  });
}
