/** The same statements without the library: the bare drivers, and plain Kysely over them, with pools of the same size. */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { type Dialect, Kysely, MysqlDialect, PostgresDialect, SqliteDialect } from "kysely";
import { createPool } from "mysql2";
import pg from "pg";

export type BenchEngine = "sqlite" | "mysql" | "postgres";

/** Connections of every pool in a bench, the library's included. */
export const POOL_SIZE = 10;

export interface Bare {
  /** A prepared statement, bound to values; `?` stands for a parameter on every engine. Gives the rows, or nothing for a write. */
  prepare(name: string, sql: string): (values: readonly unknown[]) => Promise<unknown>;
  /** A statement that is not prepared: set-up. */
  run(sql: string): Promise<void>;
  // biome-ignore lint/suspicious/noExplicitAny: each bench names its own tables.
  readonly kysely: Kysely<any>;
  close(): Promise<void>;
}

export function openBare(engine: BenchEngine, url: string): Bare {
  if (engine === "postgres") return openPostgres(url);
  return engine === "mysql" ? openMysql(url) : openSqlite(url);
}

function openPostgres(url: string): Bare {
  const pool = new pg.Pool({ connectionString: url, max: POOL_SIZE });
  const kyselyPool = new pg.Pool({ connectionString: url, max: POOL_SIZE });
  return {
    prepare(name, sql) {
      let place = 0;
      const text = sql.replaceAll("?", () => `$${++place}`);
      return async (values) => (await pool.query({ name, text, values: values as unknown[] })).rows;
    },
    async run(sql) {
      await pool.query(sql);
    },
    kysely: new Kysely({ dialect: new PostgresDialect({ pool: kyselyPool }) }),
    async close() {
      await this.kysely.destroy();
      await pool.end();
    },
  };
}

function openMysql(url: string): Bare {
  // The library keeps moments in UTC.
  const options = { uri: url, connectionLimit: POOL_SIZE, timezone: "Z" };
  const pool = createPool(options);
  const kyselyPool = createPool(options);
  // What the library says of its own sessions: their clock is never stopped, so that the guard may tell a statement by it.
  pool.on("connection", (connection) => connection.query("set @tesserae_session = 1"));
  type Callback = (error: unknown, rows: unknown) => void;
  const call = (run: (callback: Callback) => void) =>
    new Promise<unknown>((resolve, reject) =>
      run((error, rows) => (error === null ? resolve(rows) : reject(error))),
    );
  return {
    prepare: (_name, sql) => (values) => call((callback) => pool.execute(sql, values as never[], callback)),
    async run(sql) {
      await call((callback) => pool.query(sql, callback));
    },
    kysely: new Kysely({ dialect: new MysqlDialect({ pool: kyselyPool }) }),
    async close() {
      await this.kysely.destroy();
      await new Promise((resolve) => pool.end(resolve));
    },
  };
}

function openSqlite(url: string): Bare {
  const database = new DatabaseSync(url.replace(/^sqlite:/, ""));
  database.exec("pragma journal_mode = wal; pragma foreign_keys = on");
  const kyselyDatabase = new DatabaseSync(url.replace(/^sqlite:/, ""));
  kyselyDatabase.exec("pragma foreign_keys = on");
  return {
    prepare(_name, sql) {
      const statement = database.prepare(sql);
      const reads = sql.startsWith("select");
      return async (values) =>
        reads ? statement.all(...(values as never[])) : statement.run(...(values as never[]));
    },
    async run(sql) {
      database.exec(sql);
    },
    kysely: new Kysely({ dialect: nodeSqliteDialect(kyselyDatabase) }),
    async close() {
      await this.kysely.destroy();
      database.close();
    },
  };
}

/** Kysely's SQLite dialect wants better-sqlite3's form; `node:sqlite` has nearly the same. */
function nodeSqliteDialect(database: DatabaseSync): Dialect {
  const form = {
    close: () => database.close(),
    prepare(sql: string) {
      const statement: StatementSync = database.prepare(sql);
      return {
        reader: /^\s*select/i.test(sql) || /returning/i.test(sql),
        all: (parameters: readonly unknown[]) => statement.all(...(parameters as never[])),
        run: (parameters: readonly unknown[]) => statement.run(...(parameters as never[])),
        iterate: (parameters: readonly unknown[]) => statement.iterate(...(parameters as never[])),
      };
    },
  };
  return new SqliteDialect({ database: form as never });
}

/** Where this file's package is: for data that a bench brings. */
export const benchFolder = fileURLToPath(new URL("..", import.meta.url));
