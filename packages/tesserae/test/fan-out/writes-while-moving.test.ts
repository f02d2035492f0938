/** Writes over all shards beside moves, splits, isolations and merges that never rest: each row counts every write exactly once. */
import { setTimeout as sleep } from "node:timers/promises";
import { forEachEngine } from "@tesserae/test-support";
import { expect, test } from "vitest";
import { WRITE_INTERNALS } from "../../src/fan-out/write/write-internals.ts";
import {
  bigint,
  defineSchema,
  EverywhereWriteError,
  type FederationConfig,
  federate,
  federated,
  int,
  isTesseraeError,
} from "../../src/index.ts";
import { LEASE_MS, QUICK } from "../move/albums.ts";

const schema = defineSchema({
  key: bigint(),
  tables: { dots: federated("owner", { id: bigint(), owner: bigint(), hits: int().default(0) }) },
});

const SHARDS = [1, 2, 3];
const POINTS = Array.from({ length: 8 }, (_, index) => BigInt(index + 1));
/** In a range from 100 to 200, which is moved, split and merged; 150 is isolated at some time. */
const RANGED = [100n, 120n, 150n, 151n, 199n];
const WORK_MS = Number(process.env["TESSERAE_WRITES_MS"] ?? 1_500);

const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T;

forEachEngine((engine) => {
  test(`writes over all shards count once beside moves on ${engine.name}`, {
    timeout: WORK_MS + 60_000,
  }, async () => {
    const databases = await engine.databases(4, { servers: 2 });
    const [main, one, two, three] = databases.urls as [string, string, string, string];
    const fed = await federate({
      schema,
      main,
      shards: { 1: one, 2: two, 3: three },
      directory: { leaseMs: LEASE_MS },
      // Between any two of its steps a write leaves moves the time to cut over.
      [WRITE_INTERNALS]: { at: () => sleep(50 * Math.random()) },
      budget: { serverConnectionsMax: 10_000 },
    } as FederationConfig<typeof schema>);
    try {
      await fed.schema.apply();
      for (const key of POINTS) await fed.tenants.add(key, { shard: pick(SHARDS) });
      await fed.tenants.addRange({ low: 100n, high: 200n }, { shard: 1 });
      const keys = [...POINTS, ...RANGED];
      for (const key of keys)
        await fed
          .at(key)
          .insertInto("dots")
          .values([{ id: 1n }, { id: 2n }])
          .execute();

      const end = performance.now() + WORK_MS;
      let moved = 0;
      let writes = 0n;
      /** One change of where keys live after the other; what is in the way of another one, or changes nothing, is passed over. */
      const mover = async (change: () => Promise<unknown>) => {
        while (performance.now() < end) {
          try {
            await change();
            moved++;
          } catch (error) {
            if (!isTesseraeError(error) || !PASSED_OVER.has(error.code)) throw error;
            await sleep(5);
          }
        }
      };
      const write = async () => {
        while (performance.now() < end) {
          const db = fed.everywhere.using({ allowEverywhere: true, concurrency: pick([1, 3]) });
          const raise = db.updateTable("dots").set((eb) => ({ hits: eb("hits", "+", 1) }));
          writes++;
          let report = await db.write(raise).catch(reportOf);
          for (; [...report.shards, ...report.moving].some(({ state }) => state !== "done"); )
            report = await report.rerun().catch(reportOf);
          expect(report.affectedRows).toBe(BigInt(2 * keys.length));
          // Leaves the moves the time in which they cut over.
          await sleep(40 * Math.random());
        }
      };
      await Promise.all([
        mover(() => fed.moves.move(pick(POINTS), { to: pick(SHARDS), ...QUICK })),
        mover(() =>
          fed.moves.move(
            POINTS.filter(() => Math.random() < 0.5),
            { to: pick(SHARDS), ...QUICK },
          ),
        ),
        mover(async () => {
          const range = pick(await fed.tenants.ranges());
          const which = Math.random();
          if (which < 0.4)
            return fed.moves.move({ low: range.low, high: range.high }, { to: pick(SHARDS), ...QUICK });
          if (which < 0.6) return fed.split({ at: pick([120n, 151n]), to: pick(SHARDS) }, QUICK);
          if (which < 0.7) return fed.isolate(150n, QUICK);
          if (which < 0.8) return fed.moves.move(150n, { to: pick(SHARDS), ...QUICK });
          return fed.merge({ at: pick([120n, 151n]) }, QUICK);
        }),
        write(),
      ]);
      for (const key of keys) {
        const rows = await fed.at(key).selectFrom("dots").select("hits").execute();
        expect(
          rows.map(({ hits }) => BigInt(hits)),
          `key ${key}`,
        ).toEqual([writes, writes]);
      }
      expect(moved).toBeGreaterThan(0);
    } finally {
      await fed.close();
      await databases.cleanUp();
    }
  });
});

const PASSED_OVER: ReadonlySet<string> = new Set([
  "MOVE_SAME_SHARD",
  "MOVE_UNDER_WAY",
  "RANGE_UNKNOWN",
  "SERIALIZATION",
  "RANGE_OVERLAP",
  "KEY_UNKNOWN",
  "VALUE_INVALID",
]);

function reportOf(error: unknown) {
  if (error instanceof EverywhereWriteError) return error.report;
  throw error;
}
