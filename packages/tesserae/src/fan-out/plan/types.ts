/** The logical types of a query's expressions. */
import type { OperationNode, SelectQueryNode } from "kysely";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { SchemaModel } from "../../schema/model.ts";
import type { Type } from "../../session/expression-inference.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import { TypeInference } from "../../session/type-inference.ts";

export type TypeOf = (node: OperationNode) => LogicalType | undefined;

export interface QueryTypes {
  readonly typeOf: TypeOf;
  /** What a parameter is to be: the type of what it is compared or combined with. */
  parameterType(node: OperationNode): LogicalType | undefined;
}

/** Of a tree in which each node stands at one place only. */
export function typesOf(tree: SelectQueryNode, schema: SchemaModel): QueryTypes {
  const inference = new TypeInference(schema);
  inference.statement(tree);
  const types: ReadonlyMap<OperationNode, LogicalType> = inference.types;
  const parameters: ReadonlyMap<OperationNode, readonly Type[]> = inference.parameters;
  return {
    typeOf: (node) => types.get(node) ?? types.get(unwrap(node)),
    parameterType: (node) => parameters.get(node)?.[0] ?? types.get(node),
  };
}
