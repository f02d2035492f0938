/** Processes that sleep, or end, in the middle of a change of shape or before their first step, and moves that are turned back without them. */
import { expect, test, vi } from "vitest";
import { type Connection, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { engineAt } from "../engine/open-database.ts";
import { AlbumBook } from "./album-book.ts";
import { type Albums, QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

onSites(
  "a mover that slept",
  ENGINES,
  (site, shared) => {
    let other: Albums | undefined;
    /** A process that takes everybody else for dead. */
    async function others(): Promise<Albums> {
      other ??= await shared.another({ runnerSilentMs: 0 });
      return other;
    }

    async function seededRange() {
      const low = 1_000n * (shared.newKey() + 1n);
      await shared.albums.fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
      const book = new AlbumBook(shared.albums, low + 50n);
      await book.seed(5);
      return { low, book };
    }

    /** The ends of a shard's ranges from `low` on. */
    async function rangesAt(shard: number, low: bigint) {
      const rows = await shared.albums.sql(
        shard,
        `select low, high, state from tesserae_residence_default where kind = 'r' and low >= ${low} and low < ${low + 100n} order by low`,
      );
      return rows.map((row) => [
        BigInt(row["low"] as string) - low,
        BigInt(row["high"] as string) - low,
        row["state"],
      ]);
    }

    test("who slept before the cut does not make it after the move was turned back", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const { low, book } = await seededRange();
      const asleep = Promise.withResolvers<void>();
      const woken = Promise.withResolvers<void>();
      albums.atPoint = async (point) => {
        if (point !== "created") return;
        asleep.resolve();
        await woken.promise;
      };
      const moving = fed.moves.move({ low: low + 40n, high: low + 60n }, { to: 2, ...QUICK });
      moving.catch(() => {});
      await asleep.promise;
      albums.atPoint = () => {};
      expect(await (await others()).fed.moves.abort(await albums.moveId())).toMatchObject({
        step: "aborted",
      });
      woken.resolve();
      await expect(moving).rejects.toMatchObject({ code: "MOVE_TAKEN_OVER" });
      expect(await rangesAt(1, low)).toEqual([[0n, 100n, "here"]]);
      await fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
      await book.expectOn(2);
      expect(await rangesAt(1, low)).toEqual([]);
    });

    test("who slept before the claim makes no residence after the move was turned back", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const key = shared.newKey();
      await fed.tenants.add(key, { shard: 1 });
      const asleep = Promise.withResolvers<void>();
      const woken = Promise.withResolvers<void>();
      albums.atPoint = async (point) => {
        if (point !== "created") return;
        asleep.resolve();
        await woken.promise;
      };
      const moving = fed.moves.move(key, { to: 2, ...QUICK });
      moving.catch(() => {});
      await asleep.promise;
      albums.atPoint = () => {};
      await (await others()).fed.moves.abort(await albums.moveId());
      woken.resolve();
      await expect(moving).rejects.toMatchObject({ code: "MOVE_TAKEN_OVER" });
      expect(await albums.residences(2, key)).toMatchObject([{ state: "gone" }]);
    });

    // A file has one writer, and InnoDB's locking read waits for a row that is not committed yet: there the look finds it.
    test.runIf(site.main === "postgres")(
      "a residence of a killed mover, committed late, is looked at again",
      async () => {
        const { albums } = shared;
        const key = shared.newKey();
        await albums.fed.tenants.add(key, { shard: 1 });
        const database = (await engineAt(shared.urls[2] as string)).open(POOL_DEFAULTS);
        const run = async (on: Connection, sql: string) => (await on.run({ sql, parameters: [] })).rows;
        const [late, watch] = await Promise.all([database.acquire(), database.acquire()]);
        await late.begin();
        await run(
          late,
          `insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('p', ${key}, null, 1, 'arriving', 1)`,
        );
        const moving = albums.fed.moves.move(key, { to: 2, ...QUICK });
        const waiting =
          "select pid from pg_catalog.pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        await vi.waitFor(async () => expect(await run(watch, waiting)).not.toEqual([]), {
          timeout: 10_000,
          interval: 1,
        });
        await late.commit();
        for (const connection of [late, watch]) connection.release();
        await database.close();
        expect(await moving).toMatchObject({ state: "done" });
        expect(await albums.residences(2, key)).toMatchObject([{ state: "here" }]);
      },
    );

    test("a shape that was finished is not looked at again when the move turns back", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const { low, book } = await seededRange();
      await fed.tenants.addRange({ low: low - 100n, high: low }, { shard: 2 });
      albums.atPoint = (point) => {
        if (point === "copy:done") throw new Error("the process has ended");
      };
      const moving = fed.moves.move({ low: low + 40n, high: low + 100n }, { to: 2, ...QUICK });
      await expect(moving).rejects.toThrow("the process has ended");
      albums.atPoint = () => {};
      const left = await albums.moveId();
      // What remains of the range goes elsewhere and becomes part of another, its purge still to come.
      const rest = { low, high: low + 40n };
      const [gone] = await fed.moves.move(rest, { to: 2, graceMs: 600_000, waitFor: "arrived" });
      await fed.merge({ at: low, to: 2 }, QUICK);
      expect(await (await others()).fed.moves.abort(left)).toMatchObject({ step: "aborted" });
      await book.expectOn(1);
      expect(await rangesAt(1, low)).toEqual([
        [0n, 40n, "gone"],
        [40n, 100n, "here"],
      ]);
      await albums.purgeNow(gone?.id as bigint);
      await fed.moves.move({ low: low + 40n, high: low + 100n }, { to: 2, ...QUICK });
      await book.expectOn(2);
    });

    test("a range that has another end on its shard than in main is not moved", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const { low, book } = await seededRange();
      const cut = (high: bigint) =>
        albums.sql(
          1,
          `update tesserae_residence_default set high = ${high} where kind = 'r' and low = ${low}`,
        );
      await cut(low + 60n);
      const moving = fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
      await expect(moving).rejects.toMatchObject({ code: "RESIDENCE_CONFLICT", shard: 1 });
      await book.expectOn(1);
      await cut(low + 100n);
      await fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
      await book.expectOn(2);
    });
  },
  { touchMs: 0 },
);
