/** Expressions over groups, in SELECT, HAVING and ORDER BY, as values to be computed from the combined rows. */
import type {
  AggregateFunctionNode,
  AndNode,
  BinaryOperationNode,
  FunctionNode,
  OperationNode,
  PrimitiveValueListNode,
  RawNode,
  ValueListNode,
  ValueNode,
} from "kysely";
import { describeType, type LogicalType, sameType } from "../../schema/logical-type.ts";
import { BOOLEAN, unify } from "../../session/expression-types.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import type { ValueExpression } from "../fan-out-plan.ts";
import { constantOf } from "./constants.ts";
import { holdsAggregate } from "./expression-check.ts";
import { type GroupParts, isCoalesce } from "./group-parts.ts";
import { childNodes, columnOf, inside, operatorOf } from "./nodes.ts";
import { checkBinding, strength } from "./operator-strength.ts";
import { ownNames, refuseHiddenNames, selectedByName } from "./ordering.ts";
import { GATHER, unsupported } from "./refusal.ts";
import type { Scope } from "./scope.ts";
import type { Selected } from "./selections.ts";
import { comparableType } from "./text-order.ts";
import type { QueryTypes } from "./types.ts";

const COMPARISONS: Readonly<Record<string, "=" | "<>" | "<" | "<=" | ">" | ">=">> = {
  "=": "=",
  "==": "=",
  "!=": "<>",
  "<>": "<>",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};
const names = ownNames(childNodes);

export interface GroupContext {
  readonly scope: Scope;
  readonly types: QueryTypes;
  readonly parts: GroupParts;
  readonly selected: readonly Selected[];
}

/**
 * To be asked twice for each expression of a query: the first time the keys and aggregates that it needs become known, and the second time where they are in the combined row.
 */
export class ValueExpressions {
  readonly #context: GroupContext;

  constructor(context: GroupContext) {
    this.#context = context;
  }

  value(node: OperationNode): ValueExpression {
    const { parts, types, scope } = this.#context;
    const inner = inside(node);
    const key = parts.keyOf(inner);
    if (key !== undefined) return this.#key(key, node);
    if (inner.kind === "ValueNode") return this.#constant(inner as ValueNode, types.parameterType(inner));
    if (inner.kind === "AggregateFunctionNode") return this.#aggregate(inner as AggregateFunctionNode, node);
    const column = columnOf(inner);
    if (column !== undefined) return this.#named(inner);
    if (!holdsAggregate(inner) && this.#isOfKeys(inner)) {
      refuseHiddenNames(inner, this.#context.selected, scope, names);
      const index = parts.addKey(node, types.typeOf(node) ?? types.typeOf(inner));
      return { kind: "column", column: index, type: parts.keyType(index) };
    }
    return this.#computed(inner);
  }

  #key(index: number, node: OperationNode): ValueExpression {
    const type = this.#context.parts.keyType(index);
    const named = this.#typeOf(node);
    if (named !== undefined && !sameType(named, type))
      throw unsupported(
        `It is grouped by an expression as ${describeType(type)}, which is read as ${describeType(named)} elsewhere.`,
        "Name its type alike with typed(…).",
      );
    return { kind: "column", column: index, type };
  }

