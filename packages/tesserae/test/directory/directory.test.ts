import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Directory, type Route } from "../../src/directory/directory.ts";
import { type DirectoryRow, DirectoryRows, type DirectoryState } from "../../src/directory/directory-rows.ts";
import { KeyCodec } from "../../src/directory/key-codec.ts";
import type { EngineResult } from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { bigint, bytes, type Column, text, uuid } from "../../src/schema/column.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import { Installation, notesSchema } from "./installation.ts";

type Row = Omit<DirectoryRow, "updated">;

const row = (kind: "p" | "r", low: KeyValue, rest: Partial<Row> = {}): Row => ({
  kind,
  low,
  high: null,
  shard: 1,
  epoch: 1n,
  state: "active",
  token: 1n,
  ...rest,
});

const untyped = (column: unknown) => column as Column<KeyValue>;
const keyTypes: [string, Column<KeyValue>, fc.Arbitrary<KeyValue>][] = [
  [
    "bigint",
    untyped(bigint()),
    fc.oneof(fc.bigInt({ min: -30n, max: 30n }), fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n)),
  ],
  [
    "text",
    untyped(text(4)),
    fc.string({ unit: fc.constantFrom("a", "B", " ", "é", "\ue000", "𝄞"), maxLength: 3 }),
  ],
  [
    "uuid",
    untyped(uuid()),
    fc
      .nat(255)
      .map(
        (n) =>
          `${n.toString(16).padStart(2, "0")}000000-0000-4000-8000-${((n * 7) % 256).toString(16).padStart(12, "0")}`,
      ),
  ],
  ["bytes", untyped(bytes(4)), fc.uint8Array({ maxLength: 3, max: 3 })],
];

