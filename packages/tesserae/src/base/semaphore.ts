/**
 * A counted permit with a fair queue: who has waited longest is served first, and a permit that is given back goes straight to
 * the next in the queue, so that nobody who comes later can overtake. With one permit it is a mutex.
 */

export interface TakeOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** The error of a caller that has waited for `timeoutMs`. */
  readonly onTimeout: () => Error;
}

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

export class Semaphore {
  readonly #permits: number;
  #taken = 0;
  /** A set keeps the order of insertion and lets a waiter leave from the middle. */
  readonly #waiters = new Set<Waiter>();

  constructor(permits: number) {
    this.#permits = permits;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** A permit is free, and so nobody waits. */
  get free(): boolean {
    return this.#taken < this.#permits;
  }

  /** Takes a permit if one is free at once. */
  tryTake(): boolean {
    if (!this.free) return false;
    this.#taken += 1;
    return true;
  }

  /** Takes a permit, waiting for it if need be. Rejects with the signal's reason when it is aborted. */
  take(options: TakeOptions): Promise<void> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.tryTake()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const leave = (error: unknown) => {
        this.#waiters.delete(waiter);
        waiter.reject(error);
      };
      const onAbort = () => leave(signal?.reason);
      const timer = setTimeout(() => leave(options.onTimeout()), options.timeoutMs);
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        resolve: () => {
          settle();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  give(): void {
    const next = this.#waiters.values().next();
    if (next.done) {
      this.#taken -= 1;
      return;
    }
    this.#waiters.delete(next.value);
    next.value.resolve();
  }

  /** Sends everybody who waits away. */
  rejectWaiters(error: unknown): void {
    for (const waiter of [...this.#waiters]) {
      this.#waiters.delete(waiter);
      waiter.reject(error);
    }
  }
}
