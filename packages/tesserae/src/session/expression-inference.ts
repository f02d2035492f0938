/**
 * Derives the logical types of expressions, and of the values in them from what they are compared or combined with. Names are resolved through
 * the scope that the subclass keeps. What cannot be derived stays undefined; nothing is guessed.
 */
import type {
  AggregateFunctionNode,
  AliasNode,
  AndNode,
  BinaryOperationNode,
  CaseNode,
  CastNode,
  ColumnNode,
  DataTypeNode,
  FunctionNode,
  OperationNode,
  OperatorNode,
  PrimitiveValueListNode,
  RawNode,
  ReferenceNode,
  ValueListNode,
  ValueNode,
} from "kysely";
import type { LogicalType } from "../schema/logical-type.ts";
import {
  arithmeticType,
  BIGINT,
  BOOLEAN,
  castType,
  comparable,
  functionType,
  INT,
  isArithmetic,
  isComparison,
  isPattern,
  isUnifying,
  TEXT,
  takesText,
  unify,
} from "./expression-types.ts";
import { isNode } from "./parameter-order.ts";
import { unwrap, unwrapOnce } from "./raw-fragment.ts";
import { rawOperands } from "./raw-operands.ts";
import { type TypedColumns, TypeScope } from "./type-scope.ts";
import { typeMark } from "./typed-expression.ts";

export type Type = LogicalType | undefined;

export abstract class ExpressionInference {
  /** Of values: one type, or for a PrimitiveValueListNode one for each. */
  readonly parameters = new Map<OperationNode, readonly Type[]>();
  /** Of expressions. */
  readonly types = new Map<OperationNode, LogicalType>();
  protected scope = new TypeScope(undefined);

  /** The columns that a statement gives. `expected`: the types its rows go into. */
  abstract statement(node: OperationNode, expected?: readonly Type[]): TypedColumns;

  /** The expressions in a node's other properties, each for itself. */
  protected rest(node: OperationNode, without: readonly string[]): void {
    for (const property in node) {
      if (without.includes(property)) continue;
      const value = (node as unknown as Record<string, unknown>)[property];
      if (Array.isArray(value)) {
        for (const item of value) if (isNode(item)) this.infer(item);
      } else if (isNode(value)) this.infer(value);
    }
  }

  protected infer(node: OperationNode, expected?: Type): Type {
    const type = this.#typeOf(node, expected);
    if (type !== undefined) this.types.set(node, type);
    return type;
  }

