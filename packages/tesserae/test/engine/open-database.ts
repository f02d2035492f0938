/** Databases for the shared engine suite: opened from the URLs of fresh databases, the tables made through the dialect. */
import type { FreshDatabases, TestEngine } from "@tesserae/test-support";
import type {
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolOptions,
  Statement,
} from "../../src/engine/contract.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import type { TableModel } from "../../src/schema/model.ts";

/** Imported when asked for: the suite of one engine needs no other's driver. */
export async function engineAt(url: string): Promise<Engine> {
  const scheme = url.slice(0, url.indexOf(":"));
  if (scheme === "sqlite") return (await import("../../src/engine/sqlite/engine.ts")).sqlite(url);
  if (scheme === "mysql") return (await import("../../src/engine/mysql/engine.ts")).mysql(url);
  return (await import("../../src/engine/postgres/engine.ts")).postgres(url);
}

/** One fresh database, open; closed and dropped at the end of the scope. */
export class OpenDatabase implements AsyncDisposable {
  readonly engine: Engine;
  readonly database: Database;
  readonly #fresh: FreshDatabases;
  readonly #others: Database[] = [];

  private constructor(engine: Engine, fresh: FreshDatabases, options: Partial<PoolOptions>) {
    this.engine = engine;
    this.#fresh = fresh;
    this.database = engine.open({ ...POOL_DEFAULTS, ...options });
  }

  static async of(engine: TestEngine, options: Partial<PoolOptions> = {}): Promise<OpenDatabase> {
    const fresh = await engine.databases(1);
    return new OpenDatabase(await engineAt(fresh.urls[0] as string), fresh, options);
  }

  /** A second pool on the same database. */
  openAgain(options: Partial<PoolOptions> = {}): Database {
    const other = this.engine.open({ ...POOL_DEFAULTS, ...options });
    this.#others.push(other);
    return other;
  }

  /** SQL with `?` for the parameters, which are driver values. */
  statement(sql: string, parameters: readonly unknown[] = []): Statement {
    return { sql: this.engine.dialect.placeholders(sql), parameters };
  }

  run(sql: string, parameters: readonly unknown[] = [], on?: Connection): Promise<EngineResult> {
    return (on ?? this.database).run(this.statement(sql, parameters));
  }

  /** The values of a result's only column. */
  async column(sql: string, on?: Connection): Promise<unknown[]> {
    const { rows } = await this.run(sql, [], on);
    return rows.map((row) => Object.values(row)[0]);
  }

  async execute(statements: readonly string[]): Promise<void> {
    for (const sql of statements) await this.database.run({ sql, parameters: [], prepare: false });
  }

  async createTables(...tables: readonly TableModel[]): Promise<void> {
    for (const table of tables) await this.execute(this.engine.dialect.createTable(table));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.database, ...this.#others].map((database) => database.close()));
    await this.#fresh.cleanUp();
  }
}
