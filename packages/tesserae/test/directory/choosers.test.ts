import { describe, expect, test } from "vitest";
import {
  type ChooserContext,
  hashChooser,
  leastLoaded,
  pickShard,
  rangeChooser,
  rendezvousScore,
  resolveChooser,
  type ShardChooser,
  tenantIsShard,
  weightedRandom,
} from "../../src/directory/choosers.ts";
import { KeyCodec } from "../../src/directory/key-codec.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";

const codec = new KeyCodec({ name: "default", key: { kind: "bigint" } });
const textCodec = new KeyCodec({
  name: "default",
  key: { kind: "text", length: 20, caseInsensitive: false },
});

function context(shards: readonly number[], load: Record<number, number> = {}, keys = codec): ChooserContext {
  return {
    shards,
    federation: "default",
    load: async () => new Map(Object.entries(load).map(([shard, count]) => [Number(shard), count])),
    compareKeys: (a, b) => keys.compare(a, b),
    keyBytes: (key) => keys.toBytes(key),
  };
}

const pick = (chooser: ShardChooser, key: KeyValue, given: ChooserContext, keys = codec) =>
  pickShard(chooser, key, given, keys);

describe("the library's choosers", () => {
  test("tenantIsShard: the key is the shard", async () => {
    expect(await pick(tenantIsShard(), 3n, context([1, 3]))).toBe(3);
    expect(await pick(tenantIsShard(), "3", context([1, 3]), textCodec)).toBe(3);
    for (const key of [2n, 0n, -1n, 2n ** 40n])
      await expect(pick(tenantIsShard(), key, context([1, 3]))).rejects.toMatchObject({
        code: "SHARD_UNKNOWN",
      });
    await expect(pick(tenantIsShard(), "x", context([1]), textCodec)).rejects.toMatchObject({
      code: "SHARD_UNKNOWN",
    });
  });

  test("weightedRandom: in proportion, and never a shard of weight 0", async () => {
    const counts = new Map<number, number>();
    const chooser = weightedRandom({ 1: 3, 2: 1, 3: 0 });
    for (let i = 0; i < 4000; i++) {
      const shard = await pick(chooser, 1n, context([1, 2, 3]));
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    expect(counts.get(3)).toBeUndefined();
    expect(counts.get(1)).toBeGreaterThan(2700);
    expect(counts.get(2)).toBeGreaterThan(750);
    expect([1, 2]).toContain(await pick(weightedRandom(), 1n, context([1, 2])));
  });

  test("weightedRandom refuses weights that make no sense", () => {
    for (const weights of [{ 1: -1 }, { 1: Number.NaN }, { 1: 0 }, {}])
      expect(() => weightedRandom(weights)).toThrow(expect.objectContaining({ code: "CHOOSER_INVALID" }));
  });

  test("leastLoaded: the emptiest, of equal ones the first", async () => {
    expect(await pick(leastLoaded(), 1n, context([1, 2, 3], { 1: 5, 2: 1, 3: 1 }))).toBe(2);
    expect(await pick(leastLoaded(), 1n, context([1, 2, 3], { 1: 5, 2: 1 }))).toBe(3);
  });

  test("rangeChooser: the first range that ends above the key", async () => {
    const chooser = rangeChooser([{ below: 10n, shard: 1 }, { below: 20n, shard: 2 }, { shard: 3 }]);
    expect(await pick(chooser, -5n, context([1, 2, 3]))).toBe(1);
    expect(await pick(chooser, 10n, context([1, 2, 3]))).toBe(2);
    expect(await pick(chooser, 20n, context([1, 2, 3]))).toBe(3);
    await expect(pick(rangeChooser([{ below: 10n, shard: 1 }]), 10n, context([1]))).rejects.toMatchObject({
      code: "SHARD_UNKNOWN",
    });
    expect(() => rangeChooser([])).toThrow(expect.objectContaining({ code: "CHOOSER_INVALID" }));
    expect(() => rangeChooser([{ shard: 1 }, { below: 2n, shard: 2 }])).toThrow(
      expect.objectContaining({ code: "CHOOSER_INVALID" }),
    );
  });

  test("hashChooser: even, and a new shard takes from each and gives nothing between the others", async () => {
    const before = new Map<bigint, number>();
    const counts = new Map<number, number>();
    for (let key = 0n; key < 6000n; key++) {
      const shard = await pick(hashChooser(), key, context([1, 2, 3]));
      before.set(key, shard);
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    for (const shard of [1, 2, 3]) expect(counts.get(shard)).toBeGreaterThan(1850);
    let moved = 0;
    for (const [key, shard] of before) {
      const after = await pick(hashChooser(), key, context([1, 2, 3, 4]));
      if (after === shard) continue;
      expect(after).toBe(4);
      moved++;
    }
    expect(moved).toBeGreaterThan(1300);
    expect(moved).toBeLessThan(1700);
  });

  test("hashChooser: the scores never change, they are part of what is stored", () => {
    expect([
      rendezvousScore(codec.toBytes(42n), 1),
      rendezvousScore(codec.toBytes(-1n), 2),
      rendezvousScore(textCodec.toBytes("ada"), 3),
    ]).toMatchInlineSnapshot(`
      [
        3903982870068534,
        215881168120350,
        5356835101488553,
      ]
    `);
  });
});

describe("the user's own", () => {
  class Own implements ShardChooser {
    pickShard(): number {
      return 7;
    }
  }

  test("an object, an object of a class, or the class", async () => {
    for (const given of [new Own(), Own, { pickShard: () => 7 }, { pickShard: async () => 7 }]) {
      expect(await pick(resolveChooser(given), 1n, context([1, 7]))).toBe(7);
    }
  });

  test("anything else is refused", () => {
    for (const given of [undefined, null, "hash", 1, {}, () => 7, class {}])
      expect(() => resolveChooser(given)).toThrow(expect.objectContaining({ code: "CHOOSER_INVALID" }));
  });

  test("a shard that does not exist is refused with the chooser's name", async () => {
    await expect(pick(new Own(), 1n, context([1, 2]))).rejects.toThrow(
      /The chooser Own chose shard 7 for key 1, .* \(1, 2\)/,
    );
    for (const answer of ["1", 1n, null, undefined, 1.5, {}] as unknown[]) {
      await expect(pick({ pickShard: () => answer as number }, 1n, context([1]))).rejects.toMatchObject({
        code: "SHARD_UNKNOWN",
      });
    }
  });
});
