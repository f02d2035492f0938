/** How PostgreSQL's engine uses its drivers: one statement at a time, the pool's errors, what is missing. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { freshDatabases, runAsAdmin, sharedServer, whyUnavailable } from "@tesserae/test-support";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Database, POOL_DEFAULTS, type Statement } from "../../../src/engine/contract.ts";
import { postgresDialect } from "../../../src/engine/postgres/dialect.ts";
import { type PostgresOptions, postgres } from "../../../src/engine/postgres/engine.ts";
import { readSettings } from "../../../src/engine/postgres/options.ts";
import { PostgresDatabase } from "../../../src/engine/postgres/pool.ts";

const why = whyUnavailable("postgres");
const suite = why === undefined ? describe : describe.skip;

const sql = (text: string, ...parameters: unknown[]): Statement => ({ sql: text, parameters });

/** Runs a script in a process that has no package of this name. */
function runWithout(name: string, script: string, target: string): string {
  const hooks = `import { registerHooks } from "node:module";
    registerHooks({ resolve(specifier, context, next) {
      if (specifier === "${name}") throw Object.assign(new Error("Cannot find package '${name}'"), { code: "ERR_MODULE_NOT_FOUND" });
      return next(specifier, context);
    } });`;
  const begin = `
    const { postgres } = await import(${JSON.stringify(new URL("../../../src/engine/postgres/engine.ts", import.meta.url).href)});
    const { POOL_DEFAULTS } = await import(${JSON.stringify(new URL("../../../src/engine/contract.ts", import.meta.url).href)});
    const database = postgres(${JSON.stringify(target)}).open(POOL_DEFAULTS);
    const statement = { sql: "select 1", parameters: [] };
    const show = (error) => console.log(error.code, error.message);`;
  const parameters = ["--input-type=module", "-e", `${begin}\n${script}\nawait database.close();`];
  const preload = `data:text/javascript,${encodeURIComponent(hooks)}`;
  return execFileSync(process.execPath, ["--import", preload, ...parameters], { encoding: "utf8" });
}

