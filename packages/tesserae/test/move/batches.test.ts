/** Many small keys share a move and its round trips: what is sent does not grow with them. */
import { expect, test } from "vitest";
import { Observer, observedEngine } from "../federation/observed-engine.ts";
import { QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

const FEW = 10;
const MANY = 200;
/** Of one move, on main and both shards together. */
const STATEMENTS_MAX = 300;
/** What else a federation sends meanwhile: the polls of its routes. */
const POLLS_MAX = 60;

for (const site of ENGINES) {
  const observer = new Observer();
  onSites(
    "many small keys",
    [site],
    (_site, shared) => {
      test("share the statements of one move", async () => {
        const { fed } = shared.albums;
        const keys = Array.from({ length: FEW + MANY }, () => shared.newKey());
        for (let start = 0; start < keys.length; start += 30)
          await Promise.all(keys.slice(start, start + 30).map((key) => fed.tenants.add(key, { shard: 1 })));
        for (const key of keys.filter((_key, index) => index % 5 === 0))
          await fed.at(key).insertInto("photos").values({ id: 1n, title: "small" }).execute();
        const sentBy = async (some: readonly bigint[], to: number): Promise<number> => {
          observer.forget();
          const statuses = await fed.moves.move(some, { to, ...QUICK });
          expect(statuses.map((status) => [status.keys, status.rowsCopied])).toEqual([
            [some.length, some.length / 5],
          ]);
          return observer.count(() => true);
        };
        const few = await sentBy(keys.slice(0, FEW), 2);
        const many = await sentBy(keys.slice(FEW), 2);
        // The keys have residences on both shards from here on.
        const back = await sentBy(keys.slice(FEW), 1);
        const again = await sentBy(keys.slice(FEW), 2);
        for (const sent of [many, back, again]) {
          expect(sent).toBeLessThan(few + POLLS_MAX);
          expect(sent).toBeLessThan(STATEMENTS_MAX);
        }
        expect(await shared.albums.counts(1)).toMatchObject({ photos: 0, tesserae_log_default: 0 });
        expect(await shared.albums.counts(2)).toMatchObject({ photos: keys.length / 5 });
        for (const key of [keys[0], keys[5], keys.at(-1)])
          expect(await fed.tenants.where(key as bigint)).toMatchObject({ shard: 2 });
      });
    },
    { around: (engine, shard) => observedEngine(engine, `shard ${shard}`, observer) },
  );
}
