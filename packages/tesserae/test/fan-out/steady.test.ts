/** Queries over all shards beside movers that stand at each of their points, and cross them between the query's own. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MovePoint } from "../../src/move/move-points.ts";
import { QUICK } from "../move/albums.ts";
import { ENGINES, whyNot } from "../move/move-sites.ts";
import { SteadySite } from "./steady-site.ts";

/** Where a move is before, and after, a fan-out has come to one of its points. */
const CROSSINGS: readonly (readonly [MovePoint | undefined, MovePoint])[] = [
  [undefined, "copy:copied"],
  ["copy:copied", "commit:after"],
  ["freeze:frozen", "arrive:source"],
  ["commit:after", "arrive:target"],
  ["commit:after", "arrive:active"],
  ["arrive:target", "purge:empty"],
  ["arrive:source", "done"],
];
const TURNS: readonly (readonly [MovePoint, MovePoint])[] = [
  ["copy:copied", "abort:target"],
  ["abort:thawed", "aborted"],
];

/** All of them on the engine that is quick, and on the others those whose ends are on both sides of what decides. */
function crossingsOn(engine: string) {
  const all = [...CROSSINGS, ...TURNS];
  return engine === "sqlite" ? all : all.filter((_, index) => [1, 4, 5, 7].includes(index));
}

/** A move that stands at one point, until it is let go to another. */
class StandingMove {
  readonly #reached = new Map<MovePoint, PromiseWithResolvers<void>>();
  readonly #left = new Map<MovePoint, PromiseWithResolvers<void>>();
  ended: Promise<unknown> = Promise.resolve();

  constructor(...points: readonly MovePoint[]) {
    for (const point of points) {
      this.#reached.set(point, Promise.withResolvers());
      this.#left.set(point, Promise.withResolvers());
    }
  }

  async at(point: MovePoint): Promise<void> {
    this.#reached.get(point)?.resolve();
    await this.#left.get(point)?.promise;
  }

