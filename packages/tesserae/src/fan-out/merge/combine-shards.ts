/**
 * One answer of the shards' rows, as the plan says:
 *
 *     batches of each shard ─▶ merge (in order, or as they come) ─▶ combine ─▶ having, output, order, offset, limit ─▶ batches of the answer
 *
 * Rows cross asynchronous boundaries in batches, and what is held is bounded: two batches of each shard, one group, and, where the answer's order is another than the rows', `groupsMax` rows.
 */
import type { FanOutPlan } from "../fan-out-plan.ts";
import { answerOf } from "./answer.ts";
import { BatchReader } from "./batch-reader.ts";
import { combinerOf } from "./combine-rows.ts";
import { mergeSorted } from "./merge-sorted.ts";
import type { AnswerRow, MergeLimits, ShardBatch, ShardRows } from "./shard-rows.ts";

/**
 * The answer in batches, none of them empty. The sources are asked on the first `next()`; whoever leaves before that returns them himself. When the answer is complete, when its reader
 * leaves, or when a source fails (its error is thrown as it is), all sources that have not ended are returned, and have been when this ends.
 */
export async function* combineShards(
  plan: FanOutPlan,
  sources: readonly ShardRows[],
  limits: MergeLimits,
): AsyncGenerator<AnswerRow[], void, undefined> {
  const combiner = combinerOf(plan);
  const answer = answerOf(plan, limits);
  const reader = new BatchReader(sources);
  try {
    if (answer.full) return;
    reader.start();
    const batches = plan.sorted.length > 0 ? mergeSorted(plan, sources, reader) : asTheyCome(reader);
    for await (const batch of batches) {
      const rows = answer.take(combiner.take(batch));
      // The shards can stop while the last rows are read.
      if (answer.full) void reader.close();
      if (rows.length > 0) yield rows;
      if (answer.full) return;
    }
    const last = answer.take(combiner.end());
    if (last.length > 0) yield last;
    const held = answer.end();
    if (held.length > 0) yield held;
  } finally {
    await reader.close();
  }
}

async function* asTheyCome(reader: BatchReader): AsyncGenerator<ShardBatch, void, undefined> {
  for (;;) {
    const batch = await reader.takeAny();
    if (batch === undefined) return;
    yield batch;
  }
}
