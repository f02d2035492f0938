/** Whether two expressions of one query are the same: by their form, with names told apart by what they mean. */
import type { OperationNode } from "kysely";
import { isNode } from "../../session/parameter-order.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import { columnOf, inside } from "./nodes.ts";
import type { Scope } from "./scope.ts";

export function fingerprint(node: OperationNode, scope: Scope): string {
  return form(inside(node), scope);
}

/** Within a subquery, whose names mean something else, they are taken as they are written. */
function form(node: OperationNode, scope: Scope | undefined): string {
  const name = columnOf(node);
  if (name !== undefined) {
    const found = scope?.resolve(node);
    return found === undefined
      ? `name(${JSON.stringify([name.table ?? null, name.column])})`
      : `column(${found.scope.idOf(found)})`;
  }
  const names = node.kind === "SelectQueryNode" ? undefined : scope;
  let text = node.kind;
  let separator = "{";
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (property === "kind" || value === undefined) continue;
    text += `${separator}${property}:${written(value, names)}`;
    separator = ",";
  }
  return `${text}}`;
}

function written(value: unknown, scope: Scope | undefined): string {
  if (Array.isArray(value)) return `[${value.map((item) => written(item, scope)).join()}]`;
  // Parentheses decide what an operator holds: they stay.
  if (isNode(value)) return form(unwrap(value), scope);
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Date) return `date ${value.getTime()}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString("hex")}`;
  return JSON.stringify(value) ?? String(value);
}
