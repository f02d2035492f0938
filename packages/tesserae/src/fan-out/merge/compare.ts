/**
 * Logical values compared as every engine orders them. The functions are made once for a plan: which type, which column, which direction is decided then, and not for each row.
 */
import { describeType, type LogicalType } from "../../schema/logical-type.ts";
import type { SortedColumn } from "../fan-out-plan.ts";
import { compareDecimals } from "./decimals.ts";
import type { ShardRow } from "./shard-rows.ts";

/** Below 0, 0, or above 0, as `sort` takes it. */
export type Comparison<Value> = (a: Value, b: Value) => number;
export type RowOrder = Comparison<ShardRow>;

/** False for values that have no order, or each engine its own. */
export function isComparable(type: LogicalType): boolean {
  return type.kind !== "json" && !(type.kind === "text" && type.caseInsensitive);
}

/** The order of two values of a type, neither of them null. */
export function comparisonOf(type: LogicalType): Comparison<never> {
  if (!isComparable(type)) throw new TypeError(`${describeType(type)} has no order that all engines share.`);
  switch (type.kind) {
    case "int":
    case "double":
      return compareNumbers;
    case "bigint":
      return compareBigints;
    case "decimal":
      return compareDecimals;
    case "boolean":
      return compareBooleans;
    case "timestamp":
      return type.precision === 3 ? compareDates : comparePlainText;
    case "text":
      return compareCodePoints;
    case "bytes":
      return compareBytes;
    default:
      return comparePlainText;
  }
}

/** −0 and 0 are equal. */
const compareNumbers = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
const compareBigints = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);
const compareBooleans = (a: boolean, b: boolean): number => Number(a) - Number(b);
const compareDates = (a: Date, b: Date): number => a.getTime() - b.getTime();

/** For text of one form and of ASCII letters: days, moments, UUIDs (whose digits in lower case sort as their bytes do). */
const comparePlainText = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

/** Surrogates stand for the code points above all others, but lie below some of them as UTF-16 units. */
const codePointRank = (unit: number): number =>
  unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800;

function compareCodePoints(a: string, b: string): number {
  if (a === b) return 0;
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) {
    const unitOfA = a.charCodeAt(at);
    const unitOfB = b.charCodeAt(at);
    if (unitOfA !== unitOfB) return codePointRank(unitOfA) - codePointRank(unitOfB);
  }
  return a.length - b.length;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) {
    const difference = (a[at] as number) - (b[at] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** The same with nulls, and in the direction asked for. Equal nulls: SQL's `group by`, `distinct` and `order by` know no other. */
export function nullableOrder(
  order: Pick<SortedColumn, "type" | "descending" | "nullsFirst">,
): Comparison<unknown> {
  const compare = comparisonOf(order.type) as Comparison<unknown>;
  const { descending } = order;
  const nullRank = order.nullsFirst ? -1 : 1;
  return (a, b) => {
    if (a === null) return b === null ? 0 : nullRank;
    if (b === null) return -nullRank;
    return descending ? compare(b, a) : compare(a, b);
  };
}

/** The order of rows by the columns given, the first of them first. All rows are equal where there are none. */
export function rowOrder(sorted: readonly SortedColumn[]): RowOrder {
  const orders = sorted.map(columnOrder);
  const [first, second] = orders;
  if (first === undefined) return () => 0;
  if (second === undefined) return first;
  if (orders.length === 2) return (a, b) => first(a, b) || second(a, b);
  return (a, b) => {
    for (let at = 0; at < orders.length; at++) {
      const result = (orders[at] as RowOrder)(a, b);
      if (result !== 0) return result;
    }
    return 0;
  };
}

function columnOrder(sorted: SortedColumn): RowOrder {
  const compare = nullableOrder(sorted);
  const { column } = sorted;
  return (a, b) => compare(a[column], b[column]);
}
