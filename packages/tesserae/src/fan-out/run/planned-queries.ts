/**
 * What planning and compiling made of a query, kept for the next one that is the same to the last value: an application asks the same things again and again, and taking a query apart costs
 * more than asking three shards for twenty rows. A plan depends on values (keys, limits, constants in computed columns), so that queries that differ in one are different.
 */
import type { OperationNode, QueryId, RawNode, RootOperationNode, SelectQueryNode } from "kysely";
import { LruMap } from "../../base/lru.ts";
import { describeType } from "../../schema/logical-type.ts";
import { typeMark } from "../../session/typed-expression.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import type { FanOutContext } from "./fan-out-context.ts";
import { PlannedStatement } from "./planned-statement.ts";

const QUERIES_MAX = 500;
/** Longer ones, such as those with lists of thousands of keys, hardly come again. */
const SIGNATURE_MAX = 10_000;

export interface PlannedQuery {
  readonly plan: FanOutPlan;
  readonly statement: PlannedStatement;
}

const kept = new WeakMap<FanOutContext, LruMap<string, PlannedQuery>>();

export function plannedQuery(
  node: RootOperationNode,
  queryId: QueryId,
  context: FanOutContext,
): PlannedQuery {
  const signature = signatureOf(node);
  if (signature === undefined || signature.length > SIGNATURE_MAX) return planAnew(node, queryId, context);
  let queries = kept.get(context);
  if (queries === undefined) {
    queries = new LruMap(QUERIES_MAX);
    kept.set(context, queries);
  }
  let planned = queries.get(signature);
  if (planned === undefined) {
    planned = planAnew(node, queryId, context);
    queries.set(signature, planned);
  }
  return planned;
}

function planAnew(node: RootOperationNode, queryId: QueryId, context: FanOutContext): PlannedQuery {
  const { schema, federation, kit } = context;
  const plan = context.plan(node as SelectQueryNode, { schema, federation, dialect: kit.dialect });
  return {
    plan,
    statement: new PlannedStatement(plan.statement, { sorted: plan.sorted, dialect: kit.dialect }, queryId),
  };
}

/** Text that two trees have in common only if they are the same. Undefined where a value is an object, which could change later. */
function signatureOf(node: unknown): string | undefined {
  const parts: string[] = [];
  return write(node, parts) ? parts.join("") : undefined;
}

function write(value: unknown, parts: string[]): boolean {
  switch (typeof value) {
    case "string":
      parts.push(JSON.stringify(value));
      return true;
    case "bigint":
      parts.push(String(value), "n");
      return true;
    case "number":
      parts.push(Object.is(value, -0) ? "-0" : String(value));
      return true;
    case "boolean":
    case "undefined":
      parts.push(String(value));
      return true;
    case "object":
      return value === null ? parts.push("null") > 0 : writeObject(value, parts);
    default:
      return false;
  }
}

function writeObject(value: object, parts: string[]): boolean {
  if (Array.isArray(value)) {
    parts.push("[");
    for (const item of value) {
      if (!write(item, parts)) return false;
      parts.push(",");
    }
    parts.push("]");
    return true;
  }
  const { kind } = value as { readonly kind?: unknown };
  // Any other object is a value.
  if (typeof kind !== "string" || !kind.endsWith("Node")) return false;
  if (kind === "ValueNode" && isObject((value as { readonly value: unknown }).value)) return false;
  const type = kind === "RawNode" ? typeMark(value as OperationNode) : undefined;
  if (type === undefined) return writeProperties(value, parts);
  parts.push("typed ", describeType(type), " ");
  return write((value as RawNode).parameters[0], parts);
}

function writeProperties(node: object, parts: string[]): boolean {
  parts.push("{");
  for (const property in node) {
    parts.push(property, ":");
    if (!write((node as Record<string, unknown>)[property], parts)) return false;
    parts.push(",");
  }
  parts.push("}");
  return true;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
