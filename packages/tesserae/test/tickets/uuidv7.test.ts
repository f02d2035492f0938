import { afterEach, describe, expect, test, vi } from "vitest";
import { uuidv7 } from "../../src/tickets/uuidv7.ts";

afterEach(() => vi.useRealTimers());

describe("uuidv7", () => {
  test("has version 7, the variant of RFC 9562 and the time in milliseconds", () => {
    const before = Date.now();
    const id = uuidv7();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const ms = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
    expect(ms).toBeGreaterThanOrEqual(before);
    expect(ms).toBeLessThanOrEqual(Date.now());
  });

  test("rises strictly and never repeats", () => {
    const ids = Array.from({ length: 200_000 }, uuidv7);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every((id, index) => index === 0 || id > (ids[index - 1] as string))).toBe(true);
  });

  test("rises also while the clock stands still or goes back", () => {
    vi.useFakeTimers({ now: Date.now() + 10_000 });
    const first = uuidv7();
    vi.setSystemTime(Date.now() - 5_000);
    const second = uuidv7();
    expect(second > first).toBe(true);
  });

  test("its last bits are random", () => {
    const tails = new Set(Array.from({ length: 1000 }, () => uuidv7().slice(26)));
    expect(tails.size).toBe(1000);
  });
});
