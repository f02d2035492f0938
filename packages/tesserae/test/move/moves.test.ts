/** Moves from end to end, on each engine and between them: what arrives, what stays, what is refused. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { openAlbums, QUICK } from "./albums.ts";

forEachEngine((engine) => {
  describe(`moves on ${engine.name}`, () => {
    test("a key goes to another shard with all its rows, and others stay", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls);
      await albums.fill(1n, 30);
      await albums.fill(2n, 5);
      const before = await albums.rowsOf(1n);
      const status = await albums.fed.moves.move(1n, { to: 2, ...QUICK });
      expect(status).toMatchObject({
        step: "done",
        state: "done",
        from: 1,
        to: 2,
        what: "key 1",
        error: undefined,
      });
      expect(await albums.rowsOf(1n)).toEqual(before);
      expect(await albums.counts(1)).toEqual(albums.expected([[2n, 5]]));
      expect(await albums.counts(2)).toEqual(albums.expected([[1n, 30]]));
      expect(await albums.fed.tenants.where(1n)).toMatchObject({ shard: 2, epoch: 2n, state: "active" });
    });

    test("back again, and once more", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls);
      await albums.fill(1n, 8);
      for (const to of [2, 1, 2]) {
        await albums.fed.moves.move(1n, { to, ...QUICK });
        await albums.addRows(1n, 2, 100 * (await albums.rowsOf(1n)).photos.length);
      }
      expect(await albums.fed.tenants.where(1n)).toMatchObject({ shard: 2, epoch: 4n });
      expect((await albums.counts(2))["photos"]).toBe(14);
    });

    test("many keys share moves", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls);
      for (let key = 1n; key <= 25n; key++) await albums.fill(key, 2);
      const keys = Array.from({ length: 25 }, (_, index) => BigInt(index + 1));
      const statuses = await albums.fed.moves.move(keys, { to: 2, batchKeys: 10, ...QUICK });
      expect(statuses.map((status) => status.keys)).toEqual([10, 10, 5]);
      expect(await albums.counts(1)).toEqual(albums.expected([]));
      expect(await albums.counts(2)).toEqual(albums.expected(keys.map((key) => [key, 2])));
    });

    test("ranges: split, moved in part, isolated, merged, drained", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls);
      const { fed } = albums;
      await fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 1 });
      const keys = [1000n, 1100n, 1499n, 1500n, 1700n, 1999n];
      for (const key of keys) await albums.addRows(key, 3);
      const lives = async () =>
        Object.fromEntries(
          await Promise.all(keys.map(async (key) => [String(key), (await fed.tenants.where(key)).shard])),
        );
      await fed.split({ at: 1500n }, QUICK);
      expect(await fed.tenants.ranges()).toMatchObject([
        { low: 1000n, high: 1500n, shard: 1 },
        { low: 1500n, high: 2000n, shard: 1 },
      ]);
      await fed.split({ at: 1700n, to: 2 }, QUICK);
      expect(await lives()).toEqual({ 1000: 1, 1100: 1, 1499: 1, 1500: 1, 1700: 2, 1999: 2 });
      await fed.moves.move({ low: 1050n, high: 1200n }, { to: 2, ...QUICK });
      expect(await lives()).toEqual({ 1000: 1, 1100: 2, 1499: 1, 1500: 1, 1700: 2, 1999: 2 });
      await fed.isolate(1999n, QUICK);
      expect(await fed.tenants.where(1999n)).toMatchObject({ shard: 2, by: "point" });
      await fed.moves.move(1499n, { to: 2, ...QUICK });
      expect(await lives()).toEqual({ 1000: 1, 1100: 2, 1499: 2, 1500: 1, 1700: 2, 1999: 2 });
      await fed.merge({ at: 1500n }, QUICK);
      await fed.merge({ at: 1700n, to: 2 }, QUICK);
      expect((await fed.tenants.ranges()).map(({ low, high, shard }) => [low, high, shard])).toEqual([
        [1000n, 1050n, 1],
        [1050n, 1200n, 2],
        [1200n, 2000n, 2],
      ]);
      await fed.drain(2, QUICK);
      expect(await albums.counts(2)).toEqual(albums.expected([]));
      expect(await albums.counts(1)).toEqual(albums.expected(keys.map((key) => [key, 3])));
      for (const key of keys) await albums.addRows(key, 1, 500);
      expect(await fed.moves.closedShards()).toEqual([2]);
      for (let key = 1n; key < 4n; key++) expect((await fed.tenants.add(key)).shard).toBe(1);
      expect((await fed.tenants.add(4n, { shard: 2 })).shard).toBe(2);
      await fed.reopen(2);
      await using again = await openAlbums(databases.urls);
      expect((await again.fed.tenants.add(5n)).shard).toBe(2);
    });

    test("refused before anything is written", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls);
      const { moves } = albums.fed;
      await albums.fill(1n, 2);
      await expect(moves.move(1n, { to: 1 })).rejects.toMatchObject({ code: "MOVE_SAME_SHARD" });
      await expect(moves.move(1n, { to: 9 })).rejects.toMatchObject({ code: "SHARD_UNKNOWN" });
      await expect(moves.move(77n, { to: 2 })).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await expect(moves.move({ low: 5n }, { to: 2 })).rejects.toMatchObject({ code: "RANGE_UNKNOWN" });
      await expect(moves.move(1n, { to: 2, hours: "25-3" })).rejects.toMatchObject({ code: "VALUE_INVALID" });
      await expect(moves.abort(5n)).rejects.toMatchObject({ code: "MOVE_UNKNOWN" });
      expect(await moves.list({ all: true })).toEqual([]);
    });
  });
});
