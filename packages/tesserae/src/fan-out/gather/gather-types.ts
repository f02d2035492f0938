/** What `fed.gather` takes: sources, limits, parameters. */
import type { Expression, OperationNode, StreamOptions } from "kysely";

/** A query whose rows are brought together: a select builder of any session. */
export interface GatherSource<O = unknown> {
  toOperationNode(): OperationNode;
  stream(options?: StreamOptions): AsyncIterableIterator<O>;
}

/** By the name that the SQL calls them. */
export type GatherSources = Readonly<Record<string, GatherSource>>;

/** The tables that the rest of the query sees. */
export type GatheredDatabase<S extends GatherSources> = {
  [N in keyof S & string]: S[N] extends GatherSource<infer O> ? O : never;
};

/** A plain value, or one with a named type: `typed(decimal(9, 6), "1.5")`. */
export type GatherParameter = unknown | Expression<unknown>;

export type GatherEngineName = "duckdb" | "sqlite";

export interface GatherOptions {
  /** What runs the rest of the SQL. `duckdb` (default) needs the package `@duckdb/node-api`; `sqlite` is built into Node, and takes no decimals. */
  readonly engine?: GatherEngineName | undefined;
  /** Memory of the embedded engine. DuckDB goes on in a temporary folder beyond it, SQLite refuses. 512 MiB unless said. */
  readonly memoryLimitBytes?: number | undefined;
  /** How much DuckDB may write into its temporary folder. 10 GiB unless said. */
  readonly spillLimitBytes?: number | undefined;
  /** How many rows may be brought together, of all sources. 10,000,000 unless said. */
  readonly rowsMax?: number | undefined;
  /** How many rows of the answer are given at once; `stream()` has no such limit. 1,000,000 unless said. */
  readonly resultRowsMax?: number | undefined;
  /** Threads of DuckDB. 2 unless said. */
  readonly threads?: number | undefined;
  /** For the whole: reading the sources, and the rest of the SQL, until its last row was taken. None unless said. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const GATHER_DEFAULTS = Object.freeze({
  engine: "duckdb",
  memoryLimitBytes: 512 * 1024 * 1024,
  spillLimitBytes: 10 * 1024 * 1024 * 1024,
  rowsMax: 10_000_000,
  resultRowsMax: 1_000_000,
  threads: 2,
});

/** The smallest memory that DuckDB gets anything done with. */
export const MEMORY_LIMIT_BYTES_MIN = 32 * 1024 * 1024;
