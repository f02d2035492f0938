/** A replica that has not yet what a move brought, or still has what was removed, must not answer for the key: here one of two stands still all the time. */
import { type ReplicatedServers, whyUnavailable } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addUser, type DotsFederation } from "../federation/dots-federation.ts";
import {
  openReplicated,
  REPLICATED_ENGINES,
  readUntil,
  startServers,
  untilAllServe,
} from "./replicated-federation.ts";

const QUICK = { graceMs: 2_000 };

describe.each(REPLICATED_ENGINES)("%s", (engine) => {
  const reason = whyUnavailable(engine);
  describe.skipIf(reason !== undefined)(reason ?? "moved keys", () => {
    let servers: ReplicatedServers;
    beforeAll(async () => {
      servers = await startServers(engine);
    }, 60_000);
    afterAll(() => servers.stop());

    const port = engine === "mysql" ? sql`@@port` : sql`current_setting('port')`;
    const portOf = async (fed: DotsFederation, key: bigint) => {
      const { rows } = await sql<{ port: unknown }>`select ${port} as port`.execute(
        fed.at(key).replica.unfiltered(),
      );
      return Number(rows[0]?.port);
    };
    const labels = async (fed: DotsFederation, key: bigint) => {
      const rows = await fed.at(key).replica.selectFrom("sheets").select("label").orderBy("id").execute();
      return rows.map(({ label }) => label);
    };

    test("reads of a key that moves there and back are right all the time", { timeout: 60_000 }, async () => {
      // Whatever is read, it is not the reader's own writes that make it right, nor the lag.
      await using opened = await openReplicated(servers, 2, {
        replication: { freshness: "none", maxLagMs: 600_000 },
        directory: { leaseMs: 1_000 },
      });
      const { fed } = opened;
      const [still, other] = servers.replicas;
      const ada = await addUser(fed, "ada", 1);
      await servers.waitUntilCaughtUp();
      await readUntil(fed, (replicas) =>
        replicas.every(({ state }) => state === "healthy" || state === "unasked"),
      );
      await untilAllServe(servers.replicas, () => portOf(fed, ada.id));

      await still?.stopReplication();
      const seen = new Set<string>();
      let moving = true;
      const reading = (async () => {
        while (moving) seen.add((await labels(fed, ada.id)).join());
      })();
      try {
        await fed.moves.move(ada.id, { to: 2, awaitReplicas: false, ...QUICK });
        expect(await labels(fed, ada.id)).toEqual(["ada's"]);
        expect(await portOf(fed, ada.id)).not.toBe(still?.port);
        moving = false;
        await reading;
        expect([...seen]).toEqual(["ada's"]);

        // The replica that stands still has the key on shard 1, as it was before it left.
        await fed.at(ada.id).updateTable("sheets").set({ label: "renamed" }).execute();
        await fed.moves.move(ada.id, { to: 1, awaitReplicas: false, ...QUICK });
        const after = new Set<number>();
        for (let i = 0; i < 6; i++) {
          expect(await labels(fed, ada.id)).toEqual(["renamed"]);
          after.add(await portOf(fed, ada.id));
        }
        expect(after.has(still?.port ?? 0)).toBe(false);
        await other?.waitUntilCaughtUp();
        expect(await portOf(fed, ada.id)).toBe(other?.port);
      } finally {
        moving = false;
        await reading;
        await still?.startReplication();
      }
      await servers.waitUntilCaughtUp();
      await untilAllServe(servers.replicas, () => portOf(fed, ada.id), [servers.primary]);
    });

    test("a query over all shards sees a key that moves there and back once", {
      timeout: 60_000,
    }, async () => {
      await using opened = await openReplicated(servers, 2, {
        replication: { freshness: "none", maxLagMs: 600_000 },
        directory: { leaseMs: 100 },
      });
      const { fed } = opened;
      const [, other] = servers.replicas;
      const ada = await addUser(fed, "ada", 1);
      const bob = await addUser(fed, "bob", 2);
      await servers.waitUntilCaughtUp();
      await untilAllServe(servers.replicas, () => portOf(fed, ada.id));
      const everywhere = fed.everywhere.using({ replica: true });
      const named = fed.some([ada.id, bob.id]).using({ replica: true });
      const sheets = async (of: typeof everywhere) => {
        const rows = await of.selectFrom("sheets").select(["user_id", "label"]).orderBy("user_id").execute();
        return rows.map(({ label }) => label).join();
      };
      expect(await sheets(everywhere)).toBe("ada's,bob's");

      for (const server of servers.replicas) await server.stopReplication();
      let moving = true;
      const seen = new Set<string>();
      const reading = (async () => {
        while (moving) for (const of of [everywhere, named]) seen.add(await sheets(of));
      })();
      try {
        // Where nothing has moved, the replicas answer, however far they are behind.
        await fed.at(bob.id).updateTable("sheets").set({ label: "renamed" }).execute();
        expect(await sheets(everywhere)).toBe("ada's,bob's");
        await fed.at(bob.id).updateTable("sheets").set({ label: "bob's" }).execute();
        await other?.startReplication();
        for (const to of [2, 1]) await fed.moves.move(ada.id, { to, awaitReplicas: false, graceMs: 200 });
      } finally {
        moving = false;
        await reading;
        for (const server of servers.replicas) await server.startReplication();
      }
      seen.delete("ada's,renamed");
      expect([...seen]).toEqual(["ada's,bob's"]);
    });

    test("a cut-over waits for all replicas that take reads, and not for one that takes none", async () => {
      await using opened = await openReplicated(servers, 2, { replication: { maxLagMs: 600_000 } });
      const { fed } = opened;
      const ada = await addUser(fed, "ada", 1);
      await servers.waitUntilCaughtUp();
      await untilAllServe(servers.replicas, () => fed.freshness.run(() => portOf(fed, ada.id)));
      const [still] = servers.replicas;
      await still?.stopReplication();
      try {
        const moving = fed.moves.move(ada.id, { to: 2, ...QUICK, waitFor: "arrived" });
        await expect
          .poll(async () => (await fed.moves.list())[0], { timeout: 20_000 })
          .toMatchObject({ step: "freeze", waitsFor: expect.stringMatching(/replicas of both shards/) });
        await still?.startReplication();
        await moving;
        await servers.waitUntilCaughtUp();

        await still?.stopReplication();
        const impatient = await opened.open({ replication: { maxLagMs: 300 } });
        const back = await impatient.moves.move(ada.id, { to: 1, ...QUICK });
        expect(back.state).toBe("done");
      } finally {
        await still?.startReplication();
      }
    });

    test("a key joins another one's transaction only on a replica that has its rows", async () => {
      await using opened = await openReplicated(servers, 2, {
        replication: { freshness: "none", maxLagMs: 600_000 },
        directory: { leaseMs: 1_000 },
      });
      const { fed } = opened;
      const ada = await addUser(fed, "ada", 2);
      const bob = await addUser(fed, "bob", 1);
      await servers.waitUntilCaughtUp();
      await untilAllServe(servers.replicas, () => portOf(fed, ada.id));
      const prepared = fed.prepare((db) => db.selectFrom("sheets").select("label"));
      const inTransactionOf = <T>(key: bigint, read: () => Promise<T>) =>
        fed.at(key).replica.transaction().execute(read);
      const bobs = [{ label: "bob's" }];
      for (const server of servers.replicas) await server.stopReplication();
      try {
        await fed.moves.move(bob.id, { to: 2, awaitReplicas: false, waitFor: "arrived", ...QUICK });
        await expect(inTransactionOf(ada.id, () => labels(fed, bob.id))).rejects.toMatchObject({
          code: "REPLICA_WITHOUT_KEY",
          retryable: true,
        });
        await expect(inTransactionOf(ada.id, () => prepared.replica.at(bob.id))).rejects.toMatchObject({
          code: "REPLICA_WITHOUT_KEY",
        });
        // Begun with the key that moved, the transaction is where both are.
        const both = () => Promise.all([labels(fed, ada.id), labels(fed, bob.id)]);
        expect(await inTransactionOf(bob.id, both)).toEqual([["ada's"], ["bob's"]]);
        expect(
          await fed
            .at(ada.id)
            .transaction()
            .execute(() => prepared.replica.at(bob.id)),
        ).toEqual(bobs);
      } finally {
        for (const server of servers.replicas) await server.startReplication();
      }
      await servers.waitUntilCaughtUp();
      expect(await inTransactionOf(ada.id, () => prepared.replica.at(bob.id))).toEqual(bobs);
    });

    test("a key that was removed and comes again shows nothing of its first life; keys of ranges and reference tables are read", async () => {
      await using opened = await openReplicated(servers, 2, {
        replication: { freshness: "none", maxLagMs: 600_000 },
      });
      const { fed } = opened;
      const [still, other] = servers.replicas;
      const ada = await addUser(fed, "ada", 1);
      await fed.main.insertInto("themes").values({ id: 1n, label: "dark" }).execute();
      await fed.references.publish();
      await fed.tenants.addRange({ low: 5_000n, high: 6_000n }, { shard: 2 });
      await fed.at(5_500n).insertInto("sheets").values({ id: 77n, label: "in a range" }).execute();
      await servers.waitUntilCaughtUp();
      for (const key of [ada.id, 5_500n]) {
        await untilAllServe(servers.replicas, () => portOf(fed, key));
        for (let i = 0; i < 4; i++)
          expect(await fed.at(key).replica.selectFrom("themes").select("label").execute()).toEqual([
            { label: "dark" },
          ]);
      }
      expect(await labels(fed, 5_500n)).toEqual(["in a range"]);

      await still?.stopReplication();
      try {
        await fed.tenants.remove(ada.id, { rows: "delete" });
        await expect(labels(fed, ada.id)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
        await fed.tenants.add(ada.id, { shard: 1 });
        for (let i = 0; i < 6; i++) expect(await labels(fed, ada.id)).toEqual([]);

        // A key that gets a place of its own out of its range, and the rest of the range.
        await fed.isolate(5_500n, { awaitReplicas: false, ...QUICK });
        for (let i = 0; i < 6; i++) expect(await labels(fed, 5_500n)).toEqual(["in a range"]);
        // There and back: the replica that stands still has it in the range, as it was before it left.
        for (const to of [1, 2]) {
          await fed.moves.move(5_500n, { to, awaitReplicas: false, ...QUICK });
          await fed
            .at(5_500n)
            .updateTable("sheets")
            .set({ label: `on ${to}` })
            .execute();
          await other?.waitUntilCaughtUp();
          for (let i = 0; i < 6; i++) expect(await labels(fed, 5_500n)).toEqual([`on ${to}`]);
        }
        await untilAllServe(servers.replicas, () => portOf(fed, 5_600n));
      } finally {
        await still?.startReplication();
      }
    });
  });
});
