/** What the merge takes and what it gives. */

/** A row of a shard: logical values in the order of the plan's columns. Also a row that was combined of such. */
export type ShardRow = readonly unknown[];

/** Rows that came together. They cross asynchronous boundaries so, since a step for each row would cost more than its merging. */
export type ShardBatch = readonly ShardRow[];

/**
 * One shard's rows. `next` is called again only when the last call was answered. `return` is called once, unless the rows have ended or failed: also while
 * `next` is under way, which it may cut short; the merge waits for it.
 */
export interface ShardRows {
  /** For messages. */
  readonly shard?: number | undefined;
  next(): Promise<IteratorResult<ShardBatch, unknown>>;
  return?(): Promise<unknown>;
}

/** A row of the answer. */
export type AnswerRow = Record<string, unknown>;

export interface MergeLimits {
  /** The most rows that are held because the answer's order is not the one in which they come. */
  readonly groupsMax: number;
}
