/**
 * The process that moves ends at every named point of the engine, or sleeps there. Another process finishes, a new one finishes, and the one that
 * wakes up does no harm: the ledger is exact each time. Writers go on meanwhile.
 *
 * All points are met on every pair, in both ways: one process has a move at each of them when it is cut off. Drawn, from a seed that is printed and that
 * `TESSERAE_CRASH_POINTS_SEED=n` sets: which process finishes which move, and when who sleeps wakes up. `TESSERAE_CRASH_POINTS=all` cuts off one move at a time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { MOVE_POINTS, type MovePoint } from "../../../src/move/move-points.ts";
import type { StandingMove } from "./chaos-messages.ts";
import type { ChaosProcess } from "./chaos-process.ts";
import { ChaosSite, ENGINE_PLANS, ServerFarm, whyLeftOut } from "./chaos-site.ts";
import { readLedgers } from "./ledger.ts";
import { SeededRandom } from "./seeded-random.ts";
import { checkSite, readSite } from "./site-check.ts";

const FROM = 1;
const TO = 2;
/** Who sleeps and holds a lock that the other one needs is woken up after this time. */
const SLEEP_MS_HOLDING = 800;
/** Long enough for all the others to be finished. */
const SLEEP_MS_MAX = 20_000;
/**
 * All points are a move each at the same time, in three processes and on three servers that all want the processor: 14 s where nobody else does, 23 to 46 s on two cores for which
 * fifteen others are waiting.
 */
vi.setConfig({ testTimeout: 120_000 });

type Case = readonly [point: MovePoint, kind: "key" | "range"];

const CASES: readonly Case[] = MOVE_POINTS.flatMap((point): Case[] =>
  point.startsWith("shape:")
    ? [
        [point, "key"],
        [point, "range"],
      ]
    : [[point, "key"]],
);

/** Reached with the key's residence locked, so that on SQLite nobody else could come anywhere. */
const holdsLock = ([point]: Case): boolean => point === "leave:locked";

/** Cases that are cut off together, by what they are called. */
const GROUPS: readonly (readonly [string, readonly Case[]])[] =
  process.env.TESSERAE_CRASH_POINTS === "all"
    ? CASES.map((each) => [`${each[0]} (${each[1]})`, [each]] as const)
    : [
        ["all points", CASES.filter((each) => !holdsLock(each))],
        ["leave:locked", CASES.filter(holdsLock)],
      ];

const seed = Number(process.env.TESSERAE_CRASH_POINTS_SEED ?? Math.floor(Math.random() * 1e9));

let lastKey = 0n;

/** A key that is where its move begins, and the move. */
async function prepare(site: ChaosSite, [point, kind]: Case): Promise<StandingMove> {
  const { tenants } = site.fed;
  lastKey += 1_000n;
  const key = lastKey;
  const plain = { kind, key: `${key}`, to: TO, point } as const;
  if (point.startsWith("merge:")) {
    await tenants.addRange({ low: key - 100n, high: key }, { shard: TO });
    await tenants.addRange({ low: key, high: key + 100n }, { shard: FROM });
    return { ...plain, kind: "merge" };
  }
  if (point.startsWith("shape:")) {
    await tenants.addRange({ low: key - 100n, high: key + 100n }, { shard: FROM });
    return plain;
  }
  await tenants.add(key, { shard: FROM });
  // Whose run fails under the freeze lifts it; whoever aborts a move turns it back.
  if (point === "freeze:thawed") return { ...plain, leaveAt: "freeze:frozen" };
  if (point.startsWith("abort")) return { ...plain, leaveAt: "verify:slice", abort: true };
  if (point === "catchUp:applied") return { ...plain, lingerAt: "copy:done" };
  // A throttle makes the slices of the copy so small that there are several.
  if (point === "copy:chunk") return { ...plain, rowsPerSecond: 80 };
  return plain;
}

const farm = new ServerFarm();
afterAll(() => farm[Symbol.asyncDispose]());

