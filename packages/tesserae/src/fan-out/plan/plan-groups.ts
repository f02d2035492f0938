/** Plans of queries whose groups span shards: each shard groups its own rows, the parts of a group are put together, and what is said over groups is computed from that. */
import { GroupByItemNode, GroupByNode, type OperationNode, type SelectQueryNode } from "kysely";
import type { EngineDialect } from "../../engine/contract.ts";
import { BIGINT } from "../../session/expression-types.ts";
import type {
  FanOutPlan,
  OutputColumn,
  OutputOrder,
  SortedColumn,
  ValueExpression,
} from "../fan-out-plan.ts";
import type { Block } from "./analysis.ts";
import { GroupParts } from "./group-parts.ts";
import { readLimits, shardLimit } from "./limits.ts";
import { childNodes, columnOf, shardReference, withoutParts } from "./nodes.ts";
import {
  ownNames,
  refuseHiddenNames,
  refusePosition,
  selectedByName,
  shardOrder,
  type Wanted,
  wantedOrder,
} from "./ordering.ts";
import { isDistinct, part } from "./plan-rows.ts";
import { GATHER, unsupported } from "./refusal.ts";
import type { Selected } from "./selections.ts";
import { comparableType } from "./text-order.ts";
import type { QueryTypes } from "./types.ts";
import { ValueExpressions } from "./value-expressions.ts";

export interface GroupsContext {
  readonly dialect: Pick<EngineDialect, "capabilities">;
  readonly types: QueryTypes;
}

const names = ownNames(childNodes);

export function planGroups(block: Block, { dialect, types }: GroupsContext): FanOutPlan {
  const { node, scope, selected } = block;
  if (node.distinctOn !== undefined)
    throw unsupported("distinct on spans several keys.", `Name the distribution column in it, or ${GATHER}.`);
  const parts = new GroupParts(scope, types.typeOf);
  for (const { groupBy } of node.groupBy?.items ?? []) addGroupKey(groupBy, block, parts, types);
  const values = new ValueExpressions({ scope, types, parts, selected });
  const wanted = wantedOrder(node.orderBy, dialect);
  const over = () => overGroups(block, values, wanted);
  over();
  const { output, having, order } = over();
  if (isDistinct(node)) refuseDistinct(output, parts.keyCount);

  const sorted = groupOrder(order, parts, dialect);
  const inOrder = order.every(({ value }) => isKey(value, parts));
  const limits = readLimits(node);
  const pushed = inOrder && having === undefined && !parts.countsDistinct && parts.keyCount > 0;
  const grouped = parts.groupedColumns;
  const statement = {
    ...withoutParts(node, [
      "selections",
      "frontModifiers",
      "groupBy",
      "having",
      "orderBy",
      "limit",
      "offset",
    ]),
    selections: parts.selections(),
    ...part("groupBy", grouped === 0 ? undefined : groupByFirst(grouped)),
    ...part("orderBy", shardOrder(sorted, dialect)),
    ...part("limit", pushed ? shardLimit(limits) : undefined),
  } as SelectQueryNode;
  return {
    statement,
    columns: parts.columns(),
    sorted,
    combine: { kind: "group", keys: [...Array(parts.keyCount).keys()], aggregates: parts.merged() },
    having,
    output,
    order: inOrder ? [] : order,
    ...limits,
    keys: block.keys,
    shards: "all",
  };
}

function addGroupKey(
  item: OperationNode,
  { scope, selected }: Block,
  parts: GroupParts,
  types: QueryTypes,
): void {
  refusePosition(item);
  const name = columnOf(item);
  let expression = item;
  if (name !== undefined && scope.resolve(item) === undefined) {
    const index = selectedByName(item, selected, scope);
    if (index === undefined)
      throw unsupported(
        `It is grouped by "${name.column}", which is no column of the query's sources.`,
        "Write the column with its table's name.",
      );
    expression = (selected[index] as Selected).expression;
  } else {
    refuseHiddenNames(item, selected, scope, names);
  }
  const type = types.typeOf(expression) ?? scope.resolve(expression)?.column.type;
  parts.addKey(expression, type);
}

function overGroups({ node, scope, selected }: Block, values: ValueExpressions, wanted: readonly Wanted[]) {
  const output = new Map<string, OutputColumn>();
  for (const { name, expression } of selected) output.set(name, { name, value: values.value(expression) });
  if (node.having !== undefined) refuseHiddenNames(node.having.having, selected, scope, names);
  const having = node.having === undefined ? undefined : values.value(node.having.having);
  const order = wanted.map(({ expression, ...rest }): OutputOrder => {
    const index = selectedByName(expression, selected, scope);
    if (index === undefined) refuseHiddenNames(expression, selected, scope, names);
    const value = values.value(index === undefined ? expression : (selected[index] as Selected).expression);
    // The text of keys and of min and max was found to compare by code point.
    const type = comparableType({ type: value.type, binaryText: true }, "It is ordered by an expression");
    return { value, type, ...rest };
  });
  return { output: [...output.values()], having, order };
}

/** Rows of different groups are different only by their keys. */
function refuseDistinct(output: readonly OutputColumn[], keyCount: number): void {
  const shown = new Set(
    output.flatMap(({ value }) => (value.kind === "column" && value.column < keyCount ? [value.column] : [])),
  );
  if (shown.size < keyCount)
    throw unsupported(
      "A distinct over groups leaves out a column that is grouped by.",
      `Select all that is grouped by, and leave out distinct; or ${GATHER}.`,
    );
}

/** The shards' groups come in the order that is asked for where it is one of keys alone, and by the rest of the keys behind that. */
function groupOrder(
  order: readonly OutputOrder[],
  parts: GroupParts,
  { capabilities }: Pick<EngineDialect, "capabilities">,
): SortedColumn[] {
  const sorted: SortedColumn[] = [];
  if (order.every(({ value }) => isKey(value, parts)))
    for (const { value, ...rest } of order) {
      const { column } = value as { readonly column: number };
      if (!sorted.some((item) => item.column === column)) sorted.push({ column, ...rest });
    }
  const columns = parts.columns();
  for (let column = 0; column < parts.groupedColumns; column++) {
    if (sorted.some((item) => item.column === column)) continue;
    const type = columns[column]?.type ?? BIGINT;
    sorted.push({ column, type, descending: false, nullsFirst: capabilities.nullsFirst });
  }
  return sorted;
}

const isKey = (value: ValueExpression, parts: GroupParts): boolean =>
  value.kind === "column" && value.column < parts.keyCount;

function groupByFirst(count: number): GroupByNode {
  return GroupByNode.create(
    Array.from({ length: count }, (_, index) => GroupByItemNode.create(shardReference(index))),
  );
}
