/**
 * Reads of a process that slept, or whose network did, across a whole move and its purge: by default they are at most one lease behind, with
 * `consistency: "strict"` never.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SeenRead } from "./chaos-messages.ts";
import type { ChaosProcess } from "./chaos-process.ts";
import { ChaosSite, ENGINE_PLANS, ServerFarm, whyLeftOut } from "./chaos-site.ts";
import { GRACE_MS, LEASE_MS } from "./chaos-timing.ts";

/** Two processes read the same clock, and it has steps of a millisecond. */
const CLOCK_MS = 2;
const ROUNDS = 4;

const farm = new ServerFarm();
afterAll(() => farm[Symbol.asyncDispose]());

for (const plan of ENGINE_PLANS) {
  describe.skipIf(whyLeftOut(plan) !== undefined)(`readers across a move, ${plan.name}`, () => {
    let site: ChaosSite;
    let reader: ChaosProcess;
    let lastKey = 0n;

    beforeAll(async () => {
      site = await ChaosSite.open(plan, farm);
      reader = await site.start("writers").ready();
      // Its connections are open when the first round begins.
      const { key } = await counted();
      for (const strict of [false, true]) {
        await reader.ask({ verb: "read", key: `${key}`, id: "1", strict });
        await sleep(200);
        await reader.ask({ verb: "stopReading" });
      }
    });
    afterAll(() => site?.[Symbol.asyncDispose]());

    /** A key on the source with one item, and what was acknowledged of it. */
    async function counted() {
      lastKey += 1n;
      const key = lastKey;
      await site.fed.tenants.add(key, { shard: 1 });
      const acknowledged: { version: number; at: number }[] = [];
      const item = { id: 1n, slot: 1n, folder_id: null, body: "", details: null };
      await site.fed
        .at(key)
        .insertInto("items")
        .values({ ...item, version: 1 })
        .execute();
      const count = async () => {
        const version = acknowledged.length + 1;
        await site.fed.at(key).updateTable("items").set({ version }).where("id", "=", 1n).execute();
        acknowledged.push({ version, at: Date.now() });
      };
      return { key, acknowledged, count };
    }

    /** Moves the key while its item is counted up; everything of it is more than a lease ago in the end. */
    async function moveAndCount({ key, count }: Awaited<ReturnType<typeof counted>>, to: number) {
      await count();
      const moved = site.fed.moves.move(key, { to, graceMs: GRACE_MS });
      await count();
      await moved;
      await count();
      await sleep(LEASE_MS + 20);
    }

    function expectFresh(
      reads: readonly SeenRead[],
      acknowledged: readonly { version: number; at: number }[],
      behindMs: number,
    ): void {
      expect(reads.length).toBeGreaterThan(1);
      for (const { beganAt, version } of reads) {
        const last = acknowledged.findLast(({ at }) => at < beganAt - behindMs - CLOCK_MS)?.version ?? 1;
        expect(version, `a read that began at ${beganAt}`).not.toBeNull();
        expect(version, `a read that began at ${beganAt}`).toBeGreaterThanOrEqual(last);
      }
      // The last ones began after everything: a read that never comes to the end proves nothing.
      expect(reads.at(-1)?.version).toBe(acknowledged.at(-1)?.version);
    }

    for (const strict of [false, true]) {
      const behindMs = strict ? 0 : LEASE_MS;
      const name = strict ? "strict reads are never behind" : "reads are at most a lease behind";

      test(`${name}, of a process that was stopped`, async () => {
        const item = await counted();
        for (let round = 0; round < ROUNDS; round += 1) {
          await reader.ask({ verb: "read", key: `${item.key}`, id: "1", strict });
          await sleep(15 + Math.random() * 10);
          reader.signal("SIGSTOP");
          await moveAndCount(item, (round + 1) % 2 === 0 ? 1 : 2);
          reader.signal("SIGCONT");
          await sleep(100);
          const reads = await reader.ask<SeenRead[]>({ verb: "stopReading" });
          expectFresh(reads, item.acknowledged, behindMs);
        }
      });

      test(`${name}, beside a move and writes`, async () => {
        const item = await counted();
        await reader.ask({ verb: "read", key: `${item.key}`, id: "1", strict });
        for (const to of [2, 1]) {
          const moved = site.fed.moves.move(item.key, { to, graceMs: GRACE_MS });
          let ended = false;
          const watched = moved.finally(() => {
            ended = true;
          });
          while (!ended) {
            await item.count();
            // SQLite answers at once: without a pause nothing else in this process would get its turn.
            await sleep(2);
          }
          await watched;
          await sleep(20);
        }
        const reads = await reader.ask<SeenRead[]>({ verb: "stopReading" });
        expectFresh(reads, item.acknowledged, behindMs);
      });

      // A statement that the network held up is executed when the source is already purged.
      test.skipIf(plan.source === "sqlite")(`${name}, held up by the network`, async () => {
        const item = await counted();
        await reader.ask({ verb: "read", key: `${item.key}`, id: "1", strict });
        await sleep(20);
        site.proxy("writers", "source").stall();
        await sleep(10);
        await moveAndCount(item, 2);
        site.heal();
        await sleep(50);
        const reads = await reader.ask<SeenRead[]>({ verb: "stopReading" });
        expectFresh(reads, item.acknowledged, behindMs);
      });
    }
  });
}
