/**
 * The planner: takes a query over the federated and reference tables apart into what each shard runs and what makes one answer of the shards' rows (`fan-out-plan.ts`). Pure: it looks at the query's
 * tree and the schema, and at nothing else.
 *
 * It stands on one property. A query's rows are *keywise* where each is made of the rows of one key (and of reference tables, which every shard has): since all rows of a key are on one shard, the
 * shards' results together are then the whole. Joins on the key keep the property, and so do conditions, subqueries that are bound to the row's key, windows within a key, groups that
 * have the key among their columns. `from-clause.ts`, `expression-check.ts` and `analysis.ts` hold the query against these rules. What is left for the outermost query, whose order, limit, distinct and
 * groups may span keys, is merged (`plan-rows.ts`, `plan-groups.ts`). Everything else is refused.
 */
import type { RootOperationNode, SelectQueryNode } from "kysely";
import type { EngineDialect } from "../../engine/contract.ts";
import type { SchemaModel } from "../../schema/model.ts";
import { withDistinctNodes } from "../../session/parameter-order.ts";
import { TypeInference } from "../../session/type-inference.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import {
  type AnalysisContext,
  isOwnKey,
  readArms,
  readBlock,
  readWith,
  setRelation,
  unionColumns,
} from "./analysis.ts";
import { planGroups } from "./plan-groups.ts";
import { outputOf, planRows, planUnion } from "./plan-rows.ts";
import { checkQuery } from "./query-check.ts";
import { GATHER, unsupported } from "./refusal.ts";
import type { Relation } from "./scope.ts";
import { typesOf } from "./types.ts";

export interface PlannerContext {
  readonly schema: SchemaModel;
  /** The federation's name. */
  readonly federation: string;
  readonly dialect: EngineDialect;
}

/** FAN_OUT_UNSUPPORTED for a query that has no exact plan, with the reason and what to write instead. */
export function planFanOut(node: RootOperationNode, planner: PlannerContext): FanOutPlan {
  const { schema, federation, dialect } = planner;
  if (node.kind !== "SelectQueryNode")
    throw unsupported(
      node.kind === "RawNode"
        ? "A whole raw statement is not taken apart."
        : "A query over all shards reads and does not write.",
      node.kind === "RawNode"
        ? "Build the query with Kysely, or send it to every shard by ShardManager.queryAll."
        : "Write on fed.at(key), or to all shards by a session with allowEverywhere.",
    );
  const federated = checkQuery(node as SelectQueryNode, schema, federation);
  const tree = withDistinctNodes(node as SelectQueryNode);
  if (federated.size === 0) return anyShard(tree, schema);
  const types = typesOf(tree, schema);
  const key = schema.federations.get(federation)?.key;
  if (key === undefined)
    throw unsupported(`There is no federation "${federation}".`, "Name one of the schema's.");
  const context: AnalysisContext = { schema, key, types, selected: new Map() };
  const ctes = readWith(tree.with, undefined, undefined, context);
  if (tree.setOperations !== undefined && tree.setOperations.length > 0) {
    const arms = readArms(tree, undefined, ctes, context);
    if (arms.every(({ standing }) => standing === "here")) return anyShard(tree, schema);
    const across = countsOnce(tree, arms);
    if (!across) setRelation(arms, tree.setOperations);
    return planUnion(tree, arms, across, (arm) => context.selected.get(arm) ?? [], {
      dialect,
      typeOf: types.typeOf,
    });
  }
  const block = readBlock(tree, undefined, ctes, context);
  if (block.standing === "here") return anyShard(tree, schema);
  if (block.selected.length === 0)
    throw unsupported("The query selects nothing.", "Name its columns with select(…).");
  if (block.grouped && !block.groupedByKey) return planGroups(block, { dialect, types });
  if (tree.distinctOn !== undefined && !tree.distinctOn.some((one) => isOwnKey(one, block.scope)))
    throw unsupported("distinct on spans several keys.", `Name the distribution column in it, or ${GATHER}.`);
  return planRows(block, { dialect, typeOf: types.typeOf });
}

/** `a union b`, `a union all b union c`: in the end each different row counts once, wherever it comes from. Unless rows of different keys differ anyway. */
function countsOnce({ setOperations = [] }: SelectQueryNode, arms: readonly Relation[]): boolean {
  const keyed =
    arms.every(({ standing }) => standing === "keywise") &&
    unionColumns(arms).some(({ key }) => key === "always");
  return (
    !keyed &&
    setOperations.every(({ operator }) => operator === "union") &&
    setOperations.at(-1)?.all === false
  );
}

/** A query that every shard answers alike. */
function anyShard(tree: SelectQueryNode, schema: SchemaModel): FanOutPlan {
  const columns = new TypeInference(schema).statement(tree);
  if (columns.length === 0 || columns.some(({ name }) => name === ""))
    throw unsupported("A selected expression has no name.", 'Give it one: .as("name").');
  return {
    statement: tree,
    columns,
    sorted: [],
    combine: { kind: "rows" },
    having: undefined,
    output: outputOf(columns.map((column) => ({ ...column, key: undefined, binaryText: false }))),
    order: [],
    offset: 0,
    limit: undefined,
    keys: undefined,
    shards: "one",
  };
}
