/** The way back, from every point before the cut-over, asked for by another process; and what undoes a move after it. */
import { describe, expect, test } from "vitest";
import type { MovePoint } from "../../src/move/move-points.ts";
import { AlbumBook } from "./album-book.ts";
import { type Albums, QUICK } from "./albums.ts";
import { ENGINES, onSites, PAIRS } from "./move-sites.ts";

const BEFORE_THE_CUT_OVER: readonly MovePoint[] = [
  "created",
  "claim:target",
  "claim:source",
  "leave:locked",
  "leave:leaving",
  "copy:copied",
  "copy:done",
  "catchUp:read",
  "catchUp:applied",
  "catchUp:round",
  "verify:slice",
  "verify:done",
  "freeze:frozen",
  "freeze:drained",
  "commit:before",
];
const ON_PAIRS: readonly MovePoint[] = ["copy:copied", "catchUp:applied", "freeze:drained"];
/** Where the application writes beside the move. */
const LOGS: readonly MovePoint[] = [
  "leave:leaving",
  "copy:copied",
  "copy:done",
  "catchUp:round",
  "verify:slice",
];
const SHAPES: readonly MovePoint[] = ["shape:residence", "shape:directory"];

onSites(
  "aborting",
  [...ENGINES, ...PAIRS],
  (site, shared) => {
    /** What depends on the source alone is shown on one engine at a time. */
    const onPair = !ENGINES.includes(site);
    let other: Albums | undefined;

    /** Moves what is to move, aborts that from another process when the mover is at the point, and lets it go on. */
    async function abortAt(point: MovePoint, move: () => Promise<unknown>, write: () => Promise<void>) {
      const { albums } = shared;
      other ??= await shared.another();
      const { moves } = other.fed;
      let aborting: Promise<unknown> | undefined;
      albums.atPoint = async (at) => {
        if (LOGS.includes(at) && aborting === undefined) await write();
        if (at !== point || aborting !== undefined) return;
        const id = await albums.moveId();
        aborting = moves.abort(id);
        await albums.untilWanted(id, "abort");
      };
      await expect(move()).rejects.toMatchObject({ code: "MOVE_ABORTED" });
      albums.atPoint = () => {};
      expect(await aborting).toMatchObject({ step: "aborted", state: "aborted" });
    }

    test("a key serves where it was, whatever the point, and can be moved again", async () => {
      const { albums } = shared;
      const key = shared.newKey();
      await albums.fed.tenants.add(key, { shard: 1 });
      const book = new AlbumBook(albums, key);
      await book.seed(20);
      let id = 100n;
      const write = async () => {
        id += 1n;
        await book.addPhoto(id, { album_id: null, title: "beside", place: `${id}` });
        await book.deletePhoto(id);
        await book.changePhoto(3n, { title: `${id}` });
      };
      for (const point of onPair ? ON_PAIRS : BEFORE_THE_CUT_OVER) {
        await abortAt(point, () => albums.fed.moves.move(key, { to: 2, ...QUICK }), write);
        await book.expectOn(1);
        expect(await albums.residences(1, key), point).toMatchObject([{ state: "here", epoch: 1n }]);
        const target = await albums.residences(2, key);
        expect(target.filter(({ state }) => state !== "gone")).toEqual([]);
        expect(await albums.fed.tenants.where(key)).toMatchObject({ shard: 1, epoch: 1n, state: "active" });
        await book.changePhoto(4n, { title: `after ${point}` });
      }
      await albums.fed.moves.move(key, { to: 2, ...QUICK });
      await book.expectOn(2);
    });

    describe("ranges", () => {
      test.each(
        onPair ? (["freeze:drained"] as const) : ([...SHAPES, "copy:done", "freeze:drained"] as const),
      )("at %s", async (point) => {
        const { albums } = shared;
        const { fed } = albums;
        const low = 1_000n * (shared.newKey() + 1n);
        await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
        const book = new AlbumBook(albums, low + 50n);
        await book.seed(10);
        const range = { low: low + 40n, high: low + 60n };
        const write = () => book.changePhoto(2n, { title: "beside" });
        await abortAt(point, () => fed.moves.move(range, { to: 2, ...QUICK }), write);
        await book.expectOn(1);
        const ranges = (await fed.tenants.ranges()).filter(
          (each) => each.low >= low && each.low < low + 100n,
        );
        expect(ranges.map(({ shard, state }) => [shard, state])).toEqual(ranges.map(() => [1, "active"]));
        expect(ranges.at(-1)?.high).toBe(low + 100n);
        expect((await albums.residences(2)).filter(({ kind }) => kind === "r")).toEqual([]);
        for (const key of [low, low + 40n, low + 60n, low + 99n])
          await fed.at(key).insertInto("empty").values({ id: 1n }).execute();
        if (point !== "freeze:drained") return;
        await fed.moves.move(range, { to: 2, ...QUICK });
        await book.expectOn(2);
        await fed.moves.move(range, { to: 1, ...QUICK });
        await book.expectOn(1);
      });
    });

    test.skipIf(onPair).each(["shape:residence", "copy:done"] as const)(
      "a key out of a range at %s: it is found wherever the range goes",
      async (point) => {
        const { albums } = shared;
        const { fed } = albums;
        const low = 1_000n * (shared.newKey() + 1n);
        await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
        const book = new AlbumBook(albums, low + 50n);
        await book.seed(10);
        const write = () => book.changePhoto(2n, { title: "beside" });
        await abortAt(point, () => fed.moves.move(low + 50n, { to: 2, ...QUICK }), write);
        await book.expectOn(1);
        await fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
        await book.changePhoto(3n, { title: "still served" });
        const { shard } = await fed.tenants.where(low + 50n);
        await book.expectOn(shard);
        await fed.moves.move({ low, high: low + 100n }, { to: 1, ...QUICK });
        await book.changePhoto(3n, { title: "and after that" });
        if (shard === 1) await fed.moves.move(low + 50n, { to: 2, ...QUICK });
        await book.expectOn((await fed.tenants.where(low + 50n)).shard);
      },
    );

    test.skipIf(onPair || site.name === "sqlite")(
      "a key out of a range, before it has a residence of its own",
      async () => {
        const { albums } = shared;
        const { fed } = albums;
        other ??= await shared.another();
        const low = 1_000n * (shared.newKey() + 1n);
        const key = low + 50n;
        await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
        const book = new AlbumBook(albums, key);
        await book.seed(10);
        const released = Promise.withResolvers<void>();
        const held = Promise.withResolvers<void>();
        const idling = fed
          .at(key)
          .transaction()
          .execute(async (tx) => {
            await tx.updateTable("photos").set({ title: "held" }).where("id", "=", 1n).execute();
            held.resolve();
            await released.promise;
          });
        await held.promise;
        const moving = fed.moves.move(key, { to: 2, ...QUICK });
        moving.catch(() => {});
        let id: bigint | undefined;
        while (id === undefined) [id] = (await fed.moves.list()).map((move) => move.id);
        for await (const { waitsFor } of fed.moves.watch(id)) if (waitsFor !== undefined) break;
        const aborting = other.fed.moves.abort(id);
        await albums.untilWanted(id, "abort");
        const begun = performance.now();
        await fed.at(low).insertInto("empty").values({ id: 1n }).execute();
        // Nobody in the range queues behind the mover for longer than it asks for the lock.
        expect(performance.now() - begun).toBeLessThan(2_000);
        released.resolve();
        await idling;
        await expect(moving).rejects.toMatchObject({ code: "MOVE_ABORTED" });
        expect(await aborting).toMatchObject({ step: "aborted" });
        book.photos.set(1n, { album_id: null, place: "1", title: "held" });
        await book.expectOn(1);
        await fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
        await book.changePhoto(3n, { title: "still served" });
        await book.expectOn((await fed.tenants.where(key)).shard);
      },
    );

    test.skipIf(onPair || site.name === "sqlite")(
      "a range that was cut on its shard and not yet in main",
      async () => {
        const { albums } = shared;
        const { fed } = albums;
        other ??= await shared.another();
        const low = 1_000n * (shared.newKey() + 1n);
        await fed.tenants.addRange({ low, high: low + 100n }, { shard: 1 });
        const book = new AlbumBook(albums, low + 50n);
        await book.seed(10);
        albums.atPoint = (point) => {
          if (point === "shape:residence") throw new Error("the process has ended");
        };
        await expect(
          fed.moves.move({ low: low + 40n, high: low + 60n }, { to: 2, ...QUICK }),
        ).rejects.toThrow("the process has ended");
        albums.atPoint = () => {};
        const released = Promise.withResolvers<void>();
        const held = Promise.withResolvers<void>();
        const idling = fed
          .at(low)
          .transaction()
          .execute(async (tx) => {
            await tx.insertInto("empty").values({ id: 1n }).execute();
            held.resolve();
            await released.promise;
          });
        await held.promise;
        // Whoever aborts looks at the range first, which is in use, and hears then of the abortion.
        expect(await other.fed.moves.abort(await albums.moveId())).toMatchObject({ step: "aborted" });
        released.resolve();
        await idling;
        await fed.moves.move({ low, high: low + 100n }, { to: 2, ...QUICK });
        await book.expectOn(2);
        for (const key of [low, low + 39n, low + 50n, low + 99n]) {
          await fed.at(key).insertInto("empty").values({ id: 2n }).execute();
          expect(await albums.sql(2, `select id from empty where owner = ${key} and id = 2`)).toHaveLength(1);
        }
        const left = (await albums.residences(1)).filter(
          (row) => row.kind === "r" && row.low >= low && row.low < low + 100n,
        );
        expect(left).toEqual([]);
      },
    );

    test("after the cut-over it is refused, and moving back undoes the move, its purge still to come", async () => {
      const { albums } = shared;
      const { moves, tenants } = albums.fed;
      const key = shared.newKey();
      await tenants.add(key, { shard: 1 });
      const book = new AlbumBook(albums, key);
      await book.seed(20);
      let refusal: unknown;
      albums.atPoint = async (point) => {
        if (point !== "commit:after") return;
        const id = await albums.moveId();
        refusal = await moves.abort(id).catch((error: unknown) => error);
      };
      const first = await moves.move(key, { to: 2, graceMs: 600_000, waitFor: "arrived" });
      albums.atPoint = () => {};
      expect(refusal).toMatchObject({ code: "MOVE_STEP" });
      expect(first).toMatchObject({ step: "purge", state: "running" });
      await expect(moves.abort(first.id)).rejects.toMatchObject({ code: "MOVE_STEP" });
      await book.changePhoto(1n, { title: "at the target" });
      await book.deletePhoto(2n);
      await book.addPhoto(100n, { album_id: null, title: "new", place: null });
      await moves.move(key, { to: 1, ...QUICK });
      await book.expectOn(1);
      expect(await tenants.where(key)).toMatchObject({ shard: 1, epoch: 3n, state: "active" });
      await expect(moves.pause(first.id)).resolves.toMatchObject({ state: "paused" });
      // The first move's purge finds that the key is back, and deletes nothing.
      await albums.sql(
        0,
        `update tesserae_moves set progress = replace(progress, '"purgeAfter"', '"was"') where id = ${first.id}`,
      );
      expect(await moves.resume(first.id)).toMatchObject({ state: "done" });
      await book.expectOn(1);
      await expect(moves.abort(first.id)).rejects.toMatchObject({ code: "MOVE_STEP" });
    });
  },
  { touchMs: 0 },
);
