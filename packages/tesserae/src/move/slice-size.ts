/**
 * How many rows a slice has: as many as take about a quarter of a second, so that progress, throttles and a pause come often, and round trips seldom. Where a
 * database has one writer, others wait for the whole of a slice, which is shorter then.
 */
import type { EngineCapabilities } from "../engine/contract.ts";
import type { Throttle } from "./throttle.ts";

const SLICE_MS = 250;
const SLICE_MS_ALONE = 25;
const ROWS_MIN = 100;
const ROWS_FIRST = 2_000;
const ROWS_MAX = 50_000;

export class SliceSize {
  readonly #throttle: Throttle;
  readonly #sliceMs: number;
  #rows = ROWS_FIRST;

  constructor(throttle: Throttle, target: Pick<EngineCapabilities, "concurrentWriters">) {
    this.#throttle = throttle;
    this.#sliceMs = target.concurrentWriters ? SLICE_MS : SLICE_MS_ALONE;
  }

  get rows(): number {
    return Math.min(this.#rows, this.#throttle.chunkRowsMax);
  }

  /** A slice of `rows` rows took so long: the next one may be up to four times as large, or as small as it must be. */
  took(rows: number, ms: number): void {
    if (rows < this.rows / 2) return;
    const fitting = (rows * this.#sliceMs) / Math.max(1, ms);
    this.#rows = Math.round(Math.min(ROWS_MAX, this.#rows * 4, Math.max(ROWS_MIN, fitting)));
  }
}

const WINDOW_MS = 5_000;

/** Rows in a second, over the last few. */
export class Rate {
  #rows = 0;
  #since = performance.now();
  #perSecond = 0;

  add(rows: number): void {
    this.#rows += rows;
    const ms = performance.now() - this.#since;
    this.#perSecond = Math.round((this.#rows * 1000) / Math.max(1, ms));
    if (ms < WINDOW_MS) return;
    this.#rows = 0;
    this.#since = performance.now();
  }

  get perSecond(): number {
    return this.#perSecond;
  }
}
