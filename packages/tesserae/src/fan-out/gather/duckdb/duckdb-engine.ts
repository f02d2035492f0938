/**
 * DuckDB in this process, for one gathering: an instance of its own, in memory, with a private temporary folder for what does not fit. The SQL reaches neither files nor the
 * network, and cannot change that: external access is off, extensions are neither loaded nor installed, the settings are locked, and only one select is taken.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type {
  DuckDBConnection,
  DuckDBInstance,
  DuckDBPreparedStatement,
  DuckDBResult,
} from "@duckdb/node-api";
import { TesseraeError } from "../../../base/errors.ts";
import {
  type AnalyticalEngine,
  type BoundParameter,
  type GatheredRow,
  type GatheredTable,
  type NamedParts,
  quoteName,
  type TableLoader,
} from "../analytical-engine.ts";
import { bindParameter } from "./bind-parameter.ts";
import { type DuckDb, loadDuckDb } from "./driver.ts";
import { duckDbError } from "./duckdb-error.ts";
import { DuckDbLoader } from "./duckdb-loader.ts";
import { readerOf } from "./from-duckdb.ts";
import { namedPartsOf } from "./named-parts.ts";
import { toDuckDb } from "./to-duckdb.ts";

export interface DuckDbLimits {
  readonly memoryLimitBytes: number;
  readonly spillLimitBytes: number;
  readonly threads: number;
}

/** An interrupt that comes before the statement has begun is forgotten: it is said again until the statement has ended. */
const INTERRUPT_AGAIN_MS = 20;

