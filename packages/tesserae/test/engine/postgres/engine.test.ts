/** What only PostgreSQL's engine has: its sessions' settings, its statements and their plans, TLS, schemas. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  ENGINE_NAMES,
  freshDatabases,
  runAsAdmin,
  sharedServer,
  startPostgres,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Database, POOL_DEFAULTS, type Statement } from "../../../src/engine/contract.ts";
import { type PostgresOptions, postgres } from "../../../src/engine/postgres/engine.ts";

const why = whyUnavailable("postgres");
const suite = why === undefined ? describe : describe.skip;

const sql = (text: string, ...parameters: unknown[]): Statement => ({ sql: text, parameters });

suite(`PostgreSQL${why === undefined ? "" : ` (left out: ${why})`}`, () => {
  let url = "";
  let cleanUp = async () => {};
  const opened: Database[] = [];

  beforeAll(async () => {
    expect(ENGINE_NAMES).toContain("postgres");
    const databases = await freshDatabases("postgres", 1);
    url = databases.urls[0] as string;
    cleanUp = () => databases.cleanUp();
  });
  afterAll(async () => {
    await Promise.all(opened.map((database) => database.close(100)));
    await cleanUp();
  });

  const open = (target: string | PostgresOptions = url, connectionsMax = 2): Database => {
    const database = postgres(target).open({ ...POOL_DEFAULTS, connectionsMax });
    opened.push(database);
    return database;
  };
  const value = async (database: Database, statement: Statement): Promise<unknown> =>
    Object.values((await database.run(statement)).rows[0] ?? {})[0];

  describe("values", () => {
    test("do not depend on what the database has as its defaults", async () => {
      const address = await sharedServer("postgres");
      const name = new URL(url).pathname.slice(1);
      const odd = [
        "DateStyle to 'German, DMY'",
        "TimeZone to 'Asia/Kathmandu'",
        "bytea_output to 'escape'",
        "extra_float_digits to 0",
      ];
      await runAsAdmin(
        address,
        odd.map((setting) => `alter database "${name}" set ${setting}`),
      );
      const database = open();
      const { rows } = await database.run(
        sql(
          "select '2024-02-29 12:00:00.5+00'::timestamptz a, '2024-02-29'::date b, '\\x00ff'::bytea c, 0.1::float8 + 0.2::float8 d, '-1 day'::interval e",
        ),
      );
      expect(rows).toEqual([
        {
          a: "2024-02-29T12:00:00.500000Z",
          b: "2024-02-29",
          c: new Uint8Array([0, 255]),
          d: 0.1 + 0.2,
          e: "-1 days",
        },
      ]);
    });

    test("of computed columns lose nothing", async () => {
      const { rows } = await open().run(
        sql(
          "select count(*) a, sum(x) b, avg(x) c, 9223372036854775807 d, 1.10::numeric e, null f, true g, 'infinity'::timestamptz h, 'x'::\"char\" i from (values (9223372036854775807), (1)) t(x)",
        ),
      );
      expect(rows).toEqual([
        {
          a: 2n,
          b: "9223372036854775808",
          c: "4611686018427387904",
          d: 9223372036854775807n,
          e: "1.10",
          f: null,
          g: true,
          h: "infinity",
          i: "x",
        },
      ]);
    });

    test("of raw statements may be anything that has a text", async () => {
      const { rows } = await open().run(
        sql(
          "select $1::int a, $2::bigint b, $3::boolean c, $4::timestamptz d, $5::text[] e, $6::json f, $7::bytea g, $8::text h, $9::int[][] i",
          5,
          2n ** 40n,
          true,
          new Date(0),
          ["a", 'b"\\,{}', null, ""],
          { x: [1] },
          Buffer.from([1]),
          undefined,
          [
            [1, 2],
            [3, 4],
          ],
        ),
      );
      expect(rows[0]).toEqual({
        a: 5,
        b: 2n ** 40n,
        c: true,
        d: "1970-01-01T00:00:00.000000Z",
        e: '{a,"b\\"\\\\,{}",NULL,""}',
        f: '{"x":[1]}',
        g: new Uint8Array([1]),
        h: null,
        i: "{{1,2},{3,4}}",
      });
    });

    test("may be long, in both directions", async () => {
      const long = "ä😀x".repeat(300_000);
      const bytes = new Uint8Array(2_000_000).fill(7);
      const { rows } = await open().run(sql("select $1::text a, $2::bytea b, $3::int c", long, bytes, 1));
      expect(rows[0]?.["a"] === long).toBe(true);
      expect(Buffer.compare(rows[0]?.["b"] as Uint8Array, bytes)).toBe(0);
    });
  });

  describe("statements", () => {
    test("are prepared under a name, unless they say not to or the cache has no room", async () => {
      const names = sql("select count(*)::int n from pg_prepared_statements");
      const database = open(url, 1);
      await database.run(sql("select 1"));
      await database.run({ ...sql("select 2"), prepare: false });
      expect(await value(database, { ...names, prepare: false })).toBe(1);
      const without = postgres(url).open({ ...POOL_DEFAULTS, connectionsMax: 1, statementCacheEntries: 0 });
      opened.push(without);
      await without.run(sql("select 1"));
      expect(await value(without, names)).toBe(0);
    });

    test("are prepared again when their table has changed, and when somebody deallocated them", async () => {
      const database = open(url, 1);
      await database.run(sql("create table changing (a int)"));
      await database.run(sql("insert into changing values (1)"));
      const read = sql("select * from changing");
      expect((await database.run(read)).rows).toEqual([{ a: 1 }]);
      await database.run(sql("alter table changing add b text default 'x'"));
      expect((await database.run(read)).rows).toEqual([{ a: 1, b: "x" }]);
      await database.run(sql("deallocate all"));
      expect((await database.run(read)).rows).toEqual([{ a: 1, b: "x" }]);
    });

    test("whose table changed in the middle of a transaction fail in a way that may be tried again", async () => {
      const database = open();
      await database.run(sql("create table changed (a int)"));
      const connection = await database.acquire();
      await connection.run(sql("select * from changed"));
      await database.run(sql("alter table changed add b int"));
      await connection.begin();
      const error = await connection.run(sql("select * from changed")).catch((reason: unknown) => reason);
      expect(postgres(url).dialect.classify(error)).toMatchObject({ code: "SERIALIZATION", fatal: false });
      await connection.rollback();
      await connection.begin();
      expect((await connection.run(sql("select * from changed"))).rows).toEqual([]);
      await connection.commit();
      connection.release();
    });

    test("of one connection wait for each other, also behind one that failed", async () => {
      const connection = await open().acquire();
      const results = await Promise.allSettled([
        connection.run(sql("select pg_sleep(0.02), 1 n")),
        connection.run(sql("select broken")),
        connection.run(sql("select $1::int n", {})),
        connection.run(sql("select 4 n")),
      ]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
      connection.release();
    });

    test("with too many parameters are refused, and the connection goes on", async () => {
      const database = open(url, 1);
      const many = Array.from({ length: 65_536 }, () => 1);
      await expect(database.run({ sql: "select 1", parameters: many })).rejects.toThrow(/65535/);
      expect(await value(database, sql("select 1"))).toBe(1);
      expect(database.stats.open).toBe(1);
    });
  });

  describe("transactions", () => {
    test("that had an error do not pretend to be committed", async () => {
      const connection = await open().acquire();
      await connection.begin();
      await expect(connection.run(sql("select broken"))).rejects.toThrow();
      await expect(connection.commit()).rejects.toMatchObject({
        code: "QUERY_FAILED",
        message: expect.stringContaining("rolled back"),
      });
      await connection.begin();
      await connection.commit();
      connection.release();
    });

    test("in which nothing happens are ended by the server", async () => {
      const database = open(`${url}?idle_in_transaction_session_timeout=50`);
      const connection = await database.acquire();
      await connection.begin();
      await sleep(150);
      const error = await connection.run(sql("select 1")).catch((reason: unknown) => reason);
      expect(postgres(url).dialect.classify(error)).toMatchObject({ code: "CONNECTION_LOST", fatal: true });
      connection.release();
      expect(await value(database, sql("select 1"))).toBe(1);
    });

    test("have the isolation they ask for", async () => {
      const connection = await open().acquire();
      for (const [isolation, expected] of [
        ["read committed", "read committed"],
        ["repeatable read", "repeatable read"],
        ["snapshot", "repeatable read"],
        ["serializable", "serializable"],
      ] as const) {
        await connection.begin({ isolation, readOnly: true });
        expect(
          (
            await connection.run(
              sql(
                "select current_setting('transaction_isolation') i, current_setting('transaction_read_only') r",
              ),
            )
          ).rows,
        ).toEqual([{ i: expected, r: "on" }]);
        await connection.rollback();
      }
      connection.release();
    });
  });

  test("keeps the tables of two schemas apart", async () => {
    const admin = open();
    await admin.run(sql('create schema "Users 2"'));
    const other = open(`${url}?schema=${encodeURIComponent("Users 2")}`);
    await other.run(sql("create table apart (a int)"));
    expect((await other.run(sql(postgres(url).dialect.listTablesSql))).rows).toEqual([{ name: "apart" }]);
    expect((await admin.run(sql(postgres(url).dialect.listTablesSql))).rows).not.toContainEqual({
      name: "apart",
    });
  });

  describe("TLS", () => {
    test("reaches the server, and certificates are checked as the options say", async () => {
      await using server = await startPostgres({ tls: true });
      const target = await server.createDatabase();
      const encrypted = sql("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
      expect(await value(open(target), encrypted)).toBe(false);
      expect(await value(open(`${target}?sslmode=require`), encrypted)).toBe(true);
      await expect(open(`${target}?sslmode=verify-full`).run(encrypted)).rejects.toMatchObject({
        code: "CONNECT_FAILED",
      });
      const { user, password, host, port, certificate } = server;
      const options = { user, password, host, port, database: new URL(target).pathname.slice(1) };
      const tls = { ca: certificate as string };
      expect(await value(open({ ...options, tls }), encrypted)).toBe(true);
      await Promise.all(opened.splice(0).map((database) => database.close()));
    });

    test("is not given up where the server has none", async () => {
      await expect(open(`${url}?sslmode=require`).run(sql("select 1"))).rejects.toMatchObject({
        code: "CONNECT_FAILED",
        message: expect.stringContaining("SSL"),
      });
    });
  });
});
