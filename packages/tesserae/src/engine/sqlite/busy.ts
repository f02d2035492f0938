/**
 * Waiting for a file that another process has locked. SQLite's own busy handler sleeps in the process's only thread, and with it every request
 * would stop; here the statement is tried again after a pause in which the process goes on.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { isBusy } from "./errors.ts";

/** Pauses in ms: a short transaction of another process is over within the first, so they grow slowly, and stay small enough not to be starved. */
const PAUSES_MS = [0, 1, 1, 2, 2, 3, 5, 8, 12, 20];

/** Tries until it does not meet a lock, or `timeoutMs` have passed: then the driver's own error is raised. */
export async function retryBusy<T>(timeoutMs: number, work: () => T): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= deadline) throw error;
    }
    const pause = PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)] as number;
    // A random part, so that processes which met once do not meet each time.
    if (pause === 0) await nextTurn();
    else await sleep(pause * (0.5 + Math.random()));
  }
}
