/**
 * An application writes at every named point of a move, while the mover waits there: inserts, updates, deletes, changed primary keys, places that
 * are swapped under the second unique key, rows that refer to each other and to themselves, rows of megabytes. What arrives is what it wrote.
 */
import { expect, test } from "vitest";
import type { MovePoint } from "../../src/move/move-points.ts";
import { AlbumBook } from "./album-book.ts";
import { QUICK } from "./albums.ts";
import { ENGINES, onSites, PAIRS } from "./move-sites.ts";

/** More than one slice of the copy. */
const PHOTOS = 2_100;
const MEGABYTES = "ä".repeat(1_500_000);
/** So often at each point: rounds must come to an end. */
const VISITS_MAX = 2;

/** A bit of everything; `n` is different each time. */
async function writeAll(book: AlbumBook, n: number): Promise<void> {
  const at = (base: number) => BigInt(base + n);
  const [album, inner] = [at(1000), at(2000)];
  await book.addAlbum(album, { parent_id: album, cover_id: null, name: `of itself ${n}` });
  await book.addPhoto(at(20_000), { album_id: album, title: "new", place: `new ${n}` });
  await book.addAlbum(inner, { parent_id: album, cover_id: at(20_000), name: "inner" });
  await book.changeAlbum(album, { cover_id: at(20_000), parent_id: inner });
  await book.changePhoto(at(0), { title: `changed ${n}`, album_id: inner });
  await book.deletePhoto(at(100));
  await book.renumberPhoto(at(200), at(30_000));
  await book.swapPlaces(at(300), at(2_000));
  await book.swapPlaces(at(400), at(500));
  // The place of a row that is gone goes to another one.
  await book.deletePhoto(at(600));
  await book.changePhoto(at(700), { place: `${600 + n}` });
  await book.addAlbum(at(3000), { parent_id: null, cover_id: null, name: "short-lived" });
  await book.deleteAlbum(at(3000));
}

onSites(
  "writes beside a move",
  [...ENGINES, ...PAIRS],
  (site, shared) => {
    const onPair = !ENGINES.includes(site);

    test("all that was written at any point arrives, and nothing else", async () => {
      const { albums } = shared;
      const key = shared.newKey();
      await albums.fed.tenants.add(key, { shard: 1 });
      const book = new AlbumBook(albums, key);
      await book.seed(PHOTOS);
      await book.addPhoto(90_001n, { album_id: null, title: MEGABYTES, place: "large" });
      const visits = new Map<MovePoint, number>();
      let n = 0;
      let frozen = false;
      let writing = Promise.resolve();
      albums.atPoint = async (point) => {
        if (point === "freeze:frozen") frozen = true;
        if (point === "freeze:thawed") frozen = false;
        if (point === "commit:after") albums.atPoint = () => {};
        const visit = (visits.get(point) ?? 0) + 1;
        visits.set(point, visit);
        if (visit > VISITS_MAX) return;
        n += 1;
        const own = n;
        writing = writing.then(() => writeAll(book, own));
        if (point === "copy:done")
          writing = writing.then(() =>
            book.addPhoto(90_002n, { album_id: null, title: `more ${MEGABYTES}`, place: "larger" }),
          );
        // The application waits as well where the mover has the residence's lock, and from the freeze on.
        if (point !== "leave:locked" && !frozen) await writing;
      };
      const status = await albums.fed.moves.move(key, { to: 2, ...QUICK });
      await writing;
      expect(status.state).toBe("done");
      expect(status.logEntries).toBeGreaterThan(100);
      expect([...visits.keys()]).toEqual(
        expect.arrayContaining<MovePoint>([
          "created",
          "claim:target",
          "claim:source",
          "leave:locked",
          "leave:leaving",
          "copy:chunk",
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
        ]),
      );
      await book.expectOn(2);
      if (onPair) return;
      await albums.fed.moves.move(key, { to: 1, ...QUICK });
      await book.expectOn(1);
    });

    test.skipIf(onPair)(
      "places that another row has at the target: in the copy, and in a round",
      async () => {
        const { albums } = shared;
        const key = shared.newKey();
        await albums.fed.tenants.add(key, { shard: 1 });
        const book = new AlbumBook(albums, key);
        await book.seed(PHOTOS);
        const done = new Set<MovePoint>();
        albums.atPoint = async (point) => {
          if (done.has(point)) return;
          done.add(point);
          // The first slice is at the target; the second one brings rows with places of the first.
          if (point === "copy:chunk") {
            await book.swapPlaces(1n, 2_050n);
            await book.takePlace(2n, 2_051n);
          }
          if (point === "copy:done") await book.changePhoto(10n, { title: "has an entry" });
          // The round has photo 10 and nothing of photo 11.
          if (point === "catchUp:read") await book.takePlace(11n, 10n);
        };
        await albums.fed.moves.move(key, { to: 2, ...QUICK });
        albums.atPoint = () => {};
        expect(done).toContain("copy:chunk");
        await book.expectOn(2);
      },
    );

    test.skipIf(onPair || site.name === "sqlite")(
      "an application that idles in a transaction holds up the move, and neither itself nor others",
      async () => {
        const { albums } = shared;
        const key = shared.newKey();
        await albums.fed.tenants.add(key, { shard: 1 });
        const book = new AlbumBook(albums, key);
        await book.seed(5);
        for (const holdAt of ["claim:source", "verify:done"] as const) {
          const released = Promise.withResolvers<void>();
          const waits = Promise.withResolvers<void>();
          const [held, id] = [Promise.withResolvers<void>(), holdAt === "claim:source" ? 100n : 200n];
          let idling: Promise<void> = Promise.resolve();
          albums.atPoint = async (point) => {
            if (point !== holdAt) return;
            albums.atPoint = () => {};
            idling = albums.fed
              .at(key)
              .transaction()
              .execute(async (tx) => {
                await tx.insertInto("photos").values({ id, title: "held" }).execute();
                held.resolve();
                await released.promise;
              });
            await held.promise;
            const move = await albums.moveId();
            void (async () => {
              for await (const { waitsFor } of albums.fed.moves.watch(move))
                if (waitsFor?.startsWith("open transactions")) return waits.resolve();
            })();
          };
          const to = holdAt === "claim:source" ? 2 : 1;
          const moving = albums.fed.moves.move(key, { to, ...QUICK });
          await Promise.race([waits.promise, moving]);
          const begun = performance.now();
          await book.addPhoto(id + 1n, { album_id: null, title: "not held up", place: null });
          expect(performance.now() - begun).toBeLessThan(2_000);
          released.resolve();
          await idling;
          book.photos.set(id, { album_id: null, title: "held", place: null });
          expect(await moving).toMatchObject({ state: "done" });
          await book.expectOn(to);
        }
      },
    );
  },
  { touchMs: 0 },
);
