/**
 * The process that moves ends at every named point of the engine, or sleeps there. Another process finishes, a new one finishes, and the one that
 * wakes up does no harm: the ledger is exact each time. Writers go on meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MOVE_POINTS, type MovePoint } from "../../../src/move/move-points.ts";
import type { ChildQuestion } from "./chaos-messages.ts";
import type { ChaosProcess } from "./chaos-process.ts";
import { ChaosSite, ENGINE_PLANS, ServerFarm, whyLeftOut } from "./chaos-site.ts";
import { readLedgers } from "./ledger.ts";
import { checkSite, readSite } from "./site-check.ts";

/** A stopped process may hold locks that the other one needs: it is woken up after this time at the latest. */
const SLEEP_MS_MAX = 800;
const FROM = 1;
const TO = 2;

/** Two moves of one process that come to the point, and where their keys live in the end. */
interface Scenario {
  readonly questions: readonly [ChildQuestion, ChildQuestion];
  readonly keys: readonly string[];
  readonly endsAt: number;
}

let lastKey = 0n;

async function prepare(site: ChaosSite, point: MovePoint, shape: "key" | "range"): Promise<Scenario> {
  const { tenants } = site.fed;
  const [a, b] = [lastKey + 1_000n, lastKey + 2_000n];
  lastKey = b;
  const keys = [`${a}`, `${b}`];
  const both = (ask: (key: bigint) => ChildQuestion) => [ask(a), ask(b)] as const;
  const plain = { keys, endsAt: TO };
  if (point.startsWith("merge:")) {
    for (const key of [a, b]) {
      await tenants.addRange({ low: key - 100n, high: key }, { shard: TO });
      await tenants.addRange({ low: key, high: key + 100n }, { shard: FROM });
    }
    return { ...plain, questions: both((key) => ({ verb: "merge", at: `${key}`, to: TO })) };
  }
  if (point.startsWith("shape:") || shape === "range") {
    for (const key of [a, b]) await tenants.addRange({ low: key - 100n, high: key + 100n }, { shard: FROM });
    const what = (key: bigint) =>
      shape === "key" ? { keys: [`${key}`] } : { low: `${key - 10n}`, high: `${key + 10n}` };
    return { ...plain, questions: both((key) => ({ verb: "move", what: what(key), to: TO })) };
  }
  for (const key of [a, b]) await tenants.add(key, { shard: FROM });
  const what = (key: bigint) => ({ keys: [`${key}`] });
  if (point.startsWith("abort") || point === "freeze:thawed") {
    const abort = point !== "freeze:thawed";
    // Whoever leaves a move lifts the freeze; whoever aborts it turns it back.
    const leaveAt = abort ? "verify:slice" : "freeze:frozen";
    const questions = both((key) => ({ verb: "moveAndLeave", key: `${key}`, to: TO, leaveAt, abort }));
    return { questions, keys, endsAt: abort ? FROM : TO };
  }
  // A throttle makes the slices of the copy so small that there are several.
  const slow = point === "copy:chunk" ? { rowsPerSecond: 80 } : {};
  return { ...plain, questions: both((key) => ({ verb: "move", what: what(key), to: TO, ...slow })) };
}

const farm = new ServerFarm();
afterAll(() => farm[Symbol.asyncDispose]());

for (const plan of ENGINE_PLANS) {
  describe.skipIf(whyLeftOut(plan) !== undefined)(`a mover cut off, ${plan.name}`, () => {
    let site: ChaosSite;
    let writer: ChaosProcess;
    let helper: ChaosProcess;
    /** The next one to be killed; it starts while the last case is being checked. */
    let victim: ChaosProcess;
    let isReady = true;

    beforeAll(async () => {
      site = await ChaosSite.open(plan, farm);
      writer = await site.start("writers").ready();
      helper = await site.start("movers").ready();
      victim = site.start("movers");
    });
    afterAll(() => site?.[Symbol.asyncDispose]());

    /** Writers at work, and both moves at the point, where the process ends or stops. */
    async function begin(point: MovePoint, shape: "key" | "range", signal: "SIGKILL" | "SIGSTOP") {
      // A case that failed may have left it in whatever state.
      if (!isReady) await victim.kill();
      isReady = false;
      await writer.ask({ verb: "stopWriting" });
      const scenario = await prepare(site, point, shape);
      const { keys, questions } = scenario;
      // Enough for several slices of a throttled copy, and then less than the throttle lets pass.
      const slow = point === "copy:chunk";
      await writer.ask({ verb: "writeSome", keys, seed: 1, writes: slow ? 25 : 3 });
      await writer.ask({ verb: "write", keys, seed: 2, pauseMs: slow ? 60 : 4 });
      if (victim.isGone) victim = site.start("movers");
      await victim.ready();
      await victim.ask({ verb: "order", order: { point, after: 1, signal, arrivals: 2 } });
      const moving = Promise.allSettled(questions.map((question) => victim.ask(question)));
      expect(await Promise.race([victim.reached(), moving])).toBe(point);
      isReady = true;
      return { scenario, moving };
    }

    async function end({ keys, endsAt }: Scenario): Promise<void> {
      await writer.ask({ verb: "stopWriting" });
      await writer.ask({ verb: "writeSome", keys, seed: 3, writes: 1 });
      const contents = await readSite(site.addresses);
      expect(checkSite(contents, readLedgers(site.ledgerFolder)).slice(0, 10)).toEqual([]);
      for (const key of keys) expect((await site.fed.tenants.where(BigInt(key))).shard).toBe(endsAt);
    }

    const cases: [MovePoint, "key" | "range"][] = MOVE_POINTS.flatMap((point) =>
      point.startsWith("shape:")
        ? [
            [point, "key"],
            [point, "range"],
          ]
        : [[point, "key"]],
    );

    test.each(cases)("ends at %s (%s): another process finishes, and a new one", async (point, shape) => {
      const { scenario, moving } = await begin(point, shape, "SIGKILL");
      await victim.ended;
      await moving;
      victim = site.start("movers");
      const [first, ...others] = (await site.fed.moves.list()).map(({ id }) => `${id}`);
      if (first !== undefined) await helper.ask({ verb: "resume", ids: [first] });
      await victim.ready();
      await victim.ask({ verb: "resume", ids: others });
      expect(await site.fed.moves.list()).toEqual([]);
      await end(scenario);
    });

    test.each(cases)(
      "sleeps at %s (%s): another process finishes, and it does no harm",
      async (point, shape) => {
        const { scenario, moving } = await begin(point, shape, "SIGSTOP");
        const finished = helper.ask({ verb: "resume" });
        finished.catch(() => {});
        await Promise.race([finished, sleep(SLEEP_MS_MAX)]);
        victim.signal("SIGCONT");
        for (const each of await moving)
          if (each.status === "rejected") expect(each.reason).toMatchObject({ code: "MOVE_TAKEN_OVER" });
        await finished;
        await helper.ask({ verb: "resume" });
        expect(await site.fed.moves.list()).toEqual([]);
        await end(scenario);
      },
    );
  });
}
