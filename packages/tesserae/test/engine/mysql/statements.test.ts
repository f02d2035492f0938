/** What is MariaDB's and MySQL's own: exact numbers in expressions, RETURNING, results of procedures, what cannot be prepared, options and TLS. */
import { forEachEngine } from "@tesserae/test-support";
import { Kysely, MysqlIntrospector } from "kysely";
import { describe, expect, test } from "vitest";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { mysql } from "../../../src/engine/mysql/engine.ts";
import { decimal } from "../../../src/schema/column.ts";
import { OpenDatabase } from "../open-database.ts";

forEachEngine((engine) => {
  if (engine.name !== "mysql") return;

  describe("statements on mysql", () => {
    test("count with bigints and decimals exactly", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.execute(["create table exact (id int primary key, n bigint, d decimal(38, 10))"]);
      const money = open.engine.dialect.codec(decimal(38, 10).spec.type);
      const large = 2n ** 53n + 1n;
      const amount = "1234567890123456789012345678.0000000001";
      await open.run("insert into exact (id, n, d) values (?, ?, ?)", [1, large, money.encode(amount)]);
      await open.run("update exact set n = n + ?, d = d + ? where n = ? and d = ?", [
        1n,
        money.encode("0.0000000001"),
        large,
        money.encode(amount),
      ]);
      const { rows } = await open.run("select n, d, n + ? as next, ? as given, ? as small from exact", [
        1n,
        large,
        7,
      ]);
      expect(rows).toEqual([
        {
          n: large + 1n,
          d: "1234567890123456789012345678.0000000002",
          next: large + 2n,
          given: large,
          small: 7,
        },
      ]);
      const found = await open.run("select id from exact where n > ? and n < ? and d in (?)", [
        large,
        large + 2n,
        money.encode("1234567890123456789012345678.0000000002"),
      ]);
      expect(found.rows).toHaveLength(1);
    });

    test("give the same rows whether prepared or not", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.execute([
        "create table kinds (a bigint, b bigint unsigned, c datetime(6), d date, e time, f year, g float, h double, i varbinary(5), j varchar(9) character set utf8mb4, k tinyint, l smallint unsigned, m decimal(9, 3), n json)",
        "insert into kinds values (-9223372036854775808, 18446744073709551615, '0001-01-01 00:00:00', '9999-12-31', '-12:34:56', 1999, 1.5, 0.1, x'00ff', '😀', -1, 65535, -1.5, '{\"x\":1}'), (1, 2, '2026-02-03 04:05:06.000007', '0001-02-03', '00:00:00', 2000, 0, -0.0, '', '', 1, 0, 0, 'null'), (null, null, null, null, null, null, null, null, null, null, null, null, null, null)",
      ]);
      const sql = "select * from kinds";
      const prepared = await open.database.run({ sql, parameters: [] });
      const direct = await open.database.run({ sql, parameters: [], prepare: false });
      expect(prepared.rows).toEqual(direct.rows);
      expect(prepared.rows[0]).toMatchObject({
        a: -(2n ** 63n),
        b: 2n ** 64n - 1n,
        c: "0001-01-01T00:00:00.000000Z",
        d: "9999-12-31",
        k: -1,
        l: 65535,
        m: "-1.500",
        n: '{"x":1}',
      });
      expect(prepared.rows[1]?.["c"]).toBe("2026-02-03T04:05:06.000007Z");
      const named = await open.run('select 1 as `constructor`, 2 as `a"b\nc`');
      expect(Object.entries(named.rows[0] ?? {})).toEqual([
        ["constructor", 1],
        ['a"b\nc', 2],
      ]);
    });

    test("with a column that the driver refuses to name fail, and the next ones do not", async () => {
      await using open = await OpenDatabase.of(engine, { connectionsMax: 1 });
      await expect(open.run("select 1 as `__proto__`")).rejects.toThrow("__proto__");
      expect(await open.column("select 2 as b")).toEqual([2]);
    });

    test("that cannot be prepared run all the same", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.run("create procedure two() begin select 1 as a; select 2 as b; end");
      await open
        .run("create trigger nothing before insert on missing for each row begin end")
        .catch((error: unknown) => expect(String(error)).toContain("doesn't exist"));
      expect((await open.run("call two()")).rows).toEqual([{ a: 1 }]);
      expect((await open.run("select 1 as after_call")).rows).toHaveLength(1);
    });

    test("of Kysely return rows of inserts and deletes", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.execute(["create table notes (id int primary key, body varchar(20))"]);
      const { dialect } = open.engine;
      const db = new Kysely<{ notes: { id: number; body: string } }>({
        dialect: {
          createAdapter: () => dialect.createAdapter(),
          createQueryCompiler: () => dialect.createQueryCompiler(),
          createIntrospector: (kysely) => new MysqlIntrospector(kysely),
          createDriver: () => ({
            init: async () => {},
            destroy: async () => {},
            acquireConnection: async () => ({
              executeQuery: async <R>({
                sql,
                parameters,
              }: {
                sql: string;
                parameters: readonly unknown[];
              }) => ({
                rows: (await open.run(sql, parameters)).rows as R[],
              }),
              streamQuery: () => {
                throw new Error("not used");
              },
            }),
            releaseConnection: async () => {},
            beginTransaction: async () => {},
            commitTransaction: async () => {},
            rollbackTransaction: async () => {},
          }),
        },
      });
      const inserted = await db
        .insertInto("notes")
        .values([
          { id: 1, body: "a" },
          { id: 2, body: "b" },
        ])
        .returning(["id", "body"])
        .execute();
      expect(inserted).toEqual([
        { id: 1, body: "a" },
        { id: 2, body: "b" },
      ]);
      expect(await db.deleteFrom("notes").where("id", "=", 1).returning("body").execute()).toEqual([
        { body: "a" },
      ]);
      expect(await db.selectFrom("notes").selectAll().limit(5).execute()).toHaveLength(1);
    });

    test("see a session of known settings", async () => {
      await using open = await OpenDatabase.of(engine);
      const { rows } = await open.run(
        "select @@time_zone as zone, @@sql_mode as mode, @@collation_connection as collation, @@idle_transaction_timeout as idle, @@net_write_timeout as unread, 'a' = 'A' as folds, 'a' = 'a ' as pads",
      );
      expect(rows[0]).toMatchObject({
        zone: "+00:00",
        mode: expect.stringContaining("STRICT_ALL_TABLES"),
        collation: "utf8mb4_nopad_bin",
        idle: 60n,
        unread: 86_400n,
        folds: 0,
        pads: 0,
      });
    });
  });

  describe("options on mysql", () => {
    test("set the limits of locks and idle transactions", async () => {
      await using fresh = await engine.databases(1);
      const url = `${fresh.urls[0]}?lockTimeoutMs=1500&idleInTransactionTimeoutMs=0`;
      const database = mysql(url).open(POOL_DEFAULTS);
      const { rows } = await database.run({
        sql: "select @@innodb_lock_wait_timeout as lock_s, @@idle_transaction_timeout as idle_s",
        parameters: [],
      });
      expect(rows[0]).toEqual({ lock_s: 2n, idle_s: 0n });
      await database.close();
    });

    test("let a transaction idle whose rows are read slowly, and none after it", async () => {
      await using open = await OpenDatabase.of(engine);
      const connection = await open.database.acquire();
      const limitOf = () => open.column("select @@idle_readonly_transaction_timeout", connection);
      const begin = { isolation: "repeatable read", readOnly: true, slowReader: true } as const;
      const [before] = await limitOf();
      await connection.begin(begin);
      expect((await limitOf()).map(Number)).toEqual([86_400]);
      await connection.rollback();
      expect(await limitOf()).toEqual([before]);
      await connection.begin(begin);
      connection.release();
      // The limit went with the connection.
      expect(open.database.stats.open).toBe(0);
    });

    test.each([
      ["mysql://h/", "names no database"],
      ["mysql://h/d?sslmode=x", '"sslmode" is not known'],
      ["mysql://h/d?ssl=maybe", "ssl is true or false"],
      ["mysql://h/d?ssl-mode=sometimes", "ssl-mode is"],
      ["mysql://h/d?ssl-ca=/no/such/file", "cannot be read"],
      ["mysql://h/d?lockTimeoutMs=soon", "lockTimeoutMs"],
    ])("of %s are refused", (url, problem) => {
      expect(() => mysql(url)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(problem) }),
      );
    });

    test("of an object are checked, with secrets from the environment", () => {
      process.env["TESSERAE_TEST_PASSWORD"] = "hush";
      const target = mysql({ host: "H", user: "app", password: "${TESSERAE_TEST_PASSWORD}", database: "d" });
      expect(target.address).toMatchObject({
        identity: "mysql://h:3306/d",
        server: "mysql://h:3306",
        display: "mysql://app:***@h:3306/d",
      });
      expect(() => mysql({ database: "d", password: "${TESSERAE_TEST_MISSING}" })).toThrow(
        expect.objectContaining({ code: "CONFIG_ENV_MISSING" }),
      );
      expect(() => mysql({ database: "" })).toThrow(/database is missing/);
      expect(() => mysql({ database: "d", port: 0 })).toThrow(/port/);
      expect(() => mysql({ database: "d", tls: 1 as never })).toThrow(/tls/);
    });
  });
});
