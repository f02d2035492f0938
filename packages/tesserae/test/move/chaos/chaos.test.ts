/**
 * Random schedules of writers, movers and faults. `TESSERAE_CHAOS_SEED=n` runs the one schedule of that seed on each pair, `TESSERAE_CHAOS_SCHEDULES=n`
 * that many on each pair (18 unless told), from a seed that is printed, or from the one that is given;
 * `TESSERAE_CHAOS_PLANS="sqlite,mysql to postgres"` chooses the pairs.
 */
import { afterAll, describe, expect, test } from "vitest";
import { ChaosSite, ENGINE_PLANS, ServerFarm, whyLeftOut } from "./chaos-site.ts";
import { describeSchedule, drawSchedule } from "./schedule.ts";
import { ScheduleRunner } from "./schedule-run.ts";

const SCHEDULES_DEFAULT = 18;
/** A site is left after so many schedules, since the check reads all that was ever written there. */
const SCHEDULES_OF_A_SITE = 40;
/** Every so many schedules a server is killed, which takes a second or two. */
const SERVER_KILL_EVERY = 9;

const replayed = process.env.TESSERAE_CHAOS_SEED;
const schedules = Number(
  process.env.TESSERAE_CHAOS_SCHEDULES ?? (replayed === undefined ? SCHEDULES_DEFAULT : 1),
);
/** Every schedule's seed follows from the first one's; a replayed one kills a server if its own number says so. */
const firstSeed = replayed === undefined ? Math.floor(Math.random() * 1e8) * 10 : Number(replayed);
const verbose = process.env.TESSERAE_CHAOS_VERBOSE === "1";

const farm = new ServerFarm();
afterAll(() => farm[Symbol.asyncDispose]());

for (const plan of ENGINE_PLANS) {
  describe.skipIf(whyLeftOut(plan) !== undefined)(`chaos, ${plan.name}`, () => {
    test(
      `${schedules} schedules from seed ${firstSeed}`,
      async () => {
        const met: Record<string, number> = {};
        let moved = 0;
        for (let done = 0; done < schedules; done += SCHEDULES_OF_A_SITE) {
          await using site = await ChaosSite.open(plan, farm);
          const runner = new ScheduleRunner(site);
          const end = Math.min(schedules, done + SCHEDULES_OF_A_SITE);
          for (let seed = firstSeed + done; seed < firstSeed + end; seed++) {
            const schedule = drawSchedule(seed, {
              servers: site.servers,
              killsServer: seed % SERVER_KILL_EVERY === 0,
            });
            const result = await runner.run(schedule);
            if (verbose)
              console.log(
                `${Math.round(result.tookMs)} ms ${describeSchedule(schedule)} ${JSON.stringify(result.met)} ${result.times.join(", ")}`,
              );
            // At once, since the other pairs go on for minutes before the test's own report.
            if (result.problems.length > 0)
              console.error(`${plan.name}, seed ${seed}: ${result.problems.slice(0, 12).join("\n")}`);
            expect(
              result.problems.slice(0, 12),
              `${plan.name}, ${describeSchedule(schedule)}; ${result.times.join(", ")}`,
            ).toEqual([]);
            for (const [what, times] of Object.entries(result.met)) met[what] = (met[what] ?? 0) + times;
          }
          moved += (await site.fed.moves.list({ all: true })).filter(({ state }) => state === "done").length;
        }
        console.log(
          `${plan.name}: ${schedules} schedules from seed ${firstSeed}; ${moved} moves done; movers met ${JSON.stringify(met)}`,
        );
        // Chaos in which nothing moves shows nothing.
        if (schedules >= 10) expect(moved).toBeGreaterThan(schedules);
      },
      60_000 + schedules * 15_000,
    );
  });
}
