/**
 * Exact decimals on an engine that has none of its own (SQLite). Sums and averages become aggregates of the library's; what could only be
 * computed in binary fractions is refused: arithmetic, rounding, casts, functions of text, and comparison between the two forms in which decimals are stored
 * there (up to fifteen digits as a number, beyond as sortable text). Comparison, order, min, max and count are exact as they are.
 */
import type {
  AggregateFunctionNode,
  BinaryOperationNode,
  CaseNode,
  FunctionNode,
  OperationNode,
  OperatorNode,
  RawNode,
  ReferenceNode,
  RootOperationNode,
  UnaryOperationNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import { REAL_DECIMAL_DIGITS } from "../engine/sqlite/codecs.ts";
import { DECIMAL_AVERAGE, DECIMAL_SUM } from "../engine/sqlite/decimal-functions.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { SchemaModel } from "../schema/model.ts";
import { averageType, isArithmetic, isComparison, isPattern } from "./expression-types.ts";
import { isNode, withDistinctNodes } from "./parameter-order.ts";
import { unwrap } from "./raw-fragment.ts";
import { type Token, tokenize } from "./raw-tokens.ts";
import { TypeInference } from "./type-inference.ts";

/** Functions that give one of their arguments, or count them. */
const EXACT_FUNCTIONS = new Set([
  "min",
  "max",
  "count",
  "coalesce",
  "ifnull",
  "nullif",
  "lag",
  "lead",
  "first_value",
  "last_value",
  "nth_value",
  "row_number",
  "rank",
  "dense_rank",
  "ntile",
  DECIMAL_SUM,
  DECIMAL_AVERAGE,
]);

/** Words before a parenthesis that call nothing. */
const NO_CALL = new Set([
  "in",
  "and",
  "or",
  "not",
  "when",
  "then",
  "else",
  "case",
  "over",
  "by",
  "filter",
  "where",
  "between",
  "exists",
  "is",
  "values",
  "conflict",
  "",
]);

const ARITHMETIC_SIGNS = new Set(["+", "-", "*", "/", "%", "|"]);

/** The statement with exact sums and averages; DECIMAL_ARITHMETIC for what the engine could not compute exactly. */
export function rewriteDecimals(node: RootOperationNode, schema: SchemaModel): RootOperationNode {
  const names = decimalColumns(schema);
  if (!concernsDecimals(node, names)) return node;
  const tree = withDistinctNodes(node);
  const inference = new TypeInference(schema);
  inference.statement(tree);
  return new DecimalRewrite(inference, names).rewrite(tree) as RootOperationNode;
}

class DecimalRewrite {
  readonly #inference: TypeInference;
  readonly #names: ReadonlySet<string>;

  constructor(inference: TypeInference, names: ReadonlySet<string>) {
    this.#inference = inference;
    this.#names = names;
  }

  /** Changes the copied tree's nodes bottom up. */
  rewrite(node: OperationNode): OperationNode {
    if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return node;
    switch (node.kind) {
      case "FunctionNode": {
        const call = node as FunctionNode;
        const { func, args } = this.#call(call.func, call.arguments);
        return this.#children({ ...call, func, arguments: args } as FunctionNode);
      }
      case "AggregateFunctionNode": {
        const call = node as AggregateFunctionNode;
        const { func, args } = this.#call(call.func, call.aggregated);
        // An aggregate of two arguments takes no DISTINCT on SQLite.
        if (func === DECIMAL_AVERAGE && call.distinct) throw refuse("an average of distinct values");
        return this.#children({ ...call, func, aggregated: args } as AggregateFunctionNode);
      }
      case "BinaryOperationNode":
        this.#binary(node as BinaryOperationNode);
        break;
      case "UnaryOperationNode": {
        const { operator, operand } = node as UnaryOperationNode;
        if ((operator as OperatorNode).operator === "-" && this.#form(operand) === "wide")
          throw refuse("a minus before a decimal");
        break;
      }
      case "CastNode": {
        const { expression } = node as unknown as { readonly expression: OperationNode };
        if (this.#isDecimal(expression) || this.#isDecimal(node)) throw refuse("a cast from or to a decimal");
        break;
      }
      case "CaseNode": {
        const { when = [], else: otherwise } = node as CaseNode;
        this.#sameForm([...when.map(({ result }) => result), otherwise], "a case");
        break;
      }
      case "RawNode":
        if (unwrap(node) === node) this.#raw(node as RawNode);
        break;
      default:
    }
    return this.#children(node);
  }

  #children<T extends OperationNode>(node: T): T {
    const fields = node as unknown as Record<string, unknown>;
    for (const property in fields) {
      const value = fields[property];
      if (Array.isArray(value))
        fields[property] = value.map((item) => (isNode(item) ? this.rewrite(item) : item));
      else if (isNode(value)) fields[property] = this.rewrite(value);
    }
    return node;
  }

  #call(
    func: string,
    args: readonly OperationNode[],
  ): { readonly func: string; readonly args: readonly OperationNode[] } {
    const name = func.toLowerCase();
    const type = args[0] === undefined ? undefined : this.#typeOf(args[0]);
    if (name === "sum" && type?.kind === "decimal") return { func: DECIMAL_SUM, args };
    if (name === "avg") {
      const result = averageType(type);
      if (result?.kind === "decimal")
        return { func: DECIMAL_AVERAGE, args: [...args, literal(result.scale)] };
    }
    if (!EXACT_FUNCTIONS.has(name) && args.some((argument) => this.#isDecimal(argument)))
      throw refuse(`${name}() of a decimal`);
    if (name === "coalesce" || name === "ifnull" || name === "nullif") this.#sameForm(args, `${name}()`);
    return { func, args };
  }

  #binary(node: BinaryOperationNode): void {
    const { leftOperand, rightOperand } = node;
    const operator = node.operator.kind === "OperatorNode" ? (node.operator as OperatorNode).operator : "";
    const some = this.#isDecimal(leftOperand) || this.#isDecimal(rightOperand);
    if (!some) return;
    if (isArithmetic(operator) || operator === "||" || isPattern(operator))
      throw refuse(`the operator ${operator} on a decimal`);
    if (isComparison(operator)) this.#sameForm([leftOperand, rightOperand], "a comparison");
  }

  /** Numbers compare with numbers, sortable text with sortable text. */
  #sameForm(nodes: readonly (OperationNode | undefined)[], what: string): void {
    const forms = new Set(nodes.filter((node) => node !== undefined).map((node) => this.#form(node)));
    if (!forms.has("wide") || !(forms.has("narrow") || forms.has("number"))) return;
    throw refuse(
      `${what} between decimals of up to ${REAL_DECIMAL_DIGITS} digits, or other numbers, and wider decimals (a sum or average is one)`,
    );
  }

  #form(node: OperationNode): "narrow" | "wide" | "number" | "other" {
    const type = this.#typeOf(node);
    if (type?.kind === "int" || type?.kind === "bigint" || type?.kind === "double") return "number";
    if (type?.kind !== "decimal") return "other";
    return type.precision <= REAL_DECIMAL_DIGITS ? "narrow" : "wide";
  }

  #isDecimal(node: OperationNode): boolean {
    return this.#typeOf(node)?.kind === "decimal";
  }

  #typeOf(node: OperationNode): LogicalType | undefined {
    // A value takes the form of what it is compared with.
    if (
      unwrap(node).kind === "ValueNode" &&
      (unwrap(node) as unknown as { readonly immediate?: boolean }).immediate !== true
    )
      return undefined;
    return this.#inference.types.get(node) ?? this.#inference.types.get(unwrap(node));
  }

  /** By name, since a fragment is not parsed: a decimal column beside an arithmetic sign, or in a function's call. */
  #raw(node: RawNode): void {
    const tokens = tokensOf(node);
    const calls: string[] = [];
    tokens.forEach((token, at) => {
      if (token.text === "(") calls.push(calledBefore(tokens, at));
      else if (token.text === ")") calls.pop();
      if (!this.#isDecimalToken(token) || tokens[at + 1]?.text === "(" || tokens[at + 1]?.text === ".")
        return;
      const before = tokens[at - 1]?.text === "." ? tokens[at - 3] : tokens[at - 1];
      const after = tokens[at + 1];
      const call = calls.at(-1) ?? "";
      if (
        ARITHMETIC_SIGNS.has(before?.text ?? "") ||
        ARITHMETIC_SIGNS.has(after?.text ?? "") ||
        after?.text === "::"
      )
        throw refuse("arithmetic on a decimal in raw SQL");
      if (!NO_CALL.has(call) && !EXACT_FUNCTIONS.has(call))
        throw refuse(
          `${call}() of a decimal in raw SQL${call === "sum" || call === "avg" ? ` (write eb.fn.${call}(column), which is exact)` : ""}`,
        );
    });
  }

  #isDecimalToken(token: Token): boolean {
    if (token.kind === "hole") return this.#isDecimal(token.node);
    return (token.kind === "word" || token.kind === "name") && this.#names.has(token.text);
  }
}

