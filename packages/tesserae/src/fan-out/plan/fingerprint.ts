/** Whether two expressions of one query are the same: by their form, with names told apart by what they mean. */
import type { OperationNode } from "kysely";
import { describeType } from "../../schema/logical-type.ts";
import { isNode } from "../../session/parameter-order.ts";
import { typeMark } from "../../session/typed-expression.ts";
import { columnOf, inside } from "./nodes.ts";
import type { Scope } from "./scope.ts";

export function fingerprint(node: OperationNode, scope: Scope): string {
  const inner = inside(node);
  const name = columnOf(inner);
  if (name !== undefined) {
    const found = scope.resolve(inner);
    return found === undefined
      ? `name(${JSON.stringify([name.table ?? null, name.column])})`
      : `column(${scope.idOf(found)})`;
  }
  const parts = Object.entries(inner)
    .filter(([property, value]) => property !== "kind" && value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([property, value]) => `${property}:${written(value, scope)}`);
  const type = typeMark(inner);
  return `${inner.kind}{${parts.join()}}${type === undefined ? "" : describeType(type)}`;
}

function written(value: unknown, scope: Scope): string {
  if (Array.isArray(value)) return `[${value.map((item) => written(item, scope)).join()}]`;
  if (isNode(value)) return fingerprint(value, scope);
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Date) return `date ${value.getTime()}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString("hex")}`;
  return JSON.stringify(value) ?? String(value);
}
