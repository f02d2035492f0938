/** Whether a server is asked: after a failure it is left out for a while that grows with each further one, up to a few seconds. */

export const BACKOFF_MS_MIN = 100;
export const BACKOFF_MS_MAX = 5_000;

export class ServerHealth {
  readonly #now: () => number;
  #failures = 0;
  #failedAt = Number.NEGATIVE_INFINITY;
  #retryAt = Number.NEGATIVE_INFINITY;
  #reason: Error | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Why the server is left out; undefined while it is good. */
  get reason(): Error | undefined {
    return this.#reason;
  }

  get good(): boolean {
    return this.#failures === 0;
  }

  /** It failed, and it is time to try again. */
  get due(): boolean {
    return !this.good && this.#now() >= this.#retryAt;
  }

  /** Its last failure was only just now: to ask again would give the same answer. */
  get fresh(): boolean {
    return !this.good && this.#now() - this.#failedAt < BACKOFF_MS_MIN;
  }

  failed(reason: Error): void {
    // What many callers meet at once is one failure.
    if (!this.fresh) this.#failures += 1;
    this.#reason = reason;
    this.#failedAt = this.#now();
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (this.#failures - 1));
    // Not all processes at once.
    this.#retryAt = this.#failedAt + backoffMs * (0.5 + Math.random() / 2);
  }

  answered(): void {
    this.#failures = 0;
    this.#reason = undefined;
  }
}
