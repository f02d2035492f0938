/**
 * Queries over all shards while keys and ranges move as they like, and the processes that move them are killed in their midst. Where nobody writes, every answer is exact; where
 * somebody does, each key's rows are one of the states that it had, and not older than what was acknowledged before the query.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { SeededRandom } from "../move/chaos/seeded-random.ts";
import { ENGINES, whyNot } from "../move/move-sites.ts";
import { RandomMoves } from "./random-moves.ts";
import type { SteadyMoverWork } from "./steady-mover.child.ts";
import { SteadySite } from "./steady-site.ts";

const SITES = ENGINES.map((site) => ({ ...site, shards: [site.main, site.main, site.main] }));
const KEYS = [1n, 2n, 3n, 4n, 5n, 6n];
const RANGE = { low: 1000n, high: 2000n };
const RANGED = [1001n, 1250n, 1500n, 1999n];
const ALL = [...KEYS, ...RANGED];

const seed = Number(process.env["TESSERAE_TEST_SEED"] ?? Date.now() & 0x7fffffff);
/** Of each of the two halves, on each engine. */
const runMs = Number(process.env["TESSERAE_STEADY_MS"] ?? 1_200);

const photosOf = (key: bigint): number => 1 + Number(key % 4n);

/** Kills and replaces a process that moves. */
class KilledMovers {
  readonly #work: Omit<SteadyMoverWork, "seed">;
  readonly #random: SeededRandom;
  #child: ChildProcess | undefined;
  #stopped = false;
  killed = 0;

