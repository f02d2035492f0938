/** Pools on every engine: limits and queues, release, close, connections that are lost, prepared statements, streams. */
import { forEachEngine, runAsAdmin, sharedServer, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test, vi } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import type { Connection, PoolOptions } from "../../src/engine/contract.ts";
import { controlColumn, controlTable } from "../../src/engine/control-tables.ts";
import { OpenDatabase } from "./open-database.ts";

const notes = controlTable(
  "notes",
  [
    controlColumn("id", { kind: "int" }),
    controlColumn("body", { kind: "text", length: 200, caseInsensitive: false }),
  ],
  ["id"],
);

async function openNotes(engine: TestEngine, options: Partial<PoolOptions> = {}): Promise<OpenDatabase> {
  const open = await OpenDatabase.of(engine, options);
  await open.createTables(notes);
  return open;
}

const insert = (open: OpenDatabase, id: number, on?: Connection) =>
  open.run("insert into notes (id, body) values (?, ?)", [id, `note ${id}`], on);
const idsOf = async (open: OpenDatabase, on?: Connection) =>
  (await open.column("select id from notes order by id", on)).map(Number);

async function errorOf(work: Promise<unknown>): Promise<TesseraeError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TesseraeError);
  return error as TesseraeError;
}

const turn = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));

forEachEngine((engine) => {
  describe(`the pool's limits on ${engine.name}`, () => {
    test("opens nothing before it is used", async () => {
      await using open = await OpenDatabase.of(engine);
      expect(open.database.stats).toEqual({ open: 0, inUse: 0, waiting: 0 });
      await open.run("select 1");
      expect(open.database.stats.open).toBeGreaterThan(0);
      expect(open.database.stats.inUse).toBe(0);
    });

    test("hands out at most connectionsMax, and serves who waits in the order of asking", async () => {
      await using open = await openNotes(engine, { connectionsMax: 2 });
      const [first, second] = await Promise.all([open.database.acquire(), open.database.acquire()]);
      const served: number[] = [];
      const waiting = [1, 2, 3].map(async (number) => {
        const connection = await open.database.acquire();
        served.push(number);
        await turn(5);
        connection.release();
      });
      await turn();
      expect(open.database.stats).toMatchObject({ inUse: 2, waiting: 3 });
      expect(served).toEqual([]);
      first.release();
      second.release();
      await Promise.all(waiting);
      expect(served).toEqual([1, 2, 3]);
      expect(open.database.stats).toMatchObject({ inUse: 0, waiting: 0 });
    });

    test("runs many statements at once over few connections", async () => {
      await using open = await openNotes(engine, { connectionsMax: 2 });
      await Promise.all(Array.from({ length: 60 }, (_, id) => insert(open, id)));
      expect(await idsOf(open)).toHaveLength(60);
      expect(open.database.stats).toMatchObject({ inUse: 0, waiting: 0 });
    });

    test("a wait that is too long is CONNECTION_LIMIT, and leaves nothing behind", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1, acquireTimeoutMs: 60 });
      const holder = await open.database.acquire();
      const error = await errorOf(open.database.acquire());
      expect(error).toMatchObject({ code: "CONNECTION_LIMIT", retryable: true });
      expect(error.message).toContain("60 ms");
      expect(open.database.stats.waiting).toBe(0);
      holder.release();
      (await open.database.acquire()).release();
      expect(await idsOf(open)).toEqual([]);
    });

    test("a caller may leave the queue, and its place is the next one's", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const holder = await open.database.acquire();
      const abort = new AbortController();
      const given = new Error("not wanted any more");
      const left = open.database.acquire({ signal: abort.signal });
      const next = open.database.acquire();
      await turn();
      abort.abort(given);
      await expect(left).rejects.toBe(given);
      expect(open.database.stats.waiting).toBe(1);
      holder.release();
      (await next).release();
      await expect(open.database.acquire({ signal: abort.signal })).rejects.toBe(given);
      expect(open.database.stats).toMatchObject({ inUse: 0, waiting: 0 });
    });

    test("a signal that comes after the connection does nothing to it", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const abort = new AbortController();
      const connection = await open.database.acquire({ signal: abort.signal });
      abort.abort();
      expect(await idsOf(open, connection)).toEqual([]);
      connection.release();
    });
  });

  describe(`a released connection on ${engine.name}`, () => {
    test("has its open transaction rolled back", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const first = await open.database.acquire();
      await first.begin();
      await insert(open, 1, first);
      first.release();
      const second = await open.database.acquire();
      expect(await idsOf(open, second)).toEqual([]);
      await insert(open, 2, second);
      second.release();
      // Had the second one inherited a transaction, its row would go with the connection.
      const other = open.openAgain();
      const { rows } = await other.run(open.statement("select id from notes"));
      expect(rows).toHaveLength(1);
    });

    test("is given back once, whoever releases it twice", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1, acquireTimeoutMs: 60 });
      const first = await open.database.acquire();
      first.release();
      const second = await open.database.acquire();
      first.release();
      expect(await errorOf(open.database.acquire())).toMatchObject({ code: "CONNECTION_LIMIT" });
      second.release();
    });

    test("is not to be used again", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      connection.release();
      await expect(connection.run(open.statement("select 1"))).rejects.toThrow(/released/);
      await expect(connection.begin()).rejects.toThrow(/released/);
      expect(await open.column("select 1")).toHaveLength(1);
    });

    test("that is broken is not handed out again", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      connection.release(true);
      expect(await idsOf(open)).toEqual([]);
      await insert(open, 2);
      expect(await idsOf(open)).toEqual([2]);
    });
  });

  describe(`closing the pool on ${engine.name}`, () => {
    test("waits for what is in use, and refuses what is new", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      const waiting = errorOf(open.database.acquire());
      const closing = open.database.close();
      expect((await waiting).code).toBe("CLOSED");
      expect((await errorOf(open.database.acquire())).code).toBe("CLOSED");
      expect((await errorOf(open.run("select 1"))).code).toBe("CLOSED");
      await insert(open, 2, connection);
      await connection.commit();
      connection.release();
      await closing;
      await open.database.close();
      expect(open.database.stats).toMatchObject({ open: 0, waiting: 0 });
      const other = open.openAgain();
      expect((await other.run(open.statement("select id from notes"))).rows).toHaveLength(2);
    });

    test("ends what is not given back in time", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      const begun = performance.now();
      await open.database.close(50);
      expect(performance.now() - begun).toBeLessThan(5_000);
      await expect(insert(open, 2, connection)).rejects.toThrow();
      connection.release();
      const other = open.openAgain();
      expect((await other.run(open.statement("select id from notes"))).rows).toHaveLength(0);
    });

    test("of an unused pool does nothing", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.database.close();
      expect((await errorOf(open.run("select 1"))).code).toBe("CLOSED");
    });
  });

  describe(`streams on ${engine.name}`, () => {
    const ROWS = 1_000;

    async function openRows(options: Partial<PoolOptions> = {}): Promise<OpenDatabase> {
      const open = await openNotes(engine, options);
      const values = Array.from({ length: ROWS }, (_, id) => `(${id}, 'note ${id}')`);
      await open.run(`insert into notes (id, body) values ${values.join(", ")}`);
      return open;
    }

    async function collect(chunks: AsyncIterable<Record<string, unknown>[]>, chunkRows: number) {
      const ids: number[] = [];
      for await (const chunk of chunks) {
        expect(chunk.length).toBeGreaterThan(0);
        expect(chunk.length).toBeLessThanOrEqual(chunkRows);
        ids.push(...chunk.map((row) => Number(row["id"])));
      }
      return ids;
    }

    test("give every row once, in order, in chunks", async () => {
      await using open = await openRows();
      const connection = await open.database.acquire({ mode: "read" });
      const all = Array.from({ length: ROWS }, (_, id) => id);
      for (const chunkRows of [1, 7, 100, 5_000]) {
        const statement = open.statement("select id, body from notes where id >= ? order by id", [0]);
        expect(await collect(connection.stream(statement, chunkRows), chunkRows)).toEqual(all);
      }
      const empty = open.statement("select id from notes where id < ?", [0]);
      expect(await collect(connection.stream(empty, 10), 10)).toEqual([]);
      connection.release();
    });

    test("that end early leave the connection and its transaction as they were", async () => {
      await using open = await openRows({ connectionsMax: 1 });
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, ROWS, connection);
      // Far more than fits into any buffer on the way.
      const many = open.statement(
        "select a.id, a.body, b.body as other from notes a cross join notes b order by a.id",
      );
      for (let round = 0; round < 2; round++) {
        for await (const chunk of connection.stream(many, 10)) {
          expect(chunk).toHaveLength(10);
          break;
        }
        expect(await open.column("select count(*) from notes", connection)).toEqual([BigInt(ROWS) + 1n]);
      }
      await connection.commit();
      connection.release();
      expect(await idsOf(open)).toHaveLength(ROWS + 1);
    });

    test("that end early outside a transaction leave a pool that works", async () => {
      await using open = await openRows({ connectionsMax: 1 });
      for (let round = 0; round < 3; round++) {
        const connection = await open.database.acquire({ mode: "read" });
        const many = open.statement("select a.id, a.body, b.body as other from notes a cross join notes b");
        for await (const chunk of connection.stream(many, 100)) {
          expect(chunk).toHaveLength(100);
          break;
        }
        connection.release();
        expect(await open.column("select count(*) from notes")).toEqual([BigInt(ROWS)]);
      }
    });

    test("wait for a slow reader", async () => {
      await using open = await openRows();
      const connection = await open.database.acquire({ mode: "read" });
      const statement = open.statement("select a.id from notes a cross join notes b where b.id < 20");
      let rows = 0;
      for await (const chunk of connection.stream(statement, 1_000)) {
        rows += chunk.length;
        await turn(2);
      }
      expect(rows).toBe(ROWS * 20);
      connection.release();
    });

    test("tell their errors, and the connection goes on", async () => {
      await using open = await openRows({ connectionsMax: 1 });
      const connection = await open.database.acquire({ mode: "read" });
      const wrong = open.statement("select nothing from notes");
      await expect(collect(connection.stream(wrong, 10), 10)).rejects.toThrow();
      expect(await idsOf(open, connection)).toHaveLength(ROWS);
      connection.release();
    });

    test("left unread do not come back with the connection", async () => {
      await using open = await openRows({ connectionsMax: 1 });
      const connection = await open.database.acquire({ mode: "read" });
      const many = open.statement("select a.id, b.body from notes a cross join notes b");
      const iterator = connection.stream(many, 10)[Symbol.asyncIterator]();
      await iterator.next();
      connection.release();
      expect(await open.column("select count(*) from notes")).toEqual([BigInt(ROWS)]);
      await iterator.return?.().catch(() => undefined);
    });
  });

  if (engine.name === "sqlite") return;
  const server = engine.name;

  /** The server's number of a connection. */
  const sessionId = async (open: OpenDatabase, on?: Connection) =>
    Number(
      (await open.column(server === "mysql" ? "select connection_id()" : "select pg_backend_pid()", on))[0],
    );

  async function kill(id: number): Promise<void> {
    const address = await sharedServer(server);
    await runAsAdmin(address, [server === "mysql" ? `kill ${id}` : `select pg_terminate_backend(${id})`]);
  }

  const SLEEP = server === "mysql" ? "select sleep(20)" : "select pg_sleep(20)";

  describe(`lost connections on ${engine.name}`, () => {
    test("that were idle are noticed, and replaced", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      await kill(await sessionId(open));
      await vi.waitFor(() => expect(open.database.stats.open).toBe(0));
      expect(await idsOf(open)).toEqual([]);
      expect(open.database.stats).toMatchObject({ open: 1, inUse: 0 });
    });

    test("fail the running statement with CONNECTION_LOST", async () => {
      await using open = await openNotes(engine, { connectionsMax: 2 });
      const connection = await open.database.acquire();
      const id = await sessionId(open, connection);
      const running = open.run(SLEEP, [], connection).then(
        () => undefined,
        (error: unknown) => error,
      );
      await turn(50);
      await kill(id);
      const reason = open.engine.dialect.classify(await running);
      expect(reason).toMatchObject({ code: "CONNECTION_LOST", fatal: true });
      connection.release();
      expect(await idsOf(open)).toEqual([]);
      expect(open.database.stats.inUse).toBe(0);
    });

    test("take their transaction with them, and nobody inherits the rest of it", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      await kill(await sessionId(open, connection));
      await turn(50);
      const error = await insert(open, 2, connection).catch((reason: unknown) => reason);
      expect(open.engine.dialect.classify(error)).toMatchObject({ code: "CONNECTION_LOST", fatal: true });
      await expect(connection.commit()).rejects.toThrow();
      connection.release();
      expect(await idsOf(open)).toEqual([]);
    });

    test("give their place to who waits", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      const connection = await open.database.acquire();
      const id = await sessionId(open, connection);
      const waiting = open.database.acquire();
      await kill(id);
      const next = await waiting;
      expect(await sessionId(open, next)).not.toBe(id);
      next.release();
      connection.release();
      expect(open.database.stats).toMatchObject({ open: 1, inUse: 0 });
    });

    test("end a stream with an error", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      await open.run(`insert into notes (id, body) values (1, '${"x".repeat(200)}')`);
      for (let i = 0; i < 12; i++) await open.run(`insert into notes select id + ${2 ** i}, body from notes`);
      const connection = await open.database.acquire();
      const id = await sessionId(open, connection);
      const many = open.statement("select a.id, a.body from notes a cross join notes b");
      const read = async () => {
        for await (const chunk of connection.stream(many, 100)) {
          if (chunk[0] !== undefined) await kill(id);
        }
      };
      await expect(read()).rejects.toThrow();
      connection.release();
      expect(await open.column("select count(*) from notes")).toEqual([4096n]);
    });
  });

  describe(`connections and statements on ${engine.name}`, () => {
    test("are closed after idling", async () => {
      await using open = await openNotes(engine, { connectionsMax: 3, idleTimeoutMs: 60 });
      const held = await Promise.all([1, 2, 3].map(() => open.database.acquire()));
      for (const connection of held) connection.release();
      expect(open.database.stats.open).toBe(3);
      await vi.waitFor(() => expect(open.database.stats.open).toBe(0), 3_000);
      expect(await idsOf(open)).toEqual([]);
    });

    test("the one used last is used next", async () => {
      await using open = await openNotes(engine, { connectionsMax: 3 });
      const held = await Promise.all([1, 2, 3].map(() => open.database.acquire()));
      const ids = await Promise.all(held.map((connection) => sessionId(open, connection)));
      for (const connection of held) connection.release();
      for (let i = 0; i < 3; i++) expect(await sessionId(open)).toBe(ids[2]);
    });

    test("are prepared once, and no more of them kept than the limit says", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1, statementCacheEntries: 8 });
      const prepared = async () => {
        const sql =
          server === "mysql"
            ? "select variable_name, cast(variable_value as signed) as n from information_schema.session_status where variable_name in ('COM_STMT_PREPARE', 'COM_STMT_CLOSE') order by variable_name desc"
            : "select count(*) as n from pg_prepared_statements where name <> ''";
        const { rows } = await open.database.run({ sql, parameters: [], prepare: false });
        const [made, closed] = rows.map((row) => Number(row["n"]));
        return { made: made as number, kept: (made as number) - (closed ?? 0) };
      };
      for (let i = 0; i < 40; i++) await open.run(`select id from notes where id = ? and ${i} = ${i}`, [1]);
      const before = await prepared();
      expect(before.kept).toBeGreaterThan(3);
      expect(before.kept).toBeLessThanOrEqual(9);
      for (let i = 0; i < 20; i++) await open.run("select id from notes where id = ? and 39 = 39", [i]);
      expect((await prepared()).made).toBe(before.made);
    });

    test("survive a change of their table", async () => {
      await using open = await openNotes(engine, { connectionsMax: 1 });
      await insert(open, 1);
      const read = () => open.run("select * from notes where id = ?", [1]);
      expect((await read()).rows[0]).toEqual({ id: 1, body: "note 1" });
      await open.execute(["alter table notes add column more int"]);
      expect((await read()).rows[0]).toEqual({ id: 1, body: "note 1", more: null });
    });
  });
});
