/** What may be asked of a move while it runs, and of one that nobody runs: pause, resume, leave, close, watch. */
import { expect, test } from "vitest";
import type { MoveStatus } from "../../src/index.ts";
import type { MovePoint } from "../../src/move/move-points.ts";
import { MOVE_STEPS } from "../../src/move/move-status.ts";
import { AlbumBook } from "./album-book.ts";
import { type Albums, QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

onSites(
  "a move under way",
  ENGINES,
  (_site, shared) => {
    let other: Albums | undefined;
    /** Another process. */
    async function others() {
      other ??= await shared.another({ touchMs: 0 });
      return other.fed.moves;
    }

    async function seeded() {
      const key = shared.newKey();
      await shared.albums.fed.tenants.add(key, { shard: 1 });
      const book = new AlbumBook(shared.albums, key);
      await book.seed(30);
      return { key, book };
    }

    /** Runs `act` the first time that a move of the federation is at the point. */
    function onceAt(point: MovePoint, act: (id: bigint) => Promise<void> | void, albums = shared.albums) {
      albums.atPoint = async (at) => {
        if (at !== point) return;
        albums.atPoint = () => {};
        await act(await albums.moveId());
      };
    }

    test("says what it does, in order, to its caller and to who watches", async () => {
      const { key } = await seeded();
      const { moves } = shared.albums.fed;
      const seen: MoveStatus[] = [];
      const watched: MoveStatus[] = [];
      let watching: Promise<void> | undefined;
      let listed: MoveStatus[] = [];
      onceAt("copy:copied", async (id) => {
        const from = (await others()).watch(id);
        watching = (async () => {
          for await (const status of from) watched.push(status);
        })();
        listed = await moves.list();
      });
      const done = await moves.move(key, { to: 2, ...QUICK, onProgress: (status) => seen.push(status) });
      await watching;
      const steps = [...new Set(seen.map(({ step }) => step))];
      expect(steps).toEqual(
        ["claim", "leave", "copy", "catchUp", "verify", "freeze", "arrive", "purge", "done"].slice(
          steps[0] === "claim" ? 0 : 1,
        ),
      );
      for (const list of [seen, watched]) {
        const order = list.map(({ step }) => MOVE_STEPS.indexOf(step));
        expect(order).toEqual(order.toSorted((a, b) => a - b));
        expect(list.at(-1)).toMatchObject({ step: "done", state: "done" });
        for (const count of ["rowsCopied", "rowsVerified"] as const) {
          const rows = list.map((status) => status[count]);
          expect(rows).toEqual(rows.toSorted((a, b) => a - b));
        }
      }
      expect(listed).toMatchObject([
        { what: `key ${key}`, key: `${key}`, keys: 1, from: 1, to: 2, step: "copy", state: "running" },
      ]);
      expect(done).toMatchObject({ rowsTotal: 30, rowsCopied: 30, rowsVerified: 30, attempts: 1 });
      expect(done.pauseMs).toBeGreaterThan(0);
      expect(done.finishedAt?.getTime()).toBeGreaterThanOrEqual(done.startedAt.getTime());
      expect(await moves.get(done.id)).toEqual(done);
      expect(await moves.list()).toEqual([]);
      expect((await moves.list({ all: true, limit: 1 })).map(({ id }) => id)).toEqual([done.id]);
    });

    test.each(["copy:copied", "freeze:frozen", "commit:before"] as const)(
      "paused at %s, by another process, and resumed there",
      async (point) => {
        const { key, book } = await seeded();
        const { moves } = shared.albums.fed;
        let pausing: Promise<MoveStatus> | undefined;
        onceAt(point, async (id) => {
          pausing = (await others()).pause(id);
          await shared.albums.untilWanted(id, "pause");
        });
        await expect(moves.move(key, { to: 2, ...QUICK })).rejects.toMatchObject({ code: "MOVE_PAUSED" });
        const { id } = (await pausing) as MoveStatus;
        expect(await moves.get(id)).toMatchObject({ state: "paused", error: undefined });
        // Nobody is left waiting for it, and it stays paused until somebody says otherwise.
        const states = (await shared.albums.residences(1, key)).map(({ state }) => state);
        expect(["here", "leaving"]).toContain(states[0]);
        await book.changePhoto(1n, { title: "meanwhile" });
        await book.deletePhoto(2n);
        expect(await (await others()).resume()).toEqual([]);
        expect(await (await others()).resume(id)).toMatchObject({ state: "done", attempts: 2 });
        await book.expectOn(2);
      },
    );

    test("its caller leaves, and another process goes on", async () => {
      const { key, book } = await seeded();
      const { moves } = shared.albums.fed;
      const caller = new AbortController();
      onceAt("copy:copied", () => caller.abort(new Error("the caller has left")));
      await expect(moves.move(key, { to: 2, ...QUICK, signal: caller.signal })).rejects.toThrow(
        "the caller has left",
      );
      expect(await moves.list()).toMatchObject([{ state: "stopped", step: "copy" }]);
      await book.changePhoto(1n, { title: "meanwhile" });
      expect(await (await others()).resume()).toMatchObject([{ state: "done", what: `key ${key}` }]);
      await book.expectOn(2);
    });

    test("its process ends, and it can be aborted from elsewhere", async () => {
      const { key, book } = await seeded();
      const albums = await shared.another({ touchMs: 0 });
      let closing: Promise<void> | undefined;
      onceAt(
        "catchUp:round",
        () => {
          closing = albums.fed.close();
        },
        albums,
      );
      await expect(albums.fed.moves.move(key, { to: 2, ...QUICK })).rejects.toMatchObject({ code: "CLOSED" });
      await closing;
      const [left] = await shared.albums.fed.moves.list();
      expect(left).toMatchObject({ state: "stopped" });
      await book.changePhoto(1n, { title: "meanwhile" });
      const aborted = await shared.albums.fed.moves.abort((left as MoveStatus).id);
      expect(aborted).toMatchObject({ state: "aborted" });
      await book.expectOn(1);
      await expect(albums.fed.moves.move(key, { to: 2 })).rejects.toMatchObject({ code: "CLOSED" });
    });

    test("the keys have arrived: the rest goes on, also in another process", async () => {
      const { key, book } = await seeded();
      const albums = await shared.another({ touchMs: 0 });
      const arrived = await albums.fed.moves.move(key, { to: 2, graceMs: 250, waitFor: "arrived" });
      expect(arrived).toMatchObject({ step: "purge", state: "running", finishedAt: undefined });
      await expect(book.changePhoto(1n, { title: "at the target" })).resolves.toBeUndefined();
      await expect((await others()).resume(arrived.id)).rejects.toMatchObject({ code: "MOVE_UNDER_WAY" });
      await albums.fed.close();
      expect(await (await others()).resume()).toMatchObject([{ id: arrived.id, state: "done" }]);
      await book.expectOn(2);
    });

    test("what was left goes on at once, except what is paused", async () => {
      const made = await Promise.all([seeded(), seeded(), seeded()]);
      const albums = await shared.another({ touchMs: 0 });
      const { moves } = albums.fed;
      const all = Promise.withResolvers<void>();
      let copied = 0;
      albums.atPoint = async (point) => {
        if (point !== "copy:copied") return;
        copied += 1;
        if (copied === made.length) all.resolve();
        await all.promise;
      };
      const moving = Promise.allSettled(made.map(({ key }) => moves.move(key, { to: 2, ...QUICK })));
      await all.promise;
      await albums.fed.close();
      for (const each of await moving)
        expect(each).toMatchObject({ status: "rejected", reason: { code: "CLOSED" } });
      const left = await shared.albums.fed.moves.list();
      expect(left.map(({ state }) => state)).toEqual(["stopped", "stopped", "stopped"]);
      const [, second] = left as [MoveStatus, MoveStatus];
      expect(await (await others()).pause(second.id)).toMatchObject({ state: "paused" });
      const done = await (await others()).resume();
      expect(done.map(({ state }) => state)).toEqual(["done", "done"]);
      expect(await (await others()).resume(second.id)).toMatchObject({ state: "done" });
      for (const { book } of made) await book.expectOn(2);
    });

    test("what its caller's own function throws does not stop it", async () => {
      const { key, book } = await seeded();
      let calls = 0;
      const moving = shared.albums.fed.moves.move(key, {
        to: 2,
        ...QUICK,
        onProgress: ({ step }) => {
          calls += 1;
          if (step === "arrive") throw new Error("the caller's own");
        },
      });
      await expect(moving).rejects.toThrow("the caller's own");
      expect(calls).toBeGreaterThan(3);
      expect(await shared.albums.fed.moves.list()).toEqual([]);
      await book.expectOn(2);
    });

    test("what cannot be asked of it", async () => {
      const { key } = await seeded();
      const { moves } = shared.albums.fed;
      const { id } = await moves.move(key, { to: 2, ...QUICK });
      for (const ask of ["pause", "abort"] as const)
        await expect(moves[ask](id), ask).rejects.toMatchObject({ code: "MOVE_STEP" });
      expect(await moves.resume(id)).toMatchObject({ id, state: "done" });
      for (const ask of ["get", "pause", "abort", "resume"] as const)
        await expect(moves[ask](999_999n), ask).rejects.toMatchObject({ code: "MOVE_UNKNOWN" });
      await expect(moves.watch(999_999n).next()).rejects.toMatchObject({ code: "MOVE_UNKNOWN" });
    });
  },
  { touchMs: 0 },
);
