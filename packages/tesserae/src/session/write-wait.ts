/**
 * How a write waits for its key. While a key is cut over no shard takes its writes: frozen on the source, or still arriving at the target. Whoever
 * was refused there waits until a shard takes writes again, the same one (the move was undone) or the next one, and then runs again.
 *
 * All writes of one key in this process wait together: one of them looks, in the directory and then at the residence that it names, and the answer
 * is everybody's. Between two looks there is a pause with jitter, an eighth of what was waited so far, from 2 to 20 ms: a short cut-over is seen soon. A look that fails (main is down for a moment) tells nothing and is
 * made again. What ends the wait is each write's own deadline, counted from its first refusal; then the refusal is the caller's, and not main's
 * error: that may say that the outcome is unknown, and the outcome of a refused write is known.
 */
import { isTesseraeError, type TesseraeError } from "../base/errors.ts";
import type { RoutedTarget } from "./target.ts";

const PAUSE_MS_MIN = 2;
const PAUSE_MS_MAX = 20;
const PAUSE_SHARE = 1 / 8;
/** How often a write whose residence was replaced under it runs again without a look. */
const AT_ONCE_MAX = 5;

/** What one look at directory and residence found. */
export type Look =
  | { readonly routed: RoutedTarget; readonly takesWrites: boolean }
  | { readonly error: unknown };

/** The looks at one key, shared by all who wait for it. */
class KeyWatch {
  waiting = 0;
  readonly #begun = performance.now();
  #looks = 0;
  #underWay: Promise<Look> | undefined;
  #endPause: (() => void) | undefined;

  /** The look under way, or a new one. */
  look(look: () => Promise<Look>): Promise<Look> {
    this.#underWay ??= this.#run(look).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** Nobody waits any more: no timer stays. */
  end(): void {
    this.#endPause?.();
  }

  async #run(look: () => Promise<Look>): Promise<Look> {
    const waitedMs = performance.now() - this.#begun;
    if (this.#looks++ > 0)
      await this.#pause(Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, waitedMs * PAUSE_SHARE)));
    return look();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms * (0.5 + Math.random() / 2));
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** A federation's keys for which writes wait now; empty most of the time. */
export class KeyWatches {
  readonly #watches = new Map<string, KeyWatch>();

  enter(key: string): KeyWatch {
    let watch = this.#watches.get(key);
    if (watch === undefined) {
      watch = new KeyWatch();
      this.#watches.set(key, watch);
    }
    watch.waiting++;
    return watch;
  }

  leave(key: string): void {
    const watch = this.#watches.get(key);
    if (watch === undefined || --watch.waiting > 0) return;
    this.#watches.delete(key);
    watch.end();
  }
}

export interface WriteWaitOptions {
  readonly watches: KeyWatches;
  /** The whole key as text. */
  readonly key: string;
  /** From the first refusal on. */
  readonly writeWaitMs: number;
  readonly signal: AbortSignal | undefined;
  /** Asks the directory anew, and the shard that it names. Never rejects. */
  look(): Promise<Look>;
}

/** One write's waiting, or one transaction's; from its first refusal to its end. */
export class WriteWait {
  readonly #options: WriteWaitOptions;
  readonly #watch: KeyWatch;
  readonly #deadline: number;
  #atOnce = 0;
  #unchanged = 0;
  #lastError: unknown;

  constructor(options: WriteWaitOptions) {
    this.#options = options;
    this.#watch = options.watches.enter(options.key);
    this.#deadline = performance.now() + options.writeWaitMs;
  }

  /** Where to run again what was refused at `refused`. Raises the refusal when nothing more is to be hoped for, or time is up. */
  async after(refused: RoutedTarget, refusal: TesseraeError): Promise<RoutedTarget> {
    const { reason, code } = refusal;
    if (!refusal.retryable) throw refusal;
    if ((reason === "residence_changed" || code === "READ_STALE") && this.#atOnce++ < AT_ONCE_MAX)
      return refused;
    for (;;) {
      const look = await this.#look();
      if (look === undefined) throw this.#timeIsUp(refusal);
      if ("error" in look) {
        if (!isTesseraeError(look.error) || !look.error.retryable) throw look.error;
        this.#lastError = look.error;
        continue;
      }
      this.#lastError = undefined;
      const { routed, takesWrites } = look;
      const same = routed.target === refused.target && routed.epoch === refused.epoch;
      // The first look may have begun before the refusal, with somebody else.
      if (same && reason === "no_residence" && this.#unchanged++ > 0) throw withoutHope(refusal);
      if (takesWrites) return routed;
    }
  }

  end(): void {
    this.#options.watches.leave(this.#options.key);
  }

  /** Undefined when the time is up before the look is. Rejects with the signal's reason. */
  #look(): Promise<Look | undefined> {
    const { signal, look } = this.#options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const restMs = this.#deadline - performance.now();
    if (restMs <= 0) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        act();
      };
      const onAbort = () => settle(() => reject(signal?.reason));
      const timer = setTimeout(() => settle(() => resolve(undefined)), restMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      void this.#watch.look(look).then((found) => settle(() => resolve(found)));
    });
  }

  #timeIsUp(refusal: TesseraeError): TesseraeError {
    const { writeWaitMs } = this.#options;
    const waited = `It was tried again for ${writeWaitMs} ms (moves.writeWaitMs).`;
    const error = this.#lastError;
    if (!isTesseraeError(error)) return refusal.knowing(waited, true);
    return refusal.knowing(
      `${waited} Where the key lives could not be asked at last: ${error.code}: ${error.message}`,
      true,
    );
  }
}

/** The shard knows nothing of the key, and the directory, asked after that, still says that it lives there. Time will not mend it. */
function withoutHope(refusal: TesseraeError): TesseraeError {
  return refusal.knowing("The directory, asked anew, still says that it lives there.", false);
}
