/** Fresh, empty databases for a test, on the engine it asks for, and the loop over the engines that the shared suite uses. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBinary } from "./binaries.ts";
import { wantedPostgres } from "./postgres-versions.ts";
import { removeFolder } from "./server-process.ts";
import { SERVERS_PER_ENGINE, sharedServers } from "./shared-servers.ts";

export type EngineName = "sqlite" | "mysql" | "postgres";

export const ENGINE_NAMES: readonly EngineName[] = ["sqlite", "mysql", "postgres"];

export interface FreshDatabases {
  readonly engine: EngineName;
  /** One URL a database: `sqlite:/path/to/file.db`, `mysql://…`, `postgres://…`. */
  readonly urls: readonly string[];
  /** SQLite: the files' paths. Elsewhere empty. */
  readonly files: readonly string[];
  /** Drops the databases. Close what uses them first. */
  cleanUp(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface FreshDatabasesOptions {
  /** Over how many servers the databases are spread, in turn: 1 (the default) or 2. On SQLite every file is its own. */
  readonly servers?: 1 | 2;
}

export async function freshDatabases(
  engine: EngineName,
  count: number,
  options: FreshDatabasesOptions = {},
): Promise<FreshDatabases> {
  if (engine === "sqlite") return freshFiles(count);
  const spread = Math.min(options.servers ?? 1, SERVERS_PER_ENGINE);
  const shared = sharedServers();
  const urls = await Promise.all(
    Array.from({ length: count }, (_, index) => shared.takeDatabase(engine, index % spread)),
  );
  const cleanUp = async () => {
    await Promise.all(urls.map((url, index) => shared.giveBackDatabase(engine, index % spread, url)));
  };
  return { engine, urls, files: [], cleanUp, [Symbol.asyncDispose]: cleanUp };
}

function freshFiles(count: number): FreshDatabases {
  const folder = mkdtempSync(join(tmpdir(), "tesserae-sqlite-"));
  const files = Array.from({ length: count }, (_, index) => join(folder, `${index + 1}.db`));
  const cleanUp = async () => removeFolder(folder);
  return {
    engine: "sqlite",
    urls: files.map((file) => `sqlite:${file}`),
    files,
    cleanUp,
    [Symbol.asyncDispose]: cleanUp,
  };
}

/** An engine as the shared suite sees it. */
export interface TestEngine {
  readonly name: EngineName;
  databases(count: number, options?: FreshDatabasesOptions): Promise<FreshDatabases>;
}

/** Why an engine cannot be tested here, or undefined when it can. */
export function whyUnavailable(engine: EngineName): string | undefined {
  const only = process.env.TESSERAE_ENGINES;
  if (wantedPostgres() !== undefined && engine !== "postgres") return `TESSERAE_POSTGRES=${wantedPostgres()}`;
  if (only !== undefined && !only.split(",").includes(engine)) return `TESSERAE_ENGINES=${only}`;
  if (engine === "mysql" && findBinary("mariadbd") === undefined) return "mariadbd is not installed";
  if (engine === "postgres" && findBinary("postgres") === undefined) return "postgres is not installed";
  return undefined;
}

/**
 * Calls back once for each engine, to define its tests. An engine that is not there is skipped with the reason in the suite's name; under
 * CI=true that is an error, since a suite that has not run proves nothing.
 *
 * @example
 * ```ts
 * forEachEngine((engine) => {
 *   describe(engine.name, () => {
 *     test("creates its tables", async () => {
 *       await using databases = await engine.databases(2);
 *     });
 *   });
 * });
 * ```
 */
export function forEachEngine(define: (engine: TestEngine) => void): void {
  for (const name of ENGINE_NAMES) {
    const reason = whyUnavailable(name);
    const engine: TestEngine = { name, databases: (count, options) => freshDatabases(name, count, options) };
    if (reason === undefined) {
      define(engine);
    } else if (wantedPostgres() !== undefined && name !== "postgres") {
      // A run for one version of PostgreSQL stands beside the run of everything.
    } else if (process.env.CI === "true") {
      throw new Error(
        `The engine ${name} cannot be tested: ${reason}. With CI=true no engine may be left out.`,
      );
    } else {
      skipped(`${name} is left out: ${reason}`, () => define(engine));
    }
  }
}

type Describe = { skip(name: string, define: () => void): void };
let describeOfRunner: Describe | undefined;

/** The suite's `describe`, given by the test file's runner: this package is also used where no test runs. */
export function useDescribe(describe: Describe): void {
  describeOfRunner = describe;
}

function skipped(name: string, define: () => void): void {
  if (describeOfRunner === undefined) throw new Error(`${name}, and no test runner is here to note it.`);
  describeOfRunner.skip(name, define);
}
