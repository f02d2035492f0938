/** Rows into a table of DuckDB, by columns and in chunks. */
import type { DuckDBAppender } from "@duckdb/node-api";
import { TesseraeError } from "../../../base/errors.ts";
import type { GatheredRow, TableLoader } from "../analytical-engine.ts";
import type { DuckDb } from "./driver.ts";
import { duckDbError } from "./duckdb-error.ts";
import type { ToDuckDb } from "./to-duckdb.ts";

/** DuckDB's vectors hold so many; larger chunks it does not take. */
const CHUNK_ROWS = 2048;

export class DuckDbLoader implements TableLoader {
  readonly #duckdb: DuckDb;
  readonly #appender: DuckDBAppender;
  readonly #table: string;
  readonly #columns: readonly { readonly name: string; readonly to: ToDuckDb }[];
  #values: ReturnType<ToDuckDb["encode"]>[][];

  constructor(
    duckdb: DuckDb,
    appender: DuckDBAppender,
    table: string,
    columns: readonly { readonly name: string; readonly to: ToDuckDb }[],
  ) {
    this.#duckdb = duckdb;
    this.#appender = appender;
    this.#table = table;
    this.#columns = columns;
    this.#values = columns.map(() => []);
  }

  append(row: GatheredRow): void {
    for (const [index, { name, to }] of this.#columns.entries()) {
      const value = row[name];
      (this.#values[index] as unknown[]).push(value === null ? null : this.#encode(value, name, to));
    }
    if ((this.#values[0] as unknown[]).length === CHUNK_ROWS) this.#hand();
  }

  end(): void {
    this.#hand();
    try {
      this.#appender.closeSync();
    } catch (error) {
      throw duckDbError(error);
    }
  }

  #hand(): void {
    const count = (this.#values[0] as unknown[]).length;
    if (count === 0) return;
    const chunk = this.#duckdb.DuckDBDataChunk.create(
      this.#columns.map(({ to }) => to.type),
      count,
    );
    try {
      chunk.setColumns(this.#values);
      this.#appender.appendDataChunk(chunk);
    } catch (error) {
      throw duckDbError(error);
    }
    this.#values = this.#columns.map(() => []);
  }

  #encode(value: unknown, column: string, to: ToDuckDb) {
    try {
      return to.encode(value);
    } catch (error) {
      if (!(error instanceof TesseraeError)) throw error;
      const { message, cause } = error;
      throw new TesseraeError(
        "VALUE_INVALID",
        `Column "${column}" of the source "${this.#table}" holds what cannot be gathered. ${message}`,
        { operation: "gather", table: this.#table, column, cause },
      );
    }
  }
}