  constructor(urls: readonly string[], random: SeededRandom) {
    this.#work = {
      urls,
      keys: KEYS.map(String),
      ranged: RANGED.map(String),
      range: [`${RANGE.low}`, `${RANGE.high}`],
    };
    this.#random = random;
  }

  async run(): Promise<void> {
    while (!this.#stopped) {
      const work: SteadyMoverWork = { ...this.#work, seed: this.#random.int(1, 1_000_000) };
      const child = fork(join(import.meta.dirname, "steady-mover.child.ts"), [JSON.stringify(work)], {
        execArgv: ["--conditions=tesserae-source", "--disable-warning=ExperimentalWarning"],
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      this.#child = child;
      const exited = once(child, "exit");
      const outcome = await Promise.race([once(child, "message").then(() => "ready"), exited]);
      if (outcome === "ready") await Promise.race([sleep(this.#random.int(100, 500)), exited]);
      if (child.exitCode !== null && !this.#stopped)
        throw new Error(`the mover ended with ${child.exitCode}`);
      child.kill("SIGKILL");
      await exited;
      this.killed += 1;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#child?.kill("SIGKILL");
  }
}

for (const site of SITES) {
  describe.skipIf(whyNot(site) !== undefined)(`steady queries beside random moves, ${site.name}`, () => {
    /** Has the queries run over and over while everything moves. */
    async function besideMoves(
      steady: SteadySite,
      queries: readonly (() => Promise<void>)[],
      beside?: () => Promise<void>,
    ): Promise<void> {
      const random = new SeededRandom(seed);
      const things = { shards: 3, keys: KEYS, range: RANGE, ranged: RANGED };
      const mine = new RandomMoves(steady.fed, things, seed + 7);
      const others = new KilledMovers(steady.urls, random);
      let asked = 0;
      let over = false;
      const ask = async () => {
        while (!over) {
          await random.pick(queries)();
          asked += 1;
          // An engine inside the process answers without ever leaving the queue of promises.
          await nextTurn();
        }
      };
      // A move may wait for one that a killed process has left.
      const finish = async () => {
        while (!mine.over || !over) {
          await steady.fed.moves.resume().catch(() => undefined);
          await sleep(100);
        }
      };
      const besides = async () => {
        while (!over && beside !== undefined) {
          await beside();
          await nextTurn();
        }
      };
      const end = async () => {
        await sleep(runMs);
        over = true;
        mine.stop();
        others.stop();
      };
      const parts = [ask(), ask(), besides(), mine.run(), others.run(), end(), finish()];
      try {
        await Promise.all(parts);
      } finally {
        over = true;
        mine.stop();
        others.stop();
        await Promise.allSettled(parts);
        console.info(
          `${site.name}: seed ${seed}, ${asked} queries, ${mine.ended} moves here, ${others.killed} movers killed, ${steady.hooks.tries} careful tries`,
        );
      }
      expect(asked).toBeGreaterThan(0);
    }

    async function filled(): Promise<SteadySite> {
      const steady = await SteadySite.of(site, {}, { runnerSilentMs: 200 });
      await steady.fed.tenants.addRange(RANGE, { shard: 1 });
      await Promise.all(
        KEYS.map(async (key) => steady.fed.tenants.add(key, { shard: Number(key % 3n) + 1 })),
      );
      for (const key of ALL) await steady.albums.addRows(key, photosOf(key));
      return steady;
    }

    it("answers exactly where nobody writes", async () => {
      await using steady = await filled();
      const { fed } = steady;
      const random = new SeededRandom(seed + 1);
      const every = ALL.flatMap((key) =>
        Array.from({ length: photosOf(key) }, (_, index) => ({ owner: key, id: BigInt(index + 1) })),
      );
      const of = (keys: readonly bigint[]) => every.filter(({ owner }) => keys.includes(owner));
      const counts = (keys: readonly bigint[]) =>
        keys.map((owner) => ({ owner, n: BigInt(photosOf(owner)) }));
      const photos = () => fed.everywhere.selectFrom("photos");
      const some = () => random.some(ALL, random.int(1, 4));
      await besideMoves(steady, [
        async () =>
          expect(await photos().select(["owner", "id"]).orderBy("owner").orderBy("id").execute()).toEqual(
            every,
          ),
        async () =>
          expect(
            await photos()
              .select((eb) => eb.fn.countAll<bigint>().as("n"))
              .execute(),
          ).toEqual([{ n: BigInt(every.length) }]),
        async () =>
          expect(
            await photos()
              .select(["owner", (eb) => eb.fn.countAll<bigint>().as("n")])
              .groupBy("owner")
              .orderBy("owner")
              .execute(),
          ).toEqual(counts(ALL)),
        async () => {
          const rows = await fed.everywhere
            .selectFrom("albums as a")
            .leftJoin("photos as p", (join) =>
              join.onRef("p.owner", "=", "a.owner").onRef("p.album_id", "=", "a.id"),
            )
            .select((eb) => [eb.fn.countAll<bigint>().as("n"), eb.fn.count<bigint>("p.id").as("photos")])
            .execute();
          // An album without photos counts once: the second one of keys with a single photo.
          const empty = ALL.filter((key) => photosOf(key) === 1).length;
          expect(rows).toEqual([{ n: BigInt(every.length + empty), photos: BigInt(every.length) }]);
        },
        async () => {
          const keys = some();
          const rows = await fed
            .some(keys)
            .selectFrom("photos")
            .select(["owner", "id"])
            .orderBy("owner")
            .orderBy("id")
            .execute();
          expect(rows).toEqual(of(keys));
        },
        async () => {
          const keys = some();
          const rows = await photos()
            .select(["owner", (eb) => eb.fn.countAll<bigint>().as("n")])
            .where("owner", "in", keys)
            .groupBy("owner")
            .orderBy("owner")
            .execute();
          expect(rows).toEqual(counts(keys));
        },
        async () => {
          const seen: unknown[] = [];
          for await (const row of photos().select(["owner", "id"]).orderBy("owner").orderBy("id").stream())
            seen.push(row);
          expect(seen).toEqual(every);
        },
      ]);
    }, 60_000);

    it("answers with one of the states that each key had where somebody writes", async () => {
      await using steady = await filled();
      const { fed } = steady;
      const begun = new Map(ALL.map((key) => [key, 0]));
      const acknowledged = new Map(ALL.map((key) => [key, 0]));
      const random = new SeededRandom(seed + 2);
      for (const key of ALL) await fed.at(key).updateTable("albums").set({ name: "0" }).execute();
      const write = async () => {
        const key = random.pick(ALL);
        const next = (begun.get(key) as number) + 1;
        begun.set(key, next);
        await fed
          .at(key)
          .updateTable("albums")
          .set({ name: `${next}` })
          .execute();
        acknowledged.set(key, next);
      };
      const check = async (
        keys: readonly bigint[],
        query: () => Promise<{ owner: bigint; n: bigint; least: string; most: string }[]>,
      ) => {
        const least = new Map(acknowledged);
        const rows = await query();
        expect(rows.map(({ owner, n }) => ({ owner, n }))).toEqual(keys.map((owner) => ({ owner, n: 2n })));
        for (const row of rows) {
          expect(row.least, `both albums of ${row.owner}`).toBe(row.most);
          expect(Number(row.least)).toBeGreaterThanOrEqual(least.get(row.owner) as number);
          expect(Number(row.least)).toBeLessThanOrEqual(begun.get(row.owner) as number);
        }
      };
      const states = (everywhere: typeof fed.everywhere) =>
        everywhere
          .selectFrom("albums")
          .select((eb) => [
            "owner",
            eb.fn.countAll<bigint>().as("n"),
            eb.fn.min("name").as("least"),
            eb.fn.max("name").as("most"),
          ])
          .groupBy("owner")
          .orderBy("owner")
          .execute();
      await besideMoves(
        steady,
        [
          () => check(ALL, () => states(fed.everywhere)),
          () => {
            const keys = random.some(ALL, 3);
            return check(keys, () => states(fed.some(keys)));
          },
        ],
        write,
      );
    }, 60_000);
  });
}
