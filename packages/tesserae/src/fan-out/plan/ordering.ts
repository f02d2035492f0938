/** Orders: what a query asks for, where null stands in it, and how a shard's statement says it. */
import { type OperationNode, OrderByItemNode, OrderByNode, RawNode, ValueNode } from "kysely";
import type { EngineDialect } from "../../engine/contract.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import type { SortedColumn } from "../fan-out-plan.ts";
import { columnOf, inside, shardReference } from "./nodes.ts";
import { unsupported } from "./refusal.ts";
import type { Scope } from "./scope.ts";
import type { Selected } from "./selections.ts";

export interface Wanted {
  readonly expression: OperationNode;
  readonly descending: boolean;
  readonly nullsFirst: boolean;
}

/** The items of ORDER BY, with the place of null that the engine gives it where the query does not say. */
export function wantedOrder(
  orderBy: OrderByNode | undefined,
  { capabilities }: Pick<EngineDialect, "capabilities">,
): Wanted[] {
  return (orderBy?.items ?? []).map((item) => {
    const { orderBy: expression, direction, nulls, collation } = item as OrderByItemNode;
    if (collation !== undefined)
      throw unsupported("An order names a collation.", "Leave it to the column's own.");
    const descending = isDescending(direction);
    refusePosition(expression);
    const nullsFirst = nulls === undefined ? capabilities.nullsFirst !== descending : nulls === "first";
    return { expression, descending, nullsFirst };
  });
}

function isDescending(direction: OperationNode | undefined): boolean {
  if (direction === undefined) return false;
  const text = (direction as RawNode).sqlFragments?.join("").trim().toLowerCase();
  if (text === "asc" || text === "desc") return text === "desc";
  throw unsupported(
    "An order's direction is raw SQL.",
    'Write "asc" or "desc", and nulls with (ob) => ob.nullsLast().',
  );
}

/** `order by 2`, and what orders nothing. */
export function refusePosition(expression: OperationNode): void {
  const inner = inside(expression);
  const text = inner.kind === "RawNode" ? (inner as RawNode).sqlFragments.join("?").trim() : "";
  if (inner.kind === "ValueNode" || /^\d+$/.test(text))
    throw unsupported("An order or group is given as a number or value.", "Name the column.");
  if (/\b(?:asc|desc|nulls)\b/i.test(text))
    throw unsupported(
      "An order's direction stands in raw SQL.",
      'Give it as the second argument of orderBy, "desc" or (ob) => ob.desc().nullsLast().',
    );
}

/**
 * The selected column that a name in ORDER BY means: names of the result come before columns of the sources. Undefined where it is an expression of its own.
 */
export function selectedByName(
  expression: OperationNode,
  selected: readonly Selected[],
  scope: Scope,
): number | undefined {
  const name = columnOf(expression);
  if (name === undefined || name.table !== undefined) return undefined;
  const same = (other: string) => other.toLowerCase() === name.column.toLowerCase();
  const matches = selected.flatMap(({ name: other }, index) => (same(other) ? [index] : []));
  const [match] = matches;
  if (match === undefined) return undefined;
  const targets = new Set(
    matches.map((index) => {
      const found = scope.resolve((selected[index] as Selected).expression);
      return found === undefined ? `${index}` : scope.idOf(found);
    }),
  );
  if (targets.size > 1 || selected[match]?.name !== name.column)
    throw unsupported(
      `The name "${name.column}" can mean more than one column of the result.`,
      'Give the columns different names with .as("name").',
    );
  return match;
}

/** Refuses a name inside an expression that engines resolve differently: the result's column here, the source's there. */
export function refuseHiddenNames(
  expression: OperationNode,
  selected: readonly Selected[],
  scope: Scope,
  names: (node: OperationNode) => Iterable<OperationNode>,
): void {
  for (const node of names(expression)) {
    const name = columnOf(node);
    if (name === undefined || name.table !== undefined) continue;
    const index = selected.findIndex((column) => column.name.toLowerCase() === name.column.toLowerCase());
    if (index < 0) continue;
    const own = scope.resolve(node);
    if (own === undefined) continue;
    const other = scope.resolve((selected[index] as Selected).expression);
    if (other !== undefined && scope.idOf(own) === scope.idOf(other)) continue;
    throw unsupported(
      `The name "${name.column}" inside an expression can mean a column of the result or of a source.`,
      "Write the column with its table's name, or repeat the selected expression.",
    );
  }
}

/** Refuses a name of the result that is no name of a source, or of another column of one: the shards' results have other names, and a source's column would be found instead. */
export function refuseResultNames(names: Iterable<OperationNode>, selected: readonly Selected[]): void {
  for (const node of names) {
    const name = columnOf(node);
    if (name === undefined || name.table !== undefined) continue;
    const same = selected.find((column) => column.name.toLowerCase() === name.column.toLowerCase());
    if (same === undefined || columnOf(same.expression)?.column === name.column) continue;
    throw unsupported(
      `The name "${name.column}" means a column of the result here.`,
      "Repeat the selected expression, or write the column with its table's name.",
    );
  }
}

/** ORDER BY over the shard's own columns. */
export function shardOrder(
  sorted: readonly SortedColumn[],
  { capabilities }: Pick<EngineDialect, "capabilities">,
): OrderByNode | undefined {
  if (sorted.length === 0) return undefined;
  const items = sorted.flatMap(({ column, descending, nullsFirst }) => {
    const item = OrderByItemNode.create(
      shardReference(column),
      descending ? RawNode.createWithSql("desc") : undefined,
    );
    if (nullsFirst === (capabilities.nullsFirst !== descending)) return [item];
    if (capabilities.nullsClause)
      return [OrderByItemNode.cloneWith(item, { nulls: nullsFirst ? "first" : "last" })];
    return [nullOrder(column, nullsFirst), item];
  });
  return OrderByNode.create(items);
}

/** `x is null desc`: those that are null, before or behind all others. */
function nullOrder(column: number, nullsFirst: boolean): OrderByItemNode {
  const isNull = {
    kind: "BinaryOperationNode",
    leftOperand: shardReference(column),
    operator: { kind: "OperatorNode", operator: "is" },
    rightOperand: ValueNode.createImmediate(null),
  } as unknown as OperationNode;
  return OrderByItemNode.create(isNull, nullsFirst ? RawNode.createWithSql("desc") : undefined);
}

/** Plain names within an expression, subqueries left out: these have sources of their own. */
export function ownNames(children: (node: OperationNode) => Iterable<OperationNode>) {
  return function* names(node: OperationNode): Generator<OperationNode> {
    const inner = unwrap(node);
    if (inner.kind === "SelectQueryNode") return;
    if (columnOf(inner) !== undefined) {
      yield inner;
      return;
    }
    for (const child of children(inner)) yield* names(child);
  };
}
