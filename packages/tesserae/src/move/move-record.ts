/** A move as main keeps it: a row of `tesserae_moves` in logical values. Everything that another process needs to go on is in it. */
import type { ErrorCode } from "../base/error-codes.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { MoveKind, MoveState, MoveStatus, MoveStep } from "./move-status.ts";

/** A key, or a range of keys, that moves. */
export interface Member {
  readonly kind: "p" | "r";
  readonly low: KeyValue;
  readonly high: KeyValue | null;
  /** Before the move: the source serves the key at this epoch, the target at the next. */
  readonly epoch: bigint;
}

export interface MoveSettings {
  readonly rowsPerSecond?: number | undefined;
  readonly hours?: string | undefined;
  readonly graceMs: number;
  readonly pauseBudgetMs: number;
  readonly replicaLagMs?: number | undefined;
  readonly awaitReplicas?: boolean | undefined;
}

/** How far the copy or the verification has come: all tables before `table`, and of that one all rows up to `after`. */
export interface Cursor {
  readonly table: string;
  /** A primary key as `RowTransfer.primaryKeyText` writes it. */
  readonly after?: string | undefined;
}

/** What is done to residences beside the transfer. */
export type Shape =
  /** The key gets a point of its own out of the range around it. */
  | { readonly kind: "isolate" }
  /** The member range is cut out of the range that begins at `low`. */
  | { readonly kind: "carve"; readonly low: string }
  /** The range that begins at `low` and the one after it, which begins at `at`, become one on the target. */
  | { readonly kind: "merge"; readonly low: string; readonly at: string };

export interface MoveProgress {
  readonly settings: MoveSettings;
  readonly shape?: Shape | undefined;
  /** The shard and main have the shape; what becomes of it from now on is not this move's. */
  readonly shaped?: boolean | undefined;
  readonly copy?: Cursor | undefined;
  readonly verify?: Cursor | undefined;
  readonly rowsTotal: number;
  readonly rowsCopied: number;
  readonly rowsVerified: number;
  readonly rowsPerSecond: number;
  readonly logEntries: number;
  readonly attempts: number;
  readonly pauseMs?: number | undefined;
  readonly waitsFor?: string | undefined;
  /** Milliseconds since 1970: the source keeps its rows until then. */
  readonly purgeAfter?: number | undefined;
  /** The token that the source's residences have since they are `gone`. */
  readonly purgeToken?: string | undefined;
}

/** What somebody wants of whoever runs the move. */
export type Wanted = "run" | "pause" | "abort";

export interface MoveFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface MoveRecord {
  /** The first token of the move. */
  readonly id: bigint;
  readonly federation: string;
  readonly kind: MoveKind;
  readonly source: number;
  readonly target: number;
  readonly step: MoveStep;
  readonly token: bigint;
  readonly wanted: Wanted;
  readonly runner: string | undefined;
  readonly members: readonly Member[];
  readonly progress: MoveProgress;
  readonly error: MoveFailure | undefined;
  readonly created: Date;
  readonly updated: Date;
  readonly finished: Date | undefined;
}

/** Before the cut-over a move can turn back. */
const BEFORE_CUT_OVER: ReadonlySet<MoveStep> = new Set([
  "shape",
  "claim",
  "leave",
  "copy",
  "catchUp",
  "verify",
  "freeze",
]);

export const canTurnBack = (step: MoveStep): boolean => BEFORE_CUT_OVER.has(step);

/** A runner that has shown no sign of life for so long is taken for dead, in milliseconds. */
export const RUNNER_SILENT_MS = 10_000;

export function statusOf(record: MoveRecord, keys: KeyCodec, now: number = Date.now()): MoveStatus {
  const { progress } = record;
  return {
    id: record.id,
    federation: record.federation,
    kind: record.kind,
    what: describeMembers(record.members, keys),
    key: onlyKey(record.members, keys),
    keys: record.members.filter(({ kind }) => kind === "p").length,
    from: record.source,
    to: record.target,
    step: record.step,
    state: stateOf(record, now),
    table: (record.step === "verify" ? progress.verify : progress.copy)?.table,
    rowsTotal: progress.rowsTotal,
    rowsCopied: progress.rowsCopied,
    rowsVerified: progress.rowsVerified,
    rowsPerSecond: progress.rowsPerSecond,
    logEntries: progress.logEntries,
    pauseMs: progress.pauseMs,
    remainingMs: remainingMs(record),
    attempts: progress.attempts,
    waitsFor: progress.waitsFor,
    error: record.error,
    startedAt: record.created,
    updatedAt: record.updated,
    finishedAt: record.finished,
  };
}

function stateOf(record: MoveRecord, now: number): MoveState {
  if (record.step === "done" || record.step === "aborted") return record.step;
  const runs = record.runner !== undefined && now - record.updated.getTime() < RUNNER_SILENT_MS;
  if (runs) return "running";
  return record.wanted === "pause" ? "paused" : "stopped";
}

function remainingMs({ step, progress }: MoveRecord): number | undefined {
  const { rowsTotal, rowsCopied, rowsVerified, rowsPerSecond } = progress;
  if (rowsPerSecond <= 0 || (step !== "copy" && step !== "verify")) return undefined;
  const left = step === "copy" ? rowsTotal - rowsCopied : rowsTotal - rowsVerified;
  return Math.max(0, Math.round((left / rowsPerSecond) * 1000));
}

function onlyKey(members: readonly Member[], keys: KeyCodec): string | undefined {
  const [first] = members;
  return members.length === 1 && first?.kind === "p" ? keys.toText(first.low) : undefined;
}

export function describeMembers(members: readonly Member[], keys: KeyCodec): string {
  const [first] = members;
  if (first === undefined) return "nothing";
  if (first.kind === "r")
    return `the range from ${keys.show(first.low)} to ${first.high === null ? "the end" : keys.show(first.high)}`;
  if (members.length === 1) return `key ${keys.show(first.low)}`;
  return `${members.length} keys from ${keys.show(first.low)} to ${keys.show((members.at(-1) as Member).low)}`;
}
