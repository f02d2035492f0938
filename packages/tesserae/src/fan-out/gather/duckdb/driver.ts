/** DuckDB, loaded on first use: who never gathers need not install it. */
import { TesseraeError } from "../../../base/errors.ts";

export type DuckDb = typeof import("@duckdb/node-api");

let loading: Promise<DuckDb> | undefined;

export function loadDuckDb(): Promise<DuckDb> {
  loading ??= import("@duckdb/node-api").then(
    // The package is CommonJS: what Node does not find by reading its text is under `default` alone.
    (module) => ("default" in module ? (module.default as DuckDb) : module),
    (error: unknown) => {
      loading = undefined;
      throw missing(error);
    },
  );
  return loading;
}

/** Also where the package is there, and its binary for this platform is not. */
function missing(cause: unknown): TesseraeError {
  return new TesseraeError(
    "GATHER_ENGINE_MISSING",
    'fed.gather needs DuckDB, which is not installed (or not for this platform). Run: npm install @duckdb/node-api. Without it, { engine: "sqlite" } gathers into SQLite, which takes no decimals.',
    { operation: "gather", cause },
  );
}
