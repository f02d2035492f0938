/** The logical types of a compiled statement's parameters and result columns, derived from its tree. */
import type { RootOperationNode } from "kysely";
import type { EngineDialect } from "../engine/contract.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { SchemaModel } from "../schema/model.ts";
import { recordParameters, withDistinctNodes } from "./parameter-order.ts";
import { TypeInference } from "./type-inference.ts";

export interface StatementTypes {
  /** In the order in which the compiled statement lists its parameters; undefined where the tree does not tell. */
  readonly parameters: readonly (LogicalType | undefined)[];
  /** By the result's column names. Where two columns have one name, the later one's: that is whose value the row keeps. */
  readonly columns: ReadonlyMap<string, LogicalType>;
}

/**
 * Parameters take the type of the column they are compared with, inserted or set into; result columns that of their expression. It costs as much as
 * compiling the statement a few times: keep the answer by the statement's text.
 */
export function deriveTypes(
  node: RootOperationNode,
  schema: SchemaModel,
  dialect: Pick<EngineDialect, "createQueryCompiler">,
): StatementTypes {
  const tree = withDistinctNodes(node);
  const places = recordParameters(dialect.createQueryCompiler(), tree);
  const inference = new TypeInference(schema);
  const columns = new Map<string, LogicalType>();
  for (const { name, type } of inference.statement(tree)) {
    if (type === undefined) columns.delete(name);
    else columns.set(name, type);
  }
  return {
    parameters: places.map(({ node: place, index }) => inference.parameters.get(place)?.[index]),
    columns,
  };
}