const decimalColumnsOf = new WeakMap<SchemaModel, ReadonlySet<string>>();

/** The names of all decimal columns, in lower case. */
function decimalColumns(schema: SchemaModel): ReadonlySet<string> {
  let names = decimalColumnsOf.get(schema);
  if (names === undefined) {
    names = new Set(
      [...schema.tables.values()].flatMap((table) =>
        table.columns.filter(({ type }) => type.kind === "decimal").map(({ name }) => name.toLowerCase()),
      ),
    );
    decimalColumnsOf.set(schema, names);
  }
  return names;
}

/** A quick look, for every statement: could something in it compute with decimals? */
function concernsDecimals(node: OperationNode, names: ReadonlySet<string>): boolean {
  switch (node.kind) {
    case "ValueNode":
    case "PrimitiveValueListNode":
    case "ReferenceNode":
    case "ColumnNode":
    case "IdentifierNode":
    case "TableNode":
    case "OperatorNode":
    case "SelectAllNode":
      return false;
    case "FunctionNode":
    case "AggregateFunctionNode": {
      const name = (node as FunctionNode).func.toLowerCase();
      if (
        name === "avg" ||
        (names.size > 0 && !EXACT_FUNCTIONS.has(name)) ||
        (names.size > 0 && name === "coalesce")
      )
        return true;
      break;
    }
    case "CastNode":
    case "CaseNode":
      if (names.size > 0) return true;
      break;
    case "UnaryOperationNode":
      if (names.size > 0 && ((node as UnaryOperationNode).operator as OperatorNode).operator === "-")
        return true;
      break;
    case "RawNode": {
      const fragments = (node as RawNode).sqlFragments;
      if (
        names.size > 0 &&
        fragments.some((fragment) => fragment !== "" && fragment !== "asc" && fragment !== "desc")
      )
        return true;
      break;
    }
    case "BinaryOperationNode":
      if (names.size > 0 && concernsOperator(node as BinaryOperationNode, names)) return true;
      break;
    default:
  }
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (typeof value !== "object" || value === null) continue;
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item) && concernsDecimals(item, names)) return true;
    } else if (isNode(value) && concernsDecimals(value, names)) return true;
  }
  return false;
}

