/** What a move looks like from outside: its steps, its status, and what it may be asked for. */
import type { ErrorCode } from "../base/error-codes.ts";
import type { KeyValue } from "../schema/logical-type.ts";

/**
 * The steps of a move, in their order. `shape` gives the keys a residence of their own (a key out of a range, a range out of a larger one); `claim` reserves the
 * place at the target; from `leave` on the source logs every change; `copy`, `catchUp` and `verify` run beside the application; `freeze` is the pause, and ends with
 * the cut-over in main; `arrive` opens the target; `merge` joins two ranges that are now on one shard; `purge` deletes what is left on the source.
 * `abort` leads back from every step before the cut-over.
 */
export const MOVE_STEPS = [
  "shape",
  "claim",
  "leave",
  "copy",
  "catchUp",
  "verify",
  "freeze",
  "arrive",
  "merge",
  "purge",
  "done",
  "abort",
  "aborted",
] as const;
export type MoveStep = (typeof MOVE_STEPS)[number];

/** What was asked for: a move may be part of a split or a merge, and the two may need none. */
export type MoveKind = "move" | "split" | "merge" | "isolate";

/** `stopped`: nobody runs it; `fed.moves.resume()` goes on with it. */
export type MoveState = "running" | "paused" | "stopped" | "done" | "aborted";

export interface MoveStatus {
  readonly id: bigint;
  readonly federation: string;
  readonly kind: MoveKind;
  /** In words: `key 12`, `3 keys from 12 to 19`, `the range from 0 to 100`. */
  readonly what: string;
  /** The key, where it is one, as text that `keyFromText` reads; undefined of several keys and of a range. */
  readonly key: string | undefined;
  /** Keys that move; 0 of a range, whose keys nobody counts. */
  readonly keys: number;
  readonly from: number;
  readonly to: number;
  readonly step: MoveStep;
  readonly state: MoveState;
  /** The table that is being copied or verified. */
  readonly table: string | undefined;
  /** Rows at the source when the copy began. */
  readonly rowsTotal: number;
  readonly rowsCopied: number;
  readonly rowsVerified: number;
  /** Of the copy, or of the verification. */
  readonly rowsPerSecond: number;
  /** Changes of the application that were applied at the target after the copy. */
  readonly logEntries: number;
  /** How long writes of these keys waited at the cut-over, in milliseconds; undefined before it. */
  readonly pauseMs: number | undefined;
  /** An estimate from the rows that are left and the rate, in milliseconds; undefined where there is none. */
  readonly remainingMs: number | undefined;
  /** How often the move was taken up, after errors and by other processes. */
  readonly attempts: number;
  /** What the move waits for, in words: an hour of the day, open transactions of the key, replicas that are behind. */
  readonly waitsFor: string | undefined;
  readonly error: { readonly code: ErrorCode; readonly message: string } | undefined;
  readonly startedAt: Date;
  readonly updatedAt: Date;
  readonly finishedAt: Date | undefined;
}

/** A range of keys: `low` inclusive, `high` exclusive; null or left out is unbounded. */
export interface KeyRange<Key extends KeyValue = KeyValue> {
  readonly low?: Key | null;
  readonly high?: Key | null;
}

export interface MoveOptions {
  /** Rows copied, verified and purged in a second at most; without it as fast as both servers can. */
  readonly rowsPerSecond?: number;
  /** Hours of the day, of this process's clock, in which rows are copied: `"22-6"`. Outside of them the move waits. */
  readonly hours?: string;
  /** How long after the cut-over the source keeps its rows, in milliseconds: longer than the lease and the longest read. Default: the lease and a second. */
  readonly graceMs?: number;
  /** A cut-over that would let writes wait longer than this is put off, in milliseconds. Default 1 000. */
  readonly pauseBudgetMs?: number;
  /** Rows wait while the replicas of either shard that take reads are further behind than this, in milliseconds. Default: half of `replication.maxLagMs`. */
  readonly replicaLagMs?: number;
  /**
   * Whether the move waits for replicas: rows for those that are about to take no more reads; and the cut-over and the purge until all that take reads, of both shards, have the
   * rows and the freeze, so that whichever is promoted then serves what the move has done. Default true.
   */
  readonly awaitReplicas?: boolean;
  /** Moves under way at the same time, where there are many keys. Default 2. */
  readonly parallel?: number;
  /** Small keys that share a move, and with it its round trips. Default 200. */
  readonly batchKeys?: number;
  /** Rows of one batch at most; a key with more has a move of its own. Default 20 000. */
  readonly batchRows?: number;
  /** `done` (default): the call ends when the source is clean. `arrived`: when the keys live at the target; the rest goes on in this process. */
  readonly waitFor?: "done" | "arrived";
  /** Called a few times a second while the move runs. What it throws does not stop the move: the call rejects with it in the end. */
  onProgress?(status: MoveStatus): void;
  /** Ends the call, and leaves the move as it is: `fed.moves.resume()` goes on with it. */
  readonly signal?: AbortSignal;
}

/** A move, for which `to` is wanted. */
export interface MoveTarget extends MoveOptions {
  /** The shard to move to. */
  readonly to: number;
}
