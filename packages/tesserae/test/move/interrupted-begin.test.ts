/** Moves whose process ended, or lost its connection, when they had just begun; and what comes to the same keys before they go on. */
import { expect, test } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import type { Engine } from "../../src/engine/contract.ts";
import { Observer, observedEngine, sentTo } from "../federation/observed-engine.ts";
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

    async function observed() {
      const observer = new Observer();
      const around = (engine: Engine, shard: number) => observedEngine(engine, `shard ${shard}`, observer);
      return { observer, fed: (await shared.another({ around })).fed };
    }

    test("the answer to its commit is lost: whoever asked for it runs it", async () => {
      const { observer, fed } = await observed();
      const loseAnswer = () =>
        observer.once("after", sentTo("control", /^insert into tesserae_moves/), () =>
          observer.once("after", sentTo("control", /^commit$/), () => {
            throw new TesseraeError("CONNECTION_LOST", "lost, as the test wants it");
          }),
        );
      const key = shared.newKey();
      await fed.tenants.add(key, { shard: 1 });
      loseAnswer();
      expect(await fed.moves.move(key, { to: 2, ...QUICK })).toMatchObject({ state: "done" });
      const low = 1_000n * (shared.newKey() + 1n);
      await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
      loseAnswer();
      expect(await fed.isolate(low + 50n, QUICK)).toMatchObject({ state: "done" });
      loseAnswer();
      expect(await fed.split({ at: low + 60n, to: 2 }, QUICK)).toMatchObject({ state: "done" });
      loseAnswer();
      expect(await fed.merge({ at: low + 60n }, QUICK)).toMatchObject({ state: "done" });
      expect(await fed.moves.list()).toEqual([]);
    });

    test("a key that was moved meanwhile is not asked for again and again", async () => {
      const { observer, fed } = await observed();
      const key = shared.newKey();
      await fed.tenants.add(key, { shard: 1 });
      // After the preflight, and before it begins.
      observer.once("after", sentTo("shard 2", /^select 1 as found from .empty/), async () => {
        await shared.albums.fed.moves.move(key, { to: 2, ...QUICK });
        observer.forget();
      });
      const begun = sentTo("control", /^select kind, low.* low in \(/);
      await expect(fed.moves.move(key, { to: 2, ...QUICK })).rejects.toMatchObject({ code: "SERIALIZATION" });
      expect(observer.count(begun)).toBe(1);
    });
  },
  { touchMs: 0 },
);
