/**
 * What a query over all shards is taken apart into: the statement that each shard runs, and what makes one answer of the shards' rows. Pure data, so that the planner, which
 * knows trees, and the merge, which knows values, need not know each other.
 *
 *     query ─▶ plan ─▶ shard statement ─▶ rows of each shard ─▶ combine ─▶ having ─▶ output ─▶ order ─▶ offset, limit ─▶ answer
 *
 * Whatever the plan says is exact: the answer is the one that a single database with all rows would give. A query for which there is no such plan is refused.
 */
import type { SelectQueryNode } from "kysely";
import type { KeyValue, LogicalType } from "../schema/logical-type.ts";

export interface PlanColumn {
  /** Its name in the shard's statement. */
  readonly name: string;
  /** Undefined where the tree does not tell; such a column is handed on and neither compared nor computed with. */
  readonly type: LogicalType | undefined;
}

/** An order by one column of the shard's statement. The shards' own order is the same, nulls included. */
export interface SortedColumn {
  /** Index into `FanOutPlan.columns`. */
  readonly column: number;
  readonly type: LogicalType;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

/** An aggregate over a group's partial results. Columns are indexes into `FanOutPlan.columns`. */
export type MergedAggregate =
  /** The sum of the shards' counts: `bigint`, 0 for none. */
  | { readonly kind: "count"; readonly column: number }
  /** Exact: whole numbers and decimals. Null where all parts are null. */
  | { readonly kind: "sum"; readonly column: number; readonly type: LogicalType }
  | { readonly kind: "min" | "max"; readonly column: number; readonly type: LogicalType }
  /** The quotient of two sums, rounded half away from zero to the type's scale. Null for a count of 0. */
  | { readonly kind: "avg"; readonly sum: number; readonly count: number; readonly type: LogicalType }
  /** Different values that are not null. The shards' rows come sorted by it within their group, one for each value. */
  | { readonly kind: "countDistinct"; readonly column: number; readonly type: LogicalType };

export type Combine =
  /** Rows as they come; in the order of `sorted` where that is not empty. */
  | { readonly kind: "rows" }
  /** The same, but rows that are equal in all of `sorted` count once. */
  | { readonly kind: "distinct" }
  /**
   * Rows that are equal in `keys` become one: the keys' values, and behind them the aggregates'. The shards' rows come sorted by the keys first. Without keys there is one group, always.
   */
  | {
      readonly kind: "group";
      readonly keys: readonly number[];
      readonly aggregates: readonly MergedAggregate[];
    };

/** A value computed from a combined row, in SQL's logic of three values. Columns are indexes into the combined row. */
export type ValueExpression =
  | { readonly kind: "column"; readonly column: number; readonly type: LogicalType | undefined }
  /** A logical value. */
  | { readonly kind: "constant"; readonly value: unknown; readonly type: LogicalType | undefined }
  /** Exact: int, bigint, decimal; the result's type is `type`, with the scale that the engine would give. */
  | {
      readonly kind: "arithmetic";
      readonly operator: "+" | "-" | "*";
      readonly left: ValueExpression;
      readonly right: ValueExpression;
      readonly type: LogicalType;
    }
  | {
      readonly kind: "comparison";
      readonly operator: "=" | "<>" | "<" | "<=" | ">" | ">=";
      readonly left: ValueExpression;
      readonly right: ValueExpression;
      /** What both sides are compared as. */
      readonly operands: LogicalType;
      readonly type: LogicalType;
    }
  | {
      readonly kind: "and" | "or";
      readonly operands: readonly ValueExpression[];
      readonly type: LogicalType;
    }
  | { readonly kind: "not"; readonly operand: ValueExpression; readonly type: LogicalType }
  | {
      readonly kind: "isNull";
      readonly operand: ValueExpression;
      readonly negated: boolean;
      readonly type: LogicalType;
    }
  | {
      readonly kind: "coalesce";
      readonly operands: readonly ValueExpression[];
      readonly type: LogicalType | undefined;
    };

export interface OutputColumn {
  /** Its name in the answer. */
  readonly name: string;
  readonly value: ValueExpression;
}

/** An order of the answer that the shards' rows do not come in. */
export interface OutputOrder {
  readonly value: ValueExpression;
  readonly type: LogicalType;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

export interface FanOutPlan {
  /** What each shard runs. */
  readonly statement: SelectQueryNode;
  /** The columns of its result. */
  readonly columns: readonly PlanColumn[];
  /** The order in which each shard's rows come. */
  readonly sorted: readonly SortedColumn[];
  readonly combine: Combine;
  readonly having: ValueExpression | undefined;
  readonly output: readonly OutputColumn[];
  /** Empty where the combined rows are in the answer's order already, or none is asked for. */
  readonly order: readonly OutputOrder[];
  readonly offset: number;
  readonly limit: number | undefined;
  /** The query concerns these keys only: shards that none of them lives on need not be asked. Undefined for all. */
  readonly keys: readonly KeyValue[] | undefined;
  /** `one`: the query names no federated table, so any one shard answers it. */
  readonly shards: "all" | "one";
}
