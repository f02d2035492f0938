/** What the comparison of both ends finds, and what it does not take for a difference. */
import type { EngineName } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { MovePoint } from "../../src/move/move-points.ts";
import { AlbumBook } from "./album-book.ts";
import { QUICK } from "./albums.ts";
import { ENGINES, onSites, PAIRS, type SharedAlbums } from "./move-sites.ts";

const TARGET = 2;
const DAMAGES: Readonly<Record<string, (key: bigint) => string>> = {
  "one flipped byte": (key) => `update photos set title = 'photo 7x' where owner = ${key} and id = 70`,
  "a null where a text was": (key) => `update photos set place = null where owner = ${key} and id = 70`,
  "one missing row": (key) => `delete from photos where owner = ${key} and id = 150`,
  "one extra row": (key) =>
    `insert into photos (id, owner, title, place) values (151, ${key}, 'photo 151', '151')`,
  "an extra row in a table without rows": (key) => `insert into empty (id, owner) values (1, ${key})`,
};

/** Somebody's own trigger at the target, which changes what arrives. */
const CHANGING_TRIGGER: Readonly<
  Record<EngineName, { readonly create: readonly string[]; readonly drop: readonly string[] }>
> = {
  sqlite: {
    create: [
      "create trigger changing after insert on photos begin update photos set title = upper(new.title) where owner = new.owner and id = new.id; end",
    ],
    drop: ["drop trigger changing"],
  },
  mysql: {
    create: ["create trigger changing before insert on photos for each row set new.title = upper(new.title)"],
    drop: ["drop trigger changing"],
  },
  postgres: {
    create: [
      "create function changing() returns trigger language plpgsql as $$ begin new.title := upper(new.title); return new; end $$",
      "create trigger changing before insert on photos for each row execute function changing()",
      "alter table photos enable always trigger changing",
    ],
    drop: ["drop trigger changing on photos", "drop function changing()"],
  },
};

async function seeded({ albums, newKey }: SharedAlbums): Promise<{ key: bigint; book: AlbumBook }> {
  const key = newKey();
  await albums.fed.tenants.add(key, { shard: 1 });
  const book = new AlbumBook(albums, key);
  await book.seed(150);
  await book.addAlbum(1n, { parent_id: 1n, cover_id: 3n, name: "album" });
  return { key, book };
}

/** Runs `act` once, the first time that the move is at `point` after it was at `after`. */
function once({ albums }: SharedAlbums, point: MovePoint, act: () => Promise<void>, after?: MovePoint): void {
  let ready = after === undefined;
  let acted = false;
  albums.atPoint = async (at) => {
    ready ||= at === after;
    if (!ready || acted || at !== point) return;
    acted = true;
    await act();
  };
}

async function expectTurnedBack(shared: SharedAlbums, key: bigint, book: AlbumBook): Promise<void> {
  const { albums } = shared;
  await expect(albums.fed.moves.move(key, { to: TARGET, ...QUICK })).rejects.toMatchObject({
    code: "MOVE_VERIFY",
    shard: TARGET,
  });
  albums.atPoint = () => {};
  const [record] = await albums.fed.moves.list({ all: true });
  expect(record).toMatchObject({
    what: `key ${key}`,
    step: "aborted",
    state: "aborted",
    error: { code: "MOVE_VERIFY" },
  });
  expect(await albums.fed.tenants.where(key)).toMatchObject({ shard: 1, state: "active", epoch: 1n });
  expect(await albums.residences(TARGET, key)).toMatchObject([{ state: "gone" }]);
  await book.expectOn(1);
  const [extra] = await albums.sql(TARGET, `select count(*) as n from empty where owner = ${key}`);
  expect(Number(extra?.["n"])).toBe(0);
  await book.changePhoto(5n, { title: "served" });
}

onSites("the verifier", [...ENGINES, ...PAIRS], (site, shared) => {
  describe("before the freeze", () => {
    test.each(Object.entries(DAMAGES))("finds %s", async (_name, damage) => {
      const { key, book } = await seeded(shared);
      once(shared, "catchUp:round", () => shared.albums.pastGuard(TARGET, key, damage(key)));
      await expectTurnedBack(shared, key, book);
    });
  });

  test("after the freeze it compares what was drained", async () => {
    const { albums } = shared;
    const { key, book } = await seeded(shared);
    const { create, drop } = CHANGING_TRIGGER[site.shards[1] as EngineName];
    let written = false;
    albums.atPoint = async (point) => {
      // Between the last round and the freeze.
      if (point === "catchUp:round" && !written && (await albums.fed.moves.list())[0]?.step === "freeze") {
        written = true;
        await book.changePhoto(70n, { title: "drained" });
      }
      if (point === "freeze:frozen") for (const sql of create) await albums.sql(TARGET, sql);
      if (point === "abort:begun") for (const sql of drop) await albums.sql(TARGET, sql);
    };
    await expectTurnedBack(shared, key, book);
    expect(written).toBe(true);
  });

  test("takes no change of the application for a difference, and then the key moves", async () => {
    const { albums } = shared;
    const { key, book } = await seeded(shared);
    let seen = 0;
    once(shared, "catchUp:round", async () => {
      await book.changePhoto(70n, { title: "changed" });
      await book.deletePhoto(71n);
      await book.addPhoto(1000n, { album_id: null, title: "new", place: null });
      await book.renumberPhoto(72n, 1001n);
      await book.changeAlbum(1n, { parent_id: null });
      await book.deleteAlbum(1n);
      seen = (await albums.sql(1, "select id from tesserae_log_default")).length;
    });
    const status = await albums.fed.moves.move(key, { to: TARGET, ...QUICK });
    albums.atPoint = () => {};
    expect(seen).toBeGreaterThanOrEqual(5);
    expect(status).toMatchObject({ state: "done", rowsVerified: 150 });
    await book.expectOn(TARGET);
  });
});
