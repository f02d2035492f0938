import { isTesseraeError, type MoveStatus } from "tesserae";
import type { DotFederation } from "../federation.ts";
import { namesOf, placesOf } from "./user-places.ts";

/** A move as the operator's page shows it. */
export interface MoveView {
  readonly id: bigint;
  /** Whose move; undefined of one that was not made here, such as a range. */
  readonly user: string | undefined;
  readonly what: string;
  readonly from: number;
  readonly to: number;
  readonly state: MoveStatus["state"];
  /** What it does now, in words, with figures. */
  readonly text: string;
  /** Of the copy or the comparison, from 0 to 100; undefined where nobody can say. */
  readonly percent: number | undefined;
  readonly canAbort: boolean;
  /** Nothing has happened to the user since: moving back undoes it. */
  readonly canUndo: boolean;
  readonly rows: number;
  readonly pauseMs: number | undefined;
  readonly error: string | undefined;
  readonly finished: Date | undefined;
}

const number = new Intl.NumberFormat("en");

/** Moves as the page shows them: the open ones before those that have ended. `moves` are the newest first. */
export async function moveViews(fed: DotFederation, moves: readonly MoveStatus[]): Promise<MoveView[]> {
  const shown = [...moves.filter((move) => !hasEnded(move)), ...moves.filter(hasEnded)];
  const ids = [...new Set(shown.flatMap(({ key }) => (key === undefined ? [] : [BigInt(key)])))];
  const [names, places] = await Promise.all([namesOf(fed, ids), placesOf(fed, ids)]);
  const seen = new Set<string>();
  return shown.map((move) => {
    const { key } = move;
    const place = key === undefined ? undefined : places.get(BigInt(key));
    const isLast = key !== undefined && !seen.has(key);
    if (key !== undefined && move.state === "done") seen.add(key);
    const isThere = place?.state === "active" && place.shard === move.to;
    const user = key === undefined ? undefined : names.get(BigInt(key));
    return view(move, user, move.state === "done" && isLast && isThere);
  });
}

export function hasEnded({ state }: Pick<MoveStatus, "state">): boolean {
  return state === "done" || state === "aborted";
}

function view(move: MoveStatus, user: string | undefined, canUndo: boolean): MoveView {
  const { id, what, from, to, state, step, rowsTotal, rowsCopied, pauseMs, error, finishedAt } = move;
  const done = step === "copy" ? rowsCopied : step === "verify" ? move.rowsVerified : undefined;
  return {
    id,
    user,
    what,
    from,
    to,
    state,
    text: words(move),
    percent: done === undefined || rowsTotal === 0 ? undefined : Math.min(100, (done / rowsTotal) * 100),
    canAbort: !hasEnded(move) && beforeCutOver.has(step),
    canUndo,
    rows: rowsCopied,
    pauseMs,
    error: error && `${error.code}: ${error.message}`,
    finished: finishedAt,
  };
}

const beforeCutOver: ReadonlySet<string> = new Set([
  "shape",
  "claim",
  "leave",
  "copy",
  "catchUp",
  "verify",
  "freeze",
]);

function tableWords(table: string | undefined): string {
  return table === undefined ? "rows" : table === "dot_texts" ? "texts" : table;
}

function words(move: MoveStatus): string {
  const { step, from, to, table, rowsTotal, rowsCopied, rowsVerified, rowsPerSecond, remainingMs } = move;
  if (move.waitsFor !== undefined) {
    const lives = step === "purge" ? `Lives on shard ${to}; clearing up shard ${from} waits` : "Waits";
    return `${lives} for ${move.waitsFor}`;
  }
  const rate = rowsPerSecond > 0 ? `, ${number.format(Math.round(rowsPerSecond))} a second` : "";
  const left = remainingMs === undefined ? "" : `, ${seconds(remainingMs)} left`;
  const of = (rows: number) =>
    `${tableWords(table)}: ${number.format(rows)} of ${number.format(Math.max(rows, rowsTotal))} rows${rate}${left}`;
  switch (step) {
    case "shape":
      return "Gives it a place of its own";
    case "claim":
      return `Takes a place on shard ${to}`;
    case "leave":
      return "Begins to note changes";
    case "copy":
      return `Copies ${of(rowsCopied)}`;
    case "catchUp":
      return `Catches up with changes: ${number.format(move.logEntries)} so far`;
    case "verify":
      return `Compares ${of(rowsVerified)}`;
    case "freeze":
      return "Changes hands";
    case "arrive":
      return `Opens on shard ${to}`;
    case "merge":
      return "Joins two ranges";
    case "purge":
      return `Lives on shard ${to}; clears up shard ${from}`;
    case "abort":
      return `Turns back to shard ${from}`;
    case "done":
      return `Lives on shard ${to}`;
    case "aborted":
      return `Stays on shard ${from}`;
  }
}

function seconds(ms: number): string {
  const whole = Math.max(1, Math.round(ms / 1000));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** What the operator is told when something is refused; undefined of what is no refusal. */
export function refusalOf(error: unknown): string | undefined {
  return isTesseraeError(error) ? `${error.message} (${error.code})` : undefined;
}
