/** Updates and deletes over all shards: only when asked for by name, told shard by shard, each key exactly once, also while it moves. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { WritePoint } from "../../src/fan-out/write/write-everywhere.ts";
import { WRITE_INTERNALS } from "../../src/fan-out/write/write-internals.ts";
import {
  bigint,
  defineSchema,
  EverywhereWriteError,
  type Federation,
  federate,
  federated,
  global,
  int,
  reference,
  TesseraeError,
  text,
} from "../../src/index.ts";
import { MOVE_INTERNALS } from "../../src/move/move-internals.ts";
import { engineAt } from "../engine/open-database.ts";
import { Observer, observedEngine, sentTo } from "../federation/observed-engine.ts";
import { refused } from "../federation/refused.ts";
import { LEASE_MS, QUICK } from "../move/albums.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint(), name: text(20) }),
    themes: reference({ id: bigint(), label: text(20) }),
    sheets: federated("owner", { id: bigint(), owner: bigint(), label: text(20).unique() }),
    dots: federated("owner", {
      id: bigint(),
      owner: bigint(),
      hits: int().default(0),
      label: text(20).nullable(),
    }),
  },
});

/** Points stay on shards 1 to 3; the range from 1000 begins on shard 1. */
const POINTS = [1n, 2n, 3n, 4n, 5n, 6n];
const RANGED = [1000n, 1500n, 1999n];
const KEYS = [...POINTS, ...RANGED];
/** Before the copy is whole, and on both sides of the cut-over. */
const POINTS_OF_A_MOVE = ["claim:target", "verify:done", "arrive:active", "copy:copied", "arrive:target"];
const HOME = (key: bigint) => (key < 1000n ? Number((key - 1n) % 3n) + 1 : 1);

