/** A process that sleeps while it changes the shape of a range, and wakes up when the move was turned back without it. */
import { expect, test } from "vitest";
import { AlbumBook } from "./album-book.ts";
import { type Albums, QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

onSites(
  "a shape that is half made",
  ENGINES,
  (_site, shared) => {
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