  #typeOf(node: OperationNode, expected: Type): Type {
    switch (node.kind) {
      case "ReferenceNode":
      case "ColumnNode": {
        const name = columnName(node);
        const table = (node as ReferenceNode).table?.table.identifier.name;
        return name === undefined ? undefined : this.scope.resolve(name, table);
      }
      case "ValueNode":
        return this.#value(node as ValueNode, expected);
      case "ValueListNode":
      case "PrimitiveValueListNode":
      case "TupleNode":
        this.list(node, undefined, expected);
        return undefined;
      case "ParensNode":
        return this.infer((node as unknown as AliasNode).node, expected);
      case "RawNode":
        return this.#raw(node as RawNode, expected);
      case "BinaryOperationNode":
        return this.#binary(node as BinaryOperationNode, expected);
      case "AndNode":
      case "OrNode":
        this.rest(node, []);
        return BOOLEAN;
      case "UnaryOperationNode": {
        const { operator, operand } = node as unknown as {
          readonly operator: OperatorNode;
          readonly operand: OperationNode;
        };
        const type = this.infer(operand, expected);
        return operator.operator === "-" ? type : BOOLEAN;
      }
      case "FunctionNode":
        return this.#call((node as FunctionNode).func, (node as FunctionNode).arguments, expected);
      case "AggregateFunctionNode": {
        const { func, aggregated } = node as AggregateFunctionNode;
        const type = this.#call(func, aggregated, expected);
        this.rest(node, ["aggregated"]);
        return type;
      }
      case "CaseNode":
        return this.#case(node as CaseNode, expected);
      case "CastNode":
        return this.#cast(node as CastNode);
      case "SelectQueryNode":
        return this.statement(node, [expected])[0]?.type;
      case "InsertQueryNode":
      case "UpdateQueryNode":
      case "DeleteQueryNode":
        this.statement(node);
        return undefined;
      case "SelectModifierNode":
      case "CommonTableExpressionNameNode":
      case "ExplainNode":
        return undefined;
      default:
        this.rest(node, []);
        return undefined;
    }
  }

  #value(node: ValueNode, expected: Type): Type {
    if (!node.immediate) {
      if (expected !== undefined) this.parameters.set(node, [expected]);
      return expected;
    }
    const { value } = node;
    if (typeof value === "boolean") return BOOLEAN;
    if (typeof value === "string") return TEXT;
    if (typeof value === "bigint") return BIGINT;
    return typeof value === "number" && Number.isInteger(value) && Math.abs(value) < 2 ** 31
      ? INT
      : undefined;
  }

  /** A row, or the list of `in`. `types` for each position, else `each` for all; a tuple within takes `types` again. */
  protected list(node: OperationNode, types: readonly Type[] | undefined, each?: Type): void {
    if (node.kind === "PrimitiveValueListNode") {
      this.parameters.set(
        node,
        (node as PrimitiveValueListNode).values.map((_, index) =>
          types === undefined ? each : types[index],
        ),
      );
      return;
    }
    (node as ValueListNode).values.forEach((value, index) => {
      this.infer(value, types === undefined ? each : types[index]);
    });
  }

  #binary(node: BinaryOperationNode, expected: Type): Type {
    const { leftOperand, rightOperand } = node;
    const operator = node.operator.kind === "OperatorNode" ? (node.operator as OperatorNode).operator : "";
    if (isArithmetic(operator)) {
      const [left, right] = this.#mutual(leftOperand, rightOperand, expected);
      return arithmeticType(operator, left, right);
    }
    if (operator === "||") {
      this.infer(leftOperand, TEXT);
      this.infer(rightOperand, TEXT);
      return TEXT;
    }
    if (operator !== "" && !isComparison(operator)) {
      this.rest(node, ["operator"]);
      return undefined;
    }
    const row = unwrap(leftOperand);
    if (row.kind === "TupleNode" || row.kind === "ValueListNode")
      this.#rows(row as ValueListNode, rightOperand);
    else if (isPattern(operator)) {
      this.infer(leftOperand, TEXT);
      this.infer(rightOperand, TEXT);
    } else this.#compare(leftOperand, rightOperand);
    return BOOLEAN;
  }

  #compare(left: OperationNode, right: OperationNode): void {
    const bounds = unwrap(right);
    if (bounds.kind !== "AndNode") {
      this.#mutual(left, right, undefined);
      return;
    }
    // The bounds of `between`.
    const type = comparable(this.infer(left));
    this.infer((bounds as AndNode).left, type);
    this.infer((bounds as AndNode).right, type);
  }

  /** Each side's values take the other side's type. */
  #mutual(left: OperationNode, right: OperationNode, expected: Type): [Type, Type] {
    const known = this.infer(left);
    const other = this.infer(right, comparable(known) ?? expected);
    if (known !== undefined) return [known, other];
    return [this.infer(left, comparable(other) ?? expected), other];
  }

  /** `(a, b) in ((1, 2), (3, 4))`, `(a, b) = (1, 2)` */
  #rows(left: ValueListNode, right: OperationNode): void {
    const types = left.values.map((value) => comparable(this.infer(value)));
    const inner = unwrap(right);
    if (inner.kind === "SelectQueryNode") this.statement(inner, types);
    else if (inner.kind === "TupleNode" || inner.kind === "ValueListNode") {
      for (const item of (inner as ValueListNode).values) {
        const row = unwrap(item);
        if (row.kind === "TupleNode" || row.kind === "ValueListNode" || row.kind === "PrimitiveValueListNode")
          this.list(row, types);
      }
      if (!(inner as ValueListNode).values.some((item) => unwrap(item).kind === "TupleNode"))
        this.list(inner, types);
    } else if (inner.kind === "PrimitiveValueListNode") this.list(inner, types);
    else this.infer(right);
  }

  #call(func: string, args: readonly OperationNode[], expected: Type): Type {
    const name = func.slice(func.lastIndexOf(".") + 1).toLowerCase();
    const own = takesText(name) ? TEXT : undefined;
    let types = args.map((argument) => this.infer(argument, own));
    if (isUnifying(name)) {
      const common = unify(types) ?? expected;
      types = args.map((argument, index) => types[index] ?? this.infer(argument, comparable(common)));
    }
    return functionType(name, types);
  }

  #case(node: CaseNode, expected: Type): Type {
    const compared = node.value === undefined ? undefined : comparable(this.infer(node.value));
    for (const when of node.when ?? []) this.infer(when.condition, compared);
    const results = [...(node.when ?? []).map((when) => when.result), node.else].filter(
      (result) => result !== undefined,
    );
    const common = unify(results.map((result) => this.infer(result)));
    for (const result of results) if (!this.types.has(result)) this.infer(result, common ?? expected);
    return common ?? unify(results.map((result) => this.types.get(result)));
  }

  #cast(node: CastNode): Type {
    const { dataType, expression } = node;
    const name =
      dataType.kind === "DataTypeNode"
        ? (dataType as DataTypeNode).dataType
        : (dataType as RawNode).sqlFragments?.join("");
    const type = name === undefined ? undefined : castType(name);
    // The value of a decimal's cast stays text: it is the database that makes a decimal of it.
    this.infer(expression, type?.kind === "decimal" ? TEXT : type);
    return type;
  }

  #raw(node: RawNode, expected: Type): Type {
    const mark = typeMark(node);
    const inner = unwrapOnce(node);
    if (inner !== node) {
      const type = this.infer(inner, mark ?? expected);
      return mark ?? type;
    }
    for (const parameter of holes(node)) this.infer(parameter);
    for (const { value, operand } of rawOperands(node)) {
      const type = isNode(operand)
        ? this.types.get(operand)
        : this.scope.resolve(operand.column, operand.table);
      if (type !== undefined) this.infer(value, comparable(type));
    }
    return mark;
  }
}

/** The nodes written in a fragment's midst. */
function holes(node: RawNode): OperationNode[] {
  return node.parameters
    .slice(0, node.sqlFragments.length)
    .flatMap((parameter) =>
      parameter.kind === "RawNode" && typeMark(parameter) === undefined
        ? holes(parameter as RawNode)
        : [parameter],
    );
}

export function columnName(node: OperationNode): string | undefined {
  const column = node.kind === "ReferenceNode" ? (node as ReferenceNode).column : node;
  return column.kind === "ColumnNode" ? (column as ColumnNode).column.name : undefined;
}
