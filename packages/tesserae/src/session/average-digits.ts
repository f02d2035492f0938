/**
 * Averages with all their fraction digits, on an engine whose `avg` gives some sixteen significant digits (PostgreSQL): the argument is cast to the
 * digits that the average shall have, which the engine then keeps.
 */
import type { AggregateFunctionNode, OperationNode, RootOperationNode } from "kysely";
import type { SchemaModel } from "../schema/model.ts";
import { averageType } from "./expression-types.ts";
import { isNode, withDistinctNodes } from "./parameter-order.ts";
import { TypeInference } from "./type-inference.ts";

/** More whole digits than any decimal has: a cast must not refuse a value. */
const CAST_DIGITS = 100;

/** For statements whose text holds `avg(`. */
export function widenAverages(node: RootOperationNode, schema: SchemaModel): RootOperationNode {
  const tree = withDistinctNodes(node);
  const inference = new TypeInference(schema);
  inference.statement(tree);
  widen(tree, inference);
  return tree;
}

/** Changes the copied tree in place. */
function widen(node: OperationNode, inference: TypeInference): void {
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return;
  const fields = node as unknown as Record<string, unknown>;
  for (const property in fields) {
    const value = fields[property];
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) widen(item, inference);
    } else if (isNode(value)) widen(value, inference);
  }
  if (node.kind !== "AggregateFunctionNode") return;
  const { func, aggregated } = node as AggregateFunctionNode;
  const [argument] = aggregated;
  if (func.toLowerCase() !== "avg" || argument === undefined) return;
  const type = averageType(inference.types.get(argument));
  if (type?.kind !== "decimal") return;
  const dataType = {
    kind: "RawNode",
    sqlFragments: [`numeric(${CAST_DIGITS}, ${type.scale})`],
    parameters: [],
  };
  fields["aggregated"] = [{ kind: "CastNode", expression: argument, dataType }];
}
