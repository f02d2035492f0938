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
      for (const point of ENGINES.includes(site) ? BEFORE_THE_CUT_OVER : ON_PAIRS) {
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
      test.each([...SHAPES, "claim:target", "copy:done", "freeze:drained"] as const)(
        "at %s",
        async (point) => {
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
        },
      );
    });

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
