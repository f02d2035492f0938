/**
 * Rows of sources that are sorted alike, as one series in that order; of equal rows the source named first comes first.
 *
 * A tournament of losers: each source's first row plays against the others in a tree, every node keeps the row that lost there, and the row that won is the next one. Its successor
 * plays only against the losers on its own way to the top: as many comparisons as the tree is high, two for three or four sources.
 */
import { TesseraeError } from "../../base/errors.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import type { BatchReader } from "./batch-reader.ts";
import { type RowOrder, rowOrder } from "./compare.ts";
import type { ShardBatch, ShardRow, ShardRows } from "./shard-rows.ts";

/** The most rows that are handed on at once. */
const ROWS_MAX = 1_000;

const NO_ROWS: ShardBatch = [];

/** The series in batches. */
export async function* mergeSorted(
  plan: FanOutPlan,
  sources: readonly ShardRows[],
  reader: BatchReader,
): AsyncGenerator<ShardBatch, void, undefined> {
  const order = rowOrder(plan.sorted);
  const checks = sources.map((source, index) => new OrderCheck(plan, order, placeOf(source, index)));
  const batches: ShardBatch[] = [];
  const positions: number[] = sources.map(() => 0);
  for (const [source, check] of checks.entries())
    batches.push(check.passed(await reader.take(source)) ?? NO_ROWS);
  let open = batches.filter((batch) => batch.length > 0).length;

  const tree = new LoserTree(
    batches.map((batch) => batch[0]),
    order,
  );
  let merged: ShardRow[] = [];
  while (open > 0) {
    const source = tree.winner;
    let batch = batches[source] as ShardBatch;
    let position = (positions[source] as number) + 1;
    merged.push(tree.row as ShardRow);
    if (position === batch.length) {
      // What there is must not wait for a shard.
      yield merged;
      merged = [];
      batch = (checks[source] as OrderCheck).passed(await reader.take(source)) ?? NO_ROWS;
      position = 0;
      batches[source] = batch;
      if (batch.length === 0) open -= 1;
    } else if (merged.length === ROWS_MAX) {
      yield merged;
      merged = [];
    }
    positions[source] = position;
    tree.replace(batch[position]);
  }
}

const placeOf = ({ shard }: ShardRows, index: number) => ({
  shard,
  name: shard === undefined ? `Source ${index + 1}` : `Shard ${shard}`,
});

class LoserTree {
  readonly #order: RowOrder;
  /** Each source's first row; undefined where it has ended, which loses against every row. */
  readonly #rows: (ShardRow | undefined)[];
  /** From 1, the top; a node's children are at twice its place and behind it, and the sources follow the last node. −1 where nobody has played yet. */
  readonly #losers: number[];
  winner = 0;

  constructor(rows: (ShardRow | undefined)[], order: RowOrder) {
    this.#order = order;
    this.#rows = rows;
    this.#losers = rows.map(() => -1);
    for (let source = 0; source < rows.length; source++) this.#play(source);
  }

  /** The first row of all. */
  get row(): ShardRow | undefined {
    return this.#rows[this.winner];
  }

  /** The winner's source goes on with this row. */
  replace(row: ShardRow | undefined): void {
    this.#rows[this.winner] = row;
    this.#play(this.winner);
  }

  #play(source: number): void {
    const losers = this.#losers;
    let winner = source;
    for (let node = (source + losers.length) >> 1; node > 0; node >>= 1) {
      const rival = losers[node] as number;
      if (rival === -1) {
        losers[node] = winner;
        return;
      }
      if (this.#beats(rival, winner)) {
        losers[node] = winner;
        winner = rival;
      }
    }
    this.winner = winner;
  }

  #beats(rival: number, source: number): boolean {
    const row = this.#rows[source];
    if (row === undefined) return true;
    const rivalRow = this.#rows[rival];
    if (rivalRow === undefined) return false;
    const result = this.#order(rivalRow, row);
    return result < 0 || (result === 0 && rival < source);
  }
}

/**
 * Sees that a shard's rows come in the order that was asked for. Where its idea of the order is another (a column with another collation, made by another hand), the merge would give a wrong
 * answer that looks like a right one.
 */
class OrderCheck {
  readonly #plan: FanOutPlan;
  readonly #order: RowOrder;
  readonly #place: { readonly shard: number | undefined; readonly name: string };
  #last: ShardRow | undefined;

  constructor(
    plan: FanOutPlan,
    order: RowOrder,
    place: { readonly shard: number | undefined; readonly name: string },
  ) {
    this.#plan = plan;
    this.#order = order;
    this.#place = place;
  }

  /** The batch itself. FAN_OUT_ORDER where a row should have come before the one before it. */
  passed(batch: ShardBatch | undefined): ShardBatch | undefined {
    if (batch === undefined) return undefined;
    let last = this.#last ?? (batch[0] as ShardRow);
    for (let at = 0; at < batch.length; at++) {
      const row = batch[at] as ShardRow;
      if (this.#order(last, row) > 0) throw this.#disorder(last, row);
      last = row;
    }
    this.#last = last;
    return batch;
  }

  #disorder(last: ShardRow, row: ShardRow): TesseraeError {
    const { columns, sorted } = this.#plan;
    const wrong = sorted.find((column) => rowOrder([column])(last, row) !== 0);
    const column = columns[wrong?.column ?? -1]?.name;
    return new TesseraeError(
      "FAN_OUT_ORDER",
      `${this.#place.name} gave rows that are not in the order of "${column}". The column's collation or type on this shard is not what the schema says (compare the table's definition with another shard's), or its values are longer than the server sorts by (max_sort_length).`,
      { cluster: "shards", shard: this.#place.shard, column, operation: "fan-out" },
    );
  }
}
