/** A drain beside other moves; ranges that are none; processes that know different schemas. */
import { forEachEngine, freshDatabases } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { markSchemaChange } from "../../src/directory/schema-change.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { bigint, defineSchema, federate, federated, text } from "../../src/index.ts";
import { engineAt } from "../engine/open-database.ts";
import { openAlbums, QUICK } from "./albums.ts";

const OPTIONS = { config: { directory: { leaseMs: QUICK.graceMs } } };

forEachEngine((engine) => {
  describe(`a drain on ${engine.name}`, () => {
    test("waits for a move that another process runs, and goes on with one that nobody runs", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      await using albums = await openAlbums(databases.urls, OPTIONS);
      for (const key of [1n, 2n, 3n]) await albums.fill(key, 3);
      const reached = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      await using other = await openAlbums(databases.urls, {
        ...OPTIONS,
        async at(point) {
          if (point !== "copy:done") return;
          reached.resolve();
          await goOn.promise;
        },
      });
      const moving = other.fed.moves.move(1n, { to: 2, ...QUICK });
      await reached.promise;
      const seen: string[] = [];
      const draining = albums.fed.drain(1, {
        ...QUICK,
        onProgress: ({ what, step }) => void (step === "purge" && seen.push(what)),
      });
      while (!seen.includes("2 keys from 2 to 3")) await new Promise((resolve) => setTimeout(resolve, 5));
      goOn.resolve();
      await moving;
      await draining;
      expect(await albums.counts(1)).toEqual(albums.expected([]));
      // Left by its process in the middle, and found by the next drain, which has nothing else to do.
      await albums.fed.reopen(1);
      const left = new AbortController();
      await expect(
        albums.fed.moves.move(1n, {
          to: 1,
          ...QUICK,
          signal: left.signal,
          onProgress: ({ step }) => void (step === "copy" && left.abort(new Error("left"))),
        }),
      ).rejects.toThrow("left");
      await albums.fed.drain(2, { to: 1, ...QUICK });
      expect(await albums.counts(2)).toEqual(albums.expected([]));
      expect((await albums.counts(1))["photos"]).toBe(9);
    });
  });
});

describe("what a move and others must not do at once", () => {
  test("a range that holds no key is refused, whole or within another", async () => {
    await using databases = await freshDatabases("sqlite", 3);
    await using albums = await openAlbums(databases.urls, OPTIONS);
    const { fed } = albums;
    await fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 1 });
    for (const [low, high] of [
      [1500n, 1200n],
      [1500n, 1500n],
      [5n, 2n],
    ] as const)
      await expect(fed.moves.move({ low, high }, { to: 2, ...QUICK })).rejects.toMatchObject({
        code: "RANGE_INVALID",
      });
    expect(await fed.tenants.ranges()).toMatchObject([{ low: 1000n, high: 2000n, shard: 1 }]);
  });

  test("a process whose schema lacks a federated table moves nothing", async () => {
    await using databases = await freshDatabases("sqlite", 3);
    const [main, ...rest] = databases.urls as [string, string, string];
    const shards = { 1: rest[0] as string, 2: rest[1] as string };
    const notes = federated("owner", { id: bigint(), owner: bigint(), body: text(20) });
    const older = defineSchema({ key: bigint(), tables: { notes } });
    const newer = defineSchema({
      key: bigint(),
      tables: { notes, tags: federated("owner", { id: bigint(), owner: bigint() }) },
    });
    await using before = await federate({ schema: older, main, shards });
    await before.schema.apply();
    await before.tenants.add(1n, { shard: 1 });
    await using after = await federate({ schema: newer, main, shards });
    await after.schema.apply();
    await after.at(1n).insertInto("tags").values({ id: 1n }).execute();
    await expect(before.moves.move(1n, { to: 2 })).rejects.toMatchObject({
      code: "MOVE_SCHEMA",
      table: "tags",
    });
    expect(await before.moves.list({ all: true })).toEqual([]);
    expect((await after.moves.move(1n, { to: 2, waitFor: "arrived" })).rowsCopied).toBe(1);
    expect(await after.at(1n).selectFrom("tags").select("id").execute()).toEqual([{ id: 1n }]);
  });

  test("a change of the schema that began in between turns the move back", async () => {
    await using databases = await freshDatabases("sqlite", 3);
    const control = (await engineAt(databases.urls[0] as string)).control().open(POOL_DEFAULTS);
    const store = new ControlStore(control);
    await using albums = await openAlbums(databases.urls, {
      ...OPTIONS,
      async at(point) {
        if (point === "created") await markSchemaChange(store, true);
      },
    });
    await albums.fill(1n, 2);
    await expect(albums.fed.moves.move(1n, { to: 2, ...QUICK })).rejects.toMatchObject({
      code: "MOVE_SCHEMA",
    });
    expect(await albums.fed.tenants.where(1n)).toMatchObject({ shard: 1, state: "active" });
    await markSchemaChange(store, false);
    await control.close();
  });

  test("options that are none are refused, and a move that is under way is named", async () => {
    await using databases = await freshDatabases("sqlite", 3);
    await using albums = await openAlbums(databases.urls, {
      ...OPTIONS,
      async at(point) {
        if (point !== "copy:done") return;
        const { fed } = albums;
        const [move] = await fed.moves.list();
        await expect(fed.moves.move(1n, { to: 2 })).rejects.toThrow(`by move ${move?.id}`);
        await expect(fed.tenants.remove(1n)).rejects.toThrow(`by move ${move?.id}`);
      },
    });
    const { fed } = albums;
    await albums.fill(1n, 2);
    const wrong = { to: 2, rowsPerSec: 10 } as unknown as { to: number };
    await expect(fed.moves.move(1n, wrong)).rejects.toThrow(/no option "rowsPerSec".*rowsPerSecond/);
    await expect(fed.moves.move(1n, undefined as never)).rejects.toMatchObject({ code: "VALUE_INVALID" });
    await expect(fed.moves.move(1n, { to: 2, batchKeys: 5_000 })).rejects.toThrow("from 1 to 1000");
    await expect(fed.moves.move(1n, { to: "2" as never })).rejects.toThrow('no shard "2"');
    await fed.moves.move(1n, { to: 2, ...QUICK });
  });
});

describe("a range that comes back before its purge, without a key that left it meanwhile", () => {
  test("leaves no row of that key behind", async () => {
    await using databases = await freshDatabases("sqlite", 3);
    await using albums = await openAlbums(databases.urls, OPTIONS);
    const { fed } = albums;
    await fed.tenants.addRange({ low: 1000n, high: 2000n }, { shard: 2 });
    for (const key of [1100n, 1200n]) await albums.addRows(key, 3);
    const range = { low: 1000n, high: 2000n };
    await fed.moves.move(range, { to: 1, graceMs: 60_000, waitFor: "arrived" });
    await fed.isolate(1100n, QUICK);
    await fed.moves.move(range, { to: 2, ...QUICK });
    expect((await fed.tenants.where(1100n)).shard).toBe(1);
    expect(await albums.counts(2)).toEqual(albums.expected([[1200n, 3]]));
    expect(await albums.counts(1)).toEqual(albums.expected([[1100n, 3]]));
  });
});
