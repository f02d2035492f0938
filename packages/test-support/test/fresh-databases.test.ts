import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import mysql from "mysql2/promise";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { type FreshDatabases, forEachEngine } from "../src/index.ts";

const createTable = "create table dots (id int primary key)";
const selectTables = "select count(*) as n from information_schema.tables where table_name = 'dots'";

async function run({ urls: [url = ""], engine }: FreshDatabases, statement: string): Promise<unknown[]> {
  if (engine === "mysql") {
    const connection = await mysql.createConnection(url);
    const [rows] = await connection.query(statement);
    await connection.end();
    return rows as unknown[];
  }
  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query(statement);
  await client.end();
  return rows;
}

async function fill(databases: FreshDatabases): Promise<void> {
  await run(databases, createTable);
}

async function countTables(databases: FreshDatabases): Promise<number> {
  const inThisDatabase = databases.engine === "mysql" ? " and table_schema = database()" : "";
  const [row] = (await run(databases, selectTables + inThisDatabase)) as { n: number | string }[];
  return Number(row?.n);
}

forEachEngine((engine) => {
  describe(engine.name, () => {
    test("gives databases that nobody else has", async () => {
      const databases = await engine.databases(3);
      expect(new Set(databases.urls).size).toBe(3);
      for (const file of databases.files) new DatabaseSync(file).close();
      await databases.cleanUp();
      for (const file of databases.files) expect(existsSync(dirname(file))).toBe(false);
    });

    // Every SQLite file is its own server.
    if (engine.name === "sqlite") return;

    test("gives empty databases, also after they were used", async () => {
      for (let round = 0; round < 3; round += 1) {
        await using databases = await engine.databases(1);
        expect(await countTables(databases)).toBe(0);
        await fill(databases);
        expect(await countTables(databases)).toBe(1);
      }
    });

    test("spreads databases over two servers when asked", async () => {
      await using one = await engine.databases(2);
      await using two = await engine.databases(4, { servers: 2 });
      const ports = (urls: readonly string[]) => urls.map((url) => new URL(url).port);
      expect(new Set(ports(one.urls)).size).toBe(1);
      expect(new Set(ports(two.urls)).size).toBe(2);
      expect(ports(two.urls)[0]).toBe(ports(two.urls)[2]);
    });
  });
});
