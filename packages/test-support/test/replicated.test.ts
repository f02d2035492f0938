import mysql from "mysql2/promise";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type ReplicatedDatabase,
  type ReplicatedServers,
  startReplicated,
  whyUnavailable,
} from "../src/index.ts";

type Row = Readonly<Record<string, unknown>>;

interface Connection {
  run(statement: string): Promise<readonly Row[]>;
  close(): Promise<void>;
}

async function connect(url: string): Promise<Connection> {
  if (url.startsWith("mysql:")) {
    const connection = await mysql.createConnection(url);
    return {
      run: async (statement) => (await connection.query(statement))[0] as Row[],
      close: async () => connection.destroy(),
    };
  }
  const client = new pg.Client(url);
  client.on("error", () => {});
  await client.connect();
  return {
    run: async (statement) => (await client.query(statement)).rows as Row[],
    close: () => client.end(),
  };
}

async function run(url: string, statement: string): Promise<readonly Row[]> {
  const connection = await connect(url);
  try {
    return await connection.run(statement);
  } finally {
    await connection.close();
  }
}

const insert = (url: string, id: number) => run(url, `insert into dots values (${id})`);
const ids = async (url: string) => (await run(url, "select id from dots order by id")).map(({ id }) => id);

const refusal = { mysql: { errno: 1290 }, postgres: { code: "25006" } } as const;
/** What an application without any privilege of its own has to see, to know where a server is. */
const positions = {
  mysql: {
    primary: "select @@gtid_binlog_pos as position, @@read_only as replica",
    replica: "select @@gtid_slave_pos as position, @@read_only as replica",
  },
  postgres: {
    primary: "select pg_current_wal_insert_lsn()::text as position, pg_is_in_recovery()::int as replica",
    replica: "select pg_last_wal_replay_lsn()::text as position, pg_is_in_recovery()::int as replica",
  },
} as const;

/** How many commits wait for a replica's receipt. */
const waiting = {
  mysql: `select variable_value as waiting from information_schema.global_status
    where variable_name = 'Rpl_semi_sync_master_wait_sessions'`,
  postgres: "select count(*)::text as waiting from pg_stat_activity where wait_event = 'SyncRep'",
} as const;

for (const engine of ["mysql", "postgres"] as const) {
  describe.skipIf(whyUnavailable(engine) !== undefined)(`replicated ${engine} servers`, () => {
    let set: ReplicatedServers;
    let database: ReplicatedDatabase;
    let primary = "";
    let first = "";
    let second = "";

    beforeAll(async () => {
      set = await startReplicated(engine, { replicas: 2 });
      database = await set.freshDatabase();
      [primary = "", first = "", second = ""] = database.urls;
      await run(primary, "create table dots (id int primary key)");
    });
    afterAll(() => set?.stop());

    test("show at the replicas what was written at the primary, and take no writes there", async () => {
      await insert(primary, 1);
      await set.waitUntilCaughtUp();
      expect(await ids(first)).toEqual([1]);
      expect(await ids(second)).toEqual([1]);
      await expect(insert(first, 2)).rejects.toMatchObject(refusal[engine]);
      const { primary: atPrimary, replica: atReplica } = positions[engine];
      const position = expect.stringMatching(/./);
      expect(await run(primary, atPrimary)).toEqual([{ position, replica: 0 }]);
      expect(await run(first, atReplica)).toEqual([{ position, replica: 1 }]);
    });

    test("apply nothing while they are stopped, and all of it afterwards", async () => {
      const [stopped, other] = set.replicas;
      await stopped?.stopReplication();
      await insert(primary, 2);
      await other?.waitUntilCaughtUp();
      expect(await ids(second)).toEqual([1, 2]);
      expect(await ids(first)).toEqual([1]);
      await expect(stopped?.waitUntilCaughtUp(100)).rejects.toThrow(/Not within 100 ms/);
      await stopped?.startReplication();
      await stopped?.waitUntilCaughtUp();
      expect(await ids(first)).toEqual([1, 2]);
    });

    test("go on replicating after a crash, of a replica and of the primary", async () => {
      const [replica] = set.replicas;
      await replica?.kill();
      await insert(primary, 3);
      await replica?.restart();
      await replica?.waitUntilCaughtUp();
      expect(await ids(first)).toEqual([1, 2, 3]);
      await set.primary.kill();
      await set.primary.restart();
      await insert(primary, 4);
      await set.waitUntilCaughtUp();
      expect(await ids(first)).toEqual([1, 2, 3, 4]);
    });

    test("change their primary as planned, and replicas' connections live on", async () => {
      const [next, other] = set.replicas;
      if (next === undefined || other === undefined) throw new Error("There are two replicas.");
      const connection = await connect(second);
      await set.switchOver(next);
      expect(set.servers.map(({ role }) => role)).toEqual(["replica", "primary", "replica"]);
      await expect(insert(primary, 5)).rejects.toMatchObject(refusal[engine]);
      await insert(first, 5);
      await set.waitUntilCaughtUp();
      expect(await ids(primary)).toEqual([1, 2, 3, 4, 5]);
      expect(await connection.run("select max(id) as id from dots")).toEqual([{ id: 5 }]);
      await connection.close();
    });

    test("fail over to a replica, and take back a primary that had gone its own way", async () => {
      const [lost, next] = set.replicas;
      if (lost === undefined || next === undefined) throw new Error("There are two replicas.");
      // What was written while the others were away is lost with the server that has it.
      await Promise.all([next.kill(), set.primary.kill()]);
      await insert(first, 6);
      await lost.kill();
      await next.restart();
      await next.promote();
      await set.primary.follow(next);
      await insert(second, 7);
      await lost.restart();
      // It does not know that there is another primary now.
      await insert(first, 8);
      expect(await ids(first)).toEqual([1, 2, 3, 4, 5, 6, 8]);
      await lost.follow(next);
      await set.waitUntilCaughtUp();
      for (const url of database.urls) expect(await ids(url)).toEqual([1, 2, 3, 4, 5, 7]);
    });

    test("drop a database everywhere", async () => {
      await database.drop();
      await set.waitUntilCaughtUp();
      for (const url of database.urls) await expect(ids(url)).rejects.toThrow();
    });

    test("answer a commit once a replica has received it, when asked to", async () => {
      await using synchronous = await startReplicated(engine, { replicas: 1, synchronous: true });
      const [replica] = synchronous.replicas;
      const { urls, adminUrls } = await synchronous.freshDatabase();
      const [url = "", replicaUrl = ""] = urls;
      await run(url, "create table dots (id int primary key)");
      replica?.pause();
      let answered = false;
      const inserted = insert(url, 1).then(() => {
        answered = true;
      });
      const commitsThatWait = async () => (await run(adminUrls[0] ?? "", waiting[engine]))[0]?.waiting;
      await expect.poll(commitsThatWait, { timeout: 10_000 }).toBe("1");
      expect(answered).toBe(false);
      replica?.resume();
      await inserted;
      await synchronous.waitUntilCaughtUp();
      expect(await ids(replicaUrl)).toEqual([1]);
    });
  });
}
