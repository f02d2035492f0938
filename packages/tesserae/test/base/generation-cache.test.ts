import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GenerationCache } from "../../src/base/generation-cache.ts";

describe("the generation cache", () => {
  test("keeps to its limit, and keeps what is in use", () => {
    const cache = new GenerationCache<number, object>(100);
    const used = Array.from({ length: 20 }, () => ({}));
    for (const [key, value] of used.entries()) cache.set(key, value);
    for (let key = 1000; key < 3000; key++) {
      cache.set(key, {});
      if (key % 10 === 0) for (let hot = 0; hot < 20; hot++) cache.get(hot);
      expect(cache.size).toBeLessThanOrEqual(100);
    }
    for (const [key, value] of used.entries()) expect(cache.get(key)).toBe(value);
    expect(cache.get(1000)).toBeUndefined();
  });

  test("gives what was set last, or nothing; never what was deleted", () => {
    const step = fc.record({ what: fc.constantFrom("set", "get", "delete", "clear"), key: fc.nat(12) });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), fc.array(step, { maxLength: 200 }), (limit, steps) => {
        const cache = new GenerationCache<number, { readonly n: number }>(limit);
        const model = new Map<number, { readonly n: number }>();
        steps.forEach(({ what, key }, n) => {
          if (what === "set") {
            cache.set(key, { n });
            model.set(key, { n });
          } else if (what === "delete") {
            cache.delete(key);
            model.delete(key);
          } else if (what === "clear" && n % 7 === 0) {
            cache.clear();
            model.clear();
          }
          const found = cache.get(key);
          if (found !== undefined) expect(found).toEqual(model.get(key));
          if (what === "set") expect(found).toEqual({ n });
          expect(cache.size).toBeLessThanOrEqual(limit);
        });
      }),
    );
  });
});
