/**
 * `typed(column, expression)`: names the logical type of an expression where the query's tree does not tell it. The mark is a further
 * parameter of a raw node, behind its last fragment: the compiler never writes it, and plugins that copy the tree keep it.
 */
import {
  type Expression,
  isOperationNodeSource,
  type OperationNode,
  type RawBuilder,
  type RawNode,
  sql,
  ValueNode,
} from "kysely";
import type { Column } from "../schema/column.ts";
import { describeType, type LogicalType } from "../schema/logical-type.ts";

class TypeMark {
  readonly type: LogicalType;

  constructor(type: LogicalType) {
    this.type = type;
  }
}

/** No statement needs to be searched for marks before the first one is made. */
let marksExist = false;

/**
 * An expression with a named type: as a selection its values are decoded as that type, and a value inside it is encoded as that type. Give it
 * an alias with `.as(name)` to select it. A plain value may stand for the expression: it becomes a parameter.
 *
 * @example
 * ```ts
 * import { sql } from "kysely";
 * import { decimal, timestamp, typed } from "tesserae";
 *
 * const rows = await fed
 *   .at(12n)
 *   .selectFrom("dots")
 *   .select(typed(timestamp(), sql`max(created)`).as("latest"))
 *   .where((eb) => eb("lat", ">", typed(decimal(9, 6), eb.val("1.5"))))
 *   .execute();
 * ```
 */
export function typed<V, N extends boolean>(
  column: Column<V, N, boolean, boolean>,
  expression: Expression<unknown> | NoInfer<N extends true ? V | null : V>,
): RawBuilder<N extends true ? V | null : V> {
  marksExist = true;
  const inner = isOperationNodeSource(expression)
    ? expression.toOperationNode()
    : ValueNode.create(expression);
  const node = {
    kind: "RawNode",
    sqlFragments: [""],
    parameters: [inner, ValueNode.create(new TypeMark(column.spec.type))],
  } as RawNode;
  // A raw builder around the marked node, so that it has `.as(…)` and the rest; it writes nothing of its own.
  return sql`${{ toOperationNode: () => node } as unknown as Expression<unknown>}`;
}

/** The type that `typed` gave to the node, if it is one of its nodes. */
export function typeMark(node: OperationNode): LogicalType | undefined {
  if (node.kind !== "RawNode") return undefined;
  const { parameters, sqlFragments } = node as RawNode;
  const mark = parameters.length > sqlFragments.length ? parameters.at(-1) : undefined;
  const value = mark?.kind === "ValueNode" ? (mark as ValueNode).value : undefined;
  return value instanceof TypeMark ? value.type : undefined;
}

/** Tells apart statements of the same text whose expressions were given different types; "" where none was. */
export function typeSignature(node: OperationNode): string {
  if (!marksExist) return "";
  const types: string[] = [];
  collect(node, types);
  return types.join();
}

function collect(node: OperationNode, types: string[]): void {
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return;
  const type = typeMark(node);
  if (type !== undefined) types.push(describeType(type));
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (Array.isArray(value)) {
      for (const item of value)
        if (typeof item === "object" && item !== null) collect(item as OperationNode, types);
    } else if (typeof value === "object" && value !== null) collect(value as OperationNode, types);
  }
}
