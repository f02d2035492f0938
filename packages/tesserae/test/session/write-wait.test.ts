/** The wait by itself, on a clock of the test's: its pauses, and that it leaves nothing behind. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import type { RoutedTarget } from "../../src/session/target.ts";
import { KeyWatches, type Look, WriteWait } from "../../src/session/write-wait.ts";

const routed = { target: {}, epoch: 1n } as RoutedTarget;
const refusal = new TesseraeError("GUARD_REFUSED", "frozen", { reason: "not_here" });
const frozen: Look = { routed, takesWrites: false };

let watches: KeyWatches;
let looks: number[];
let answer: Look;

const wait = (writeWaitMs: number, signal?: AbortSignal) =>
  new WriteWait({
    watches,
    key: "1",
    writeWaitMs,
    signal,
    look: async () => {
      looks.push(performance.now());
      return answer;
    },
  });

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  watches = new KeyWatches();
  looks = [];
  answer = frozen;
});
afterEach(() => {
  vi.useRealTimers();
});

test("the pauses between looks grow with the wait to 20 ms, and the first look comes at once", async () => {
  const waiting = wait(1_000);
  const ended = expect(waiting.after(routed, refusal)).rejects.toMatchObject({ retryable: true });
  await vi.advanceTimersByTimeAsync(1_000);
  await ended;
  const pauses = looks.slice(1).map((at, index) => at - (looks[index] as number));
  expect(looks[0]).toBe(performance.now() - 1_000);
  expect(pauses[0]).toBeLessThanOrEqual(2);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(20);
  const waited = (index: number) => (looks[index] as number) - (looks[0] as number);
  for (const [index, pause] of pauses.entries()) {
    const share = Math.min(20, Math.max(2, waited(index) / 8));
    expect(pause).toBeGreaterThanOrEqual(Math.floor(share / 2));
    expect(pause).toBeLessThanOrEqual(Math.ceil(share));
  }
  expect(new Set(pauses.slice(-20)).size).toBeGreaterThan(5);
  waiting.end();
  expect(vi.getTimerCount()).toBe(0);
});

test("nothing stays behind when the last one leaves in the middle of a pause", async () => {
  const controller = new AbortController();
  const first = wait(5_000, controller.signal);
  const second = wait(30);
  const both = [first.after(routed, refusal), second.after(routed, refusal)];
  const ended = Promise.allSettled(both).then((results) => results.map(({ status }) => status));
  await vi.advanceTimersByTimeAsync(40);
  second.end();
  const before = looks.length;
  await vi.advanceTimersByTimeAsync(40);
  expect(looks.length).toBeGreaterThan(before);
  controller.abort(new Error("gone"));
  first.end();
  expect(await ended).toEqual(["rejected", "rejected"]);
  expect(vi.getTimerCount()).toBe(0);
});

test("a wait that is over is over, also for those who join a key's watch later", async () => {
  const first = wait(1_000);
  const going = first.after(routed, refusal);
  await vi.advanceTimersByTimeAsync(10);
  answer = { routed, takesWrites: true };
  await vi.advanceTimersByTimeAsync(20);
  expect(await going).toBe(routed);
  first.end();
  const count = looks.length;
  const later = wait(1_000);
  expect(await later.after(routed, refusal)).toBe(routed);
  expect(looks).toHaveLength(count + 1);
  later.end();
  expect(vi.getTimerCount()).toBe(0);
});