  /** Resolves when the move stands there. */
  async stands(point: MovePoint): Promise<void> {
    const missed = this.ended.then(() => Promise.reject(new Error(`was never at ${point}`)));
    missed.catch(() => undefined);
    await Promise.race([this.#reached.get(point)?.promise, missed]);
  }

  leave(point: MovePoint): void {
    this.#left.get(point)?.resolve();
  }
}

const SITES = ENGINES.map((site) => ({ ...site, shards: [site.main, site.main, site.main] }));

for (const site of SITES) {
  describe.skipIf(whyNot(site) !== undefined)(
    `queries over all shards while tenants move, ${site.name}`,
    () => {
      let steady: SteadySite;
      let all: string[];
      let lastKey = 0n;

      beforeAll(async () => {
        steady = await SteadySite.of(site);
        await steady.albums.fill(1n, 3, 1);
        await steady.albums.fill(2n, 3, 2);
        await steady.albums.fill(3n, 3, 3);
        await steady.albums.fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 1 });
        for (const key of [1001n, 1500n, 1999n]) await steady.albums.addRows(key, 2);
        lastKey = 3n;
        all = await steady.photos();
        expect(all).toHaveLength(15);
      });
      afterAll(() => steady?.[Symbol.asyncDispose]());

      async function newKey(shard: number): Promise<bigint> {
        lastKey += 1n;
        await steady.albums.fill(lastKey, 2, shard);
        all = await steady.photos();
        return lastKey;
      }

      /** A query at each of the points that a move comes by. */
      async function atEachPoint(move: () => Promise<unknown>): Promise<Map<string, string[]>> {
        const seen = new Map<string, string[]>();
        steady.albums.atPoint = async (point) => {
          if (seen.has(point)) return;
          seen.set(point, await steady.photos());
        };
        try {
          await move().catch(() => undefined);
        } finally {
          steady.albums.atPoint = () => {};
        }
        return seen;
      }

      function expectAll(seen: Map<string, string[]>, ...points: readonly MovePoint[]): void {
        for (const [point, photos] of seen) expect(photos, point).toEqual(all);
        expect([...seen.keys()]).toEqual(expect.arrayContaining([...points]));
      }

      it("looks at main once at most where nothing moves", async () => {
        await steady.photos();
        steady.hooks.looks = 0;
        for (let i = 0; i < 3; i++) expect(await steady.photos()).toEqual(all);
        expect(steady.hooks.looks).toBeLessThanOrEqual(3);
      });

      it("sees each row once at each point of a key's move, there and back", async () => {
        const key = await newKey(1);
        const { moves } = steady.albums.fed;
        for (const to of [2, 1])
          expectAll(
            await atEachPoint(() => moves.move(key, { to, ...QUICK })),
            "copy:copied",
            "commit:after",
            "arrive:source",
            "purge:empty",
          );
      });

      /** Has a move come from one point to another at a moment of a fan-out. */
      async function crossing(
        key: bigint,
        [from, to]: readonly [MovePoint | undefined, MovePoint],
        query: (cross: () => Promise<void>) => Promise<string[]>,
      ): Promise<void> {
        const { albums } = steady;
        const { moves } = albums.fed;
        const aborts = to.startsWith("abort");
        const stand = new StandingMove(...(from === undefined ? [to] : [from, to]));
        albums.atPoint = (point) => stand.at(point);
        const { shard } = await albums.fed.tenants.where(key);
        const begin = () => {
          stand.ended = moves.move(key, { to: shard === 1 ? 2 : 1, ...QUICK }).catch(() => undefined);
        };
        const abort = async () => {
          const [move] = await moves.list();
          moves.abort(move?.id as bigint).catch(() => undefined);
          await albums.untilWanted(move?.id as bigint, "abort");
        };
        try {
          if (from !== undefined) {
            begin();
            if (from.startsWith("abort")) {
              const copied = new StandingMove("copy:copied");
              albums.atPoint = (point) => (point === "copy:copied" ? copied.at(point) : stand.at(point));
              copied.ended = stand.ended;
              await copied.stands("copy:copied");
              await abort();
              copied.leave("copy:copied");
            }
            await stand.stands(from);
          }
          let crossed: Promise<void> | undefined;
          const cross = async () => {
            if (from === undefined) begin();
            else {
              if (aborts && !from.startsWith("abort")) await abort();
              stand.leave(from);
            }
            await stand.stands(to);
          };
          const photos = await query(() => (crossed ??= cross()));
          expect(photos, `${from} to ${to}`).toEqual(all);
          expect(crossed).toBeDefined();
        } finally {
          if (from !== undefined) stand.leave(from);
          stand.leave(to);
          await stand.ended;
          albums.atPoint = () => {};
          steady.hooks.atPoint = () => {};
          steady.hooks.alwaysCarefully = false;
        }
      }

      for (const point of site.main === "sqlite" ? (["begun", "asked"] as const) : (["begun"] as const))
        it(`sees each row once when a move goes on while a query is ${point}`, async () => {
          const key = await newKey(1);
          for (const points of crossingsOn(site.main))
            await crossing(key, points, (cross) => {
              steady.hooks.atPoint = (at) => (at === point ? cross() : undefined);
              return steady.photos();
            });
        });

      for (const late of ["source", "target"] as const)
        it(`sees each row once when the ${late}'s snapshot is opened after a move went on`, async () => {
          const key = await newKey(1);
          steady.hooks.alwaysCarefully = true;
          for (const points of crossingsOn(site.main)) {
            const source = (await steady.albums.fed.tenants.where(key)).shard;
            const target = source === 1 ? 2 : 1;
            const [first, last] = late === "source" ? [target, source] : [source, target];
            await crossing(key, points, (cross) => {
              const opened = Promise.withResolvers<void>();
              steady.hooks.alwaysCarefully = true;
              steady.hooks.atPoint = async (at, shard) => {
                if (at === "opened" && shard === first) opened.resolve();
                if (at !== "snapshot" || shard !== last) return;
                await opened.promise;
                await cross();
              };
              return steady.photos();
            });
          }
        });

      it("leaves no row where a key that got a place of its own was purged only in part", async () => {
        const { albums, fed } = steady;
        const { moves } = fed;
        await fed.tenants.addRange({ low: 5000n, high: 6000n }, { shard: 1 });
        await albums.addRows(5001n, 2);
        all = await steady.photos();
        const later = { graceMs: 600_000, waitFor: "arrived" } as const;
        const [left] = await moves.move({ low: 5000n, high: 6000n }, { to: 2, ...later });
        await moves.move(5001n, { to: 3, ...QUICK });
        // The range is to come back to shard 1, where the key's rows still are. Its mover dies between the key's fence there and the rows, and the move is given up.
        albums.atPoint = (point) => (point === "created" ? Promise.reject(new Error("died")) : undefined);
        await expect(moves.move({ low: 5000n, high: 6000n }, { to: 1, ...QUICK })).rejects.toThrow("died");
        albums.atPoint = () => {};
        const move = (await moves.list()).find(({ to }) => to === 1);
        await albums.sql(
          1,
          "insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('p', 5001, null, 2, 'gone', 2)",
        );
        await albums.sql(0, `update tesserae_moves set runner = null where id = ${move?.id}`);
        await moves.abort(move?.id as bigint);
        await albums.purgeNow(left?.id as bigint);
        expect(await moves.list()).toEqual([]);
        expect(await steady.photos()).toEqual(all);
      });

      it("leaves out the rows of a shard that cannot be reached, and no others, while a key moves", async () => {
        const key = await newKey(1);
        const reachable = all.filter((photo) => !/^(?:3|5001) /.test(photo));
        steady.hooks.alwaysCarefully = true;
        steady.down.add(3);
        try {
          const { moves } = steady.fed;
          steady.albums.atPoint = async (point) => {
            if (!/^(?:copy:copied|freeze:frozen|commit:after|arrive:target|purge:batch)$/.test(point)) return;
            for (const carefully of [false, true]) {
              steady.hooks.alwaysCarefully = carefully;
              expect(await steady.somePhotos(), point).toEqual({ photos: reachable, missing: [3] });
              await expect(steady.photos()).rejects.toMatchObject({ code: "FAN_OUT_FAILED", shard: 3 });
            }
          };
          await moves.move(key, { to: 2, ...QUICK });
          // Of a move between two shards of which the target is missing, too: until the cut-over the source has the key, and afterwards nobody who can be reached.
          steady.down.add(1);
          const ofTwo = (await steady.somePhotos()).photos;
          steady.down.delete(1);
          const withoutKey = ofTwo.filter((photo) => !photo.startsWith(`${key} `));
          expect(withoutKey).toHaveLength(ofTwo.length - 2);
          steady.albums.atPoint = async (point) => {
            if (point !== "freeze:frozen" && point !== "arrive:source") return;
            steady.down.add(1);
            try {
              const { photos } = await steady.somePhotos();
              expect(photos).toEqual(point === "freeze:frozen" ? ofTwo : withoutKey);
            } finally {
              steady.down.delete(1);
            }
          };
          await moves.move(key, { to: 1, ...QUICK });
        } finally {
          steady.down.clear();
          steady.hooks.reset();
          steady.albums.atPoint = () => {};
        }
        expect(await steady.photos()).toEqual(all);
      });

      it("sees each row once at each point of a range's moves, its split and its merge", async () => {
        const { fed } = steady.albums;
        expectAll(await atEachPoint(() => fed.moves.isolate(1500n, QUICK)), "shape:residence");
        expectAll(
          await atEachPoint(() => fed.moves.split({ at: 1100n, to: 3, ...QUICK })),
          "shape:directory",
          "commit:after",
          "purge:batch",
        );
        expectAll(
          await atEachPoint(() => fed.moves.merge({ at: 1100n, ...QUICK })),
          "merge:residence",
          "merge:directory",
        );
      });
    },
  );
}
