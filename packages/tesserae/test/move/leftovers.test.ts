/** What a move leaves on its source until its purge, and what comes back there before that. */
import { expect, test } from "vitest";
import { AlbumBook } from "./album-book.ts";
import { type Albums, QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

/** The purge is the test's to begin. */
const LATER = { graceMs: 600_000, waitFor: "arrived" } as const;

onSites(
  "what a move has left",
  ENGINES,
  (site, shared) => {
    let other: Albums | undefined;

    async function seeded() {
      const key = shared.newKey();
      await shared.albums.fed.tenants.add(key, { shard: 1 });
      const book = new AlbumBook(shared.albums, key);
      await book.seed(5);
      return { key, book };
    }

    test("a key out of a range goes back to where the range has left its rows", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const low = 1_000n * (shared.newKey() + 1n);
      await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
      const [inside, alone] = [new AlbumBook(albums, low + 10n), new AlbumBook(albums, low + 50n)];
      await inside.seed(5);
      await alone.seed(5);
      const [left] = await fed.moves.move({ low, high: low + 100n }, { to: 2, ...LATER });
      await alone.changePhoto(1n, { title: "at the target" });
      await alone.deletePhoto(2n);
      await fed.moves.move(low + 50n, { to: 1, ...QUICK });
      await alone.expectOn(1);
      await albums.purgeNow(left?.id as bigint);
      await alone.expectOn(1);
      await inside.expectOn(2);
    });

    test("goes with the way back of a move that was taken up there", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const { key, book } = await seeded();
      const left = await fed.moves.move(key, { to: 2, ...LATER });
      albums.atPoint = (point) => {
        if (point === "created") throw new Error("the process has ended");
      };
      await expect(fed.moves.move(key, { to: 1, ...QUICK })).rejects.toThrow("the process has ended");
      albums.atPoint = () => {};
      const id = (await fed.moves.list()).at(-1)?.id as bigint;
      other ??= await shared.another({ runnerSilentMs: 0 });
      expect(await other.fed.moves.abort(id)).toMatchObject({ step: "aborted" });
      await albums.purgeNow(left.id);
      await book.expectOn(2);
      await fed.moves.move(key, { to: 1, ...QUICK });
      await book.expectOn(1);
    });

    test.skipIf(site.name === "sqlite")("goes without waiting for keys that are back", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const [back, away] = [await seeded(), await seeded()];
      const [left] = await fed.moves.move([back.key, away.key], { to: 2, ...LATER });
      await fed.moves.move(back.key, { to: 1, ...QUICK });
      const held = Promise.withResolvers<void>();
      const purged = Promise.withResolvers<void>();
      const idling = fed
        .at(back.key)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("photos").set({ title: "held" }).where("id", "=", 1n).execute();
          held.resolve();
          await purged.promise;
        });
      await held.promise;
      await albums.purgeNow(left?.id as bigint).finally(purged.resolve);
      await idling;
      back.book.photos.set(1n, { album_id: null, place: "1", title: "held" });
      await back.book.expectOn(1);
      await away.book.expectOn(2);
    });
  },
  { touchMs: 0 },
);
