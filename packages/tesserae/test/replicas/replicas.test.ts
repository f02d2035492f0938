/** Replicas over the engines' own replication: who answers, who is left out, and who comes back. */
import { AsyncLocalStorage } from "node:async_hooks";
import { type ReplicatedServers, runAsAdmin, whyUnavailable } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isTesseraeError } from "../../src/index.ts";
import { CliFolder } from "../cli/cli-folder.ts";
import { addUser, type DotsFederation } from "../federation/dots-federation.ts";
import {
  openReplicated,
  REPLICATED_ENGINES,
  readUntil,
  startServers,
  statesOf,
  untilAllServe,
} from "./replicated-federation.ts";

/** Reads without a pause until `stop`, some at the same time. Gives their number, and what failed. */
function readWithoutEnd(fed: DotsFederation, readers = 8) {
  let stopped = false;
  const reads = new Array<number>(readers).fill(0);
  const failures: unknown[] = [];
  const run = async (reader: number) => {
    while (!stopped) {
      try {
        await fed.replica.selectFrom("users").select("name").execute();
        reads[reader] = (reads[reader] ?? 0) + 1;
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const running = Promise.all(reads.map((_, reader) => run(reader)));
  return {
    failures,
    /** Each of the readers reads on; none of them waits for a server that does not answer. */
    async goesOn() {
      const before = [...reads];
      await expect
        .poll(() => reads.every((now, reader) => now > (before[reader] as number) + 5), { timeout: 5_000 })
        .toBe(true);
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await running;
    },
  };
}

const BUMP = {
  mysql: [
    "create function bump() returns int modifies sql data begin update users set name = 'bumped'; return 1; end",
  ],
  postgres: [
    "create function bump() returns int language sql as $$ update users set name = 'bumped' returning 1 $$",
  ],
};

const allHealthy = (replicas: readonly { state: string }[]) =>
  replicas.every(({ state }) => state === "healthy");

describe.each(REPLICATED_ENGINES)("%s", (engine) => {
  const reason = whyUnavailable(engine);
  describe.skipIf(reason !== undefined)(reason ?? "replicas", () => {
    let servers: ReplicatedServers;
    beforeAll(async () => {
      servers = await startServers(engine);
    }, 60_000);
    afterAll(() => servers.stop());

    test("reads go to the replicas in turn, and writes nowhere", async () => {
      await using opened = await openReplicated(servers, 2);
      const { fed } = opened;
      const ada = await addUser(fed, "ada", 1);
      const served = async () => {
        const rows = await sql<{ port: unknown }>`select ${sql.raw(
          engine === "mysql" ? "@@port" : "current_setting('port')",
        )} as port`.execute(fed.at(ada.id).replica.unfiltered());
        return Number(rows.rows[0]?.port);
      };
      await servers.waitUntilCaughtUp();
      // In a context that has written nothing, so that both will do.
      await fed.freshness.run(() => untilAllServe(servers.replicas, served));
      expect(await fed.at(ada.id).replica.selectFrom("sheets").select("label").execute()).toEqual([
        { label: "ada's" },
      ]);
      expect(await fed.replica.selectFrom("users").select("name").execute()).toEqual([{ name: "ada" }]);

      // A prepared query, too. MariaDB's function has the server's id in its highest byte.
      const own = engine === "mysql" ? "uuid_short() >> 56" : "current_setting('port')";
      const where = fed.prepare((db) =>
        db
          .selectFrom("sheets")
          .select(sql<string>`${sql.raw(own)}`.as("server"))
          .where("label", "=", "ada's"),
      );
      const primary = String((await where.first(ada.id))?.server);
      const replicas = await fed.freshness.run(() =>
        Promise.all(Array.from({ length: 10 }, () => where.replica.first(ada.id))),
      );
      expect(replicas.map((row) => String(row?.server))).not.toContain(primary);
      const rename = fed.prepare((db) => db.updateTable("sheets").set({ label: "renamed" }));
      await expect(rename.replica.at(ada.id)).rejects.toMatchObject({ code: "REPLICA_READ_ONLY" });

      const writes: Promise<unknown>[] = [
        fed.replica.deleteFrom("users").execute(),
        fed.at(ada.id).replica.deleteFrom("sheets").execute(),
        fed.at(ada.id).replica.unfiltered().deleteFrom("sheets").execute(),
        fed
          .at(ada.id)
          .replica.transaction()
          .execute((tx) => tx.deleteFrom("sheets").execute()),
        sql`delete from sheets`.execute(fed.at(ada.id).replica.unfiltered()),
        sql`commit`.execute(fed.at(ada.id).replica.unfiltered()),
      ];
      for (const write of await Promise.allSettled(writes))
        expect(write).toMatchObject({ status: "rejected", reason: { code: "REPLICA_READ_ONLY" } });
      expect(await fed.at(ada.id).selectFrom("sheets").select("label").execute()).toHaveLength(1);
    });

    test("a raw statement that begins as a read cannot write, also where the primary answers", async () => {
      await using opened = await openReplicated(servers, 0);
      const alone = await opened.open({ replicas: undefined as never });
      const ada = await addUser(alone, "ada");
      const hidden =
        engine === "postgres"
          ? sql`with gone as (delete from sheets returning id) select * from gone`
          : sql`select * from sheets for update`;
      // A select that was built, and calls a function that writes.
      const database = new URL(String(opened.config.main)).pathname.slice(1);
      await runAsAdmin(servers.primary, BUMP[engine], database);
      await servers.waitUntilCaughtUp();
      const bump = sql<number>`bump()`.as("bumped");
      const prepared = (fed: DotsFederation) =>
        fed.prepare((db) => db.selectFrom("sheets").select(sql<number>`bump()`.as("bumped")));
      for (const fed of [opened.fed, alone]) {
        const calls = [
          () => fed.replica.selectFrom("users").select(bump).execute(),
          () => fed.at(ada.id).replica.selectFrom("sheets").select(bump).execute(),
          () => prepared(fed).replica.at(ada.id),
          () => fed.replica.connection().execute((held) => held.selectFrom("users").select(bump).execute()),
        ];
        for (const call of calls) await expect(call()).rejects.toThrow(/read[- ]only/i);
        expect(await fed.main.selectFrom("users").select("name").execute()).toEqual([{ name: "ada" }]);
        const written = await hidden
          .execute(fed.at(ada.id).replica.unfiltered())
          .catch((error: unknown) => error);
        if (engine === "postgres") expect(written).toMatchObject({ code: "SERVER_READ_ONLY" });
        expect(await alone.at(ada.id).selectFrom("sheets").select("label").execute()).toHaveLength(1);
      }
    });

    test("transactions and streams read on one replica; nothing of the primary joins them", async () => {
      await using opened = await openReplicated(servers, 2);
      const { fed } = opened;
      const ada = await addUser(fed, "ada", 1);
      const outside = AsyncLocalStorage.snapshot();
      const names = await fed.replica
        .transaction()
        .setIsolationLevel("serializable")
        .execute(async (tx) => {
          const first = await tx.selectFrom("users").select("name").execute();
          await outside(() => addUser(fed, "bob", 2));
          expect(await tx.selectFrom("users").select("name").execute()).toEqual(first);
          await expect(fed.main.selectFrom("users").select("name").execute()).rejects.toMatchObject({
            code: "TRANSACTION_OTHER_SHARD",
          });
          return [...first, ...(await fed.replica.selectFrom("users").select("name").execute())];
        });
      expect(names).toEqual([{ name: "ada" }, { name: "ada" }]);
      // A replica's read in the primary's own transaction sees what that has written.
      await fed
        .at(ada.id)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("sheets").set({ label: "new" }).execute();
          expect(await fed.at(ada.id).replica.selectFrom("sheets").select("label").execute()).toEqual([
            { label: "new" },
          ]);
        });
      const streamed: unknown[] = [];
      for await (const row of fed.at(ada.id).replica.selectFrom("sheets").select("label").stream(1))
        streamed.push(row);
      expect(streamed).toEqual([{ label: "new" }]);
    });

    test("a connection that is held sees what its context writes meanwhile", async () => {
      await using opened = await openReplicated(servers, 0, { replication: { freshnessWaitMs: 50 } });
      const { fed } = opened;
      for (const name of ["ada", "bob"]) await addUser(fed, name);
      await readUntil(fed, allHealthy);
      await servers.waitUntilCaughtUp();
      const rename = (name: string) =>
        fed.main.updateTable("users").set({ name }).where("name", "not in", ["bob"]).execute();
      for (const server of servers.replicas) await server.stopReplication();
      try {
        const seen: unknown[] = [];
        for (const read of ["run", "begin", "stream"] as const)
          await fed.freshness.run(() =>
            fed.replica.connection().execute(async (held) => {
              const names = held.selectFrom("users").select("name").orderBy("name", "desc");
              seen.push((await names.execute())[0]?.name);
              await rename(`z ${read}`);
              if (read === "run") {
                seen.push((await names.execute())[0]?.name);
              } else if (read === "begin") {
                await held.transaction().execute(async (tx) => {
                  const inside = tx.selectFrom("users").select("name").orderBy("name", "desc");
                  seen.push((await inside.execute())[0]?.name);
                });
              } else {
                for await (const row of names.stream(1)) seen.push(row.name);
              }
            }),
          );
        expect(seen).toEqual(["bob", "z run", "bob", "z begin", "bob", "z stream", "bob"]);
        expect(fed.status().replicas.map(({ inFlight }) => inFlight)).toEqual([0, 0]);
        expect(fed.status().main.pool.inUse).toBe(0);
      } finally {
        for (const server of servers.replicas) await server.startReplication();
      }
    });

    test("strict transactions that the primary answers need one connection each", async () => {
      await using opened = await openReplicated(servers, 0);
      const fed = await opened.open({
        replicas: undefined as never,
        consistency: "strict",
        pool: { connectionsMax: 2, acquireTimeoutMs: 2_000 },
      });
      const ada = await addUser(fed, "ada");
      const labels = () => fed.at(ada.id).replica.selectFrom("sheets").select("label").execute();
      for (const begin of [() => fed.at(ada.id).replica.transaction(), () => fed.at(ada.id).transaction()]) {
        let reading = 2;
        const both = Promise.withResolvers<void>();
        const read = () =>
          begin().execute(async () => {
            const rows = await labels();
            reading -= 1;
            if (reading === 0) both.resolve();
            await both.promise;
            return rows;
          });
        expect(await Promise.all([read(), read()])).toEqual([[{ label: "ada's" }], [{ label: "ada's" }]]);
      }
    });

    test("no read fails when replicas are killed, one hangs, and all are gone; they come back by themselves", {
      timeout: 120_000,
    }, async () => {
      await using opened = await openReplicated(servers, 0);
      const { fed } = opened;
      const strict = await opened.open({ replication: { fallback: "error" } });
      await addUser(fed, "ada");
      const [one, two] = servers.replicas as [never, never] as unknown as typeof servers.replicas;
      await readUntil(fed, allHealthy);
      await using load = readWithoutEnd(fed);

      await one?.kill();
      await readUntil(fed, ([first]) => first?.state === "down");
      await one?.restart();
      await readUntil(fed, allHealthy);

      two?.pause();
      try {
        await readUntil(fed, ([, second]) => second?.state === "down");
        await load.goesOn();
      } finally {
        two?.resume();
      }
      await readUntil(fed, allHealthy);

      await strict.replica.selectFrom("users").select("name").execute();
      await Promise.all([one?.kill(), two?.kill()]);
      await readUntil(fed, (replicas) => replicas.every(({ state }) => state === "down"));
      await load.goesOn();
      const refused = await strict.replica
        .selectFrom("users")
        .select("name")
        .execute()
        .catch((error: unknown) => error);
      expect(isTesseraeError(refused, "REPLICAS_UNAVAILABLE")).toBe(true);
      expect(String(refused)).toMatch(/replica 1 of main .*replica 2 of main/);
      await Promise.all([one?.restart(), two?.restart()]);
      await readUntil(fed, allHealthy);
      expect(load.failures).toEqual([]);
      expect(await strict.replica.selectFrom("users").select("name").execute()).toEqual([{ name: "ada" }]);
    });

    test("a replica that is too far behind is left out until it has caught up", async () => {
      await using opened = await openReplicated(servers, 0, {
        replication: { maxLagMs: 400, freshness: "none" },
      });
      const { fed } = opened;
      await addUser(fed, "ada");
      const [one] = servers.replicas;
      await readUntil(fed, allHealthy);
      await one?.stopReplication();
      const writer = setInterval(
        () => void fed.main.updateTable("users").set({ created: new Date() }).execute(),
        20,
      );
      try {
        await readUntil(fed, ([first]) => first?.state === "behind" && (first.lagMs ?? 0) > 400);
        expect(statesOf(fed)).toEqual(["behind", "healthy"]);
        // Who begins now sees that it is behind, and not how far.
        const late = await opened.open();
        await late.probe();
        expect(late.status().replicas[0]).toMatchObject({ state: "behind", lagMs: undefined });
        expect(late.status().replicas[0]?.reason).toMatch(/how far is not known/);
        await one?.startReplication();
        await readUntil(fed, allHealthy);
      } finally {
        clearInterval(writer);
      }
    });

    test("a server that is no replica is left out, and the reason is shown", async () => {
      await using opened = await openReplicated(servers, 0);
      await addUser(opened.fed, "ada");
      const writable = await servers.primary.createDatabase();
      const replicas = [writable, opened.config.replicas[1] as string];
      const fed = await opened.open({ replicas });
      await fed.probe();
      expect(fed.status().replicas).toMatchObject([
        { cluster: "main", state: "unfit", reason: expect.stringMatching(/takes writes/) },
        { cluster: "main", state: "healthy", reason: undefined },
      ]);
      expect(await fed.replica.selectFrom("users").select("name").execute()).toEqual([{ name: "ada" }]);
      const folder = new CliFolder();
      try {
        const { main } = opened.config;
        folder.write(
          "tesserae.config.ts",
          `import { bigint, defineSchema, global } from "tesserae";
           const schema = defineSchema({ key: bigint(), tables: { users: global({ id: bigint() }) } });
           export default { schema, ...${JSON.stringify({ main, replicas })} };`,
        );
        const { stdout } = await folder.run("status");
        expect(stdout).toMatch(/replica 1 of main +unfit +It takes writes/);
        expect(stdout).toMatch(/replica 2 of main +healthy +0 ms behind/);
      } finally {
        folder.remove();
      }
      // A replica of the right servers, and of another federation's main.
      await using other = await openReplicated(servers, 0);
      const mixed = await opened.open({
        replicas: [other.config.replicas[0] as string, replicas[1] as string],
      });
      await mixed.probe();
      expect(mixed.status().replicas).toMatchObject([
        { state: "unfit", reason: expect.stringMatching(/copy of another database/) },
        { state: "healthy" },
      ]);
    });

    // Last, for afterwards the servers have other parts.
    test("a replica is promoted: reads go on, and who writes to the new primary reads it", {
      timeout: 90_000,
    }, async () => {
      await using opened = await openReplicated(servers, 0);
      await addUser(opened.fed, "ada");
      await servers.waitUntilCaughtUp();
      const url = new URL(String(opened.config.main));
      const hosts = servers.servers.map(({ port }) => `127.0.0.1:${port}`);
      const fed = await opened.open({
        main: url.href.replace(url.host, hosts.join(",")),
        failover: { waitMs: 20_000, checkMs: 100 },
      });
      await readUntil(fed, allHealthy);
      const reader = AsyncLocalStorage.snapshot();
      await using load = reader(() => fed.freshness.run(() => readWithoutEnd(fed)));
      const [next, other] = servers.replicas;
      const rename = (name: string) => fed.main.updateTable("users").set({ name }).execute();
      const readsOwn = async (name: string) => {
        await rename(name);
        expect(await fed.replica.selectFrom("users").select("name").execute()).toEqual([{ name }]);
      };
      await readsOwn("before");
      await servers.waitUntilCaughtUp();

      await servers.primary.kill();
      await load.goesOn();
      await next?.promote();
      await other?.follow(next as NonNullable<typeof next>);
      await readsOwn("after");
      await readUntil(fed, ([first, second]) => first?.state === "unfit" && second?.state === "healthy");
      for (let i = 0; i < 20; i++) await readsOwn(`after ${i}`);
      await load.goesOn();
      expect(load.failures).toEqual([]);
      await opened.fed.close();
    });
  });
});
