/** What is particular to the SQLite pool: one writer, readers beside it, rows as plain objects, 64-bit integers exact. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Database, type Engine, POOL_DEFAULTS, type PoolOptions } from "../../../src/engine/contract.ts";
import { sqlite } from "../../../src/engine/sqlite/engine.ts";

let folder: string;
let engine: Engine;
let database: Database;
const opened: Database[] = [];

function open(options: Partial<PoolOptions> = {}): Database {
  const result = engine.open({ ...POOL_DEFAULTS, ...options });
  opened.push(result);
  return result;
}

const run = (sql: string, ...parameters: unknown[]) => database.run({ sql, parameters });
const read = async (sql: string, ...parameters: unknown[]) =>
  (await database.run({ sql, parameters, readOnly: true })).rows;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tesserae-sqlite-"));
  engine = sqlite(join(folder, "new", "dots.db"));
  database = open();
  await run("create table t (id INTEGER primary key, small INT, text TEXT) strict");
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close(0)));
  rmSync(folder, { recursive: true, force: true });
});

describe("rows", () => {
  test("are plain objects with exact integers, 32-bit columns as numbers", async () => {
    await run("insert into t values (?, ?, ?)", 2n ** 63n - 1n, 7, "x");
    const [row] = await read("select * from t");
    expect(row).toStrictEqual({ id: 2n ** 63n - 1n, small: 7, text: "x" });
    expect(Object.getPrototypeOf(row)).toBe(Object.prototype);
    expect(await read("select small, text from t")).toStrictEqual([{ small: 7, text: "x" }]);
    expect(await read("select count(*) n, small, null empty, small + 0 sum from t")).toStrictEqual([
      { n: 1n, small: 7, empty: null, sum: 7n },
    ]);
  });

  test("keep any column name", async () => {
    const [row] = await read(
      `select 1 as "__proto__", 2 as "a ""b""", 3 as "a", 4 as "a", 5 as "constructor"`,
    );
    expect(Object.entries(row ?? {})).toEqual([
      ["__proto__", 1n],
      ['a "b"', 2n],
      ["a", 4n],
      ["constructor", 5n],
    ]);
  });

  test("stay right when another connection changes the table under a prepared statement", async () => {
    await run("insert into t values (1, 2, 'x')");
    expect(await read("select * from t")).toHaveLength(1);
    const other = new DatabaseSync(join(folder, "new", "dots.db"));
    other.exec(
      "drop table t; create table t (id INTEGER primary key, small INTEGER, text TEXT, more INTEGER)",
    );
    other.exec("insert into t values (1, 9007199254740993, 'x', 5)");
    other.close();
    expect(await read("select small from t")).toEqual([{ small: 2n ** 53n + 1n }]);
    expect(await read("select * from t")).toEqual([{ id: 1n, small: 2n ** 53n + 1n, text: "x", more: 5n }]);
  });
});

describe("tables that change under prepared statements", () => {
  test("are noticed at once when this process changes them", async () => {
    const second = open();
    await run("insert into t values (1, 2, 'x')");
    const all = { sql: "select * from t", parameters: [], readOnly: true };
    await database.run(all);
    await second.run(all);
    await run("alter table t drop column text");
    await run("alter table t add column other TEXT");
    expect((await database.run(all)).rows).toEqual([{ id: 1n, small: 2, other: null }]);
    expect((await second.run(all)).rows).toEqual([{ id: 1n, small: 2, other: null }]);
    const connection = await second.acquire();
    await connection.begin();
    await connection.run({ sql: "alter table t rename column other to third", parameters: [] });
    expect((await connection.run(all)).rows).toEqual([{ id: 1n, small: 2, third: null }]);
    expect((await database.run(all)).rows).toEqual([{ id: 1n, small: 2, other: null }]);
    await connection.commit();
    connection.release();
    expect((await database.run(all)).rows).toEqual([{ id: 1n, small: 2, third: null }]);
  });

  test("are noticed within milliseconds when another process does", async () => {
    await run("insert into t values (1, 2, 'x')");
    const all = { sql: "select * from t", parameters: [], readOnly: true };
    await database.run(all);
    const other = new DatabaseSync(join(folder, "new", "dots.db"));
    other.exec("begin; alter table t drop column text; alter table t add column other TEXT; commit");
    other.close();
    await sleep(20);
    expect((await database.run(all)).rows).toEqual([{ id: 1n, small: 2, other: null }]);
  });
});

describe("statements", () => {
  test("give affected rows and ids", async () => {
    await run("create table auto (id INTEGER primary key autoincrement, x INT)");
    expect(await run("insert into auto (x) values (1)")).toEqual({
      rows: [],
      affectedRows: 1n,
      insertId: 1n,
    });
    expect(await run(`insert into "auto" (x) values (1), (2)`)).toMatchObject({
      affectedRows: 2n,
      insertId: undefined,
    });
    expect(await run("insert into t values (77, 1, 'x')")).toMatchObject({
      affectedRows: 1n,
      insertId: undefined,
    });
    expect(await run("update auto set x = 9 where x = 1 returning id")).toEqual({
      rows: [{ id: 1n }, { id: 2n }],
      affectedRows: 2n,
      insertId: undefined,
    });
    expect(await run("with a as (select 1 i) delete from t where id in (select i from a)")).toMatchObject({
      affectedRows: 0n,
    });
    expect(await run("with a as (select 1 i) select i from a")).toMatchObject({ affectedRows: undefined });
    expect(await run("create table other (id INT)")).toMatchObject({ affectedRows: undefined });
  });

  test.each([
    "begin",
    "BEGIN IMMEDIATE",
    " -- x\n commit",
    "/* x */ rollback",
    "savepoint a",
    "release a",
    "end",
    "attach ':memory:' as x",
    "pragma foreign_keys = off",
    "pragma main.query_only(1)",
  ])("%j is refused: the connection is another's next", async (sql) => {
    await expect(run(sql)).rejects.toMatchObject({ code: "QUERY_FAILED" });
  });

  test("may ask with a pragma", async () => {
    expect(await read("pragma foreign_keys")).toEqual([{ foreign_keys: 1n }]);
    expect(await read("pragma table_info(t)")).toHaveLength(3);
  });

  test("refuse an object in the first place, which would shift the others", async () => {
    await expect(run("select ?, ?", new Date(), 1)).rejects.toMatchObject({ code: "VALUE_INVALID" });
    const error = await run("select ?, ?", 1, new Date()).catch((reason: unknown) => reason);
    expect(engine.dialect.classify(error).code).toBe("VALUE_INVALID");
  });

  test("cannot write through a reader", async () => {
    await expect(database.run({ sql: "delete from t", parameters: [], readOnly: true })).rejects.toThrow(
      /readonly/,
    );
    const connection = await database.acquire({ mode: "read" });
    await expect(connection.run({ sql: "delete from t", parameters: [] })).rejects.toThrow(/readonly/);
    connection.release();
  });
});

