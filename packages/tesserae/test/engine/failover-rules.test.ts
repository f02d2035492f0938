/** What is sent again and what is not, statement by statement, on servers that do as the test says. */
import { describe, expect, test, vi } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import {
  type Connection,
  type Database,
  type Engine,
  type EngineResult,
  type FailoverOptions,
  POOL_DEFAULTS,
  type PoolWatch,
  type Statement,
} from "../../src/engine/contract.ts";
import { FailoverDatabase } from "../../src/engine/failover.ts";
import { mysql } from "../../src/engine/mysql/engine.ts";

const engine: Engine = mysql("mysql://app@one:1,two:2/d");
const STATUS = engine.dialect.replication?.statusSql;
const result = (rows: EngineResult["rows"] = []): EngineResult => ({
  rows,
  affectedRows: undefined,
  insertId: undefined,
});

const lost = () => Object.assign(new Error("Connection lost"), { code: "PROTOCOL_CONNECTION_LOST" });
const readOnly = () =>
  Object.assign(new Error("running with the --read-only option"), { errno: 1290, sqlState: "HY000" });
const unreachable = () =>
  new TesseraeError("CONNECT_FAILED", "Could not connect", {
    operation: "connect",
    cause: Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" }),
  });

/** A server whose statements do what `act` says; its pools and connections are counted. */
class FakeServer {
  readonly name: string;
  state: "primary" | "replica" | "down" | "full" = "replica";
  act: (statement: Statement) => EngineResult = () => result();
  readonly ran: string[] = [];
  pools = 0;
  closed = 0;
  asked = 0;
  watch: PoolWatch | undefined;
  /** The answer to who asks about its part comes after this. */
  answering: Promise<void> = Promise.resolve();

  constructor(name: string, state: FakeServer["state"]) {
    this.name = name;
    this.state = state;
  }

  open(_: unknown, watch?: PoolWatch): Database {
    this.pools += 1;
    if (watch !== undefined) this.watch = watch;
    const refusal = () => {
      return this.state === "down" ? unreachable() : undefined;
    };
    const run = async (statement: Statement) => {
      if (statement.sql !== STATUS) {
        this.ran.push(statement.sql);
        return this.act(statement);
      }
      this.asked += 1;
      await this.answering;
      if (this.state === "down" || this.state === "full") throw lost();
      return result([{ writable: this.state === "replica" ? 0 : 1 }]);
    };
    return {
      engine,
      run: async (statement) => {
        const error = refusal();
        if (error !== undefined) throw error;
        return run(statement);
      },
      acquire: async () => {
        const error = refusal();
        if (error !== undefined) throw error;
        if (this.state === "full") throw new TesseraeError("CONNECTION_LIMIT", "Too many");
        return { run, release: () => {} } as unknown as Connection;
      },
      close: async () => {
        this.closed += 1;
      },
      stats: { open: 0, inUse: 0, waiting: 0 },
    };
  }
}

const read: Statement = { sql: "select 1", parameters: [], readOnly: true };
const write: Statement = { sql: "insert into t values (1)", parameters: [] };

function setUp(
  states: readonly FakeServer["state"][] = ["primary", "replica"],
  more: Partial<FailoverOptions> = {},
) {
  const servers = states.map((state, index) => new FakeServer(`host-${index + 1}`, state));
  const options = { waitMs: 200, checkMs: 60_000, ...more };
  const database = new FailoverDatabase(engine, servers, POOL_DEFAULTS, options);
  return { database, servers, first: servers[0] as FakeServer, second: servers[1] as FakeServer };
}

/** The next statement fails, and the other server has taken over by then. */
function failOver({ first, second }: ReturnType<typeof setUp>, error: () => unknown): void {
  first.act = () => {
    first.state = "replica";
    second.state = "primary";
    throw error();
  };
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "done",
    (error: unknown) => engine.dialect.classify(error).code,
  );

describe("a statement on a server that another one takes over from", () => {
  test.each([
    ["a read whose connection was lost", read, lost, "done"],
    ["a write whose connection was lost", write, lost, "CONNECTION_LOST"],
    ["a select that is no plain read", { ...read, readOnly: false }, lost, "CONNECTION_LOST"],
    ["a read that was never sent", read, unreachable, "done"],
    ["a write that was never sent", write, unreachable, "done"],
    ["a write that was refused", write, readOnly, "done"],
    ["a call that was refused", { sql: " call pay()", parameters: [] }, readOnly, "SERVER_READ_ONLY"],
    [
      "an error of its own",
      write,
      () => Object.assign(new Error("?"), { errno: 1064, sqlState: "42000" }),
      "QUERY_FAILED",
    ],
  ] as const)("%s", async (_, statement, error, code) => {
    const set = setUp();
    await set.database.run({ ...read, sql: "select 0" });
    failOver(set, error);
    expect(await codeOf(set.database.run(statement))).toBe(code);
    expect(set.first.ran).toEqual(["select 0", statement.sql]);
    expect(set.second.ran).toEqual(code === "done" ? [statement.sql] : []);
    await set.database.close();
  });
});

