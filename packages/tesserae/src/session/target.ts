/** Where a statement goes: one database, how to speak to it, and its place for errors. */
import type { ErrorPlace } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import type { DialectKit } from "./dialect-kit.ts";

/** Main is `main`, also where main plays shard 1: what would break on two servers is refused on one. */
export type PlaceName = "main" | `shard ${number}`;

export interface Target {
  readonly name: PlaceName;
  /** True where main is the one shard, in poor man's mode. */
  readonly isOnlyShard: boolean;
  /** True for what takes reads only, whoever plays it. */
  readonly isReplica: boolean;
  readonly database: Database;
  readonly kit: DialectKit;
  readonly place: ErrorPlace;
  /** What must be known of the database before its first statement. */
  readonly readiness: Readiness;
}

export interface Readiness {
  /** True once `wait` has passed: the usual case, asked for at each statement. */
  readonly ready: boolean;
  wait(): Promise<void>;
}

/** A directory's answer. */
export interface RouteAnswer {
  readonly shard: number;
  readonly epoch: bigint;
}

/** A target for one key, at the epoch of the directory's answer. */
export interface RoutedTarget {
  readonly target: Target;
  readonly epoch: bigint;
}