describe("the writer", () => {
  test("goes from one to the next in the order of asking, across pools of the process", async () => {
    const second = open();
    await second.run({ sql: "select 1", parameters: [] });
    const holder = await database.acquire();
    await holder.begin();
    const order: number[] = [];
    const writes = Array.from({ length: 6 }, async (_, index) => {
      await (index % 2 === 0 ? database : second).run({
        sql: "insert into t values (?, 1, 'x')",
        parameters: [BigInt(index)],
      });
      order.push(index);
    });
    await sleep(20);
    expect(order).toEqual([]);
    expect(await read("select * from t")).toEqual([]);
    await holder.commit();
    holder.release();
    await Promise.all(writes);
    expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("is not held by a connection that does nothing with it", async () => {
    const idle = await database.acquire();
    const writer = await database.acquire();
    await writer.begin();
    await writer.run({ sql: "insert into t values (1, 1, 'x')", parameters: [] });
    await writer.commit();
    await idle.run({ sql: "insert into t values (2, 1, 'x')", parameters: [] });
    expect(await read("select id from t")).toEqual([{ id: 1n }, { id: 2n }]);
    idle.release();
    writer.release();
  });

  test("that does not come free is CONNECTION_LIMIT, and leaves nothing behind", async () => {
    const impatient = open({ acquireTimeoutMs: 30 });
    const holder = await database.acquire();
    await holder.begin();
    await expect(impatient.run({ sql: "delete from t", parameters: [] })).rejects.toMatchObject({
      code: "CONNECTION_LIMIT",
    });
    const connection = await impatient.acquire();
    await expect(connection.begin()).rejects.toMatchObject({ code: "CONNECTION_LIMIT" });
    await holder.rollback();
    await connection.begin();
    await connection.rollback();
    connection.release();
    holder.release();
  });

  test("knows a transaction that SQLite has rolled back by itself", async () => {
    await run("create trigger all_or_nothing before delete on t begin select raise(rollback, 'no'); end");
    await run("insert into t values (1, 1, 'x')");
    const connection = await database.acquire();
    await connection.begin();
    await expect(connection.run({ sql: "delete from t", parameters: [] })).rejects.toThrow("no");
    // Without the transaction these would commit by themselves.
    await expect(
      connection.run({ sql: "insert into t values (2, 1, 'x')", parameters: [] }),
    ).rejects.toMatchObject({ code: "QUERY_FAILED", retryable: true });
    await expect(connection.commit()).rejects.toMatchObject({ code: "QUERY_FAILED" });
    await connection.rollback();
    connection.release();
    expect(await read("select id from t")).toEqual([{ id: 1n }]);
  });
});

describe("readers", () => {
  test("of a stream see one moment and keep nobody from writing", async () => {
    await run(
      "insert into t select value, 1, 'x' from (with recursive n(value) as (select 1 union all select value + 1 from n where value < 1000) select value from n)",
    );
    const connection = await database.acquire({ mode: "read" });
    let rows = 0;
    for await (const chunk of connection.stream({ sql: "select id from t", parameters: [] }, 100)) {
      rows += chunk.length;
      await run("delete from t where id = ?", BigInt(1000 - rows));
      expect(await read("select count(*) n from t where id = ?", BigInt(1000 - rows))).toEqual([{ n: 0n }]);
    }
    expect(rows).toBe(1000);
    connection.release();
  });

  test("are closed when they have been idle", async () => {
    const quick = open({ idleTimeoutMs: 20 });
    await quick.run({ sql: "select 1", parameters: [], readOnly: true });
    const connections = await Promise.all([quick.acquire({ mode: "read" }), quick.acquire({ mode: "read" })]);
    for (const connection of connections) await connection.begin();
    expect(quick.stats).toEqual({ open: 4, inUse: 2, waiting: 0 });
    for (const connection of connections) connection.release();
    expect(quick.stats.open).toBe(4);
    await sleep(100);
    expect(quick.stats).toEqual({ open: 2, inUse: 0, waiting: 0 });
  });
});

describe("close", () => {
  test("waits for the open transaction, and refuses what is new", async () => {
    const connection = await database.acquire();
    await connection.begin();
    const closing = database.close();
    await expect(run("select 1")).rejects.toMatchObject({ code: "CLOSED" });
    await expect(database.acquire()).rejects.toMatchObject({ code: "CLOSED" });
    await connection.run({ sql: "insert into t values (1, 1, 'x')", parameters: [] });
    await connection.commit();
    connection.release();
    await closing;
    await database.close();
    const again = open();
    expect((await again.run({ sql: "select id from t", parameters: [] })).rows).toEqual([{ id: 1n }]);
    expect(database.stats.open).toBe(0);
  });

  test("ends what does not end in time, and lets others write", async () => {
    const connection = await database.acquire();
    await connection.begin();
    await connection.run({ sql: "insert into t values (1, 1, 'x')", parameters: [] });
    await database.close(20);
    const again = open();
    await again.run({ sql: "insert into t values (2, 1, 'x')", parameters: [] });
    await expect(connection.commit()).rejects.toThrow();
    connection.release();
    expect((await again.run({ sql: "select id from t", parameters: [] })).rows).toEqual([{ id: 2n }]);
  });
});

test("a file that is no database is CONNECT_FAILED", async () => {
  const broken = sqlite(join(folder, "broken.db"));
  const { writeFileSync } = await import("node:fs");
  writeFileSync(
    join(folder, "broken.db"),
    "this is no database, but long enough to be looked at as one. ".repeat(20),
  );
  const pool = broken.open(POOL_DEFAULTS);
  const error = await pool.acquire().catch((reason: unknown) => reason);
  expect(broken.dialect.classify(error)).toMatchObject({ code: "CONNECT_FAILED", fatal: true });
  await pool.close();
});