for (const plan of ENGINE_PLANS) {
  describe.skipIf(whyLeftOut(plan) !== undefined)(`a mover cut off, ${plan.name}, seed ${seed}`, () => {
    const random = new SeededRandom(seed);
    let site: ChaosSite;
    let writer: ChaosProcess;
    let helper: ChaosProcess;
    /** The next one to be killed; it starts while the last case is being checked. */
    let victim: ChaosProcess;

    beforeAll(async () => {
      site = await ChaosSite.open(plan, farm);
      writer = await site.start("writers").ready();
      helper = await site.start("movers").ready();
      victim = site.start("movers");
    });
    afterAll(() => site?.[Symbol.asyncDispose]());

    /** Writers at work, and each move at its point, where the process ends or stops. */
    async function begin(cases: readonly Case[], signal: "SIGKILL" | "SIGSTOP") {
      await writer.ask({ verb: "stopWriting" });
      const moves: StandingMove[] = [];
      for (const each of cases) moves.push(await prepare(site, each));
      // Enough for several slices of a throttled copy, and then less than the throttle lets pass.
      const slow = moves.filter(({ rowsPerSecond }) => rowsPerSecond !== undefined).map(({ key }) => key);
      const keys = moves.map(({ key }) => key);
      await writer.ask({ verb: "writeSome", keys, seed: 1, writes: 3 });
      await writer.ask({ verb: "writeSome", keys: slow, seed: 4, writes: 22 });
      await writer.ask({ verb: "write", keys, seed: 2, pauseMs: keys.length === 1 ? 10 : 120 });
      // A group that failed may have left it in whatever state.
      if (victim.isGone) victim = site.start("movers");
      await victim.ready();
      const ended = victim.ask<string[]>({ verb: "stand", moves, signal });
      ended.catch(() => {});
      expect(await victim.reached()).toBe("all stand");
      return { moves, keys, ended };
    }

    async function end({ moves, keys }: Awaited<ReturnType<typeof begin>>): Promise<void> {
      expect(await site.fed.moves.list()).toEqual([]);
      await writer.ask({ verb: "stopWriting" });
      await writer.ask({ verb: "writeSome", keys, seed: 3, writes: 1 });
      const contents = await readSite(site.addresses);
      expect(checkSite(contents, readLedgers(site.ledgerFolder)).slice(0, 10)).toEqual([]);
      for (const { key, abort, point } of moves)
        expect((await site.fed.tenants.where(BigInt(key))).shard, point).toBe(abort ? FROM : TO);
    }

    test.each(GROUPS)("ends at %s: another process finishes, and a new one", async (_, cases) => {
      const begun = await begin(cases, "SIGKILL");
      await victim.ended;
      victim = site.start("movers");
      const ids = (await site.fed.moves.list()).map(({ id }) => `${id}`);
      const byHelper = ids.filter(() => random.chance(0.5));
      await victim.ready();
      await Promise.all([
        helper.ask({ verb: "resume", ids: byHelper }),
        victim.ask({ verb: "resume", ids: ids.filter((id) => !byHelper.includes(id)) }),
      ]);
      await end(begun);
    });

    test.each(GROUPS)("sleeps at %s: another process finishes, and it does no harm", async (_, cases) => {
      const begun = await begin(cases, "SIGSTOP");
      const finished = helper.ask({ verb: "resume" });
      finished.catch(() => {});
      const inBetween = random.chance(0.5);
      const sleepMs = inBetween ? random.int(50, 1_500) : SLEEP_MS_MAX;
      await Promise.race([finished, sleep(cases.some(holdsLock) ? SLEEP_MS_HOLDING : sleepMs)]);
      victim.signal("SIGCONT");
      for (const each of await begun.ended) expect(["done", "MOVE_TAKEN_OVER"]).toContain(each);
      await finished;
      await helper.ask({ verb: "resume" });
      await end(begun);
    });
  });
}
