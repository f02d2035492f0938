/**
 * From the shards' rows to combined ones: equal neighbours become one, or a group. Only the row or group that is not complete yet is held.
 */
import type { Combine, FanOutPlan } from "../fan-out-plan.ts";
import { type Aggregate, aggregateOf } from "./aggregates.ts";
import { type RowOrder, rowOrder } from "./compare.ts";
import type { ShardBatch, ShardRow } from "./shard-rows.ts";

export interface Combiner {
  /** The combined rows that are complete now. */
  take(rows: ShardBatch): ShardBatch;
  /** What was not complete before there were no more rows. */
  end(): ShardBatch;
}

export function combinerOf(plan: FanOutPlan): Combiner {
  switch (plan.combine.kind) {
    case "rows":
      return { take: (rows) => rows, end: () => [] };
    case "distinct":
      if (plan.sorted.length === 0) throw new TypeError("Rows that are not sorted have no equal neighbours.");
      return new DistinctRows(rowOrder(plan.sorted));
    case "group":
      checkSorted(plan, plan.combine);
      return new Groups(plan, plan.combine);
  }
}

/** A plan whose shards do not sort by the keys, or not by a value whose kinds are counted, would give wrong groups in silence. */
function checkSorted(plan: FanOutPlan, { keys, aggregates }: Extract<Combine, { kind: "group" }>): void {
  const columns = plan.sorted.map(({ column }) => column);
  const keyCount = new Set(keys).size;
  const leading = new Set(columns.slice(0, keyCount));
  if (!keys.every((key) => leading.has(key)))
    throw new TypeError("The rows are not sorted by the keys of their groups.");
  for (const aggregate of aggregates) {
    if (aggregate.kind !== "countDistinct" || keys.includes(aggregate.column)) continue;
    if (columns[keyCount] !== aggregate.column)
      throw new TypeError("The rows are not sorted by the value whose kinds are counted.");
  }
}

class DistinctRows implements Combiner {
  readonly #order: RowOrder;
  #last: ShardRow | undefined;

  constructor(order: RowOrder) {
    this.#order = order;
  }

  take(rows: ShardBatch): ShardBatch {
    const different: ShardRow[] = [];
    let last = this.#last;
    for (const row of rows) {
      if (last !== undefined && this.#order(last, row) === 0) continue;
      different.push(row);
      last = row;
    }
    this.#last = last;
    return different;
  }

  end(): ShardBatch {
    return [];
  }
}

class Groups implements Combiner {
  readonly #keys: readonly number[];
  readonly #keyOrder: RowOrder;
  readonly #aggregates: readonly Aggregate[];
  /** A row of the group that is not complete. */
  #member: ShardRow | undefined;

  constructor(plan: FanOutPlan, { keys, aggregates }: Extract<Combine, { kind: "group" }>) {
    this.#keys = keys;
    this.#keyOrder = rowOrder(plan.sorted.slice(0, new Set(keys).size));
    this.#aggregates = aggregates.map(aggregateOf);
  }

  take(rows: ShardBatch): ShardBatch {
    const complete: ShardRow[] = [];
    const aggregates = this.#aggregates;
    let member = this.#member;
    for (const row of rows) {
      if (member === undefined) {
        member = row;
      } else if (this.#keyOrder(member, row) !== 0) {
        complete.push(this.#finish(member));
        member = row;
      }
      for (let at = 0; at < aggregates.length; at++) (aggregates[at] as Aggregate).add(row);
    }
    this.#member = member;
    return complete;
  }

  end(): ShardBatch {
    if (this.#member !== undefined) return [this.#finish(this.#member)];
    return this.#keys.length === 0 ? [this.#finish([])] : [];
  }

  #finish(member: ShardRow): ShardRow {
    const row: unknown[] = [];
    for (const key of this.#keys) row.push(member[key]);
    for (const aggregate of this.#aggregates) row.push(aggregate.finish());
    return row;
  }
}
