/** Counts attempts by name and says when there were too many. In the memory of one process; the oldest names are forgotten first. */
export class Throttle {
  readonly #attemptsMax: number;
  readonly #windowMs: number;
  readonly #namesMax: number;
  readonly #now: () => number;
  readonly #attempts = new Map<string, { count: number; since: number }>();

  constructor(options: { attemptsMax: number; windowMs: number; namesMax?: number; now?: () => number }) {
    this.#attemptsMax = options.attemptsMax;
    this.#windowMs = options.windowMs;
    this.#namesMax = options.namesMax ?? 10_000;
    this.#now = options.now ?? Date.now;
  }

  /** Seconds until the next attempt is allowed; 0 if it is allowed now. */
  wait(name: string): number {
    const entry = this.#attempts.get(name);
    if (!entry || entry.count < this.#attemptsMax) return 0;
    const left = entry.since + this.#windowMs - this.#now();
    return left > 0 ? Math.ceil(left / 1000) : 0;
  }

  count(name: string): void {
    const old = this.#attempts.get(name);
    const fresh = !old || old.since + this.#windowMs <= this.#now();
    const entry = fresh ? { count: 1, since: this.#now() } : { count: old.count + 1, since: old.since };
    this.#attempts.delete(name);
    this.#attempts.set(name, entry);
    if (this.#attempts.size > this.#namesMax) this.#attempts.delete(this.#attempts.keys().next().value!);
  }

  forget(name: string): void {
    this.#attempts.delete(name);
  }
}
