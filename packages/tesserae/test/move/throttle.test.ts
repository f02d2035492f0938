/** What slows a move down on purpose, and what a status says of it. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { MoveStatus } from "../../src/index.ts";
import { parseHours, Throttle, untilHours } from "../../src/move/throttle.ts";
import { QUICK } from "./albums.ts";
import { ENGINES, onSites } from "./move-sites.ts";

const HOUR_MS = 3_600_000;
const at = (hour: number, minute = 0) => new Date(2026, 0, 15, hour, minute);

describe("hours of the day", () => {
  test.each([
    ["22-6", { from: 22, to: 6 }],
    ["0-24", undefined],
    ["8-24", { from: 8, to: 0 }],
    [" 9-17 ", { from: 9, to: 17 }],
    ["0-1", { from: 0, to: 1 }],
  ] as const)("%s", (text, hours) => {
    if (hours === undefined) expect(() => parseHours(text)).toThrow(/no hours of the day/);
    else expect(parseHours(text)).toEqual(hours);
  });

  test.each(["", "22", "22-", "-6", "24-6", "3-25", "a-b", "1-2-3", "22:00-6:00", "5-5", "-1-3", "1.5-3"])(
    "%j is refused",
    (text) => {
      expect(() => parseHours(text)).toThrow(expect.objectContaining({ code: "VALUE_INVALID" }));
    },
  );

  test.each([
    ["22-6", at(22), 0],
    ["22-6", at(23, 59), 0],
    ["22-6", at(0), 0],
    ["22-6", at(5, 59), 0],
    ["22-6", at(6), 16 * HOUR_MS],
    ["22-6", at(21, 30), HOUR_MS / 2],
    ["9-17", at(9), 0],
    ["9-17", at(16, 59), 0],
    ["9-17", at(17), 16 * HOUR_MS],
    ["9-17", at(3), 6 * HOUR_MS],
    ["8-24", at(23, 59), 0],
    ["8-24", at(0), 8 * HOUR_MS],
  ])("%s at %s: %d ms", (hours, now, ms) => {
    expect(untilHours(parseHours(hours), now)).toBe(ms);
  });
});

describe("rows in a second", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("what was spent is waited for, and a pause saves nothing up", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const throttle = new Throttle({ rowsPerSecond: 400 });
    expect(throttle.chunkRowsMax).toBe(40);
    expect(throttle.wait().ms).toBeLessThanOrEqual(0);
    throttle.spend(100);
    expect(throttle.wait()).toEqual({ ms: 250, why: undefined });
    throttle.spend(100);
    expect(throttle.wait().ms).toBe(500);
    vi.advanceTimersByTime(500);
    expect(throttle.wait().ms).toBe(0);
    vi.advanceTimersByTime(60_000);
    throttle.spend(100);
    expect(throttle.wait().ms).toBe(250);
  });

  test("without a rate nothing waits, with a small one chunks have a row", () => {
    const throttle = new Throttle({});
    throttle.spend(1e9);
    expect(throttle.wait().ms).toBeLessThanOrEqual(0);
    expect(throttle.chunkRowsMax).toBe(Number.POSITIVE_INFINITY);
    expect(new Throttle({ rowsPerSecond: 1 }).chunkRowsMax).toBe(1);
  });

  test("hours come first, a minute at a time, and say why", () => {
    const throttle = new Throttle({ hours: "22-6", rowsPerSecond: 10 });
    throttle.spend(10);
    expect(throttle.wait(at(12))).toEqual({ ms: 60_000, why: "hour 22 of the day" });
    expect(throttle.wait(at(23)).why).toBeUndefined();
  });
});

onSites(
  "a throttled move",
  ENGINES.slice(0, 1),
  (_site, shared) => {
    test("copies and verifies in chunks of a tenth of a second, and takes its time", async () => {
      const { albums } = shared;
      const key = shared.newKey();
      await albums.fill(key, 60);
      let chunks = 0;
      const rates: number[] = [];
      const begun = performance.now();
      albums.atPoint = (point) => {
        if (point === "copy:chunk") chunks += 1;
      };
      await albums.fed.moves.move(key, {
        to: 2,
        rowsPerSecond: 100,
        ...QUICK,
        onProgress: ({ step, rowsPerSecond }) => {
          if (step === "copy" && rowsPerSecond > 0) rates.push(rowsPerSecond);
        },
      });
      albums.atPoint = () => {};
      // 62 rows are copied, and compared: without the last chunk of each table.
      expect(chunks).toBe(5);
      expect(performance.now() - begun).toBeGreaterThan(2 * 500 * 0.9);
      expect(rates.length).toBeGreaterThan(0);
    });

    test("outside of its hours it waits, says for what, and can be aborted", async () => {
      const { albums } = shared;
      const key = shared.newKey();
      await albums.fill(key, 5);
      const hour = (new Date().getHours() + 2) % 24;
      const waiting = Promise.withResolvers<MoveStatus>();
      albums.atPoint = async (point) => {
        if (point !== "leave:leaving") return;
        const id = await albums.moveId();
        void (async () => {
          for await (const status of albums.fed.moves.watch(id))
            if (status.waitsFor !== undefined) return waiting.resolve(status);
        })();
      };
      const moving = albums.fed.moves.move(key, { to: 2, hours: `${hour}-${(hour + 1) % 24}` });
      moving.catch(() => {});
      const status = await waiting.promise;
      expect(status).toMatchObject({ step: "copy", rowsCopied: 0, waitsFor: `hour ${hour} of the day` });
      await albums.fed.moves.abort(status.id);
      await expect(moving).rejects.toMatchObject({ code: "MOVE_ABORTED" });
      expect(await albums.counts(2)).toMatchObject({ tesserae_log_default: 0 });
    });
  },
  { touchMs: 0 },
);
