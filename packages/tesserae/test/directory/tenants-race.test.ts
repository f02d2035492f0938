/** Several processes' worth of registries on the same keys at once. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { DirectoryRows } from "../../src/directory/directory-rows.ts";
import type { Database } from "../../src/engine/contract.ts";
import { Installation } from "./installation.ts";

async function openMany(urls: readonly string[], count: number): Promise<Installation[]> {
  return Promise.all(
    Array.from({ length: count }, (_, index) =>
      Installation.at(urls, { takeOverMs: 400, chooser: { pickShard: () => 1 + (index % 2) } }),
    ),
  );
}

const code = (error: unknown) => (error as { code?: string }).code;

forEachEngine((engine) => {
  describe(`races on ${engine.name}`, () => {
    test("adds of the same key: one wins, all get the same answer", async () => {
      await using databases = await engine.databases(3);
      const all = await openMany(databases.urls, 4);
      await all[0]?.create();
      for (let key = 1n; key <= 5n; key++) {
        const places = await Promise.all(
          all.flatMap((each) => [each.tenants.add(key), each.tenants.add(key)]),
        );
        for (const place of places) expect(place).toEqual({ ...places[0], state: "active", epoch: 1n });
      }
      for (const each of all) await each[Symbol.asyncDispose]();
    });

    test("adds against removes: at the end main and the shards agree, and the epoch never fell", async () => {
      await using databases = await engine.databases(3);
      const all = await openMany(databases.urls, 3);
      const [first] = all as [Installation];
      await first.create();
      const rows = new DirectoryRows(first.control, first.federation);
      let busy = true;
      const epochs: bigint[] = [];
      const watcher = (async () => {
        while (busy) {
          const row = await rows.find(first.control, "p", 1n);
          if (row !== undefined) epochs.push(row.epoch);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      })();
      await Promise.all(
        all.map(async (each, index) => {
          for (let i = 0; i < 8; i++) {
            if ((i + index) % 2 === 0) await each.tenants.add(1n);
            else await each.tenants.remove(1n).catch((error) => expect(code(error)).toBe("KEY_UNKNOWN"));
          }
        }),
      );
      busy = false;
      await watcher;
      expect(epochs).toEqual(epochs.toSorted((a, b) => Number(a - b)));
      const place = await first.tenants.where(1n);
      for (const shard of [1, 2]) {
        const work = first.addNote(shard, 1n, 1);
        if (place.state === "active" && place.shard === shard) await work;
        else await expect(work).rejects.toThrow(/TESSERAE_GUARD/);
      }
      for (const each of all) await each[Symbol.asyncDispose]();
    });

    test("a range against keys in it: never both", async () => {
      await using databases = await engine.databases(3);
      const all = await openMany(databases.urls, 3);
      const [first, second, third] = all as [Installation, Installation, Installation];
      await first.create();
      for (let round = 0n; round < 6n; round++) {
        const low = round * 10n;
        const range = { low, high: low + 10n };
        const results = await Promise.allSettled([
          first.tenants.add(low + 5n),
          second.tenants.addRange(range, { shard: 1 }),
          third.tenants.addRange({ low: low + 1n, high: low + 10n }, { shard: 2 }),
        ]);
        const [added, ...ranges] = results;
        expect(added?.status).toBe("fulfilled");
        for (const result of ranges)
          if (result.status === "rejected") expect(code(result.reason)).toBe("RANGE_OVERLAP");
        const place = await first.tenants.where(low + 5n);
        const won = ranges.filter((result) => result.status === "fulfilled").length;
        expect(won + (place.by === "point" ? 1 : 0)).toBe(1);
      }
      for (const each of all) await each[Symbol.asyncDispose]();
    });

    test.each([["a key with a place of its own"], ["a key of a range"]])(
      "%s is removed under writers: no row is left, none comes after",
      async (which) => {
        await using databases = await engine.databases(2);
        const [here, other] = (await Promise.all(
          [0, 1].map(() => Installation.at(databases.urls, { purgeBatchRows: 20 })),
        )) as [Installation, Installation];
        await here.create();
        if (which === "a key of a range") await here.tenants.addRange({}, { shard: 1 });
        else await here.tenants.add(1n);
        let id = 0;
        let writing = true;
        let written = 0;
        let refused = 0;
        const writers = [here, other, here, other].map(async (each) => {
          while (writing) {
            id++;
            try {
              await each.addNote(1, 1n, id);
              written++;
            } catch (error) {
              if (!/TESSERAE_GUARD/.test(String(error))) throw error;
              refused++;
            }
            await new Promise((resolve) => setImmediate(resolve));
          }
        });
        while (written < 60) await new Promise((resolve) => setTimeout(resolve, 1));
        await here.tenants.remove(1n, { rows: "delete" });
        expect(await here.count(1, "notes")).toBe(0);
        const refusedBefore = refused;
        while (refused < refusedBefore + 20) await new Promise((resolve) => setTimeout(resolve, 1));
        writing = false;
        await Promise.all(writers);
        expect(await here.count(1, "notes")).toBe(0);
        await here[Symbol.asyncDispose]();
        await other[Symbol.asyncDispose]();
      },
    );

    test.each(["read committed", "repeatable read", "serializable"] as const)(
      "a %s transaction that began before a key of a range was removed writes no row of it after",
      async (isolation) => {
        await using databases = await engine.databases(2);
        await using here = await Installation.at(databases.urls);
        await here.create();
        // With one writer a database there is no transaction that could be older.
        if (!here.main.engine.dialect.capabilities.concurrentWriters) return;
        await here.tenants.addRange({}, { shard: 1 });
        const connection = await (here.shards.get(1) as Database).acquire();
        const { dialect } = here.main.engine;
        const run = (sql: string) => connection.run({ sql: dialect.placeholders(sql), parameters: [] });
        await connection.begin({ isolation });
        await run("select count(*) as n from notes");
        await here.tenants.remove(5n);
        await expect(run("insert into notes (owner, id, body) values (5, 1, 'late')")).rejects.toThrow();
        await connection.rollback();
        connection.release();
        expect(await here.count(1, "notes")).toBe(0);
      },
    );
  });
});
