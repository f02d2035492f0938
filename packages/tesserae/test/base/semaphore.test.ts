import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { Semaphore } from "../../src/base/semaphore.ts";

const options = { timeoutMs: 10_000, onTimeout: () => new Error("too late") };

describe("a semaphore", () => {
  test("gives its permits, then makes callers wait in the order of asking", async () => {
    const semaphore = new Semaphore(2);
    expect([semaphore.tryTake(), semaphore.tryTake(), semaphore.tryTake()]).toEqual([true, true, false]);
    const order: number[] = [];
    const waiters = [1, 2, 3].map((n) => semaphore.take(options).then(() => order.push(n)));
    expect(semaphore.waiting).toBe(3);
    semaphore.give();
    // The permit went to the first in the queue: nobody who comes later can take it.
    expect(semaphore.tryTake()).toBe(false);
    semaphore.give();
    semaphore.give();
    await Promise.all(waiters);
    expect(order).toEqual([1, 2, 3]);
    expect([semaphore.taken, semaphore.waiting]).toEqual([2, 0]);
    semaphore.give();
    semaphore.give();
    expect(semaphore.taken).toBe(0);
  });

  test("lets a caller go who has waited too long, and the next one is served", async () => {
    const semaphore = new Semaphore(1);
    semaphore.tryTake();
    const hasty = semaphore.take({ ...options, timeoutMs: 10 });
    const patient = semaphore.take(options);
    await expect(hasty).rejects.toThrow("too late");
    expect(semaphore.waiting).toBe(1);
    semaphore.give();
    await patient;
  });

  test("lets a caller go whose signal is aborted, before or while it waits", async () => {
    const semaphore = new Semaphore(1);
    await expect(
      semaphore.take({ ...options, signal: AbortSignal.abort(new Error("gone")) }),
    ).rejects.toThrow("gone");
    expect(semaphore.taken).toBe(0);
    semaphore.tryTake();
    const controller = new AbortController();
    const waiting = semaphore.take({ ...options, signal: controller.signal });
    controller.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    expect(semaphore.waiting).toBe(0);
    semaphore.give();
    expect(semaphore.free).toBe(true);
    // An abort after the permit was given changes nothing.
    const late = new AbortController();
    await semaphore.take({ ...options, signal: late.signal });
    late.abort();
    await sleep(1);
    expect(semaphore.taken).toBe(1);
  });

  test("sends everybody away at once", async () => {
    const semaphore = new Semaphore(1);
    semaphore.tryTake();
    const waiters = Promise.allSettled([semaphore.take(options), semaphore.take(options)]);
    semaphore.rejectWaiters(new Error("closed"));
    expect((await waiters).map((result) => result.status)).toEqual(["rejected", "rejected"]);
    expect([semaphore.taken, semaphore.waiting]).toEqual([1, 0]);
  });
});
