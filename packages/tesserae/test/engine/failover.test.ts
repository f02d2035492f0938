/** A primary's part taken over by another server, on servers that replicate: what goes on, what is refused, and that nothing is written twice. */
import {
  queryAsAdmin,
  type ReplicatedDatabase,
  type ReplicatedServer,
  type ReplicatedServers,
  runAsAdmin,
  type ServerEngine,
  startReplicated,
  TcpProxy,
  whyUnavailable,
} from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import {
  type Database,
  type EngineResult,
  type FailoverOptions,
  POOL_DEFAULTS,
} from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { engineAt } from "./open-database.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 20));
const OPTIONS: FailoverOptions = { waitMs: 15_000, checkMs: 100 };

for (const name of ["mysql", "postgres"] as const) {
  describe.skipIf(whyUnavailable(name) !== undefined)(`failover on ${name}`, () => failoverOn(name));
}

function failoverOn(name: ServerEngine): void {
  let set: ReplicatedServers;
  let database: ReplicatedDatabase;

  beforeAll(async () => {
    set = await startReplicated(name, { replicas: 1 });
    database = await set.freshDatabase();
    await using open = await opened();
    for (const sql of [
      // No key: what is written twice is there twice.
      "create table ledger (id int, note varchar(20))",
      "create table entries (id int primary key)",
    ])
      await run(open.database, sql);
    await set.waitUntilCaughtUp();
  }, 60_000);
  afterAll(() => set?.stop());

  const withRole = (role: string) => set.servers.find((server) => server.role === role) as ReplicatedServer;
  const portOfUrl = (server: ReplicatedServer) => `127.0.0.1:${server.port}`;
  /** The application's URL with both hosts, the replica first. */
  function urlOfBoth(): string {
    const url = new URL(database.urls[0] as string);
    const servers = [...set.servers].sort((one, other) => other.role.localeCompare(one.role));
    return url.href.replace(url.host, servers.map(portOfUrl).join(","));
  }

  async function opened(url = urlOfBoth(), options: Partial<FailoverOptions> = {}) {
    const engine = await engineAt(url);
    const opened = engine.open({ ...POOL_DEFAULTS, connectionsMax: 4 }, { ...OPTIONS, ...options });
    return { database: opened, engine, [Symbol.asyncDispose]: () => opened.close(1_000) };
  }

  const run = (on: Pick<Database, "run">, sql: string, readOnly = false): Promise<EngineResult> =>
    on.run({ sql, parameters: [], readOnly });
  /** Which server answers. */
  const PORT = name === "mysql" ? "select @@port as port" : "select inet_server_port() as port";
  const portOf = async (on: Pick<Database, "run">) => Number((await run(on, PORT, true)).rows[0]?.port);
  const idsOf = async (on: Pick<Database, "run">, table = "ledger") =>
    (await run(on, `select id from ${table} order by id`, true)).rows.map(({ id }) => Number(id));

  async function errorOf(work: Promise<unknown>): Promise<TesseraeError> {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeDefined();
    if (error instanceof TesseraeError) return error;
    const { code } = (await engineAt(database.urls[0] as string)).dialect.classify(error);
    return new TesseraeError(code, String(error), { cause: error });
  }

  /** No writes from now on, but open connections: what PostgreSQL's own demotion would end. */
  async function makeReadOnly(server: ReplicatedServer, on = true): Promise<void> {
    if (name === "mysql") await runAsAdmin(server, [`set global read_only = ${on ? 1 : 0}`]);
    else
      await runAsAdmin(server, [
        `alter system set default_transaction_read_only = ${on ? "on" : "off"}`,
        "select pg_reload_conf()",
      ]);
  }

  test("the server that takes writes is found, wherever it stands in the list", async () => {
    await using open = await opened();
    expect(open.database.stats).toEqual({ open: 0, inUse: 0, waiting: 0 });
    expect(await portOf(open.database)).toBe(withRole("primary").port);
    const connection = await open.database.acquire();
    expect(await portOf(connection)).toBe(withRole("primary").port);
    connection.release();
    expect(open.database.stats).toMatchObject({ inUse: 0 });
  });

  test("a server that became read-only in place is left, with its connections", async () => {
    await using open = await opened();
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    const kept = await open.database.acquire();
    await makeReadOnly(primary);
    // Nobody writes, so nothing but the check tells.
    await replica.promote();
    const promoted = performance.now();
    await vi.waitFor(async () => expect(await portOf(open.database)).toBe(replica.port), { timeout: 5_000 });
    expect(performance.now() - promoted).toBeLessThan(2_000);
    kept.release();
    for (let reads = 0; reads < 20; reads++) expect(await portOf(open.database)).toBe(replica.port);
    await run(open.database, "insert into ledger (id) values (1)");
    expect(await idsOf(open.database)).toEqual([1]);
    await makeReadOnly(primary, false);
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
  }, 60_000);

  test("what is refused as read-only waits for the next primary, and is written once", async () => {
    await using open = await opened(urlOfBoth(), { checkMs: 60_000 });
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    await run(open.database, "delete from ledger");
    await set.waitUntilCaughtUp();
    const work: Promise<unknown>[] = [];
    // The library's own transactions run again as a whole.
    await new ControlStore(open.database).transaction(async (transaction) => {
      if (work.length === 0) {
        await makeReadOnly(primary);
        for (const id of [11, 12, 13])
          work.push(run(open.database, `insert into ledger (id) values (${id})`));
        await Promise.all(work.map((write) => Promise.race([write, turn()])));
        work.push(replica.promote());
      }
      await transaction.run("insert into ledger (id) values (14)", []);
    });
    await Promise.all(work);
    expect(await portOf(open.database)).toBe(replica.port);
    expect(await idsOf(open.database)).toEqual([11, 12, 13, 14]);
    await makeReadOnly(primary, false);
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
  }, 60_000);

  test("a primary that is killed: work goes on with the next one, no write is lost or made twice, no transaction half", async () => {
    await using open = await opened();
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    for (const table of ["ledger", "entries"]) await run(open.database, `delete from ${table}`);
    const acknowledged = new Set<number>();
    const unknown = new Set<number>();
    const refused = new Map<number, string>();
    const failedReads: unknown[] = [];
    let last = 0;
    let on = true;
    const writer = async () => {
      while (on) {
        const id = ++last;
        await run(open.database, `insert into ledger (id) values (${id})`).then(
          () => acknowledged.add(id),
          (error: unknown) => {
            const { code } = open.engine.dialect.classify(error);
            if (code === "CONNECTION_LOST") unknown.add(id);
            else refused.set(id, code);
          },
        );
      }
    };
    const reader = async () => {
      while (on) await portOf(open.database).catch((error: unknown) => failedReads.push(error));
    };
    const work = [writer(), writer(), writer(), reader(), reader()];
    const reach = (count: number) =>
      vi.waitFor(() => expect(acknowledged.size).toBeGreaterThan(count), { timeout: 20_000 });
    await reach(200);
    const connection = await open.database.acquire();
    await connection.begin();
    await run(connection, "insert into entries (id) values (1)");
    const before = [...acknowledged];
    await set.waitUntilCaughtUp();
    let bodies = 0;
    await new ControlStore(open.database).transaction(async (transaction) => {
      bodies += 1;
      const { rows } = await transaction.run("select id from entries where id = 2", []);
      if (rows.length === 0) await transaction.run("insert into entries (id) values (2)", []);
      if (bodies > 1) return;
      await primary.kill();
      await replica.promote();
    });
    expect(bodies).toBe(2);
    expect(await errorOf(run(connection, "insert into entries (id) values (3)"))).toMatchObject({
      code: "CONNECTION_LOST",
    });
    await errorOf(connection.commit());
    connection.release();
    expect(await idsOf(open.database, "entries")).toEqual([2]);
    await reach(acknowledged.size + 200);
    on = false;
    await Promise.all(work);
    const written = await idsOf(open.database);
    const counts = new Map<number, number>();
    for (const id of written) counts.set(id, (counts.get(id) ?? 0) + 1);
    expect(before.filter((id) => !counts.has(id))).toEqual([]);
    expect([...counts].filter(([, count]) => count > 1)).toEqual([]);
    expect([...refused]).toEqual([]);
    expect(failedReads).toEqual([]);
    // Three writers: each may have had one statement under way.
    expect(unknown.size).toBeLessThanOrEqual(3);
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
  }, 60_000);

  test("where no server takes writes, who comes waits for a time, and is told each one's reason", async () => {
    await using open = await opened(urlOfBoth(), { waitMs: 400 });
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    expect(await portOf(open.database)).toBe(primary.port);
    await set.waitUntilCaughtUp();
    await primary.kill();
    const begun = performance.now();
    const error = await errorOf(run(open.database, "insert into ledger (id) values (0)"));
    expect(performance.now() - begun).toBeGreaterThan(350);
    expect(performance.now() - begun).toBeLessThan(5_000);
    expect(error).toMatchObject({ code: "PRIMARY_NOT_FOUND", retryable: true });
    expect(error.message).toContain(`${portOfUrl(replica)}: takes no writes`);
    expect(error.message).toMatch(new RegExp(`${portOfUrl(primary)}: .*ECONNREFUSED`));
    expect(decodeURIComponent(error.message)).not.toContain(primary.password);
    await replica.promote();
    expect(await portOf(open.database)).toBe(replica.port);
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
  }, 60_000);

  test("a server that does not answer any more is left when another is promoted, by statements under way too; when it wakes up, both are refused", async () => {
    await using open = await opened();
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    expect(await portOf(open.database)).toBe(primary.port);
    primary.pause();
    try {
      const read = portOf(open.database);
      await vi.waitFor(() => expect(open.database.stats.inUse).toBe(1));
      await replica.promote();
      expect(await read).toBe(replica.port);
      expect(await portOf(open.database)).toBe(replica.port);
    } finally {
      primary.resume();
    }
    // It wakes up and still takes writes.
    const error = await vi.waitFor(
      async () => {
        const refusal = await errorOf(portOf(open.database));
        expect(refusal.code).toBe("PRIMARY_AMBIGUOUS");
        return refusal;
      },
      { timeout: 5_000 },
    );
    expect(error.retryable).toBe(false);
    for (const server of set.servers) expect(error.message).toContain(portOfUrl(server));
    await using late = await opened();
    for (const work of [
      run(open.database, "insert into ledger (id) values (0)"),
      open.database.acquire(),
      portOf(late.database),
    ])
      expect(await errorOf(work)).toMatchObject({ code: "PRIMARY_AMBIGUOUS" });
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
    expect(await portOf(open.database)).toBe(replica.port);
    expect(await portOf(late.database)).toBe(replica.port);
  }, 60_000);

  test("one host whose address leads to another server after the promotion", async () => {
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    await using proxy = await TcpProxy.to(primary);
    await using open = await opened(proxy.url(database.urls[0] as string));
    await run(open.database, "delete from ledger");
    await set.waitUntilCaughtUp();
    const kept = await open.database.acquire();
    expect(await portOf(kept)).toBe(primary.port);
    // The old server lives on, and so do the connections to it.
    await makeReadOnly(primary);
    proxy.leadTo(replica);
    const write = run(open.database, "insert into ledger (id) values (1)");
    await replica.promote();
    await write;
    expect(await idsOf(open.database)).toEqual([1]);
    for (let reads = 0; reads < 20; reads++) expect(await portOf(open.database)).toBe(replica.port);
    kept.release();
    expect(await portOf(open.database)).toBe(replica.port);
    await makeReadOnly(primary, false);
    await primary.follow(replica);
    await set.waitUntilCaughtUp();
  }, 60_000);

  test("new connections that lead to a server without writes are given to nobody", async () => {
    const [primary, replica] = [withRole("primary"), withRole("replica")];
    await using proxy = await TcpProxy.to(primary);
    // Longer than a connection to a server without writes is believed to lead where the address leads.
    await using open = await opened(proxy.url(database.urls[0] as string), {
      waitMs: 1_000,
      checkMs: 60_000,
    });
    const kept = await open.database.acquire();
    // The present connections are on the primary, and the check by one of them says so.
    proxy.leadTo(replica);
    const error = await errorOf(open.database.acquire());
    expect(error.code).toBe("PRIMARY_NOT_FOUND");
    expect(await portOf(kept)).toBe(primary.port);
    proxy.leadTo(primary);
    const next = await open.database.acquire();
    expect(await portOf(next)).toBe(primary.port);
    next.release();
    kept.release();
  }, 60_000);

  test("a statement that waits too long for a lock is stopped on its server", async () => {
    await using open = await opened();
    await run(open.database, "delete from entries");
    await run(open.database, "insert into entries (id) values (1)");
    const [holder, waiter] = [await open.database.acquire(), await open.database.acquire()];
    const sql = "update entries set id = 1 where id = 1";
    await holder.begin();
    await run(holder, sql);
    await waiter.begin();
    expect(await errorOf(waiter.run({ sql, parameters: [], lockWaitMs: 50 }))).toMatchObject({
      code: "LOCK_TIMEOUT",
    });
    await waiter.rollback();
    await holder.rollback();
    holder.release();
    waiter.release();
  }, 60_000);

  test("one host that was never there is CONNECT_FAILED at once, and so is a login that is refused", async () => {
    const url = new URL(database.urls[0] as string);
    url.port = "1";
    await using nowhere = await opened(url.href);
    const begun = performance.now();
    expect(await errorOf(portOf(nowhere.database))).toMatchObject({ code: "CONNECT_FAILED" });
    const stranger = urlOfBoth().replace(/:\/\/[^@]*@/, "://nobody:wrong@");
    await using refused = await opened(stranger);
    const error = await errorOf(portOf(refused.database));
    expect(error.code).toBe("CONNECT_FAILED");
    expect(error.message).not.toContain("wrong@");
    expect(performance.now() - begun).toBeLessThan(OPTIONS.waitMs / 2);
  });

  test("what refuses writes by itself on a server that takes them is the caller's, and runs once", async (context) => {
    if (name === "mysql") context.skip("MariaDB has an error of its own for read-only transactions");
    await using open = await opened();
    const primary = withRole("primary");
    await runAsAdmin(
      primary,
      [
        "create sequence calls",
        "grant all on sequence calls to public",
        `create function refuse_writes() returns int language plpgsql as $$
          begin perform nextval('calls'); set transaction read only; insert into ledger (id) values (0); return 0; end $$`,
      ],
      database.name,
    );
    expect(await errorOf(run(open.database, "select refuse_writes()"))).toMatchObject({
      code: "SERVER_READ_ONLY",
    });
    const [row] = await queryAsAdmin(primary, "select last_value from calls", database.name);
    expect(Number(row?.last_value)).toBe(1);
    const connection = await open.database.acquire();
    await connection.begin({ readOnly: true });
    expect(await errorOf(run(connection, "insert into ledger (id) values (0)"))).toMatchObject({
      code: "SERVER_READ_ONLY",
    });
    await connection.rollback();
    connection.release();
    expect(await portOf(open.database)).toBe(primary.port);
  });
}