/** A comparison with values needs nothing: they are encoded in the column's form. */
function concernsOperator(
  { leftOperand, operator, rightOperand }: BinaryOperationNode,
  names: ReadonlySet<string>,
): boolean {
  const text = operator.kind === "OperatorNode" ? (operator as OperatorNode).operator : "";
  if (!isComparison(text) || isPattern(text)) return true;
  const plain = (node: OperationNode) => node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode";
  const harmless = (node: OperationNode) =>
    node.kind === "ReferenceNode" && !names.has(referenceName(node as ReferenceNode));
  return (
    !(plain(rightOperand) && leftOperand.kind === "ReferenceNode" && !isImmediate(rightOperand)) &&
    !(harmless(leftOperand) && (harmless(rightOperand) || plain(rightOperand)))
  );
}

const isImmediate = (node: OperationNode): boolean =>
  (node as unknown as { readonly immediate?: boolean }).immediate === true;

function referenceName(node: ReferenceNode): string {
  return node.column.kind === "ColumnNode" ? node.column.column.name.toLowerCase() : "*";
}

function tokensOf(node: RawNode): Token[] {
  try {
    return tokenize(node);
  } catch {
    // A whole raw statement that is not bound to a key: it is the caller's.
    return [];
  }
}

/** The word before a parenthesis, as far as it can be a function: in `insert into t (a, b)` it is a table. */
function calledBefore(tokens: readonly Token[], at: number): string {
  const word = tokens[at - 1];
  return word?.kind === "word" && tokens[at - 2]?.text !== "into" ? word.text : "";
}

function literal(value: number): OperationNode {
  return { kind: "ValueNode", value, immediate: true } as unknown as OperationNode;
}

function refuse(what: string): TesseraeError {
  return new TesseraeError(
    "DECIMAL_ARITHMETIC",
    `The statement holds ${what}, which this engine could not compute exactly. Select the columns and compute in the application; sum, avg, min, max, count, comparison and order are exact.`,
  );
}
