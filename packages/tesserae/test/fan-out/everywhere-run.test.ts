/** The runner alone, with plans made by hand: order of asking, back-pressure, deadlines, stopping, partial answers, exhausted pools. */
import { forEachEngine, TcpProxy, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test, vi } from "vitest";
import type { Connection, Database, Statement } from "../../src/engine/contract.ts";
import { isTesseraeError, type ShardEvent, type TesseraeError } from "../../src/index.ts";
import { type AskedByHand, askedByHand } from "./asked-by-hand.ts";

async function failureOf(work: Promise<unknown>): Promise<TesseraeError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isTesseraeError(error)) throw error ?? new Error("It did not fail.");
  return error;
}

const all = ({ everywhere }: AskedByHand) => everywhere.selectFrom("notes").select(["id", "body"]);
const inOrder = (asked: AskedByHand) => all(asked).orderBy("id");

/** Statements of others that run on the shard's server, or wait there, and read notes. */
async function running(database: Database): Promise<number> {
  const sql =
    database.engine.name === "mysql"
      ? "select count(*) as n from information_schema.processlist where info like 'select%notes%' and info not like '%processlist%' and db = database()"
      : "select count(*) as n from pg_stat_activity where state = 'active' and query like 'select%notes%' and query not like '%pg_stat_activity%' and datname = current_database()";
  const { rows } = await database.run({ sql, parameters: [] });
  return Number(rows[0]?.["n"]);
}

/** The table is somebody else's alone, so that selects wait. */
async function locked(database: Database): Promise<() => Promise<void>> {
  const connection = await database.acquire();
  const run = (sql: string) => connection.run({ sql, parameters: [], prepare: false });
  if (database.engine.name === "mysql") await run("lock tables notes write");
  else {
    await connection.begin();
    await run("lock table notes in access exclusive mode");
  }
  return async () => {
    if (database.engine.name === "mysql") await run("unlock tables");
    else await connection.rollback();
    connection.release();
  };
}