suite(`The drivers of PostgreSQL${why === undefined ? "" : ` (left out: ${why})`}`, () => {
  let url = "";
  let cleanUp = async () => {};
  const opened: Database[] = [];

  beforeAll(async () => {
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

  describe("statements beside others", () => {
    test("may have values that cannot be written, and are then run with others", async () => {
      const database = open(url, 1);
      const circular: { self?: unknown } = {};
      circular.self = circular;
      for (let round = 0; round < 2; round++) {
        await expect(database.run(sql("select $1::json n", circular))).rejects.toThrow(TypeError);
        expect(await value(database, sql("select $1::json n", 5))).toBe("5");
      }
      expect(database.stats).toEqual({ open: 1, inUse: 0, waiting: 0 });
    });

    test("that leave the cache do no harm to an open transaction", async () => {
      const database = postgres(url).open({ ...POOL_DEFAULTS, connectionsMax: 1, statementCacheEntries: 2 });
      opened.push(database);
      const connection = await database.acquire();
      await expect(connection.run(sql("select never prepared"))).rejects.toThrow();
      await connection.begin();
      for (let n = 0; n < 8; n++) expect((await connection.run(sql(`select ${n} n`))).rows).toEqual([{ n }]);
      await connection.commit();
      const names = { ...sql("select count(*)::int n from pg_prepared_statements"), prepare: false };
      expect((await connection.run(names)).rows).toEqual([{ n: 2 }]);
      connection.release();
    });

    test("are one statement each, whether prepared or not", async () => {
      const two = sql("select 1; select 2");
      for (const prepare of [true, false])
        await expect(open().run({ ...two, prepare })).rejects.toThrow(/multiple commands/);
    });

    test("wait until a stream on their connection is over, or are refused", async () => {
      const connection = await open().acquire();
      await connection.begin();
      for await (const rows of connection.stream(sql("select generate_series(1, 100) n"), 10)) {
        expect(rows).toHaveLength(10);
        await expect(connection.run(sql("select 1"))).rejects.toMatchObject({
          code: "QUERY_FAILED",
          message: expect.stringContaining("stream"),
        });
        break;
      }
      expect((await connection.run(sql("select 1 n"))).rows).toEqual([{ n: 1 }]);
      await connection.commit();
      connection.release();
    });
  });

  describe("connections", () => {
    test("that are new are asked one question", async () => {
      const watch = { statusSql: postgresDialect.replication?.statusSql as string, suspect: () => {} };
      const { client } = readSettings(url);
      const { hostname: host, port } = new URL(url);
      const config = { ...client, host, port: Number(port) };
      const database = new PostgresDatabase(postgres(url), config, POOL_DEFAULTS, watch);
      opened.push(database);
      const queries = vi.spyOn(pg.Client.prototype, "query");
      try {
        (await database.acquire()).release();
        expect(queries).toHaveBeenCalledTimes(1);
      } finally {
        queries.mockRestore();
      }
    });

    test("that the server has no room for are waited for while others are in use", async () => {
      const name = new URL(url).pathname.slice(1);
      const address = await sharedServer("postgres");
      const database = open(url, 3);
      const held = await database.acquire();
      await runAsAdmin(address, [`alter database "${name}" connection limit 0`]);
      try {
        const waiting = database.acquire();
        await expect(open().acquire()).rejects.toMatchObject({ code: "CONNECTION_LIMIT" });
        expect(database.stats).toEqual({ open: 1, inUse: 1, waiting: 1 });
        held.release();
        (await waiting).release();
        expect(database.stats).toEqual({ open: 1, inUse: 0, waiting: 0 });
      } finally {
        await runAsAdmin(address, [`alter database "${name}" connection limit -1`]);
      }
    });

    test("to a server that says nothing are CONNECT_FAILED, not CONNECTION_LIMIT, for all who wait", async () => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => sockets.add(socket));
      await once(server.listen(0, "127.0.0.1"), "listening");
      const { port } = server.address() as AddressInfo;
      const options = { ...POOL_DEFAULTS, connectionsMax: 1, acquireTimeoutMs: 80 };
      const database = postgres(`postgres://127.0.0.1:${port}/x`).open(options);
      const abort = new AbortController();
      const left = database.acquire({ signal: abort.signal }).catch((error: unknown) => error);
      const waiting = [database.acquire(), database.run(sql("select 1"))];
      abort.abort("left");
      expect(await left).toBe("left");
      for (const result of await Promise.allSettled(waiting))
        expect(result).toMatchObject({ status: "rejected", reason: { code: "CONNECT_FAILED" } });
      expect(database.stats).toEqual({ open: 0, inUse: 0, waiting: 0 });
      await database.close();
      for (const socket of sockets) socket.destroy();
      server.close();
    });

    test("for which nobody waits any more may fail to come", async () => {
      const options = { ...POOL_DEFAULTS, connectionsMax: 1, acquireTimeoutMs: 60 };
      const database = postgres(url).open(options);
      opened.push(database);
      const held = await database.acquire();
      const abort = new AbortController();
      const left = database.acquire({ signal: abort.signal }).catch((error: unknown) => error);
      // Behind it in `pg`'s queue, with a time limit that ends later.
      await expect.poll(() => database.stats.waiting).toBe(1);
      const waiting = database.acquire();
      abort.abort("left");
      expect(await left).toBe("left");
      await expect(waiting).rejects.toMatchObject({ code: "CONNECTION_LIMIT" });
      held.release();
      expect(await value(database, sql("select 1"))).toBe(1);
    });

    test("that come after their caller has left are the next one's", async () => {
      const database = open(url, 1);
      const abort = new AbortController();
      const left = database.acquire({ signal: abort.signal });
      abort.abort(new Error("left"));
      await expect(left).rejects.toThrow("left");
      expect(await value(database, sql("select 1"))).toBe(1);
      expect(database.stats).toEqual({ open: 1, inUse: 0, waiting: 0 });
    });
  });

  test("needs pg-cursor only for streams, says what to install, and goes on", () => {
    const script = `
      const connection = await database.acquire();
      await connection.stream(statement, 10).next().catch(show);
      console.log((await connection.run(statement)).rows.length);
      connection.release();`;
    const output = runWithout("pg-cursor", script, url);
    expect(output).toMatch(/^DRIVER_MISSING .*npm install pg-cursor\n1\n$/);
  });
});

test("without its driver says what to install", () => {
  const output = runWithout("pg", "await database.run(statement).catch(show);", "postgres://127.0.0.1/x");
  expect(output).toMatch(/^DRIVER_MISSING .*npm install pg\n$/);
});
