/** What slows a move down on purpose: rows in a second, and hours of the day. */
import { TesseraeError } from "../base/errors.ts";
import type { MoveSettings } from "./move-record.ts";

const MINUTE_MS = 60_000;

/** Hours from `from`, inclusive, to `to`, exclusive; over midnight where `from` is the later one. */
export interface Hours {
  readonly from: number;
  readonly to: number;
}

/** Reads `"22-6"`. */
export function parseHours(text: string): Hours {
  const match = /^(\d{1,2})-(\d{1,2})$/.exec(text.trim());
  const from = Number(match?.[1]);
  const to = Number(match?.[2]) % 24;
  if (match !== null && from < 24 && Number(match[2]) <= 24 && from !== to) return { from, to };
  throw new TesseraeError(
    "VALUE_INVALID",
    `"${text}" are no hours of the day. Write the first hour and the one that is no longer in it, from 0 to 24: "22-6".`,
    { operation: "moves" },
  );
}

/** Milliseconds until the hours begin; 0 within them. */
export function untilHours({ from, to }: Hours, now: Date): number {
  const hour = now.getHours();
  const inside = from < to ? hour >= from && hour < to : hour >= from || hour < to;
  if (inside) return 0;
  const begin = new Date(now);
  begin.setHours(from, 0, 0, 0);
  if (begin <= now) begin.setDate(begin.getDate() + 1);
  return begin.getTime() - now.getTime();
}

export class Throttle {
  readonly #rowsPerSecond: number | undefined;
  readonly #hours: Hours | undefined;
  /** When the rows so far are paid for. */
  #paidAt = Number.NEGATIVE_INFINITY;

  constructor(settings: Pick<MoveSettings, "rowsPerSecond" | "hours">) {
    this.#rowsPerSecond = settings.rowsPerSecond;
    this.#hours = settings.hours === undefined ? undefined : parseHours(settings.hours);
  }

  /** Rows of one piece of work at most: with a rate, what a tenth of a second allows, lest others meet bursts. */
  get chunkRowsMax(): number {
    return this.#rowsPerSecond === undefined
      ? Number.POSITIVE_INFINITY
      : Math.max(1, Math.floor(this.#rowsPerSecond / 10));
  }

  /** Rows were copied, verified or deleted. */
  spend(rows: number): void {
    if (this.#rowsPerSecond === undefined) return;
    const now = performance.now();
    this.#paidAt = Math.max(now, this.#paidAt) + (rows / this.#rowsPerSecond) * 1000;
  }

  /** Milliseconds until the next rows may go, and why. */
  wait(now: Date = new Date()): { readonly ms: number; readonly why: string | undefined } {
    if (this.#hours !== undefined) {
      const ms = untilHours(this.#hours, now);
      if (ms > 0) return { ms: Math.min(ms, MINUTE_MS), why: `hour ${this.#hours.from} of the day` };
    }
    return { ms: this.#paidAt - performance.now(), why: undefined };
  }
}
