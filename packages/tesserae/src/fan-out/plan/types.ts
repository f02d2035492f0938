/** The logical types of a query's expressions. */
import type { CaseNode, FunctionNode, OperationNode, SelectQueryNode } from "kysely";
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
  const typeOf = (node: OperationNode) => types.get(node) ?? types.get(unwrap(node));
  return {
    typeOf: (node) => (areMixedMoments(choices(node).map(typeOf)) ? undefined : typeOf(node)),
    parameterType: (node) => parameters.get(node)?.[0] ?? types.get(node),
  };
}

/** What the value of an expression is one of. */
function choices(node: OperationNode): readonly OperationNode[] {
  const inner = unwrap(node);
  if (inner.kind === "FunctionNode") return (inner as FunctionNode).arguments;
  if (inner.kind !== "CaseNode") return [];
  const { when = [], else: otherwise } = inner as CaseNode;
  return [...when.map(({ result }) => result), otherwise].filter((result) => result !== undefined);
}

/** SQLite keeps moments as text, with three fraction digits or six: of one and the same moment there would be two values. */
export function areMixedMoments(types: readonly (LogicalType | undefined)[]): boolean {
  const precisions = types.flatMap((type) => (type?.kind === "timestamp" ? [type.precision] : []));
  return new Set(precisions).size > 1;
}
