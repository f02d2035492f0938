/** Who of the replicas takes a read, and what happens to one whose server is lost; on servers that a test plays. */
import { describe, expect, test, vi } from "vitest";
import type { Connection, Database, Engine, EngineResult, Statement } from "../../src/engine/contract.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { postgresDialect } from "../../src/engine/postgres/dialect.ts";
import { postgresReplication } from "../../src/engine/postgres/replication.ts";
import { REPLICATION_DEFAULTS, type ReplicationOptions } from "../../src/replicas/options.ts";
import { WriteContexts } from "../../src/replicas/own-writes.ts";
import { Primary } from "../../src/replicas/primary.ts";
import { ReplicaDatabase } from "../../src/replicas/replica-database.ts";
import { ReplicaSet } from "../../src/replicas/replica-set.ts";

const READ: Statement = { sql: "select name", parameters: [], readOnly: true };
const resultOf = (...rows: Record<string, unknown>[]): EngineResult => ({
  rows,
  affectedRows: undefined,
  insertId: undefined,
});
const gone = () => Object.assign(new Error("Connection terminated unexpectedly"), { code: "ECONNRESET" });

/** A server that answers for its position at once, and for reads when the test says so. */
class PlayedServer {
  readonly engine: Engine;
  readonly reads: { resolve(): void; reject(error: unknown): void }[] = [];
  questions = 0;
  position = "0/100";
  writable = 0;
  dead = false;
  /** It answers for its position no more. */
  hangs = false;
  /** The connection that it is asked by is lost. */
  losesQuestion = false;
  readonly openPools = new Set<object>();
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    this.engine = {
      name: "postgres",
      dialect: postgresDialect,
      address: { identity: name, server: name, display: name },
      control: () => this.engine,
      open: () => this.#open(),
    };
  }

  #open(): Database {
    const run = (statement: Statement) => this.#run(statement);
    const pool: Database = {
      engine: this.engine,
      run,
      acquire: async () => this.#connection(),
      close: async () => void this.openPools.delete(pool),
      stats: { open: 0, inUse: 0, waiting: 0 },
    };
    this.openPools.add(pool);
    return pool;
  }

  async #run({ sql }: Statement): Promise<EngineResult> {
    if (this.dead) throw gone();
    if (sql.includes("writable")) this.questions += 1;
    if (this.hangs) return new Promise(() => {});
    if (sql.includes("writable") && this.losesQuestion) {
      this.losesQuestion = false;
      throw gone();
    }
    if (sql.includes("writable"))
      return resultOf({ position: this.position, sent: null, writable: this.writable });
    if (sql.includes("tesserae_meta")) return resultOf({ name: "installation", value: "one" });
    return new Promise((resolve, reject) => {
      this.reads.push({ resolve: () => resolve(resultOf({ name: this.#name })), reject });
    });
  }

  #connection(): Connection {
    const name = this.#name;
    const server = this;
    return {
      run: (statement) => this.#run(statement),
      async *stream() {
        for (let i = 0; ; i++) {
          if (server.dead) throw gone();
          yield [{ name, i }];
        }
      },
      begin: async () => {
        if (this.dead) throw gone();
      },
      commit: async () => {},
      rollback: async () => {},
      savepoint: async () => {},
      rollbackToSavepoint: async () => {},
      releaseSavepoint: async () => {},
      release: () => {},
    };
  }
}

async function play(options: ReplicationOptions = {}, count = 2) {
  const primaryServer = new PlayedServer("primary");
  primaryServer.writable = 1;
  const servers = Array.from({ length: count }, (_, index) => new PlayedServer(`replica ${index + 1}`));
  const primary = new Primary("main", postgresReplication, postgresDialect, "primary", () =>
    primaryServer.engine.open(POOL_DEFAULTS),
  );
  const set = new ReplicaSet({
    of: "main",
    shard: undefined,
    engines: servers.map(({ engine }) => engine),
    primary,
    pool: POOL_DEFAULTS,
    replication: { ...REPLICATION_DEFAULTS, ...options },
  });
  const contexts = new WriteContexts();
  const database = new ReplicaDatabase({ primary: primaryServer.engine.open(POOL_DEFAULTS), set, contexts });
  await set.use();
  await set.look();
  const read = () => database.run(READ).then(({ rows }) => rows[0]?.["name"]);
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const wrote = () => contexts.current.of(primary).note();
  const close = async () => {
    await set.close();
    await Promise.all([primary.close(), database.close()]);
  };
  return { primaryServer, servers, set, database, read, wrote, settled, close, [Symbol.asyncDispose]: close };
}

describe("the choice among replicas", () => {
  test("the least in flight, and in turn where they are as many", async () => {
    await using played = await play({}, 3);
    const [one, two, three] = played.servers as [PlayedServer, PlayedServer, PlayedServer];
    const reads = Array.from({ length: 6 }, () => played.read());
    await played.settled();
    expect([one, two, three].map((server) => server.reads.length)).toEqual([2, 2, 2]);
    // The one that is done with its reads gets the next ones.
    for (const { resolve } of two.reads.splice(0)) resolve();
    await played.settled();
    const more = [played.read(), played.read()];
    await played.settled();
    expect(two.reads).toHaveLength(2);
    for (const server of [one, two, three]) for (const { resolve } of server.reads) resolve();
    expect(new Set(await Promise.all([...reads, ...more]))).toEqual(
      new Set(["replica 1", "replica 2", "replica 3"]),
    );
    // One after the other: nobody has any in flight.
    const alone = new Set<unknown>();
    for (let i = 0; i < 6; i++) {
      const read = played.read();
      await played.settled();
      for (const server of [one, two, three]) for (const { resolve } of server.reads) resolve();
      alone.add(await read);
    }
    expect(alone.size).toBe(3);
  });

  test("a read whose server is lost is made again elsewhere, and an error of its own is not", async () => {
    await using played = await play();
    const [one, two] = played.servers as [PlayedServer, PlayedServer];
    const reads = [played.read(), played.read()];
    await played.settled();
    one.dead = true;
    one.reads[0]?.reject(gone());
    await expect.poll(() => two.reads.length).toBe(2);
    for (const { resolve } of two.reads) resolve();
    expect(await Promise.all(reads)).toEqual(["replica 2", "replica 2"]);
    expect(played.set.status().map(({ state }) => state)).toEqual(["down", "healthy"]);
    const failing = played.read();
    await played.settled();
    two.reads.at(-1)?.reject(Object.assign(new Error("syntax"), { code: "42601", severity: "ERROR" }));
    await expect(failing).rejects.toThrow("syntax");
    // A standby that ends a read to go on applying.
    const cancelled = played.read();
    await played.settled();
    two.reads
      .at(-1)
      ?.reject(Object.assign(new Error("conflict with recovery"), { code: "40001", severity: "ERROR" }));
    await expect.poll(() => played.primaryServer.reads.length).toBe(1);
    played.primaryServer.reads[0]?.resolve();
    expect(await cancelled).toBe("primary");
    const deadlocked = played.read();
    await played.settled();
    two.reads
      .at(-1)
      ?.reject(Object.assign(new Error("deadlock detected"), { code: "40P01", severity: "ERROR" }));
    await expect.poll(() => played.primaryServer.reads.length).toBe(2);
    played.primaryServer.reads[1]?.resolve();
    expect(await deadlocked).toBe("primary");
  });

  test("a transaction or a stream that has shown nothing goes on elsewhere; one that has, ends", async () => {
    await using played = await play();
    const [one, two] = played.servers as [PlayedServer, PlayedServer];
    const connections = [await played.database.acquire(), await played.database.acquire()];
    for (const connection of connections) await connection.begin();
    one.dead = true;
    const reads = connections.map((connection) => connection.run(READ));
    await expect.poll(() => two.reads.length).toBe(2);
    for (const { resolve } of two.reads) resolve();
    for (const { rows } of await Promise.all(reads)) expect(rows).toEqual([{ name: "replica 2" }]);
    two.dead = true;
    await expect(connections[0]?.run(READ)).rejects.toMatchObject({ code: "REPLICA_LOST", retryable: true });
    for (const connection of connections) connection.release();

    two.dead = false;
    await expect.poll(() => played.set.status()[1]?.state, { timeout: 5_000 }).toBe("healthy");
    const streaming = await played.database.acquire();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const rows of streaming.stream(READ, 1)) {
        seen.push(...rows);
        two.dead = true;
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "REPLICA_LOST" });
    expect(seen).toEqual([{ name: "replica 2", i: 0 }]);
    streaming.release();
    expect(played.set.status().every(({ inFlight }) => inFlight === 0)).toBe(true);
  });

  test("a read on a server that hangs is made again elsewhere, however long it was under way, and also after one of its connections was lost", async () => {
    vi.useFakeTimers();
    try {
      await using played = await play();
      const read = played.read();
      const [busy, other] = played.servers.toSorted((a, b) => b.reads.length - a.reads.length) as [
        PlayedServer,
        PlayedServer,
      ];
      busy.losesQuestion = true;
      await vi.advanceTimersByTimeAsync(2_000);
      expect(busy.losesQuestion).toBe(false);
      expect(played.set.status().map(({ state }) => state)).toEqual(["healthy", "healthy"]);
      // Nobody reads any more, but for that one.
      await vi.advanceTimersByTimeAsync(20_000);
      expect(busy.reads).toHaveLength(1);
      busy.hangs = true;
      await vi.advanceTimersByTimeAsync(2_000);
      expect(other.reads).toHaveLength(1);
      other.reads[0]?.resolve();
      expect(await read).toMatch(/^replica/);
      expect(played.set.status().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("a close ends reads that wait for a position, and opens nothing again", async () => {
    await using played = await play({ freshnessWaitMs: 20_000 });
    const { primaryServer, servers } = played;
    const [one] = servers as [PlayedServer];
    primaryServer.position = "0/200";
    played.wrote();
    const waiting = played.read().catch((error: unknown) => error);
    await expect.poll(() => one.questions).toBeGreaterThan(10);
    primaryServer.dead = true;
    played.wrote();
    const asking = played.read().catch((error: unknown) => error);
    await expect.poll(() => played.set.primary.state).toBe("down");
    await played.close();
    expect(await Promise.all([waiting, asking])).toEqual([
      expect.objectContaining({ code: "CLOSED" }),
      expect.objectContaining({ code: "CLOSED" }),
    ]);
    // The test's own.
    expect(primaryServer.openPools.size).toBe(1);
    expect(servers.map(({ openPools }) => openPools.size)).toEqual([0, 0]);
  });

  test("while the primary is down, who is known to have what was written answers first, and in the end anyone", async () => {
    await using played = await play({ maxLagMs: 200 });
    const { primaryServer, servers } = played;
    const [one, two] = servers as [PlayedServer, PlayedServer];
    const served = async (read = played.read()) => {
      await expect.poll(() => one.reads.length + two.reads.length).toBe(1);
      for (const { resolve } of [...one.reads.splice(0), ...two.reads.splice(0)]) resolve();
      return read;
    };
    primaryServer.position = "0/200";
    two.position = "0/200";
    played.wrote();
    const wroteMs = performance.now();
    expect(await served()).toBe("replica 2");
    primaryServer.dead = true;
    await expect.poll(() => played.set.primary.state).toBe("down");
    await expect.poll(() => performance.now() - wroteMs).toBeGreaterThan(250);
    expect(played.set.status().map(({ state }) => state)).toEqual(["healthy", "healthy"]);
    for (let i = 0; i < 4; i++) {
      const arrived = { name: `key ${i}`, ask: async () => true };
      const read = played.database.needing(arrived).run(READ);
      expect(await served(read.then(({ rows }) => rows[0]?.["name"]))).toBe("replica 2");
    }
    two.dead = true;
    expect(await served()).toBe("replica 1");
  });

  test("a position beyond the primary's last answer grants nothing before the primary has it, too", async () => {
    await using played = await play({ freshnessWaitMs: 20_000 });
    const { primaryServer, servers } = played;
    const [one, two] = servers as [PlayedServer, PlayedServer];
    // Another server has taken over that had less, and only now the first replica applies the last that it was sent.
    primaryServer.position = "0/200";
    one.position = "0/300";
    played.wrote();
    const read = played.read();
    await expect.poll(() => played.set.status()[0]?.reason).toMatch(/has what its primary lacks/);
    two.position = "0/200";
    await expect.poll(() => two.reads.length).toBe(1);
    two.reads.splice(0)[0]?.resolve();
    expect(await read).toBe("replica 2");
    expect(one.reads).toHaveLength(0);
    // Others write on, and the replica has that, too.
    primaryServer.position = "0/400";
    played.wrote();
    const next = played.read();
    const { questions } = two;
    await expect.poll(() => two.questions).toBeGreaterThan(questions + 5);
    primaryServer.position = "0/500";
    two.position = "0/500";
    await expect.poll(() => two.reads.length).toBe(1);
    two.reads[0]?.resolve();
    expect(await next).toBe("replica 2");
  });

  test("two sets of one primary share its history", async () => {
    await using played = await play();
    const { primary } = played.set;
    const [one] = played.servers as [PlayedServer];
    played.primaryServer.position = "0/200";
    await played.set.look();
    expect(primary.history.lagMs("0/100")).toBeDefined();
    const other = new ReplicaSet({
      of: "shard 1",
      shard: 1,
      engines: [one.engine],
      primary,
      pool: POOL_DEFAULTS,
      replication: REPLICATION_DEFAULTS,
    });
    await other.use();
    expect(primary.history.lagMs("0/100")).toBeDefined();
    await other.close();
  });

  test("one connection that is lost leaves nobody without an answer, also where the primary is not asked", async () => {
    await using played = await play({ fallback: "error" }, 1);
    const [one] = played.servers as [PlayedServer];
    const read = played.read();
    await played.settled();
    one.reads.splice(0)[0]?.reject(gone());
    await expect.poll(() => one.reads.length).toBe(1);
    one.reads[0]?.resolve();
    expect(await read).toBe("replica 1");
    one.dead = true;
    await expect(played.read()).rejects.toMatchObject({
      code: "REPLICAS_UNAVAILABLE",
      message: expect.stringMatching(/replica 1 of main \(replica 1\): CONNECTION_LOST/),
    });
    expect(played.primaryServer.reads).toHaveLength(0);
  });

  test("who keeps no position, or follows a primary that keeps none, takes no reads", async () => {
    await using played = await play();
    const [one, two] = played.servers as [PlayedServer, PlayedServer];
    one.position = "";
    await played.set.look();
    expect(played.set.status()).toMatchObject([
      { state: "unfit", reason: expect.stringMatching(/keeps no position/) },
      { state: "healthy" },
    ]);
    one.position = "0/100";
    played.primaryServer.position = "";
    await played.set.look();
    expect(played.set.status().map(({ reason }) => reason)).toEqual(
      [one, two].map(() => expect.stringMatching(/The primary keeps no position/)),
    );
    const read = played.read();
    await played.settled();
    played.primaryServer.reads[0]?.resolve();
    expect(await read).toBe("primary");
  });
});
