/** Plans of queries whose rows, groups or windows are each made on one shard: the shards' rows one after the other, merged by an order, or each different one once. */
import {
  GroupByItemNode,
  GroupByNode,
  type OperationNode,
  type SelectQueryNode,
  type SetOperationNode,
} from "kysely";
import type { EngineDialect } from "../../engine/contract.ts";
import type { FanOutPlan, OutputColumn, PlanColumn, SortedColumn } from "../fan-out-plan.ts";
import { armOf, type Block, unionColumns, unionKeys } from "./analysis.ts";
import { fingerprint } from "./fingerprint.ts";
import { readLimits, shardLimit } from "./limits.ts";
import { childNodes, columnOf, replaceNodes, shardReference, shardSelection, withoutParts } from "./nodes.ts";
import {
  ownNames,
  refuseHiddenNames,
  refuseResultNames,
  selectedByName,
  shardOrder,
  type Wanted,
  wantedOrder,
} from "./ordering.ts";
import { unsupported } from "./refusal.ts";
import type { Relation, RelationColumn } from "./scope.ts";
import type { Selected } from "./selections.ts";
import { comparableType, isBinaryText } from "./text-order.ts";
import type { TypeOf } from "./types.ts";

export interface RowsContext {
  readonly dialect: Pick<EngineDialect, "capabilities">;
  readonly typeOf: TypeOf;
}

const names = ownNames(childNodes);

export function isDistinct(node: SelectQueryNode): boolean {
  return node.frontModifiers?.some(({ modifier }) => modifier === "Distinct") ?? false;
}

export function planRows(block: Block, context: RowsContext): FanOutPlan {
  const { node, scope } = block;
  const distinct = isDistinct(node);
  const columns: Selected[] = [...block.selected];
  const known = new Map(columns.map(({ expression }, index) => [fingerprint(expression, scope), index]));
  const wanted = wantedOrder(node.orderBy, context.dialect);
  const sorted = wanted.map(({ expression, ...order }): SortedColumn => {
    const column =
      selectedByName(expression, block.selected, scope) ??
      known.get(fingerprint(expression, scope)) ??
      hiddenColumn(expression, block, columns, context, distinct);
    return {
      column,
      type: comparableType(columns[column] as Selected, `It is ordered by ${orderName(expression)}`),
      ...order,
    };
  });
  const across = distinct && !block.selected.some(({ key }) => key === "always");
  const order = across ? withAllColumns(sorted, columns, context) : sorted;
  const limits = readLimits(node);
  const plain = withoutParts(node, ["selections", "orderBy", "limit", "offset"]);
  const statement = {
    ...withoutNames(plain, block),
    selections: columns.map(({ expression }, index) => shardSelection(index, expression)),
    ...part("orderBy", shardOrder(order, context.dialect)),
    ...part("limit", shardLimit(limits)),
  } as SelectQueryNode;
  return {
    statement,
    columns: columns.map(({ type }, index) => ({ name: `tesserae_${index}`, type })),
    sorted: order,
    combine: { kind: across ? "distinct" : "rows" },
    having: undefined,
    output: outputOf(block.selected),
    order: [],
    ...limits,
    keys: block.keys,
    shards: "all",
  };
}

export function part<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V };
}

function orderName(expression: OperationNode): string {
  const name = columnOf(expression);
  return name === undefined ? "an expression" : `"${name.column}"`;
}

/** An order by what is not selected: the shards select it all the same, behind the rest. */
function hiddenColumn(
  expression: OperationNode,
  { scope, selected }: Block,
  columns: Selected[],
  { typeOf }: RowsContext,
  distinct: boolean,
): number {
  if (distinct)
    throw unsupported(
      "A distinct query is ordered by what it does not select.",
      "Select it too, or order by a selected column.",
    );
  refuseHiddenNames(expression, selected, scope, names);
  columns.push({
    name: "",
    type: typeOf(expression) ?? scope.resolve(expression)?.column.type,
    key: undefined,
    binaryText: isBinaryText(expression, scope, typeOf),
    expression,
  });
  return columns.length - 1;
}

/** Equal rows must come beside each other: the order goes on with the columns that it does not name. */
function withAllColumns(
  sorted: readonly SortedColumn[],
  columns: readonly RelationColumn[],
  { dialect }: RowsContext,
): SortedColumn[] {
  const all = [...sorted];
  columns.forEach((column, index) => {
    const type = comparableType(column, `Rows are told apart by "${column.name}"`);
    if (!all.some((order) => order.column === index))
      all.push({ column: index, type, descending: false, nullsFirst: dialect.capabilities.nullsFirst });
  });
  return all;
}

