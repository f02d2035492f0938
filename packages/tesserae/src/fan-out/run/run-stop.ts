/** Why a run over the shards ends before its rows do: the caller's signal, the deadline, a shard that failed. Whoever waits in the run hears of the first of them. */
import { TesseraeError } from "../../base/errors.ts";

export class RunStop {
  readonly #controller = new AbortController();
  readonly #endsAt: number | undefined;
  readonly #deadlineMs: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #given: readonly AbortSignal[];
  readonly #onAbort = (event: Event) => this.now((event.target as AbortSignal).reason);

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
    return this.#controller.signal;
  }

  get stopped(): boolean {
    return this.#controller.signal.aborted;
  }

  now(reason: unknown): void {
    if (!this.stopped) this.#controller.abort(reason);
  }

  /** Raises the reason where the run has to end. An engine inside the process keeps timers from being heard, so that the clock is looked at, too. */
  check(): void {
    if (this.#endsAt !== undefined && performance.now() >= this.#endsAt) this.now(this.#late());
    this.#controller.signal.throwIfAborted();
  }

  /** Nobody listens any more. */
  over(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#given) signal.removeEventListener("abort", this.#onAbort);
  }

  #late(): TesseraeError {
    return new TesseraeError(
      "FAN_OUT_DEADLINE",
      `The query over the shards was not over after ${this.#deadlineMs} ms. Its statements on the shards were stopped. Ask for less, or raise deadlineMs.`,
      { cluster: "shards" },
    );
  }
}
