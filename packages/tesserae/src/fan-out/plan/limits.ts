/** LIMIT and OFFSET as numbers, and how many rows of a shard they need. */
import { LimitNode, type OperationNode, type SelectQueryNode, ValueNode } from "kysely";
import { givenValue } from "./nodes.ts";
import { unsupported } from "./refusal.ts";

export interface Limits {
  readonly offset: number;
  readonly limit: number | undefined;
}

export function readLimits({ limit, offset }: SelectQueryNode): Limits {
  return { limit: countOf(limit?.limit), offset: countOf(offset?.offset) ?? 0 };
}

function countOf(node: OperationNode | undefined): number | undefined {
  if (node === undefined) return undefined;
  const value = givenValue(node)?.value;
  // PostgreSQL's way to say that there is none.
  if (value === null) return undefined;
  const count = typeof value === "bigint" ? Number(value) : value;
  if (typeof count === "number" && Number.isSafeInteger(count) && count >= 0) return count;
  throw unsupported("A limit or offset is no plain number.", "Give it as a number that is not negative.");
}

/** Of each shard as many rows as the answer skips and takes: all of them may be on one. */
export function shardLimit({ offset, limit }: Limits): LimitNode | undefined {
  return limit === undefined ? undefined : LimitNode.create(ValueNode.create(offset + limit));
}
