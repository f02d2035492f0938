/** A group's aggregates, from the partial ones that the shards computed. */
import { describeType, type LogicalType } from "../../schema/logical-type.ts";
import type { MergedAggregate } from "../fan-out-plan.ts";
import { type Comparison, comparisonOf } from "./compare.ts";
import { DecimalSum, divideDecimal } from "./decimals.ts";
import { writeDecimal } from "./numbers.ts";
import type { ShardRow } from "./shard-rows.ts";

/** Takes the rows of one group after the other. */
export interface Aggregate {
  add(row: ShardRow): void;
  /** The group's value. What follows is another group. */
  finish(): unknown;
}

export function aggregateOf(merged: MergedAggregate): Aggregate {
  switch (merged.kind) {
    case "count":
      return new Count(merged.column);
    case "sum":
      return merged.type.kind === "decimal"
        ? new ExactSum(merged.column, merged.type)
        : new WholeSum(merged.column, merged.type);
    case "avg":
      return new Average(merged.sum, merged.count, merged.type);
    case "min":
      return new Extreme(merged.column, comparisonOf(merged.type) as Comparison<unknown>);
    case "max": {
      const compare = comparisonOf(merged.type) as Comparison<unknown>;
      return new Extreme(merged.column, (a, b) => compare(b, a));
    }
    case "countDistinct":
      return new DistinctCount(merged.column, comparisonOf(merged.type) as Comparison<unknown>);
  }
}

class Count implements Aggregate {
  readonly #column: number;
  #count = 0n;

  constructor(column: number) {
    this.#column = column;
  }

  add(row: ShardRow): void {
    const value = row[this.#column];
    if (value !== null) this.#count += BigInt(value as bigint);
  }

  finish(): bigint {
    const count = this.#count;
    this.#count = 0n;
    return count;
  }
}

class WholeSum implements Aggregate {
  readonly #column: number;
  readonly #type: LogicalType;
  #sum: bigint | undefined;

  constructor(column: number, type: LogicalType) {
    // A sum of binary fractions depends on the order of its parts: no two ways to add them need agree.
    if (type.kind !== "bigint" && type.kind !== "int")
      throw new TypeError(`${describeType(type)} has no exact sum.`);
    this.#column = column;
    this.#type = type;
  }

  add(row: ShardRow): void {
    const value = row[this.#column];
    if (value === null) return;
    const part = BigInt(value as bigint | number | string);
    this.#sum = this.#sum === undefined ? part : this.#sum + part;
  }

  finish(): unknown {
    const sum = this.#sum;
    this.#sum = undefined;
    return sum === undefined ? null : writeDecimal({ units: sum, scale: 0 }, this.#type);
  }
}

class ExactSum implements Aggregate {
  readonly #column: number;
  readonly #type: LogicalType;
  readonly #sum = new DecimalSum();
  #empty = true;

  constructor(column: number, type: LogicalType) {
    this.#column = column;
    this.#type = type;
  }

  add(row: ShardRow): void {
    const value = row[this.#column];
    if (value === null) return;
    this.#empty = false;
    addExact(this.#sum, value);
  }

  finish(): unknown {
    const result = this.#empty ? null : writeDecimal(this.#sum.value, this.#type);
    this.#empty = true;
    this.#sum.clear();
    return result;
  }
}

function addExact(sum: DecimalSum, value: unknown): void {
  if (typeof value === "string") sum.add(value);
  else sum.addWhole(BigInt(value as bigint | number));
}

class Average implements Aggregate {
  readonly #sumColumn: number;
  readonly #countColumn: number;
  readonly #scale: number;
  readonly #type: LogicalType;
  readonly #sum = new DecimalSum();
  #count = 0n;

  constructor(sumColumn: number, countColumn: number, type: LogicalType) {
    if (type.kind !== "decimal") throw new TypeError(`${describeType(type)} has no exact average.`);
    this.#sumColumn = sumColumn;
    this.#countColumn = countColumn;
    this.#scale = type.scale;
    this.#type = type;
  }

  add(row: ShardRow): void {
    const sum = row[this.#sumColumn];
    if (sum === null) return;
    addExact(this.#sum, sum);
    this.#count += BigInt(row[this.#countColumn] as bigint | number);
  }

  finish(): unknown {
    const count = this.#count;
    const result =
      count === 0n ? null : writeDecimal(divideDecimal(this.#sum.value, count, this.#scale), this.#type);
    this.#count = 0n;
    this.#sum.clear();
    return result;
  }
}

/** The value that comes first in the order given. */
class Extreme implements Aggregate {
  readonly #column: number;
  readonly #compare: Comparison<unknown>;
  #best: unknown = null;

  constructor(column: number, compare: Comparison<unknown>) {
    this.#column = column;
    this.#compare = compare;
  }

  add(row: ShardRow): void {
    const value = row[this.#column];
    if (value === null) return;
    if (this.#best === null || this.#compare(value, this.#best) < 0) this.#best = value;
  }

  finish(): unknown {
    const best = this.#best;
    this.#best = null;
    return best;
  }
}

/** Of values that come in their order within the group: each that differs from the one before it. */
class DistinctCount implements Aggregate {
  readonly #column: number;
  readonly #compare: Comparison<unknown>;
  #last: unknown = null;
  #count = 0n;

  constructor(column: number, compare: Comparison<unknown>) {
    this.#column = column;
    this.#compare = compare;
  }

  add(row: ShardRow): void {
    const value = row[this.#column];
    if (value === null || (this.#last !== null && this.#compare(value, this.#last) === 0)) return;
    this.#last = value;
    this.#count += 1n;
  }

  finish(): bigint {
    const count = this.#count;
    this.#last = null;
    this.#count = 0n;
    return count;
  }
}