test("a read that loses its connection each time is made twice and given up", async () => {
  const { database, first } = setUp(["primary"]);
  first.act = () => {
    throw lost();
  };
  expect(await codeOf(database.run(read))).toBe("CONNECTION_LOST");
  expect(first.ran).toHaveLength(2);
  await database.close();
});

test("a read that was not sent has its second chance all the same", async () => {
  const set = setUp();
  const errors = [unreachable(), lost()];
  set.first.act = () => {
    const error = errors.shift();
    if (error !== undefined) throw error;
    return result();
  };
  expect(await codeOf(set.database.run(read))).toBe("done");
  expect(set.first.ran).toHaveLength(3);
  await set.database.close();
});

test("a close while the primary is doubted leaves nothing open", async () => {
  const { database, first } = setUp(["primary"]);
  await database.run(read);
  const answer = Promise.withResolvers<void>();
  first.answering = answer.promise;
  // One round is under way, and the second doubt wants another one after it.
  first.watch?.suspect();
  first.watch?.suspect();
  await database.close();
  answer.resolve();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([first.pools, first.closed]).toEqual([2, 2]);
});

test.each([
  ["none", ["replica", "replica"], "PRIMARY_NOT_FOUND"],
  ["more than one", ["primary", "primary"], "PRIMARY_AMBIGUOUS"],
] as const)("where %s takes writes, everything is closed after a pause, too", async (_, states, code) => {
  const servers = states.map((state, index) => new FakeServer(`host-${index + 1}`, state));
  const options = { ...POOL_DEFAULTS, idleTimeoutMs: 50 };
  const database = new FailoverDatabase(engine, servers, options, { waitMs: 0, checkMs: 20 });
  expect(await codeOf(database.run(read))).toBe(code);
  await vi.waitFor(() => {
    for (const { pools, closed } of servers) expect(closed).toBe(pools);
  });
  await database.close();
});

test("who waits for the primary may leave at any time", async () => {
  const { database, first } = setUp(["primary"]);
  const answer = Promise.withResolvers<void>();
  first.answering = answer.promise;
  const left = new AbortController();
  const reason = new Error("gone");
  const began = performance.now();
  const acquiring = database.acquire({ signal: left.signal });
  left.abort(reason);
  await expect(acquiring).rejects.toBe(reason);
  expect(performance.now() - began).toBeLessThan(1_000);
  answer.resolve();
  await database.close();
});

test("a write that is refused by a server which takes writes is the caller's", async () => {
  const { database, first } = setUp();
  first.act = () => {
    throw readOnly();
  };
  expect(await codeOf(database.run(write))).toBe("SERVER_READ_ONLY");
  expect(first.ran).toHaveLength(1);
});

test("while nobody doubts it, the primary is not asked again", async () => {
  const { database, first, second } = setUp();
  for (let runs = 0; runs < 50; runs++) await database.run(read);
  expect([first.asked, second.asked, first.pools, first.ran.length]).toEqual([1, 1, 2, 50]);
  first.watch?.suspect();
  await database.run(read);
  expect([first.asked, first.pools]).toEqual([2, 2]);
});

test("a pool is left with the connection that told that its server takes writes", async () => {
  const { database, first } = setUp(["primary"]);
  await database.run(read);
  const { pools } = first;
  first.state = "down";
  first.watch?.suspect();
  await vi.waitFor(() => expect(first.closed).toBe(1));
  first.state = "primary";
  await database.run(read);
  expect(first.pools).toBe(pools + 1);
});

test("a server that has no connection left for the question stays the primary", async () => {
  const { database, first } = setUp();
  await database.run(read);
  first.state = "full";
  first.watch?.suspect();
  for (let runs = 0; runs < 3; runs++) expect(await codeOf(database.run(read))).toBe("done");
  expect(first.closed).toBe(0);
});

test("after a pause the primary is asked first, and after a long one everything is closed", async () => {
  const servers = [new FakeServer("host-1", "primary")];
  const options = { ...POOL_DEFAULTS, idleTimeoutMs: 150 };
  const database = new FailoverDatabase(engine, servers, options, { waitMs: 0, checkMs: 20 });
  const [server] = servers as [FakeServer];
  await database.run(read);
  await vi.waitFor(() => expect(server.closed).toBe(2));
  const { asked } = server;
  await database.run(read);
  expect([server.asked, server.pools]).toEqual([asked + 1, 4]);
  await database.close();
  expect(await codeOf(database.run(read))).toBe("CLOSED");
});
