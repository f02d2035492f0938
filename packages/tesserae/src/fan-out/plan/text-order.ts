/** Which expressions can be compared outside the database exactly as inside it. */
import type {
  AggregateFunctionNode,
  BinaryOperationNode,
  CaseNode,
  FunctionNode,
  OperationNode,
} from "kysely";
import { describeType, type LogicalType } from "../../schema/logical-type.ts";
import { inside, operatorOf } from "./nodes.ts";
import { GATHER, unsupported } from "./refusal.ts";
import type { Scope } from "./scope.ts";
import type { TypeOf } from "./types.ts";

/** Functions whose text has the collation of their arguments. */
const KEEP_COLLATION: ReadonlySet<string> = new Set(
  "lower upper trim ltrim rtrim btrim substr substring left right replace concat reverse lpad rpad coalesce ifnull nullif min max lag lead first_value last_value nth_value".split(
    " ",
  ),
);

const COMPARED_TEXT =
  "a text column or a function of one, such as lower(…), built with eb.fn (a date written out as text is neither)";

/**
 * True for text that the engine compares by code point, as far as the tree tells: a column's own collation prevails over that of values, and without a column the
 * connection's or the database's default would decide.
 */
export function isBinaryText(node: OperationNode, scope: Scope, typeOf: TypeOf): boolean {
  const inner = inside(node);
  switch (inner.kind) {
    case "ReferenceNode":
    case "ColumnNode":
      return scope.resolve(inner)?.column.binaryText ?? false;
    case "FunctionNode":
    case "AggregateFunctionNode": {
      const { func } = inner as FunctionNode;
      const args =
        (inner as FunctionNode).arguments ?? (inner as unknown as AggregateFunctionNode).aggregated ?? [];
      return KEEP_COLLATION.has(func.toLowerCase()) && areBinary(args, scope, typeOf);
    }
    case "CaseNode": {
      const { when = [], else: otherwise } = inner as CaseNode;
      const results = [...when.map(({ result }) => result), otherwise];
      return areBinary(
        results.filter((result) => result !== undefined),
        scope,
        typeOf,
      );
    }
    case "BinaryOperationNode": {
      const { leftOperand, rightOperand } = inner as BinaryOperationNode;
      return operatorOf(inner) === "||" && areBinary([leftOperand, rightOperand], scope, typeOf);
    }
    default:
      return false;
  }
}

/** One at least is binary text, and none has another collation. */
function areBinary(nodes: readonly OperationNode[], scope: Scope, typeOf: TypeOf): boolean {
  const plain = (node: OperationNode) => {
    if (inside(node).kind === "ValueNode") return true;
    const type = typeOf(node);
    return type !== undefined && type.kind !== "text" && type.kind !== "json";
  };
  return (
    nodes.every((node) => plain(node) || isBinaryText(node, scope, typeOf)) &&
    nodes.some((node) => isBinaryText(node, scope, typeOf))
  );
}

/** The type, where values of it can be compared exactly; refused otherwise. `what`: "It is ordered by …". */
export function comparableType(
  column: { readonly type: LogicalType | undefined; readonly binaryText: boolean },
  what: string,
): LogicalType {
  const { type, binaryText } = column;
  if (type === undefined)
    throw unsupported(
      `${what}, whose logical type the query does not tell, and which cannot be compared between shards.`,
      `Name the type of a number or a date: typed(int(), expression). Text is compared only where it is ${COMPARED_TEXT}; for any other, ${GATHER}.`,
    );
  if (type.kind === "json")
    throw unsupported(
      `${what}, which is JSON: engines compare it in their own ways, if at all.`,
      "Take a value out of it and name its type with typed(…).",
    );
  if (type.kind === "text" && type.caseInsensitive)
    throw unsupported(
      `${what}, which is ${describeType(type)}: its order is the engine's own and not to be had outside it.`,
      `Use a column that compares by code point, or ${GATHER}.`,
    );
  if (type.kind === "text" && !binaryText)
    throw unsupported(
      `${what}, a text whose collation the query does not tell.`,
      `Text is compared only where it is ${COMPARED_TEXT}. Make a number of it, typed(int(), expression), or ${GATHER}.`,
    );
  return type;
}
