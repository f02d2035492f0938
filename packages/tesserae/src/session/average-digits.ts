/**
 * Averages that have the value of their type, also where something is computed from them: the argument is cast to the fraction digits that the average shall have, since an engine may give
 * only some sixteen significant digits (PostgreSQL) or cut off what is behind the last one (MariaDB, at some scales); and the average is rounded to them, since an engine that keeps
 * more compares, orders and computes with these too. Else `having avg(n) > '0.3333'` would hold of a third on one engine and not on another.
 */
import type { AggregateFunctionNode, OperationNode, RootOperationNode } from "kysely";
import type { SchemaModel } from "../schema/model.ts";
import { averageType } from "./expression-types.ts";
import { isNode, withDistinctNodes } from "./parameter-order.ts";
import { TypeInference } from "./type-inference.ts";

/** For statements whose text holds `avg(`. `digits`: as many as a decimal of the engine's can have, so that the cast refuses no value. */
export function roundAverages(
  node: RootOperationNode,
  schema: SchemaModel,
  digits: number,
): RootOperationNode {
  const tree = withDistinctNodes(node);
  const inference = new TypeInference(schema);
  inference.statement(tree);
  return rounded(tree, { inference, digits }) as RootOperationNode;
}

interface Rounding {
  readonly inference: TypeInference;
  readonly digits: number;
}

/** Changes the copied tree in place; gives what is to stand in the node's place. */
function rounded(node: OperationNode, rounding: Rounding): OperationNode {
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return node;
  const scale = averageScale(node, rounding);
  const fields = node as unknown as Record<string, unknown>;
  for (const property in fields) {
    const value = fields[property];
    if (Array.isArray(value))
      fields[property] = value.map((item) => (isNode(item) ? rounded(item, rounding) : item));
    else if (isNode(value)) fields[property] = rounded(value, rounding);
  }
  if (scale === undefined) return node;
  const [expression] = (node as AggregateFunctionNode).aggregated;
  const cast = { kind: "CastNode", expression, dataType: raw(`decimal(${rounding.digits}, ${scale})`) };
  const average = { ...node, aggregated: [cast] };
  return {
    kind: "FunctionNode",
    func: "round",
    arguments: [average, raw(`${scale}`)],
  } as unknown as OperationNode;
}

/** The fraction digits of an exact average; undefined for any other node. */
function averageScale(node: OperationNode, { inference }: Rounding): number | undefined {
  if (node.kind !== "AggregateFunctionNode") return undefined;
  const { func, aggregated } = node as AggregateFunctionNode;
  const [argument] = aggregated;
  if (func.toLowerCase() !== "avg" || argument === undefined) return undefined;
  const type = averageType(inference.types.get(argument));
  return type?.kind === "decimal" ? type.scale : undefined;
}

function raw(text: string): OperationNode {
  return { kind: "RawNode", sqlFragments: [text], parameters: [] } as unknown as OperationNode;
}
