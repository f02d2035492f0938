/** What a run makes of a plan before any shard is asked: the column with the shard's number, and the size of batches. */
import type { ValueNode } from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";

/** So many rows of a shard come in one answer: fewer trips, and a statement that the server has prepared already. */
const ANSWER_ROWS_MAX = 1_000;
/** Larger batches save nothing. */
const BATCH_ROWS_MAX = 1_000;
/** Batches of a shard that are in memory: one that is merged, one that came meanwhile, one that the driver reads ahead. */
const BATCHES_HELD = 3;

const SHARD_TYPE: LogicalType = { kind: "int" };

/** The plan with the shard's number as one more column, which no shard's statement has: the runner puts it behind each row's values. */
export function withShardColumn(plan: FanOutPlan, name: string): FanOutPlan {
  const refuse = (reason: string) =>
    new TesseraeError("FAN_OUT_UNSUPPORTED", `shardColumn: "${name}" cannot be given: ${reason}.`, {
      cluster: "shards",
    });
  if (plan.combine.kind !== "rows")
    throw refuse("a grouped or distinct answer has rows of several shards in one. Leave the option out");
  if (plan.output.some((column) => column.name === name))
    throw refuse("the query has a column of that name already. Choose another name");
  const number = { name, value: { kind: "column", column: plan.columns.length, type: SHARD_TYPE } as const };
  return {
    ...plan,
    columns: [...plan.columns, { name, type: SHARD_TYPE }],
    output: [...plan.output, number],
  };
}

/** Rows that each of so many shards is read by; `all` where one answer holds what it has. */
export function batchRowsFor(plan: FanOutPlan, shards: number, rowsInFlight: number): number | "all" {
  const most = rowsMaxOf(plan);
  if (most <= ANSWER_ROWS_MAX && most * shards <= rowsInFlight) return "all";
  return Math.min(BATCH_ROWS_MAX, Math.max(1, Math.floor(rowsInFlight / (shards * BATCHES_HELD))));
}

/** How many rows one shard gives at most. */
function rowsMaxOf({ statement, combine }: FanOutPlan): number {
  if (
    combine.kind === "group" &&
    combine.keys.length === 0 &&
    combine.aggregates.every(({ kind }) => kind !== "countDistinct")
  )
    return 1;
  const limit = statement.limit?.limit;
  if (limit?.kind !== "ValueNode") return Number.POSITIVE_INFINITY;
  const { value } = limit as ValueNode;
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : Number.POSITIVE_INFINITY;
}
