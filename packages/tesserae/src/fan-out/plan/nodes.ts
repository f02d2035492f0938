/** Reading and making Kysely's nodes. */
import {
  AliasNode,
  ColumnNode,
  IdentifierNode,
  type OperationNode,
  type OperatorNode,
  ReferenceNode,
  SelectionNode,
  type SelectQueryNode,
  type ValueNode,
} from "kysely";
import { columnName } from "../../session/expression-inference.ts";
import { isNode } from "../../session/parameter-order.ts";
import { unwrap } from "../../session/raw-fragment.ts";

/** The shard's column of this index: a name that no table of the schema's column is likely to have, and that is asked for by itself alone. */
export const shardName = (index: number): string => `tesserae_${index}`;

/** True for a name that the shard's columns could have: GROUP BY would find a source's column of that name first. */
export const isShardName = (name: string): boolean => /^tesserae_\d/i.test(name);

export function shardReference(index: number): OperationNode {
  return ReferenceNode.create(ColumnNode.create(shardName(index)));
}

export function shardSelection(index: number, expression: OperationNode): SelectionNode {
  return SelectionNode.create(AliasNode.create(expression, IdentifierNode.create(shardName(index))) as never);
}

export interface ColumnName {
  readonly column: string;
  readonly table: string | undefined;
}

/** The name, where the node is a plain column. */
export function columnOf(node: OperationNode): ColumnName | undefined {
  const inner = unwrap(node);
  if (inner.kind !== "ReferenceNode" && inner.kind !== "ColumnNode") return undefined;
  const column = columnName(inner);
  if (column === undefined) return undefined;
  return { column, table: (inner as ReferenceNode).table?.table.identifier.name };
}

export function operatorOf(node: OperationNode): string {
  const operator = (node as unknown as { readonly operator?: OperationNode }).operator;
  return operator?.kind === "OperatorNode" ? (operator as OperatorNode).operator : "";
}

/** Without the parentheses around it, and without the fragments that write nothing. */
export function inside(node: OperationNode): OperationNode {
  let inner = unwrap(node);
  while (inner.kind === "ParensNode")
    inner = unwrap((inner as unknown as { readonly node: OperationNode }).node);
  return inner;
}

export function queryOf(node: OperationNode): SelectQueryNode | undefined {
  const inner = inside(node);
  return inner.kind === "SelectQueryNode" ? (inner as SelectQueryNode) : undefined;
}

/** A value that is given with the query: a parameter, or one that is written into the text. */
export function givenValue(node: OperationNode): ValueNode | undefined {
  const inner = inside(node);
  return inner.kind === "ValueNode" ? (inner as ValueNode) : undefined;
}

/** Nodes that hold nothing to look at: names and values. */
const LEAVES: ReadonlySet<string> = new Set([
  "ReferenceNode",
  "ColumnNode",
  "TableNode",
  "IdentifierNode",
  "OperatorNode",
  "SelectAllNode",
  "ValueNode",
  "PrimitiveValueListNode",
]);

/** The nodes directly below; lists count as their items. The mark of `typed`, which is never written, is not among them. */
export function childNodes(node: OperationNode): OperationNode[] {
  const children: OperationNode[] = [];
  if (LEAVES.has(node.kind)) return children;
  const written = (node as unknown as { readonly sqlFragments?: readonly string[] }).sqlFragments?.length;
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      const count = property === "parameters" && written !== undefined ? written : value.length;
      for (let index = 0; index < count && index < value.length; index++)
        if (isNode(value[index])) children.push(value[index]);
    } else if (isNode(value)) children.push(value);
  }
  return children;
}

/** A copy of the tree in which `change` has replaced nodes; undefined from it means: look further down. */
export function replaceNodes(
  node: OperationNode,
  change: (node: OperationNode) => OperationNode | undefined,
): OperationNode {
  const changed = change(node);
  if (changed !== undefined) return changed;
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return node;
  const copy: Record<string, unknown> = {};
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (Array.isArray(value))
      copy[property] = value.map((item) => (isNode(item) ? replaceNodes(item, change) : item));
    else copy[property] = isNode(value) ? replaceNodes(value, change) : value;
  }
  return copy as unknown as OperationNode;
}

export function withoutParts<K extends keyof SelectQueryNode>(
  node: SelectQueryNode,
  parts: readonly K[],
): SelectQueryNode {
  const copy: Record<string, unknown> = { ...node };
  for (const part of parts) delete copy[part];
  return copy as unknown as SelectQueryNode;
}
