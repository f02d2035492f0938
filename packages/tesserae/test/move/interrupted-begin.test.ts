/** Moves whose process ended, or lost its connection, when they had just begun; and what comes to the same keys before they go on. */
import { expect, test } from "vitest";
import { AlbumBook } from "./album-book.ts";
import { QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

onSites(
  "a move that was left at its beginning",
  ENGINES,
  (_site, shared) => {
    test("a range waits for the key in it that is to be isolated, and leaves its rows", async () => {
      const { albums } = shared;
      const { fed } = albums;
      const low = 1_000n * (shared.newKey() + 1n);
      const range = { low, high: low + 100n };
      await fed.tenants.addRange(range, { shard: 1 });
      const [inside, alone] = [new AlbumBook(albums, low + 10n), new AlbumBook(albums, low + 50n)];
      await inside.seed(5);
      await alone.seed(5);
      albums.atPoint = (point) => {
        if (point === "created") throw new Error("the process has ended");
      };
      await expect(fed.isolate(low + 50n, QUICK)).rejects.toThrow("the process has ended");
      albums.atPoint = () => {};
      const isolation = await albums.moveId();
      const begun = Promise.withResolvers<bigint>();
      albums.atPoint = async (point) => {
        if (point === "created") begun.resolve((await fed.moves.list()).at(-1)?.id as bigint);
      };
      const moving = fed.moves.move(range, { to: 2, ...QUICK });
      moving.catch(begun.reject);
      const id = await begun.promise;
      let waitedFor: string | undefined;
      for await (const { waitsFor } of fed.moves.watch(id)) {
        waitedFor = waitsFor;
        if (waitedFor !== undefined) break;
      }
      expect(waitedFor).toMatch(`key ${low + 50n} to be isolated or removed`);
      await alone.changePhoto(1n, { title: "beside" });
      await fed.moves.resume(isolation, { olderThanMs: 0 });
      await moving;
      await inside.expectOn(2);
      await alone.changePhoto(2n, { title: "afterwards" });
      await alone.expectOn(1);
    });
  },
  { touchMs: 0 },
);
