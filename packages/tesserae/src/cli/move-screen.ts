/** How moves are shown while they run: bars on a terminal, redrawn in place; elsewhere a line for each step, and one now and then. */
import type { MoveStatus } from "../move/move-status.ts";

/** Where there is no terminal, a step that takes long is told again so often. */
const LINE_EVERY_MS = 10_000;
const BAR_WIDTH = 24;

const number = new Intl.NumberFormat("en");

/** A terminal, or a pipe. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class MoveScreen {
  readonly #output: Output;
  /** Those that have not ended, in the order in which they came. */
  readonly #running = new Map<bigint, MoveStatus>();
  readonly #ended = new Set<bigint>();
  readonly #told = new Map<bigint, { readonly status: MoveStatus; readonly at: number }>();
  #linesDrawn = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  show(status: MoveStatus): void {
    if (this.#ended.has(status.id)) return;
    const ended = hasEnded(status);
    if (ended) this.#ended.add(status.id);
    if (ended) this.#running.delete(status.id);
    else this.#running.set(status.id, status);
    if (this.#output.isTTY === true) this.#draw(ended ? outcome(status) : undefined);
    else this.#tell(status);
  }

  /** The bars stay as they are, and what follows begins on a line of its own. */
  end(): void {
    this.#linesDrawn = 0;
  }

  /** Writes over the lines that were drawn last. A line never wraps: going up counts lines. */
  #draw(last: string | undefined): void {
    const width = (this.#output.columns ?? 80) - 1;
    const lines = [...this.#running.values()].map((status) => progress(status, true).slice(0, width));
    const back = this.#linesDrawn === 0 ? "\r" : `\x1b[${this.#linesDrawn}A\r`;
    const said = last === undefined ? [] : [last];
    this.#output.write(`${back}\x1b[J${[...said, ...lines].map((line) => `${line}\n`).join("")}`);
    this.#linesDrawn = lines.length;
  }

  #tell(status: MoveStatus): void {
    const told = this.#told.get(status.id);
    const now = performance.now();
    if (told !== undefined && !isNews(status, told.status) && now - told.at < LINE_EVERY_MS) return;
    this.#told.set(status.id, { status, at: now });
    this.#output.write(`${hasEnded(status) ? outcome(status) : progress(status, false)}\n`);
  }
}

/** That a wait is over is not worth a line. */
function isNews(now: MoveStatus, before: MoveStatus): boolean {
  const waits = now.waitsFor !== undefined && now.waitsFor !== before.waitsFor;
  return waits || now.step !== before.step || now.state !== before.state;
}

export function hasEnded({ state }: MoveStatus): boolean {
  return state === "done" || state === "aborted";
}

/** `move 7, key 12, shard 1 → 2`; what only changes its shape stays on its shard. */
export function subject({ id, what, from, to }: MoveStatus): string {
  return `move ${id}, ${what}, shard ${from}${from === to ? "" : ` → ${to}`}`;
}

/** How it went. */
export function outcome(status: MoveStatus): string {
  if (status.state === "aborted") {
    const why = status.error === undefined ? "" : ` (${status.error.code})`;
    return `${subject(status)}: aborted${why}, everything is served by shard ${status.from}`;
  }
  const { startedAt, finishedAt, pauseMs } = status;
  const took = finishedAt === undefined ? "" : ` in ${duration(finishedAt.getTime() - startedAt.getTime())}`;
  const waited = pauseMs === undefined ? "" : `; its writes waited ${number.format(Math.round(pauseMs))} ms`;
  const rows = status.from === status.to ? "" : `, ${counted(status.rowsCopied, "row")}`;
  return `${subject(status)}: done${rows}${took}${waited}`;
}

function progress(status: MoveStatus, withBar: boolean): string {
  const { step, state, waitsFor, table, rowsTotal, rowsPerSecond, remainingMs } = status;
  const rows = step === "verify" ? status.rowsVerified : status.rowsCopied;
  const moves = step === "copy" || step === "verify";
  const parts = [`${subject(status)}: ${step}${moves && table !== undefined ? ` ${table}` : ""}`];
  if (state !== "running") parts.push(state);
  // Before the rows are counted there is nothing to say of them.
  if (moves && rowsTotal > 0) {
    const share = Math.min(1, rows / rowsTotal);
    parts.push(`${withBar ? `${bar(share)} ` : ""}${Math.floor(share * 100)} %`);
    parts.push(`${number.format(rows)} of ${counted(Math.max(rows, rowsTotal), "row")}`);
    if (rowsPerSecond > 0) parts.push(`${number.format(Math.round(rowsPerSecond))}/s`);
    if (remainingMs !== undefined) parts.push(`${duration(remainingMs)} left`);
  }
  if (waitsFor !== undefined) parts.push(`waits for ${waitsFor}`);
  return parts.join("  ");
}

function bar(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return `[${"█".repeat(full)}${"·".repeat(BAR_WIDTH - full)}]`;
}

function counted(count: number, one: string): string {
  return `${number.format(count)} ${one}${count === 1 ? "" : "s"}`;
}

/** `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 9_950) return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