forEachEngine((engine) => {
  describe(`the shards are asked on ${engine.name}`, () => {
    test("in order, and in batches of which no more are read than are wanted", async () => {
      const read = [0, 0, 0];
      await using asked = await askedByHand(engine, {
        rows: 3_000,
        wrap: (database, shard) =>
          counting(database, (rows) => {
            read[shard - 1] = (read[shard - 1] as number) + rows;
          }),
      });
      const few = asked.everywhere.using({ rowsInFlight: 900 });
      const seen: bigint[] = [];
      for await (const { id } of few.selectFrom("notes").select(["id", "body"]).orderBy("id").stream()) {
        seen.push(id);
        if (seen.length === 600) {
          // Give whoever reads on unasked the time to do so.
          await new Promise((resolve) => setTimeout(resolve, 50));
          expect(Math.max(...read)).toBeLessThanOrEqual(600);
          break;
        }
      }
      expect(seen).toEqual(Array.from({ length: 600 }, (_, index) => BigInt(index + 1)));
      expect(asked.databases.map(({ stats }) => stats.inUse)).toEqual([0, 0, 0]);
      // The connections are good for the next one.
      expect(await inOrder(asked).limit(4).execute()).toHaveLength(4);
      const rows = await all(asked).execute();
      expect(new Set(rows.map(({ id }) => id)).size).toBe(9_000);
      expect(rows.find(({ id }) => id === 77n)).toEqual({ id: 77n, body: "note 77" });
    });

    test("by queries of their own federation only, whatever its name", async () => {
      await using one = await askedByHand(engine, { rows: 1, shards: 1 });
      await using other = await askedByHand(engine, { rows: 1, shards: 1 });
      const compiled = inOrder(one).compile();
      expect((await one.everywhere.executeQuery(compiled)).rows).toHaveLength(1);
      const failure = await failureOf(other.everywhere.executeQuery(compiled));
      expect(failure.code).toBe("QUERY_OF_OTHER_SESSION");
    });

    test("by no more statements at once than are allowed, and tells what each shard does", async () => {
      await using asked = await askedByHand(engine, { rows: 5, shards: 4 });
      const events: ShardEvent[] = [];
      const session = asked.everywhere.using({
        concurrency: 1,
        shardColumn: "shard",
        onShard: (event) => events.push(event),
      });
      const query = session.selectFrom("notes").select(["id", "body"]).orderBy("id");
      const { rows, missing, shards } = await session.run(query);
      expect(rows.slice(0, 2)).toEqual([
        { id: 1n, body: "note 1", shard: 1 },
        { id: 2n, body: "note 2", shard: 2 },
      ]);
      expect([missing, shards]).toEqual([[], [1, 2, 3, 4]]);
      const told = (kind: string) => events.filter((event) => event.kind === kind);
      expect(told("began").map(({ shard }) => shard)).toEqual([1, 2, 3, 4]);
      // The next one begins when the first rows of the one before are there.
      const at = (shard: number, kind: string) =>
        events.findIndex((event) => event.shard === shard && event.kind === kind);
      for (const shard of [1, 2, 3]) expect(at(shard, "rows")).toBeLessThan(at(shard + 1, "began"));
      expect(told("done").map(({ rows: count }) => count)).toEqual([5, 5, 5, 5]);
      const broken = session.using({
        onShard: () => {
          throw new Error("the listener's own");
        },
      });
      await expect(broken.run(query)).rejects.toThrow("the listener's own");
    });

    test("by more streams at once than the pools have connections", async () => {
      await using asked = await askedByHand(engine, { rows: 40, pool: { connectionsMax: 2 } });
      const session = asked.everywhere.using({ rowsInFlight: 30 });
      const answers = await Promise.all(
        Array.from({ length: 20 }, async () => {
          let rows = 0;
          for await (const _ of session.selectFrom("notes").select(["id", "body"]).orderBy("id").stream())
            rows += 1;
          return rows;
        }),
      );
      expect(answers).toEqual(Array.from({ length: 20 }, () => 120));
      expect(asked.databases.map(({ stats }) => stats.inUse)).toEqual([0, 0, 0]);
    });

    test("with a signal, whose reason ends the stream and the query", async () => {
      await using asked = await askedByHand(engine, { rows: 300 });
      const reason = new Error("nobody waits any more");
      await expect(inOrder(asked).execute({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const controller = new AbortController();
      const session = asked.everywhere.using({ signal: controller.signal, rowsInFlight: 30 });
      const rows = session.selectFrom("notes").select(["id", "body"]).orderBy("id").stream();
      await rows.next();
      controller.abort(reason);
      // Also while nobody reads on.
      await vi.waitFor(() => expect(asked.databases.map(({ stats }) => stats.inUse)).toEqual([0, 0, 0]));
      await expect(readOn(rows)).rejects.toBe(reason);
      expect(await inOrder(asked).limit(2).execute()).toHaveLength(2);
    });

    test("and one that fails fails all, or is left out", async () => {
      await using asked = await askedByHand(engine, { rows: 10 });
      await asked.besides[1]?.run({ sql: "drop table notes", parameters: [], prepare: false });
      const failure = await failureOf(inOrder(asked).execute());
      expect(failure).toMatchObject({ code: "FAN_OUT_FAILED", shard: 2, retryable: false });
      expect(failure.cause).toMatchObject({ code: "QUERY_FAILED", shard: 2 });
      const failed: ShardEvent[] = [];
      const partial = asked.everywhere.using({
        mode: "partial",
        onShard: (event) => event.kind === "failed" && failed.push(event),
      });
      const query = partial.selectFrom("notes").select(["id", "body"]).orderBy("id");
      const { rows, missing, shards } = await partial.run(query);
      expect(rows.map(({ id }) => id % 3n)).not.toContain(2n);
      expect([rows.length, shards]).toEqual([20, [1, 2, 3]]);
      expect(missing).toMatchObject([{ shard: 2, error: { code: "QUERY_FAILED" } }]);
      expect(failed).toMatchObject([{ shard: 2, error: { code: "QUERY_FAILED" } }]);
      for (const database of [asked.besides[0], asked.besides[2]])
        await database?.run({ sql: "drop table notes", parameters: [], prepare: false });
      expect(await failureOf(query.execute())).toMatchObject({ code: "FAN_OUT_FAILED" });
    });
  });

  // A statement of SQLite runs in this process: nothing can stop it but its own end.
  describe.skipIf(engine.name === "sqlite")(`statements are stopped on ${engine.name}`, () => {
    for (const [what, answer] of [
      ["a stream", (asked: AskedByHand) => inOrder(asked)],
      ["a short answer", (asked: AskedByHand) => inOrder(asked).limit(3)],
    ] as const)
      test(`when the time for all is over, with ${what}`, async () => {
        await using asked = await askedByHand(engine, { rows: 10 });
        const unlock = await locked(asked.besides[1] as Database);
        const session = asked.everywhere.using({ deadlineMs: 300 });
        const work = failureOf(session.executeQuery(answer(asked)));
        await vi.waitFor(async () => expect(await running(asked.besides[1] as Database)).toBe(1));
        expect(await work).toMatchObject({ code: "FAN_OUT_DEADLINE", retryable: true });
        await vi.waitFor(async () => expect(await running(asked.besides[1] as Database)).toBe(0));
        await unlock();
        expect(await inOrder(asked).limit(5).execute()).toHaveLength(5);
        expect(await inOrder(asked).execute()).toHaveLength(30);
      });

    test("when one shard's time is over, and the others' rows are the answer", async () => {
      await using asked = await askedByHand(engine, { rows: 10 });
      const unlock = await locked(asked.besides[1] as Database);
      const session = asked.everywhere.using({ shardDeadlineMs: 300, mode: "partial" });
      const { rows, missing } = await session.run(inOrder(asked));
      expect(rows).toHaveLength(20);
      expect(missing).toMatchObject([{ shard: 2, error: { code: "FAN_OUT_DEADLINE", shard: 2 } }]);
      await vi.waitFor(async () => expect(await running(asked.besides[1] as Database)).toBe(0));
      const complete = await failureOf(
        asked.everywhere.using({ shardDeadlineMs: 300 }).executeQuery(inOrder(asked)),
      );
      expect(complete).toMatchObject({ code: "FAN_OUT_FAILED", shard: 2, retryable: true });
      await unlock();
      expect(await inOrder(asked).execute()).toHaveLength(30);
    });

    test("when the caller gives up, and when another shard fails", async () => {
      await using asked = await askedByHand(engine, { rows: 10 });
      const waiting = asked.besides[1] as Database;
      const unlock = await locked(waiting);
      const controller = new AbortController();
      const work = inOrder(asked).execute({ signal: controller.signal });
      const given = expect(work).rejects.toThrow("enough");
      await vi.waitFor(async () => expect(await running(waiting)).toBe(1));
      controller.abort(new Error("enough"));
      await given;
      await vi.waitFor(async () => expect(await running(waiting)).toBe(0));
      await asked.besides[2]?.run({ sql: "drop table notes", parameters: [], prepare: false });
      expect(await failureOf(inOrder(asked).execute())).toMatchObject({ code: "FAN_OUT_FAILED", shard: 3 });
      await vi.waitFor(async () => expect(await running(waiting)).toBe(0));
      await unlock();
    });

    test("when their connections are lost: asked again before any row came, and failed afterwards", async () => {
      await using proxied = await throughProxy(engine, 2);
      const { asked, proxy } = proxied;
      expect(await inOrder(asked).execute()).toHaveLength(9_000);
      const waiting = asked.besides[1] as Database;
      const unlock = await locked(waiting);
      const work = inOrder(asked).execute();
      await vi.waitFor(async () => expect(await running(waiting)).toBe(1));
      proxy.drop();
      await vi.waitFor(async () => expect(await running(waiting)).toBe(1));
      await unlock();
      expect(await work).toHaveLength(9_000);
    });

    test("when a shard is lost in the midst of its rows: an answer has all of a shard's rows or none", async () => {
      await using asked = await askedByHand(engine, {
        rows: 90,
        wrap: (database, shard) => (shard === 2 ? breaking(database) : database),
      });
      const failure = await failureOf(
        asked.everywhere.using({ rowsInFlight: 90 }).executeQuery(inOrder(asked)),
      );
      expect(failure).toMatchObject({ code: "FAN_OUT_FAILED", shard: 2, retryable: true });
      expect(failure.cause).toMatchObject({ code: "CONNECTION_LOST" });
      const partial = asked.everywhere.using({ rowsInFlight: 90, mode: "partial" });
      const { rows, missing } = await partial.run(inOrder(asked));
      expect([rows.length, missing.map(({ shard }) => shard)]).toEqual([180, [2]]);
      expect(rows.filter(({ id }) => id % 3n === 2n)).toEqual([]);
      // What a stream has handed out cannot be taken back.
      let streamed = 0;
      for await (const _ of partial.selectFrom("notes").select(["id", "body"]).orderBy("id").stream())
        streamed += 1;
      expect(streamed).toBe(220);
    });
  });
});

async function readOn(rows: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of rows);
}

async function throughProxy(engine: TestEngine, proxiedShard: number) {
  let proxy: TcpProxy | undefined;
  const made: TcpProxy[] = [];
  const asked = await askedByHand(engine, {
    rows: 3_000,
    through: async (url, shard) => {
      if (shard !== proxiedShard) return url;
      proxy = await TcpProxy.toUrl(url);
      made.push(proxy);
      return proxy.url(url);
    },
  });
  return {
    asked,
    proxy: proxy as unknown as TcpProxy,
    async [Symbol.asyncDispose]() {
      await asked[Symbol.asyncDispose]();
      for (const each of made) await each[Symbol.asyncDispose]();
    },
  };
}

/** Tells how many rows were read of it in streams. */
function counting(database: Database, read: (rows: number) => void): Database {
  return withChunks(database, (rows) => read(rows.length));
}

/** Its streams lose their connection behind their fourth chunk. */
function breaking(database: Database): Database {
  return withChunks(database, (_, chunk) => {
    if (chunk === 4) throw Object.assign(new Error("the connection broke"), { code: "ECONNRESET" });
  });
}

function withChunks(database: Database, seen: (rows: readonly unknown[], chunk: number) => void): Database {
  return new Proxy(database, {
    get(target, property) {
      const value = Reflect.get(target, property, target) as unknown;
      if (property !== "acquire") return typeof value === "function" ? value.bind(target) : value;
      return async (...options: Parameters<Database["acquire"]>) => {
        const connection = await target.acquire(...options);
        const stream = connection.stream.bind(connection);
        connection.stream = async function* (statement: Statement, chunkRows: number) {
          let chunk = 0;
          for await (const rows of stream(statement, chunkRows)) {
            seen(rows, chunk++);
            yield rows;
          }
        } as Connection["stream"];
        return connection;
      };
    },
  });
}
