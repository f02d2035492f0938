/** Moves beside what else changes keys, ranges and schemas: additions, removals, tombstones, other moves, tables. */
import { expect, test } from "vitest";
import { bigint, defineSchema, federate, federated } from "../../src/index.ts";
import type { MovePoint } from "../../src/move/move-points.ts";
import { engineAt } from "../engine/open-database.ts";
import { AlbumBook } from "./album-book.ts";
import { LEASE_MS, QUICK, tables } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

/** Its purge is pending until a test says otherwise. */
const LATER = { graceMs: 600_000, waitFor: "arrived" } as const;

const SITES = ENGINES.map((site) => ({ ...site, shards: [site.main, site.main, site.main] }));

onSites("moves beside other changes", SITES, (_site, shared) => {
  async function seeded(key = shared.newKey(), shard?: number) {
    if (shard !== undefined) await shared.albums.fed.tenants.add(key, { shard });
    const book = new AlbumBook(shared.albums, key);
    await book.seed(5);
    await book.addAlbum(1n, { parent_id: 1n, cover_id: 2n, name: "album" });
    return { key, book };
  }

  /** A range of its own for one test. */
  async function newRange(shard: number): Promise<bigint> {
    const low = 10_000n * shared.newKey();
    await shared.albums.fed.tenants.addRange({ low, high: low + 1_000n }, { shard });
    return low;
  }

  /** What `act` comes to at the first time that the move is at the point. */
  async function during<T>(
    point: MovePoint,
    move: () => Promise<unknown>,
    act: () => Promise<T>,
  ): Promise<T> {
    const { albums } = shared;
    const acted = Promise.withResolvers<T>();
    albums.atPoint = async (at) => {
      if (at !== point) return;
      albums.atPoint = () => {};
      await act().then(acted.resolve, acted.reject);
    };
    const moved = move();
    await Promise.race([acted.promise, moved.then(() => Promise.reject(new Error(`was never at ${point}`)))]);
    await moved;
    return acted.promise;
  }

  /** Lets the purge of a move, which is waited with, come now. */
  async function purgeNow(id: bigint): Promise<void> {
    const { moves } = shared.albums.fed;
    await moves.pause(id);
    await shared.albums.sql(
      0,
      `update tesserae_moves set progress = replace(progress, '"purgeAfter"', '"was"') where id = ${id}`,
    );
    await moves.resume(id);
  }

  const rowsOn = async (shard: number, key: bigint): Promise<number> => {
    const rows = await shared.albums.sql(shard, `select count(*) as n from photos where owner = ${key}`);
    return Number(rows[0]?.["n"]);
  };

  test("a key that moves is not removed, keeps its place, and moves once", async () => {
    const { fed } = shared.albums;
    const { key, book } = await seeded(undefined, 1);
    const refusals = await during(
      "copy:copied",
      () => fed.moves.move(key, { to: 2, ...QUICK }),
      async () => {
        expect(await fed.tenants.add(key)).toMatchObject({ shard: 1, state: "moving" });
        return Promise.allSettled([
          fed.tenants.add(key, { shard: 2 }),
          fed.tenants.remove(key, { rows: "delete" }),
          fed.moves.move(key, { to: 3 }),
          fed.moves.move([key, shared.newKey()], { to: 3 }),
          fed.moves.move([key], { to: 2 }),
        ]);
      },
    );
    expect(refusals.map((each) => each.status === "rejected" && each.reason.code)).toEqual([
      "TENANT_ELSEWHERE",
      "MOVE_UNDER_WAY",
      "MOVE_UNDER_WAY",
      "KEY_UNKNOWN",
      "MOVE_UNDER_WAY",
    ]);
    await book.expectOn(2);
    expect(await fed.moves.list()).toEqual([]);
  });

  test("a range that moves is not moved, cut, merged or taken from, and no key comes into it", async () => {
    const { fed } = shared.albums;
    const low = await newRange(1);
    await fed.tenants.addRange({ low: low + 1_000n, high: low + 2_000n }, { shard: 1 });
    await fed
      .at(low + 5n)
      .insertInto("empty")
      .values({ id: 1n })
      .execute();
    await fed.tenants.remove(low + 6n);
    const refusals = await during(
      "copy:copied",
      () => fed.moves.move({ low, high: low + 1_000n }, { to: 2, ...QUICK }),
      async () => {
        expect(await fed.tenants.add(low + 7n)).toMatchObject({ shard: 1 });
        return Promise.allSettled([
          fed.moves.move({ low, high: low + 1_000n }, { to: 3 }),
          fed.moves.move({ low: low + 10n, high: low + 20n }, { to: 2 }),
          fed.moves.move(low + 5n, { to: 3 }),
          fed.split({ at: low + 100n }),
          fed.merge({ at: low + 1_000n }),
          fed.isolate(low + 5n),
          fed.tenants.remove(low + 5n, { rows: "delete" }),
          fed.tenants.add(low + 6n),
        ]);
      },
    );
    expect(refusals.map((each) => each.status === "rejected" && each.reason.code)).toEqual(
      refusals.map(() => "MOVE_UNDER_WAY"),
    );
    expect(await fed.tenants.where(low + 5n)).toMatchObject({ shard: 2, by: "range" });
    expect(
      await fed
        .at(low + 5n)
        .selectFrom("empty")
        .select("id")
        .execute(),
    ).toHaveLength(1);
  });

  test("a key that is removed after its move comes back empty to where the purge is pending", async () => {
    const { fed } = shared.albums;
    const { key } = await seeded(undefined, 1);
    const { id } = await fed.moves.move(key, { to: 2, ...LATER });
    expect(await rowsOn(1, key)).toBe(5);
    await fed.tenants.remove(key, { rows: "delete" });
    await fed.tenants.add(key, { shard: 1 });
    expect(await shared.albums.rowsOf(key)).toEqual({ albums: [], photos: [] });
    const book = new AlbumBook(shared.albums, key);
    await book.seed(2);
    await book.expectOn(1);
    await purgeNow(id);
    await book.expectOn(1);
    await fed.moves.move(key, { to: 2, ...QUICK });
    await book.expectOn(2);
  });

  test("a key that moved on comes back to the first shard, whose purge is pending", async () => {
    const { fed } = shared.albums;
    const { key, book } = await seeded(undefined, 1);
    const first = await fed.moves.move(key, { to: 2, ...LATER });
    await book.changePhoto(1n, { title: "on 2" });
    await book.deletePhoto(2n + 1n);
    const second = await fed.moves.move(key, { to: 3, ...LATER });
    await book.changePhoto(1n, { title: "on 3" });
    await fed.moves.move(key, { to: 1, ...QUICK });
    await purgeNow(first.id);
    await book.changePhoto(1n, { title: "on 1 again" });
    expect(await rowsOn(2, key)).toBe(4);
    await purgeNow(second.id);
    expect(await rowsOn(3, key)).toBe(0);
    await book.expectOn(1);
  });

  test("a removed key of a range stays refused wherever the range goes", async () => {
    const { albums } = shared;
    const { fed } = albums;
    const low = await newRange(1);
    const [removed, isolated, kept] = [low + 5n, low + 6n, low + 7n];
    for (const key of [removed, isolated, kept])
      await fed.at(key).insertInto("empty").values({ id: 1n }).execute();
    await fed.isolate(isolated, QUICK);
    for (const key of [removed, isolated]) await fed.tenants.remove(key, { rows: "delete" });
    for (const to of [2, 3, 1, 2]) {
      await fed.moves.move({ low, high: low + 1_000n }, { to, ...QUICK });
      for (const key of [removed, isolated]) {
        await expect(fed.at(key).insertInto("empty").values({ id: 2n }).execute()).rejects.toMatchObject({
          code: "KEY_UNKNOWN",
        });
        // Nor past every session.
        await expect(
          albums.sql(to, `insert into empty (id, owner) values (2, ${key})`),
          `${key} on ${to}`,
        ).rejects.toThrow(/TESSERAE_GUARD|removed|gone/);
      }
      expect(await fed.at(kept).selectFrom("empty").select("id").execute()).toEqual([{ id: 1n }]);
    }
    for (const key of [removed, isolated]) {
      expect(await fed.tenants.add(key)).toMatchObject({ shard: 2, state: "active" });
      await fed.at(key).insertInto("empty").values({ id: 3n }).execute();
      expect(await fed.at(key).selectFrom("empty").select("id").execute()).toEqual([{ id: 3n }]);
    }
  });

  test("a key with a place of its own stays there while the range around it comes and goes", async () => {
    const { fed } = shared.albums;
    const low = await newRange(1);
    const range = { low, high: low + 1_000n };
    const around = await seeded(low + 10n);
    const own = await seeded(low + 11n);
    await fed.moves.move(own.key, { to: 3, ...QUICK });
    expect(await fed.tenants.where(own.key)).toMatchObject({ shard: 3, by: "point" });
    const check = async (shard: number) => {
      expect((await fed.tenants.where(around.key)).shard).toBe(shard);
      expect(await fed.tenants.where(own.key)).toMatchObject({ shard: 3, epoch: 2n });
      for (const { key, book } of [around, own]) {
        await book.changePhoto(1n, { title: `the range is on ${shard}` });
        const home = key === own.key ? 3 : shard;
        for (const each of [1, 2, 3])
          expect(await rowsOn(each, key), `${key} on ${each}`).toBe(each === home ? 5 : 0);
        expect((await shared.albums.rowsOf(key)).photos.find(({ id }) => id === 1n)?.title).toBe(
          `the range is on ${shard}`,
        );
      }
    };
    for (const to of [3, 2, 3, 1]) {
      await fed.moves.move(range, { to, ...QUICK });
      await check(to);
    }
    // On the way back nothing of the key's own is taken for the range's.
    const moving = during(
      "verify:done",
      () =>
        expect(fed.moves.move(range, { to: 3, ...QUICK })).rejects.toMatchObject({ code: "MOVE_ABORTED" }),
      async () => {
        const id = await shared.albums.moveId();
        void fed.moves.abort(id);
        await shared.albums.untilWanted(id, "abort");
      },
    );
    await moving;
    await check(1);
  });

  test("a part of a range does not come back before its purge", async () => {
    const { fed } = shared.albums;
    const low = await newRange(1);
    const { book } = await seeded(low + 10n);
    const first = await fed.moves.move({ low, high: low + 1_000n }, { to: 2, ...LATER });
    await expect(fed.moves.move({ low, high: low + 500n }, { to: 1, ...QUICK })).rejects.toMatchObject({
      code: "MOVE_UNDER_WAY",
    });
    // All of it may.
    await fed.moves.move({ low, high: low + 1_000n }, { to: 1, ...QUICK });
    await purgeNow(first[0]?.id as bigint);
    await book.expectOn(1);
    await fed.moves.move({ low, high: low + 500n }, { to: 2, ...QUICK });
    await book.expectOn(2);
  });

  test("the schema stays while a move is under way, and may change during its purge", async () => {
    const { fed } = shared.albums;
    const { key, book } = await seeded(undefined, 1);
    const [main, ...shards] = await Promise.all(shared.urls.map(engineAt));
    const larger = defineSchema({
      key: bigint(),
      tables: {
        ...tables,
        more: federated("owner", { id: bigint(), owner: bigint() }),
      },
    });
    await using later = await federate({
      schema: larger,
      main: main as NonNullable<typeof main>,
      shards: Object.fromEntries(shards.map((engine, index) => [index + 1, engine])),
      directory: { leaseMs: LEASE_MS },
    });
    const refusal = await during(
      "copy:copied",
      () => fed.moves.move(key, { to: 2, ...LATER }),
      () => later.schema.apply().catch((error: unknown) => error),
    );
    expect(refusal).toMatchObject({ code: "MOVE_UNDER_WAY" });
    expect((await fed.moves.list()).map(({ step }) => step)).toContain("purge");
    await later.schema.apply();
    await later.at(key).insertInto("more").values({ id: 1n }).execute();
    await later.moves.move(key, { to: 3, ...QUICK });
    expect(await later.at(key).selectFrom("more").select("id").execute()).toEqual([{ id: 1n }]);
    expect((await shared.albums.rowsOf(key)).photos).toHaveLength(book.photos.size);
  });
});
