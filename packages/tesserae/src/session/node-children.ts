/**
 * Walking Kysely's tree with structure sharing: a node is copied only if a child changed, so that an untouched part keeps its identity and
 * costs one visit. (Kysely's own OperationNodeTransformer copies every node.)
 */
import type { OperationNode, OperationNodeKind } from "kysely";

/** The children of the nodes that only hold others: expressions, lists and clauses. Nodes with rules of their own are not here. */
const CHILDREN: Partial<Record<OperationNodeKind, readonly string[]>> = {
  AndNode: ["left", "right"],
  CaseNode: ["value", "when", "else"],
  CastNode: ["expression", "dataType"],
  FetchNode: ["rowCount"],
  GroupByItemNode: ["groupBy"],
  GroupByNode: ["items"],
  HavingNode: ["having"],
  JSONOperatorChainNode: ["operator", "values"],
  JSONPathNode: ["inOperator"],
  JSONReferenceNode: ["reference", "traversal"],
  LimitNode: ["limit"],
  ListNode: ["items"],
  OffsetNode: ["offset"],
  OnNode: ["on"],
  OrNode: ["left", "right"],
  OrderByNode: ["items"],
  OverNode: ["partitionBy", "orderBy"],
  ParensNode: ["node"],
  PartitionByItemNode: ["partitionBy"],
  PartitionByNode: ["items"],
  ReturningNode: ["selections"],
  SelectionNode: ["selection"],
  TupleNode: ["values"],
  ValueListNode: ["values"],
  ValuesNode: ["values"],
  WhenNode: ["condition", "result"],
  WhereNode: ["where"],
};

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export type Visit = (node: OperationNode) => OperationNode;

/** The properties of a plain node that hold children; undefined for a node with rules of its own. */
export function childrenOf(kind: OperationNodeKind): readonly string[] | undefined {
  return CHILDREN[kind];
}

export function mapList<T extends OperationNode>(
  list: readonly T[],
  visit: (node: T) => OperationNode,
): readonly T[] {
  let copy: T[] | undefined;
  for (let i = 0; i < list.length; i++) {
    const node = list[i] as T;
    const next = visit(node) as T;
    if (next === node) continue;
    copy ??= [...list];
    copy[i] = next;
  }
  return copy ?? list;
}

export function mapChildren<T extends OperationNode>(
  node: T,
  properties: readonly string[],
  visit: Visit,
): T {
  let copy: Record<string, unknown> | undefined;
  const fields = node as unknown as Record<string, unknown>;
  for (const property of properties) {
    const child = fields[property] as OperationNode | readonly OperationNode[] | undefined;
    if (child === undefined) continue;
    const next = Array.isArray(child) ? mapList(child, visit) : visit(child as OperationNode);
    if (next === child) continue;
    copy ??= { ...fields };
    copy[property] = next;
  }
  return (copy ?? node) as T;
}

/** The node with one property replaced; the node itself where nothing changed. */
export function withProperty<T extends OperationNode, K extends keyof T>(
  node: T,
  property: K,
  value: T[K],
): T {
  return node[property] === value ? node : { ...node, [property]: value };
}