forEachEngine((engine) => {
  describe(`writes over all shards on ${engine.name}`, () => {
    let fed: Federation<typeof schema>;
    let cleanUp: () => Promise<void>;
    const observer = new Observer();
    let atWrite: (point: WritePoint, shard?: number) => void | Promise<void> = () => {};
    let atMove: (point: string) => void | Promise<void> = () => {};

    beforeAll(async () => {
      const databases = await engine.databases(4, { servers: 2 });
      const [main, ...shards] = await Promise.all(databases.urls.map(engineAt));
      fed = await federate({
        schema,
        main: main as never,
        shards: Object.fromEntries(
          shards.map((each, index) => [
            index + 1,
            observedEngine(each as never, `shard ${index + 1}`, observer),
          ]),
        ),
        directory: { leaseMs: LEASE_MS },
        moves: { writeWaitMs: 300 },
        [WRITE_INTERNALS]: { at: (point: WritePoint, shard?: number) => atWrite(point, shard) },
        [MOVE_INTERNALS]: { at: (point: string) => atMove(point) },
      } as never);
      cleanUp = () => databases.cleanUp();
      await fed.schema.apply();
      for (const key of POINTS) await fed.tenants.add(key, { shard: HOME(key) });
      await fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 1 });
      for (const key of KEYS)
        await fed
          .at(key)
          .insertInto("dots")
          .values([{ id: 1n }, { id: 2n }])
          .execute();
    });
    afterAll(async () => {
      await fed?.close();
      await cleanUp?.();
    });
    beforeEach(async () => {
      atWrite = () => {};
      atMove = () => {};
      await Promise.all(KEYS.map((key) => fed.at(key).updateTable("dots").set({ hits: 0 }).execute()));
    });

    const all = () => fed.everywhere.using({ allowEverywhere: true });
    const raise = () =>
      all()
        .updateTable("dots")
        .set((eb) => ({ hits: eb("hits", "+", 1) }));
    /** How often each key's rows were written; 2 rows a key. */
    const hits = async () => {
      const read = async (key: bigint) => {
        const rows = await fed.at(key).selectFrom("dots").select("hits").execute();
        return [`${key}`, rows.map((row) => row.hits)] as const;
      };
      return Object.fromEntries(await Promise.all(KEYS.map(read)));
    };
    const EACH_ONCE = Object.fromEntries(KEYS.map((key) => [`${key}`, [1, 1]]));

    it("are refused unless they are asked for by name", async () => {
      const refusal = await refused("FAN_OUT_READ_ONLY", () =>
        fed.everywhere.updateTable("dots").set({ hits: 1 }).execute(),
      );
      expect(refusal.message).toContain("allowEverywhere");
      await refused("FAN_OUT_READ_ONLY", () => fed.everywhere.deleteFrom("dots").execute());
      // Nor by way of a session that may.
      const query = raise().compile();
      await refused("FAN_OUT_READ_ONLY", () => fed.everywhere.executeQuery(query));
    });

    it("change every tenant's rows, and say how many on each shard", async () => {
      const result = await raise().executeTakeFirst();
      expect(result.numUpdatedRows).toBe(18n);
      expect(await hits()).toEqual(EACH_ONCE);
      const report = await all().write(raise().where("id", "=", 2n).where("owner", "<", 1000n));
      expect(report).toMatchObject({
        affectedRows: 6n,
        moving: [],
        shards: [1, 2, 3].map((shard) => ({ shard, state: "done", affectedRows: 2n, error: undefined })),
      });
      await fed
        .some([1n, 5n])
        .using({ allowEverywhere: true })
        .updateTable("dots")
        .set({ hits: 9 })
        .execute();
      expect(Object.entries(await hits()).filter(([, [first]]) => first === 9)).toHaveLength(2);
      await fed.some([]).using({ allowEverywhere: true }).deleteFrom("dots").execute();
      // Whose rows a write is for goes with it: on another session it would be for others.
      const ofOne = fed.some([1n]).using({ allowEverywhere: true }).deleteFrom("dots");
      for (const foreign of [ofOne, fed.at(1n).deleteFrom("dots")])
        await expect(all().write(foreign)).rejects.toMatchObject({ code: "QUERY_OF_OTHER_SESSION" });
      expect(Object.values(await hits()).flat()).toHaveLength(2 * KEYS.length);
      // More than one statement takes, and each of them twice.
      const many = Array.from({ length: 70_000 }, (_, index) => BigInt((index % 35_000) + 1));
      const some = fed.some(many).using({ allowEverywhere: true });
      const twice = some.updateTable("dots").set((eb) => ({ hits: eb("hits", "+", 10) }));
      expect((await some.write(twice)).affectedRows).toBe(18n);
      await all().updateTable("dots").set({ hits: 9 }).where("hits", "=", 19).execute();
      await all()
        .updateTable("dots")
        .set({ label: sql<string>`upper(${"xy"})` as never })
        .where("hits", "=", 9)
        .execute();
      expect((await fed.at(1n).selectFrom("dots").select("label").execute())[0]?.label).toBe("XY");
    });

    it("look at one row at a time, and keep to what one key's statement may", async () => {
      const db = all();
      for (const build of [
        () => db.updateTable("dots").from("sheets").set({ hits: 1 }).whereRef("sheets.id", "=", "dots.id"),
        () => db.updateTable("dots").set({ hits: 1 }).limit(1),
        () => db.deleteFrom("dots").limit(1),
        () => db.deleteFrom("dots").returning("id"),
        () => db.deleteFrom("dots").using("sheets"),
        () => db.updateTable("dots as d").set({ hits: 1 }),
        () => db.deleteFrom("dots").where("id", "in", (eb) => eb.selectFrom("sheets").select("id")),
        () => db.with("few", (few) => few.selectFrom("sheets").select("id")).deleteFrom("dots"),
        () => db.updateTable("sheets").set({ label: "everybody's" }),
        () => db.insertInto("dots").values({ id: 9n, owner: 1n } as never),
      ])
        await refused("STATEMENT_REFUSED", () => (build() as { execute(): Promise<unknown> }).execute());
      await refused("KEY_IMMUTABLE", () =>
        db
          .updateTable("dots")
          .set({ owner: 7n } as never)
          .execute(),
      );
      await refused("COLUMN_UNKNOWN", () =>
        db
          .updateTable("dots")
          .set({ none: 7n } as never)
          .execute(),
      );
      await refused("REFERENCE_READ_ONLY", () =>
        db
          .updateTable("themes" as never)
          .set({ label: "x" } as never)
          .execute(),
      );
      await refused("TABLE_NOT_HERE", () => db.deleteFrom("users" as never).execute());
      await refused("RAW_REFUSED", () =>
        db.deleteFrom("dots").where(sql<boolean>`id in (select id from sheets)`).execute(),
      );
      await refused("TRANSACTION_OPEN", () =>
        fed
          .at(1n)
          .transaction()
          .execute(() => raise().execute()),
      );
      expect(await hits()).toEqual(Object.fromEntries(KEYS.map((key) => [`${key}`, [0, 0]])));
    });

    it("tell which shard failed, and run that one again", async () => {
      observer.once("before", sentTo("shard 2", /^update .dots/), () => {
        throw new TesseraeError("DISK_FULL", "no room");
      });
      const error = await raise()
        .execute()
        .catch((failure: unknown) => failure);
      if (!(error instanceof EverywhereWriteError)) throw error;
      expect(error).toMatchObject({ code: "FAN_OUT_WRITE_FAILED", shard: 2 });
      expect(error.report.shards.map(({ state }) => state)).toEqual(["done", "failed", "done"]);
      expect(error.message).toContain("shard 2 (failed: ");
      // Meanwhile one of its keys has gone to a shard that is done, and one has come from there.
      await fed.moves.move(2n, { to: 1, ...QUICK });
      await fed.moves.move(1n, { to: 2, ...QUICK });
      const report = await error.report.rerun();
      expect(report.affectedRows).toBe(18n);
      expect(await hits()).toEqual(EACH_ONCE);
      await fed.moves.move(2n, { to: 2, ...QUICK });
      await fed.moves.move(1n, { to: 1, ...QUICK });
    });

    it("say of a commit without an answer that it is unknown, and do not run it again unless told to", async () => {
      observer.once("after", sentTo("shard 3", /^commit$/), () => {
        throw new TesseraeError("CONNECTION_LOST", "lost");
      });
      const error = await raise()
        .execute()
        .catch((failure: unknown) => failure);
      if (!(error instanceof EverywhereWriteError)) throw error;
      expect(error.report.shards.map(({ state }) => state)).toEqual(["done", "done", "unknown"]);
      await expect(error.report.rerun()).rejects.toBeInstanceOf(EverywhereWriteError);
      // It was written, which nobody could know.
      expect(await hits()).toEqual(EACH_ONCE);
      const report = await error.report.rerun({ unknown: true });
      expect(report.shards[2]).toMatchObject({ state: "done", affectedRows: 4n });
      expect((await hits())["3"]).toEqual([2, 2]);
    });

    it.each([
      ["a key", 4n, 1, 3, 2n],
      ["a range", { low: 1000n, high: 2000n }, 1, 2, 6n],
    ] as const)(
      "write %s that moves exactly once, wherever the write finds it",
      async (_, what, from, to, rows) => {
        for (const point of engine.name === "sqlite" ? POINTS_OF_A_MOVE : POINTS_OF_A_MOVE.slice(-2)) {
          let reached = 0;
          atMove = async (at) => {
            if (at !== point || reached++ > 0) return;
            const report = await all().write(raise());
            expect(report.affectedRows).toBe(18n);
            expect(report.moving).toMatchObject([{ state: "done", affectedRows: rows }]);
          };
          await fed.moves.move(what as never, { to, ...QUICK });
          expect(reached, point).toBeGreaterThan(0);
          atMove = () => {};
          expect(await hits(), point).toEqual(EACH_ONCE);
          await fed.moves.move(what as never, { to: from, ...QUICK });
          await all().updateTable("dots").set({ hits: 0 }).execute();
        }
      },
    );

    it.each([
      ["to a shard that is not written yet", 1n, 3],
      ["from there to one that is", 3n, 1],
    ] as const)("write a key exactly once that is cut over meanwhile, %s", async (_, key, to) => {
      const from = HOME(key);
      let moved = false;
      atWrite = async (point, shard) => {
        // Shards are written one after the other here: 1 is done when the key moves.
        if (point !== "shard:done" || shard !== 1 || moved) return;
        moved = true;
        await fed.moves.move(key, { to, ...QUICK });
      };
      const report = await all().using({ concurrency: 1 }).write(raise());
      expect(moved).toBe(true);
      expect(report.affectedRows).toBe(18n);
      expect(await hits()).toEqual(EACH_ONCE);
      await fed.moves.move(key, { to: from, ...QUICK });
    });

    it("run a shard again whose keys were cut over between its statement and its commit", async () => {
      let moved = 0;
      atWrite = async (point, shard) => {
        // The statement of shard 3 has seen that key 1 is not there; that it comes before the commit changes nothing.
        if (point !== "shard:written" || shard !== 3 || moved++ > 0) return;
        if (engine.name === "sqlite") return;
        await fed.moves.move(1n, { to: 3, waitFor: "arrived", ...QUICK });
      };
      observer.forget();
      const report = await all().using({ concurrency: 1 }).write(raise());
      expect(observer.count(sentTo("shard 3", /^update .dots/))).toBe(engine.name === "sqlite" ? 1 : 2);
      expect(report.affectedRows).toBe(18n);
      expect(await hits()).toEqual(EACH_ONCE);
      await settled(fed);
      if (engine.name !== "sqlite") await fed.moves.move(1n, { to: 1, ...QUICK });
    });

    it("wait for a frozen key, and fail in time", async () => {
      let outcome: unknown;
      atMove = async (at) => {
        if (at !== "freeze:frozen" || outcome !== undefined) return;
        outcome = await raise()
          .execute()
          .catch((error: unknown) => error);
      };
      await fed.moves.move(4n, { to: 2, pauseBudgetMs: 60_000, ...QUICK });
      atMove = () => {};
      if (!(outcome instanceof EverywhereWriteError)) throw outcome;
      expect(outcome.report.moving).toMatchObject([{ what: "key 4", state: "failed" }]);
      expect(outcome.report.moving[0]?.error?.code).toBe("TENANT_BUSY");
      await outcome.report.rerun();
      expect(await hits()).toEqual(EACH_ONCE);
      await fed.moves.move(4n, { to: 1, ...QUICK });
    });

    it("write a key once that leaves a range which moved when the write began", async () => {
      /** A move that has come to the point, and goes on when it is told to. */
      const held = async (point: string, what: unknown, to: number) => {
        const reached = Promise.withResolvers<void>();
        const goOn = Promise.withResolvers<void>();
        atMove = async (at) => {
          if (at !== point) return;
          atMove = () => {};
          reached.resolve();
          await goOn.promise;
        };
        const moved = fed.moves.move(what as never, { to, ...QUICK });
        await reached.promise;
        return () => {
          goOn.resolve();
          return moved;
        };
      };
      const endOfRange = await held("copy:done", { low: 1000n, high: 2000n }, 2);
      let endOfKey: () => Promise<unknown> = async () => undefined;
      atWrite = async (point) => {
        if (point !== "marked") return;
        await endOfRange();
        endOfKey = await held("leave:leaving", 1500n, 3);
      };
      const report = await all().write(raise());
      await endOfKey();
      expect(report.affectedRows).toBe(18n);
      expect(await hits()).toEqual(EACH_ONCE);
      await fed.moves.move({ low: 1000n, high: 2000n }, { to: 1, ...QUICK });
    });

    it("leave rows of a removed key alone", async () => {
      await fed.tenants.add(77n, { shard: 2 });
      await fed.tenants.remove(77n);
      const report = await all().write(all().deleteFrom("dots").where("hits", "=", 5));
      expect(report.affectedRows).toBe(0n);
    });
  });
});

async function settled(fed: Federation<typeof schema>): Promise<void> {
  for (const { id } of await fed.moves.list()) await fed.moves.resume(id).catch(() => undefined);
}