/** Where two columns of the answer have one name, the later one's value is kept, as in a row of the driver. */
export function outputOf(selected: readonly RelationColumn[]): OutputColumn[] {
  const output = new Map<string, OutputColumn>();
  selected.forEach(({ name, type }, column) => {
    output.set(name, { name, value: { kind: "column", column, type } });
  });
  return [...output.values()];
}

/** Names of the result in GROUP BY and HAVING, which the shard's columns do not have any more: the expressions that they stand for take their place. */
function withoutNames(node: SelectQueryNode, { selected, scope }: Block): SelectQueryNode {
  if (node.groupBy === undefined && node.having === undefined) return node;
  const meant = (name: OperationNode): number | undefined => {
    if (name.kind !== "ReferenceNode" && name.kind !== "ColumnNode") return undefined;
    if (scope.resolve(name) !== undefined) {
      refuseHiddenNames(name, selected, scope, names);
      return undefined;
    }
    return selectedByName(name, selected, scope);
  };
  const groupBy =
    node.groupBy === undefined
      ? undefined
      : GroupByNode.create(
          node.groupBy.items.map((item) => {
            const index = meant(item.groupBy);
            return index === undefined ? item : GroupByItemNode.create(shardReference(index));
          }),
        );
  const having =
    node.having === undefined
      ? undefined
      : replaceNodes(node.having, (child) => {
          if (child.kind === "SelectQueryNode") return child;
          const index = meant(child);
          return index === undefined ? undefined : parenthesised((selected[index] as Selected).expression);
        });
  return { ...node, ...part("groupBy", groupBy), ...part("having", having) } as SelectQueryNode;
}

const parenthesised = (node: OperationNode): OperationNode =>
  ({ kind: "ParensNode", node }) as unknown as OperationNode;

/** Of set operations at the top. `across`: rows of several arms or shards can be equal, and count once. */
export function planUnion(
  node: SelectQueryNode,
  arms: readonly Relation[],
  across: boolean,
  armColumns: (arm: SelectQueryNode) => readonly Selected[],
  context: RowsContext,
): FanOutPlan {
  const columns = unionColumns(arms);
  const wanted = wantedOrder(node.orderBy, context.dialect);
  const sorted = wanted.map((item) => unionOrder(item, columns));
  const order = across ? withAllColumns(sorted, columns, context) : sorted;
  const limits = readLimits(node);
  const statement = {
    ...withoutParts(renamedArm(node, armColumns), ["orderBy", "limit", "offset"]),
    setOperations: (node.setOperations ?? []).map((operation) => renamedOperation(operation, armColumns)),
    ...part("orderBy", shardOrder(order, context.dialect)),
    ...part("limit", shardLimit(limits)),
  } as SelectQueryNode;
  return {
    statement,
    columns: columns.map(({ type }, index): PlanColumn => ({ name: `tesserae_${index}`, type })),
    sorted: order,
    combine: { kind: across ? "distinct" : "rows" },
    having: undefined,
    output: outputOf(columns),
    order: [],
    ...limits,
    keys: unionKeys(arms),
    shards: "all",
  };
}

function unionOrder({ expression, ...order }: Wanted, columns: readonly RelationColumn[]): SortedColumn {
  const name = columnOf(expression);
  const matches = columns.flatMap((column, index) => (column.name === name?.column ? [index] : []));
  const [column] = matches;
  if (name === undefined || name.table !== undefined || column === undefined || matches.length > 1)
    throw unsupported(
      "The order of a set operation is no name of its result's columns.",
      "Order by the name of one column of the first arm.",
    );
  const type = comparableType(columns[column] as RelationColumn, `It is ordered by "${name.column}"`);
  return { column, type, ...order };
}

function renamedOperation(
  operation: SetOperationNode,
  armColumns: (arm: SelectQueryNode) => readonly Selected[],
): SetOperationNode {
  const arm = armOf(operation);
  const expression = replaceNodes(operation.expression, (node) =>
    node === arm ? renamedArm(arm, armColumns) : undefined,
  );
  return { ...operation, expression };
}

function renamedArm(
  arm: SelectQueryNode,
  armColumns: (arm: SelectQueryNode) => readonly Selected[],
): SelectQueryNode {
  const selected = armColumns(arm);
  // The order of an arm with set operations is one of its own result, which is renamed with it.
  const order = (arm.setOperations?.length ?? 0) > 0 ? undefined : arm.orderBy;
  for (const part of [arm.groupBy, arm.having, order])
    if (part !== undefined) refuseResultNames(names(part), selected);
  const selections = selected.map(({ expression }, index) => shardSelection(index, expression));
  return { ...arm, selections } as SelectQueryNode;
}
