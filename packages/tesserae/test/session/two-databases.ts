/** Two SQLite databases: one holds the rows of tenants 1 and 2, the other only those of tenant 1. */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { OperationNode } from "kysely";
import { compile } from "./offline-kysely.ts";

/** What the other tenant's labels say. */
export const SECRET = "SECRET";

export interface Outcome {
  readonly rows?: string[];
  readonly error?: string;
}

/** `defaults`: the distribution column fills itself, and `id` alone is unique, as in a database of one tenant. */
export function openNotes(tenants: readonly number[], defaults: boolean): DatabaseSync {
  const database = new DatabaseSync(":memory:");
  for (const table of ["sheets", "dots"]) {
    const owner = defaults ? "default 1" : "";
    database.exec(
      `create table ${table} (id integer not null, user_id integer not null ${owner}, label text not null, n integer, primary key (user_id, id)) without rowid`,
    );
    if (defaults) database.exec(`create unique index only_${table} on ${table} (id)`);
  }
  database.exec("create table themes (id integer primary key, label text not null, n integer)");
  database.exec("create table secrets (id integer primary key, label text not null)");
  for (const tenant of tenants) fill(database, tenant);
  if (tenants.includes(2)) database.exec(`insert into secrets values (1, '${SECRET}')`);
  for (let id = 1; id <= 4; id++) {
    database
      .prepare("insert into themes values (?, ?, ?)")
      .run(id, "ab"[id % 2] as string, id % 2 === 0 ? null : id);
  }
  return database;
}

/** Small values, so that joins and conditions meet. */
function fill(database: DatabaseSync, tenant: number): void {
  const counts = { sheets: 3 + tenant, dots: 5 + tenant };
  for (const [table, count] of Object.entries(counts)) {
    for (let id = 1; id <= count; id++) {
      const n = (id + tenant) % 3 === 0 ? null : (id * tenant + count) % 5;
      const label = tenant === 2 && id > 3 ? SECRET : ("ab%"[(id * 7 + tenant) % 3] as string);
      database
        .prepare(`insert into ${table} (id, user_id, label, n) values (?, ?, ?, ?)`)
        .run(id, tenant, label, n);
    }
  }
}

export function rowsOf(database: DatabaseSync, condition: string): string[] {
  return ["sheets", "dots"].flatMap((table) =>
    database
      .prepare(`select * from ${table} where ${condition} order by user_id, id`)
      .all()
      .map((row) => `${table} ${JSON.stringify(row)}`),
  );
}

export function run(database: DatabaseSync, node: OperationNode): Outcome {
  try {
    const { sql, parameters } = compile("sqlite", node);
    const rows = database.prepare(sql).all(...(parameters as SQLInputValue[]));
    return { rows: rows.map((row) => JSON.stringify(row)).sort() };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Runs the work in a transaction on each database and takes it back. */
export function inTransaction(databases: readonly DatabaseSync[], work: () => void): void {
  for (const database of databases) database.exec("begin");
  try {
    work();
  } finally {
    for (const database of databases) if (database.isTransaction) database.exec("rollback");
  }
}