  #typeOf(node: OperationNode): LogicalType | undefined {
    return this.#context.types.typeOf(node);
  }

  #aggregate(node: AggregateFunctionNode, outer: OperationNode): ValueExpression {
    const { parts } = this.#context;
    const index = parts.addAggregate(node);
    return {
      kind: "column",
      column: parts.keyCount + index,
      type: this.#typeOf(outer) ?? this.#typeOf(node),
    };
  }

  /** A column that is no key: in HAVING and ORDER BY, a name of the result. */
  #named(node: OperationNode): ValueExpression {
    const { scope, selected } = this.#context;
    const name = columnOf(node)?.column;
    if (scope.resolve(node) === undefined) {
      const index = selectedByName(node, selected, scope);
      if (index !== undefined) return this.value((selected[index] as Selected).expression);
    }
    throw unsupported(
      `"${name}" is neither grouped by nor inside an aggregate.`,
      `Add it to groupBy, or take its min or max.`,
    );
  }

  /** Made of the group's keys alone, so that it is the same for all rows of a group. */
  #isOfKeys(node: OperationNode): boolean {
    const { parts } = this.#context;
    let columns = 0;
    const ofKeys = (part: OperationNode): boolean => {
      const inner = inside(part);
      // Without parentheses the engine may read the operands of a key's operator as another's.
      const complete = part === node || strength(unwrap(part)) === undefined;
      if (complete && parts.keyOf(inner) !== undefined) {
        columns++;
        return true;
      }
      if (inner.kind === "SelectQueryNode" || inner.kind === "AggregateFunctionNode") return false;
      if (inner.kind === "RawNode" && namesColumns(inner as RawNode)) return false;
      if (columnOf(inner) !== undefined) return false;
      for (const child of childNodes(inner)) if (!ofKeys(child)) return false;
      return true;
    };
    return ofKeys(node) && columns > 0;
  }

  #computed(node: OperationNode): ValueExpression {
    if (isCoalesce(node)) return this.#coalesce(node);
    switch (node.kind) {
      case "AndNode":
      case "OrNode": {
        const { left, right } = node as AndNode;
        if (node.kind === "AndNode") checkBinding(node, [left, right]);
        return {
          kind: node.kind === "AndNode" ? "and" : "or",
          operands: [this.value(left), this.value(right)],
          type: BOOLEAN,
        };
      }
      case "UnaryOperationNode": {
        const { operand } = node as unknown as { readonly operand: OperationNode };
        if (operatorOf(node) !== "not") break;
        checkBinding(node, [operand]);
        return { kind: "not", operand: this.value(operand), type: BOOLEAN };
      }
      case "BinaryOperationNode":
        return this.#binary(node as BinaryOperationNode);
      default:
    }
    throw notComputed("An expression over aggregates");
  }

  #binary(node: BinaryOperationNode): ValueExpression {
    const { leftOperand, rightOperand } = node;
    const operator = operatorOf(node);
    checkBinding(node, [leftOperand, rightOperand]);
    if (operator === "+" || operator === "-" || operator === "*") return this.#arithmetic(node, operator);
    const comparison = COMPARISONS[operator];
    if (comparison !== undefined) return this.#comparison(comparison, leftOperand, rightOperand);
    switch (operator) {
      case "is":
      case "is not": {
        const right = inside(rightOperand);
        if (right.kind !== "ValueNode" || (right as ValueNode).value !== null) break;
        return {
          kind: "isNull",
          operand: this.value(leftOperand),
          negated: operator === "is not",
          type: BOOLEAN,
        };
      }
      case "between": {
        const bounds = unwrap(rightOperand) as AndNode;
        if (bounds.kind !== "AndNode") break;
        return {
          kind: "and",
          operands: [
            this.#comparison(">=", leftOperand, bounds.left),
            this.#comparison("<=", leftOperand, bounds.right),
          ],
          type: BOOLEAN,
        };
      }
      case "in":
      case "not in":
        return this.#in(leftOperand, rightOperand, operator === "not in");
      default:
    }
    throw notComputed(`The operator ${operator} over aggregates`);
  }

  #arithmetic(node: BinaryOperationNode, operator: "+" | "-" | "*"): ValueExpression {
    const type = this.#typeOf(node);
    if (type?.kind !== "int" && type?.kind !== "bigint" && type?.kind !== "decimal")
      throw notComputed(
        `Arithmetic over aggregates${type === undefined ? " whose type the query does not tell" : ` that gives ${describeType(type)}`}`,
      );
    return {
      kind: "arithmetic",
      operator,
      left: this.value(node.leftOperand),
      right: this.value(node.rightOperand),
      type,
    };
  }

  #comparison(
    operator: "=" | "<>" | "<" | "<=" | ">" | ">=",
    leftNode: OperationNode,
    rightNode: OperationNode,
  ): ValueExpression {
    const [left, right] = [this.value(leftNode), this.value(rightNode)];
    return {
      kind: "comparison",
      operator,
      left,
      right,
      operands: this.#operands(left, right),
      type: BOOLEAN,
    };
  }

  #operands(left: ValueExpression, right: ValueExpression): LogicalType {
    const type = unify([left.type, right.type]);
    // The text of keys and of min and max was found to compare by code point.
    return comparableType({ type, binaryText: true }, "A comparison over aggregates has an operand");
  }

  #in(left: OperationNode, list: OperationNode, negated: boolean): ValueExpression {
    const inner = unwrap(list);
    const { types } = this.#context;
    const value = this.value(left);
    let items: ValueExpression[];
    if (inner.kind === "PrimitiveValueListNode")
      items = (inner as PrimitiveValueListNode).values.map((item) => constantOf(item, value.type));
    else if (inner.kind === "ValueListNode")
      items = (inner as ValueListNode).values.map((item) =>
        inside(item).kind === "ValueNode"
          ? this.#constant(inside(item) as ValueNode, types.parameterType(inside(item)) ?? value.type)
          : this.value(item),
      );
    else throw notComputed("The operator in over aggregates, but with a list,");
    const either: ValueExpression = {
      kind: "or",
      operands: items.map((item) => ({
        kind: "comparison",
        operator: "=",
        left: value,
        right: item,
        operands: this.#operands(value, item),
        type: BOOLEAN,
      })),
      type: BOOLEAN,
    };
    return negated ? { kind: "not", operand: either, type: BOOLEAN } : either;
  }

  #coalesce(node: FunctionNode): ValueExpression {
    const type = this.#typeOf(node);
    const operands = node.arguments.map((argument) => {
      const inner = inside(argument);
      return inner.kind === "ValueNode" ? constantOf((inner as ValueNode).value, type) : this.value(argument);
    });
    if (type === undefined) throw notComputed("coalesce() of values of different types");
    const different = operands.find(
      (operand) => operand.type !== undefined && operand.type.kind !== type.kind,
    );
    if (different !== undefined)
      throw notComputed(
        `coalesce() of ${describeType(type)} and ${describeType(different.type as LogicalType)}`,
      );
    return { kind: "coalesce", operands, type };
  }

  #constant(node: ValueNode, type: LogicalType | undefined): ValueExpression {
    return constantOf(node.value, type);
  }
}

function notComputed(what: string): Error {
  return unsupported(
    `${what} cannot be computed exactly from the shards' groups.`,
    `Over aggregates there are + - *, comparisons, between, in, and, or, not, is null and coalesce. Select the aggregates and compute the rest in the application, or ${GATHER}.`,
  );
}

/** True for raw text with names of its own beside the nodes in its midst. */
function namesColumns(node: RawNode): boolean {
  return unwrap(node) === node && /[A-Za-z_"`]/.test(node.sqlFragments.join(" "));
}