export async function openDuckDb(
  limits: DuckDbLimits,
  signal: AbortSignal | undefined,
): Promise<AnalyticalEngine> {
  const duckdb = await loadDuckDb();
  const folder = await mkdtemp(join(tmpdir(), "tesserae-gather-"));
  let instance: DuckDBInstance | undefined;
  try {
    instance = await duckdb.DuckDBInstance.create(":memory:", settings(limits, folder));
    const connection = await instance.connect();
    await connection.run("set TimeZone = 'UTC'");
    // Given with the others it is shown, and not heeded.
    await connection.run(`set max_temp_directory_size = '${limits.spillLimitBytes}B'`);
    await connection.run("set lock_configuration = true");
    return new DuckDbEngine(duckdb, instance, connection, folder, signal);
  } catch (error) {
    instance?.closeSync();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

function settings(limits: DuckDbLimits, folder: string): Record<string, string> {
  return {
    threads: `${limits.threads}`,
    memory_limit: `${limits.memoryLimitBytes}B`,
    temp_directory: folder,
    enable_external_access: "false",
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
    allow_unsigned_extensions: "false",
  };
}

class DuckDbEngine implements AnalyticalEngine {
  readonly #duckdb: DuckDb;
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #folder: string;
  readonly #signal: AbortSignal | undefined;

  constructor(
    duckdb: DuckDb,
    instance: DuckDBInstance,
    connection: DuckDBConnection,
    folder: string,
    signal: AbortSignal | undefined,
  ) {
    this.#duckdb = duckdb;
    this.#instance = instance;
    this.#connection = connection;
    this.#folder = folder;
    this.#signal = signal;
  }

  async namedParts(sql: string): Promise<NamedParts> {
    const result = await this.#run(() =>
      this.#connection.runAndReadAll("select json_serialize_sql($1::varchar)", [sql]),
    );
    const tree = JSON.parse(result.getRows()[0]?.[0] as string) as {
      readonly error: boolean;
      readonly error_message?: string;
    };
    if (tree.error)
      throw new TesseraeError(
        "GATHER_SQL",
        `The SQL is no select that DuckDB can read: ${tree.error_message}`,
        { operation: "gather", sql },
      );
    return namedPartsOf(tree);
  }

  async createTable({ name, columns }: GatheredTable): Promise<void> {
    const declared = columns.map(
      (column) => `${quoteName(column.name)} ${toDuckDb(this.#duckdb, column.type).declaration}`,
    );
    await this.#run(() => this.#connection.run(`create table ${quoteName(name)} (${declared.join(", ")})`));
  }

  async check(sql: string, parameters: number): Promise<void> {
    const statement = await this.#prepare(sql);
    try {
      if (statement.parameterCount !== parameters)
        throw new TesseraeError(
          "GATHER_SQL",
          `The SQL's parameters ($1, $2, …): ${statement.parameterCount}. Given: ${parameters}.`,
          { operation: "gather", sql },
        );
      refuseSameNames(statement, sql);
      this.#refuseStrangeTypes(statement);
    } finally {
      statement.destroySync();
    }
  }

  /** The type of a column that depends on a parameter is not known before that is bound: the answer tells then. */
  #refuseStrangeTypes(statement: DuckDBPreparedStatement): void {
    const { INVALID, ANY } = this.#duckdb.DuckDBTypeId;
    for (let index = 0; index < statement.columnCount; index++) {
      const known = ![INVALID, ANY].includes(statement.columnTypeId(index));
      if (known) readerOf(this.#duckdb, statement.columnType(index), statement.columnName(index));
    }
  }

  async #prepare(sql: string): Promise<DuckDBPreparedStatement> {
    const statements = await this.#run(() => this.#connection.extractStatements(sql), sql);
    if (statements.count !== 1) throw noSelect(sql, `it holds ${statements.count} statements`);
    const statement = await this.#run(() => statements.prepare(0), sql);
    if (statement.statementType === this.#duckdb.StatementType.SELECT) return statement;
    statement.destroySync();
    throw noSelect(sql, "it does something else");
  }

  async load({ name, columns }: GatheredTable): Promise<TableLoader> {
    const appender = await this.#run(() => this.#connection.createAppender(name));
    return new DuckDbLoader(
      this.#duckdb,
      appender,
      name,
      columns.map((column) => ({ name: column.name, to: toDuckDb(this.#duckdb, column.type) })),
    );
  }

  async close(): Promise<void> {
    this.#connection.closeSync();
    this.#instance.closeSync();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Prepared anew: a statement that was prepared while the tables were empty was planned for what empty columns hold, and gives wrong values of full ones. */
  async *rows(sql: string, parameters: readonly BoundParameter[]): AsyncGenerator<GatheredRow[]> {
    const statement = await this.#prepare(sql);
    parameters.forEach((parameter, index) => {
      bindParameter(this.#duckdb, statement, index + 1, parameter);
    });
    const result = await this.#run(() => statement.stream(), sql);
    const toRows = this.#rowMaker(result);
    for (;;) {
      const chunk = await this.#run(() => result.fetchChunk(), sql);
      if (chunk === null || chunk.rowCount === 0) return;
      yield toRows(chunk.getColumns(), chunk.rowCount);
    }
  }

  #rowMaker(result: DuckDBResult) {
    const names = result.columnNames();
    const readers = result
      .columnTypes()
      .map((type, index) => readerOf(this.#duckdb, type, names[index] as string));
    return (
      columns: ReturnType<Awaited<ReturnType<DuckDBResult["fetchAllChunks"]>>[0]["getColumns"]>,
      count: number,
    ) => {
      const rows = Array.from({ length: count }, (): GatheredRow => ({}));
      for (const [index, read] of readers.entries()) {
        const name = names[index] as string;
        const values = columns[index] ?? [];
        for (let i = 0; i < count; i++) {
          const value = values[i];
          (rows[i] as GatheredRow)[name] = value === null || value === undefined ? null : read(value);
        }
      }
      return rows;
    };
  }

  /** One call of DuckDB, interrupted when the signal is aborted; waits until it has ended all the same, since nothing may be closed before. */
  async #run<T>(call: () => Promise<T>, sql?: string): Promise<T> {
    const signal = this.#signal;
    signal?.throwIfAborted();
    let again: NodeJS.Timeout | undefined;
    const interrupt = () => {
      this.#connection.interrupt();
      again = setInterval(() => this.#connection.interrupt(), INTERRUPT_AGAIN_MS);
    };
    signal?.addEventListener("abort", interrupt, { once: true });
    try {
      return await call();
    } catch (error) {
      signal?.throwIfAborted();
      throw duckDbError(error, sql);
    } finally {
      signal?.removeEventListener("abort", interrupt);
      clearInterval(again);
    }
  }
}

function noSelect(sql: string, why: string): TesseraeError {
  return new TesseraeError("GATHER_SQL", `fed.gather takes one select; of this SQL ${why}.`, {
    operation: "gather",
    sql,
  });
}

/** A row is an object by its columns' names: of two with one name, one would be lost. */
function refuseSameNames(statement: DuckDBPreparedStatement, sql: string): void {
  const seen = new Set<string>();
  for (let index = 0; index < statement.columnCount; index++) {
    const name = statement.columnName(index);
    if (seen.has(name))
      throw new TesseraeError(
        "GATHER_SQL",
        `The result has two columns "${name}". Give them names of their own with "as".`,
        { operation: "gather", column: name, sql },
      );
    seen.add(name);
  }
}
