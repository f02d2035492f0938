/** Plans and sources for tests of the merge, without an engine. */
import type { SelectQueryNode } from "kysely";
import type {
  FanOutPlan,
  OutputColumn,
  SortedColumn,
  ValueExpression,
} from "../../src/fan-out/fan-out-plan.ts";
import { combineShards } from "../../src/fan-out/merge/combine-shards.ts";
import type { AnswerRow, ShardBatch, ShardRow, ShardRows } from "../../src/fan-out/merge/shard-rows.ts";
import type { LogicalType } from "../../src/schema/logical-type.ts";

export const INT: LogicalType = { kind: "int" };
export const BIGINT: LogicalType = { kind: "bigint" };
export const BOOLEAN: LogicalType = { kind: "boolean" };
export const TEXT: LogicalType = { kind: "text", length: undefined, caseInsensitive: false };
export const decimal = (scale: number): LogicalType => ({ kind: "decimal", precision: 38, scale });

export const column = (index: number, type: LogicalType | undefined = undefined): ValueExpression => ({
  kind: "column",
  column: index,
  type,
});
export const constant = (value: unknown, type: LogicalType): ValueExpression => ({
  kind: "constant",
  value,
  type,
});

export const ascending = (index: number, type: LogicalType): SortedColumn => ({
  column: index,
  type,
  descending: false,
  nullsFirst: true,
});

/** A plan over columns `c0`, `c1`, …; its output are the combined columns, unless said. */
export function planOf(
  types: readonly (LogicalType | undefined)[],
  parts: Partial<Omit<FanOutPlan, "columns" | "statement">> = {},
): FanOutPlan {
  const combine = parts.combine ?? { kind: "rows" };
  const width = combine.kind === "group" ? combine.keys.length + combine.aggregates.length : types.length;
  const output = Array.from(
    { length: width },
    (_, at): OutputColumn => ({ name: `o${at}`, value: column(at) }),
  );
  return {
    statement: { kind: "SelectQueryNode" } as SelectQueryNode,
    columns: types.map((type, at) => ({ name: `c${at}`, type })),
    sorted: [],
    combine,
    having: undefined,
    output,
    order: [],
    offset: 0,
    limit: undefined,
    keys: undefined,
    shards: "all",
    ...parts,
  };
}

export function batchesOf(rows: readonly ShardRow[], size: number): ShardBatch[] {
  const batches: ShardBatch[] = [];
  for (let start = 0; start < rows.length; start += size) batches.push(rows.slice(start, start + size));
  return batches;
}

export interface WatchedSource extends ShardRows {
  asked: number;
  returned: number;
}

/** A source that counts what is asked of it. `answer` says what the nth call gets; undefined is the end. */
export function watchedSource(
  answer: (call: number) => ShardBatch | undefined | Promise<ShardBatch | undefined>,
  shard?: number,
): WatchedSource {
  return {
    shard,
    asked: 0,
    returned: 0,
    async next() {
      const value = await answer(this.asked++);
      return value === undefined ? { done: true, value: undefined } : { done: false, value };
    },
    async return() {
      this.returned += 1;
    },
  };
}

export const sourceOf = (rows: readonly ShardRow[], batchSize = 3, shard?: number): WatchedSource => {
  const batches = batchesOf(rows, batchSize);
  return watchedSource((call) => batches[call], shard);
};

export async function answerOf(
  plan: FanOutPlan,
  sources: readonly ShardRows[],
  groupsMax = 1_000_000,
): Promise<AnswerRow[]> {
  const rows: AnswerRow[] = [];
  for await (const batch of combineShards(plan, sources, { groupsMax })) rows.push(...batch);
  return rows;
}

/** The answer's rows as arrays. */
export const valuesOf = async (...args: Parameters<typeof answerOf>): Promise<unknown[][]> =>
  (await answerOf(...args)).map((row) => Object.values(row));