forEachEngine((engine) => {
  describe(`the directory on ${engine.name}`, () => {
    test.each(keyTypes)(
      "finds points and ranges of %s keys as a naive model does",
      async (_name, key, keys) => {
        await using databases = await engine.databases(1);
        await using here = await Installation.at(databases.urls, { schema: notesSchema(key) });
        await here.create();
        const codec = new KeyCodec(here.federation);
        const rows = new DirectoryRows(here.control, here.federation);
        const states = fc.constantFrom<DirectoryState>(
          "active",
          "active",
          "active",
          "admitting",
          "removing",
          "purging",
          "removed",
        );
        const layout = fc.record({
          // Bounds in order: every other gap between two of them is a range, the last one perhaps without end.
          bounds: fc.uniqueArray(keys, { maxLength: 7, selector: (bound) => codec.cacheKey(bound) }),
          unbounded: fc.boolean(),
          points: fc.uniqueArray(fc.record({ low: keys, state: states }), {
            maxLength: 8,
            selector: ({ low }) => codec.cacheKey(low),
          }),
          asked: fc.array(keys, { minLength: 5, maxLength: 12 }),
        });
        await fc.assert(
          fc.asyncProperty(layout, async ({ bounds, unbounded, points, asked }) => {
            await here.control.run("delete from tesserae_directory_default", []);
            const sorted = bounds.toSorted((a, b) => codec.compare(a, b));
            const ranges: Row[] = [];
            for (let i = 0; i < sorted.length; i += 2) {
              const high = sorted[i + 1] ?? null;
              if (high !== null || unbounded)
                ranges.push(row("r", sorted[i] as KeyValue, { high, shard: 100 + i }));
            }
            const all = [
              ...ranges,
              ...points.map(({ low, state }, index) => row("p", low, { state, shard: 1 + index })),
            ];
            for (const each of all) expect(await rows.insert(here.control, each)).toBe(true);
            const directory = new Directory({
              control: here.control,
              federation: here.federation,
              feed: here.feed,
            });
            for (const value of [...asked, ...points.map(({ low }) => low), ...bounds]) {
              const point = all.find((each) => each.kind === "p" && codec.compare(each.low, value) === 0);
              const range = ranges.find(
                (each) =>
                  codec.compare(each.low, value) <= 0 &&
                  (each.high === null || codec.compare(value, each.high) < 0),
              );
              const expected = point ?? range;
              const found = await Promise.resolve(directory.locate(value)).catch(
                (error) => error.code as string,
              );
              if (expected?.state === "active")
                expect(found).toMatchObject({ shard: expected.shard, epoch: 1n });
              else expect(found).toBe("KEY_UNKNOWN");
            }
          }),
          { numRuns: 15 },
        );
      },
    );

    test("answers at once from the cache, asks main once for many callers, and keeps to its limit", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls, { directoryCacheEntries: 10 });
      await here.create();
      const rows = new DirectoryRows(here.control, here.federation);
      for (let key = 1n; key <= 30n; key++)
        await rows.insert(here.control, row("p", key, { shard: Number(key) }));
      const routes = await Promise.all(Array.from({ length: 20 }, () => here.directory.locate(7n)));
      expect(new Set(routes).size).toBe(1);
      expect(here.directory.stats.lookups).toBe(1);
      expect(here.directory.locate(7n)).toEqual({ shard: 7, epoch: 1n, key: 7n });
      expect(here.directory.locate(7)).toBe(routes[0]);
      expect(here.directory.isCurrent(routes[0] as Route)).toBe(true);
      for (let key = 1n; key <= 30n; key++) await here.directory.locate(key);
      expect(here.directory.stats.entries).toBeLessThanOrEqual(10);
      expect(here.directory.isCurrent(routes[0] as Route)).toBe(false);
    });

    test("names what is wrong with a key, and never guesses a shard", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await expect(here.directory.locate(5n)).rejects.toMatchObject({
        code: "KEY_UNKNOWN",
        key: "5",
        federation: "default",
      });
      expect(() => here.directory.locate(null)).toThrow(expect.objectContaining({ code: "KEY_NULL" }));
      expect(() => here.directory.locate("5")).toThrow(expect.objectContaining({ code: "KEY_TYPE" }));
      // An unknown key is not remembered as unknown.
      await new DirectoryRows(here.control, here.federation).insert(here.control, row("p", 5n, { shard: 3 }));
      expect(await here.directory.locate(5n)).toMatchObject({ shard: 3 });
    });

    test("a lookup that read the old place before a change does not put it into the cache after it", async () => {
      await using databases = await engine.databases(1);
      await using here = await Installation.at(databases.urls);
      await here.create();
      const rows = new DirectoryRows(here.control, here.federation);
      await rows.insert(here.control, row("p", 1n, { shard: 1 }));
      const slow = new SlowStore(here.main);
      const directory = new Directory({ control: slow, federation: here.federation, feed: here.feed });
      await here.feed.poll();
      const held = slow.holdNext();
      const located = directory.locate(1n) as Promise<Route>;
      await held.reached;
      // The read has its answer; now the key moves, and the feed's entry is dealt with before the answer arrives.
      await here.control.transaction(async (transaction) => {
        const current = (await rows.lock(transaction, "p", 1n)) as DirectoryRow;
        await rows.update(transaction, { ...current, shard: 2, epoch: 2n }, current.token);
        await here.feed.append(transaction, { federation: "default", kind: "p", low: "1" });
      });
      await here.feed.poll();
      held.release();
      expect(await located).toMatchObject({ shard: 2, epoch: 2n });
      expect(directory.locate(1n)).toMatchObject({ shard: 2 });
    });
  });
});

/** Holds the answer of a read back. */
class SlowStore extends ControlStore {
  #hold: { readonly reach: () => void; readonly gate: Promise<void> } | undefined;

  holdNext(): { readonly reached: Promise<void>; release(): void } {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    this.#hold = { reach: reached.resolve, gate: gate.promise };
    return { reached: reached.promise, release: gate.resolve };
  }

  override async read(sql: string, parameters: readonly unknown[]): Promise<EngineResult> {
    const result = await super.read(sql, parameters);
    const hold = this.#hold;
    this.#hold = undefined;
    if (hold === undefined) return result;
    hold.reach();
    await hold.gate;
    return result;
  }
}
