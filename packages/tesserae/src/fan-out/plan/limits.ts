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

/**
 * Of each shard as many rows as the answer skips and takes: all of them may be on one. It is written into the statement, since PostgreSQL plans a prepared one anew each time whose limit is a
 * parameter. With an offset, which each page has another of, it stays a parameter: else each page would be a statement to prepare.
 */
export function shardLimit({ offset, limit }: Limits): LimitNode | undefined {
  if (limit === undefined) return undefined;
  return LimitNode.create(offset === 0 ? ValueNode.createImmediate(limit) : ValueNode.create(offset + limit));
}
