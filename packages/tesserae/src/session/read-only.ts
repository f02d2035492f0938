/** Which statements may run where nothing can be written: a replica, or a reader beside the one writer of an embedded database. */
import type { OperationNode, SelectQueryNode } from "kysely";

/** True for a plain SELECT: no row locks, no writing query in WITH. */
export function isReadOnly(node: OperationNode): boolean {
  if (node.kind !== "SelectQueryNode") return false;
  const select = node as SelectQueryNode;
  const locks = select.endModifiers?.some(({ modifier }) => modifier !== "Distinct") ?? false;
  if (locks) return false;
  return select.with?.expressions.every((cte) => isReadOnly(cte.expression)) ?? true;
}
