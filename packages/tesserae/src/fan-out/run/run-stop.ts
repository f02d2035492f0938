/** Why a run over the shards ends before its rows do: the caller's signal, the deadline, a shard that failed. Whoever waits in the run hears of the first of them. */
import { TesseraeError } from "../../base/errors.ts";

/** Why nobody in a run that has ended waits any more. One for all: an error with a stack costs more than the rest of a short run's end. */
const OVER = new Error("The run over the shards is over.");

export class RunStop {
  readonly #deadlineMs: number | undefined;
  readonly #endsAt: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #given: readonly AbortSignal[];
  readonly #onAbort = (event: Event) => this.now((event.target as AbortSignal).reason);
  /** Those who wait, by their `reject`. Cheaper than listeners of a signal, of which each batch would need one. */
  readonly #waiting = new Set<(reason: unknown) => void>();
  #stopped: { readonly reason: unknown } | undefined;
  /** Made for who asks for it. */
  #controller: AbortController | undefined;

  /** The deadline counts from `began`, a moment of `performance.now()`. */
  constructor(began: number, deadlineMs: number | undefined, signals: readonly (AbortSignal | undefined)[]) {
    this.#deadlineMs = deadlineMs;
    if (deadlineMs !== undefined) {
      this.#endsAt = began + deadlineMs;
      const leftMs = Math.max(0, this.#endsAt - performance.now());
      this.#timer = setTimeout(() => this.now(this.#late()), leftMs);
    }
    this.#given = signals.filter((signal) => signal !== undefined);
    for (const signal of this.#given) {
      if (signal.aborted) this.now(signal.reason);
      else signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  /** Aborted, with the reason, when the run has to end. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopped !== undefined) this.#controller.abort(this.#stopped.reason);
    }
    return this.#controller.signal;
  }

  get stopped(): boolean {
    return this.#stopped !== undefined;
  }

  get reason(): unknown {
    return this.#stopped?.reason;
  }

  now(reason: unknown): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = { reason };
    for (const reject of this.#waiting) reject(reason);
    this.#waiting.clear();
    this.#controller?.abort(reason);
  }

  /** Raises the reason where the run has to end. An engine inside the process keeps timers from being heard, so that the clock is looked at, too. */
  check(): void {
    if (this.#endsAt !== undefined && performance.now() >= this.#endsAt) this.now(this.#late());
    if (this.#stopped !== undefined) throw this.#stopped.reason;
  }

  /** The work's outcome, or the reason as soon as there is one. The work goes on by itself. */
  until<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#stopped === undefined) this.#waiting.add(reject);
      else reject(this.#stopped.reason);
      work.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error: unknown) => {
          this.#waiting.delete(reject);
          reject(error);
        },
      );
    });
  }

  /** Calls `work` when the run has to end, also while nobody waits in it. */
  whenStopped(work: () => void): void {
    if (this.#stopped === undefined) this.#waiting.add(work);
    else work();
  }

  /** The run has ended: who still waits in it, for a connection, need not any more. */
  over(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#given) signal.removeEventListener("abort", this.#onAbort);
    this.now(OVER);
  }

  #late(): TesseraeError {
    return new TesseraeError(
      "FAN_OUT_DEADLINE",
      `The query over the shards was not over after ${this.#deadlineMs} ms. Its statements on the shards were stopped. Ask for less, or raise deadlineMs.`,
      { cluster: "shards" },
    );
  }
}
