/**
 * What the runner asks of whoever knows about moves: whether each row was seen exactly once, and how the shards are asked where it may not have been. Implemented by
 * `steady/`; without it, the runner takes every answer.
 */
import type { SelectQueryNode } from "kysely";
import type { Connection } from "../../engine/contract.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { Target } from "../../session/target.ts";

/** A shard that is asked, with what it runs. */
export interface AskedShard {
  readonly shard: number;
  /** The shard itself, or what plays its replica. */
  readonly target: Target;
  readonly statement: SelectQueryNode;
  /** The keys that it is asked for; undefined for all that live there. */
  readonly keys: readonly KeyValue[] | undefined;
}

export interface SteadyReads {
  /** Called before the shards are asked. */
  begin(question: SteadyQuestion): SteadyAnswer | Promise<SteadyAnswer>;
}

export interface SteadyQuestion {
  readonly shards: readonly AskedShard[];
  /** True where the query was narrowed to keys, so that a shard which was not asked may have some of its rows. */
  readonly narrowed: boolean;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

export interface SteadyAnswer {
  /** To be asked instead of the question's: their statements may leave out what a shard has and does not own, their targets pass by servers that are too far behind. */
  readonly shards: readonly AskedShard[];
  /**
   * Called when the first rows of every shard have come, and so each statement has its snapshot, and before a row is handed out. `right`: each row was seen once. `elsewhere`:
   * the keys live elsewhere by now; the directory is asked again, and the shards. Or the shards in snapshots that show each row once; one that cannot be reached is
   * there too, and fails when it is asked. `failed`: shards that the answer does without. FAN_OUT_UNSTEADY.
   *
   * `giveUp` is called before a snapshot is opened: it gives back the connections that hold the first rows, which a small pool has no others beside, and gets a place for as many new ones.
   */
  verdict(
    failed: ReadonlySet<number>,
    giveUp?: () => Promise<void>,
  ): Promise<"right" | "elsewhere" | readonly ShardSnapshot[]>;
}

/** A shard in a snapshot of its own. */
export interface ShardSnapshot {
  readonly shard: number;
  readonly target: Target;
  /** In the transaction that shows the snapshot; it stays whoever's gave it, and is ended by `end`. */
  readonly connection: Connection;
  /** With what the shard does not own left out. */
  readonly statement: SelectQueryNode;
  /** Ends the transaction and gives the connection back; `broken` closes it. Called once. */
  end(broken: boolean): Promise<void>;
}
