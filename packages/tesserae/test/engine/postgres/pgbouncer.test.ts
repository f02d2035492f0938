/** PostgreSQL behind PgBouncer in transaction mode: more clients than connections of the server, and what is found out and refused. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  findBinary,
  freshDatabases,
  type PgBouncerOptions,
  runAsAdmin,
  sharedServer,
  startPgBouncer,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Database,
  POOL_DEFAULTS,
  type PoolOptions,
  type Statement,
} from "../../../src/engine/contract.ts";
import { type PostgresOptions, postgres } from "../../../src/engine/postgres/engine.ts";

const why =
  whyUnavailable("postgres") ??
  (findBinary("pgbouncer") === undefined ? "pgbouncer is not installed" : undefined);
const suite = why === undefined ? describe : describe.skip;

const sql = (text: string, ...parameters: unknown[]): Statement => ({ sql: text, parameters });
const LIMIT = 2;

suite(`PgBouncer${why === undefined ? "" : ` (left out: ${why})`}`, () => {
  let url = "";
  /** The same database through a PgBouncer that the tests share. */
  let pooled = "";
  const endings: (() => Promise<void>)[] = [];

  const bouncer = async (options: PgBouncerOptions = {}) => {
    const started = await startPgBouncer(await sharedServer("postgres"), { poolSize: LIMIT, ...options });
    endings.unshift(() => started.stop());
    return started;
  };
  const open = (target: string | PostgresOptions, options: Partial<PoolOptions> = {}): Database => {
    const database = postgres(target).open({ ...POOL_DEFAULTS, ...options });
    endings.unshift(() => database.close(100));
    return database;
  };
  const value = async (database: Database, text: string): Promise<unknown> =>
    Object.values((await database.run(sql(text))).rows[0] ?? {})[0];
  const change = async (setting: string): Promise<void> => {
    const name = new URL(url).pathname.slice(1);
    await runAsAdmin(await sharedServer("postgres"), [`alter database "${name}" ${setting}`]);
  };

  beforeAll(async () => {
    const databases = await freshDatabases("postgres", 1);
    endings.unshift(() => databases.cleanUp());
    url = databases.urls[0] as string;
    pooled = `${(await bouncer()).through(url)}?pooler=transaction`;
  });
  afterAll(async () => {
    for (const end of endings) await end();
  });

  describe("serves", () => {
    test("more connections than it has itself, none of which knows the others' statements", async () => {
      const database = open(pooled);
      await database.run(sql("create table notes (id int primary key, body text)"));
      const connections = await Promise.all(Array.from({ length: 8 }, () => database.acquire()));
      const texts = [
        "select $1::int n, pg_backend_pid() pid",
        "select $1::int n, 'other' as what, pg_backend_pid() pid",
      ];
      const servers = new Set<unknown>();
      for (let round = 0; round < 5; round++) {
        const results = await Promise.all(
          connections.map((connection, n) => connection.run(sql(texts[(n + round) % 2] as string, n))),
        );
        for (const [n, { rows }] of results.entries()) {
          expect(rows[0]?.["n"]).toBe(n);
          expect("what" in (rows[0] ?? {})).toBe((n + round) % 2 === 1);
          servers.add(rows[0]?.["pid"]);
        }
        await database.run(sql(`alter table notes add column c${round} int`));
        expect((await database.run(sql("select * from notes"))).rows).toEqual([]);
      }
      expect(servers.size).toBeLessThanOrEqual(LIMIT);
      for (const connection of connections) connection.release();
    });

    test("values as they are, whatever the server's time zone and style of dates", async () => {
      const before = open(pooled, { connectionsMax: 1 });
      await change("set TimeZone to 'Asia/Kathmandu'");
      await change("set DateStyle to 'German, DMY'");
      const other = (await bouncer()).through(url);
      const database = open(`${other}?pooler=transaction`);
      const read =
        "select '2024-02-29 12:00:00.5+00'::timestamptz || '' as moment, '2024-02-29'::date || '' as day, '\\x00ff'::bytea as bytes, 0.1::float8 + 0.2::float8 as number";
      const expected = [
        {
          moment: "2024-02-29 12:00:00.5+00",
          day: "2024-02-29",
          bytes: new Uint8Array([0, 255]),
          number: 0.1 + 0.2,
        },
      ];
      for (const each of [before, database]) expect((await each.run(sql(read))).rows).toEqual(expected);
      await change("reset all");
    });

    test("streams outside a transaction beside others, to their end and not", async () => {
      const database = open(pooled);
      const read = async (connectionRows: number, until: number) => {
        const connection = await database.acquire();
        let count = 0;
        for await (const rows of connection.stream(
          sql("select generate_series(1, 5000) n"),
          connectionRows,
        )) {
          count += rows.length;
          if (count >= until) break;
          await sleep(1);
        }
        connection.release();
        return count;
      };
      expect(await Promise.all([read(500, 5000), read(400, 800), read(500, 5000)])).toEqual([
        5000, 800, 5000,
      ]);
      expect(await value(database, "select 1")).toBe(1);
    });

    test("transactions with their settings, which nobody inherits", async () => {
      const database = open(`${pooled}&idle_in_transaction_session_timeout=45000`);
      const limits =
        "select current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('lock_timeout')";
      const connection = await database.acquire();
      await connection.begin({ isolation: "serializable" });
      const { rows } = await connection.run({
        ...sql(`${limits} || ' ' || current_setting('transaction_isolation') as set`),
        lockWaitMs: 250,
      });
      expect(rows).toEqual([{ set: "45s 250ms serializable" }]);
      await connection.commit();
      connection.release();
      const after = await Promise.all(Array.from({ length: LIMIT * 3 }, () => value(database, limits)));
      expect(new Set(after)).toEqual(new Set(["0 0"]));
    });

    test("no transaction of somebody who has stopped in it", async () => {
      const database = open(`${pooled}&idle_in_transaction_session_timeout=150`);
      const stopped = await database.acquire();
      await stopped.begin();
      await stopped.run(sql("create table held (id int)"));
      await expect
        .poll(() => stopped.run(sql("select 1")).catch((error: unknown) => error), {
          interval: 300,
          timeout: 5000,
        })
        .toBeInstanceOf(Error);
      stopped.release();
      expect(await value(database, "select to_regclass('held')")).toBeNull();
    });

    test("a wait for its own connections that ends as CONNECTION_LIMIT", async () => {
      const busy = await bouncer({ settings: { query_wait_timeout: "1" } });
      const target = `${busy.through(url)}?pooler=transaction`;
      const database = open(target);
      const connections = await Promise.all(Array.from({ length: LIMIT + 1 }, () => database.acquire()));
      for (const connection of connections.slice(0, LIMIT)) await connection.begin();
      const waiting = connections[LIMIT];
      const error = await waiting?.run(sql("select 1")).catch((reason: unknown) => reason);
      expect(postgres(target).dialect.classify(error)).toMatchObject({
        code: "CONNECTION_LIMIT",
        fatal: true,
      });
      // A connection that is new waits no longer than its pool would.
      const other = open(target, { acquireTimeoutMs: 100 });
      await expect(other.run(sql("select 1"))).rejects.toMatchObject({
        code: "CONNECTION_LIMIT",
        message: expect.stringContaining("default_pool_size"),
      });
      for (const connection of connections) connection.release();
      expect(await value(database, "select 1")).toBe(1);
    });
  });

  describe("that nobody said a word of is refused with POOLER_TRANSACTION", () => {
    const refused = { code: "POOLER_TRANSACTION", message: expect.stringContaining('pooler: "transaction"') };

    test("where it refuses the session's settings", async () => {
      const database = open(pooled.replace(/\?.*/, ""));
      const error = await database.run(sql("select 1")).catch((reason: unknown) => reason);
      expect(error).toMatchObject(refused);
      expect(String(error)).not.toContain(encodeURIComponent(new URL(url).password));
    });

    test("where it ignores them, in whichever mode", async () => {
      for (const mode of ["transaction", "session"] as const) {
        const deaf = await bouncer({ mode, settings: { ignore_startup_parameters: "options" } });
        await expect(open(deaf.through(url)).run(sql("select 1"))).rejects.toMatchObject(refused);
        expect(await value(open(`${deaf.through(url)}?pooler=transaction`), "select 1")).toBe(1);
      }
    });
  });

  test("that seems to hand the settings on gets statements without names", async () => {
    await change(`set "tesserae.session" to 'on'`);
    const deaf = await bouncer({ settings: { ignore_startup_parameters: "options" } });
    const database = open(deaf.through(url));
    expect(await value(database, "select 7")).toBe(7);
    expect(await value(database, "select count(*)::int from pg_prepared_statements")).toBe(0);
    await change("reset all");
  });

  test("whose server would give values in another form is refused with POOLER_SETTINGS", async () => {
    await change("set bytea_output to 'escape'");
    await change("set extra_float_digits to 0");
    const odd = await bouncer();
    await expect(open(`${odd.through(url)}?pooler=transaction`).run(sql("select 1"))).rejects.toMatchObject({
      code: "POOLER_SETTINGS",
      message: expect.stringMatching(
        /bytea_output is escape, extra_float_digits is 0.*alter role … set bytea_output = 'hex'/,
      ),
    });
    await change("reset all");
  });

  test('need not be there for pooler: "transaction"', async () => {
    const database = open(`${url}?pooler=transaction`);
    expect(await value(database, "select current_setting('TimeZone')")).toBe("UTC");
    expect(await value(database, "select count(*)::int from pg_prepared_statements")).toBe(0);
  });
});
