/**
 * Expressions over combined rows, compiled once to functions. SQL's logic has three values: `null` is the one that is not known.
 */
import type { LogicalType } from "../../schema/logical-type.ts";
import type { ValueExpression } from "../fan-out-plan.ts";
import { type Comparison, comparisonOf } from "./compare.ts";
import { addDecimals, type Decimal, multiplyDecimals } from "./decimals.ts";
import { asComparable, asType, readDecimal, writeDecimal } from "./numbers.ts";
import type { ShardRow } from "./shard-rows.ts";

export type Evaluate = (row: ShardRow) => unknown;

type OfKind<Kind extends ValueExpression["kind"]> = Extract<ValueExpression, { readonly kind: Kind }>;

export function compileExpression(expression: ValueExpression): Evaluate {
  switch (expression.kind) {
    case "column": {
      const { column } = expression;
      return (row) => row[column];
    }
    case "constant": {
      const { value } = expression;
      return () => value;
    }
    case "arithmetic":
      return compileArithmetic(expression);
    case "comparison":
      return compileComparison(expression);
    case "and":
      return compileJunction(expression.operands.map(compileExpression), false);
    case "or":
      return compileJunction(expression.operands.map(compileExpression), true);
    case "not": {
      const operand = compileExpression(expression.operand);
      return (row) => {
        const value = operand(row);
        return value === null ? null : !value;
      };
    }
    case "isNull": {
      const operand = compileExpression(expression.operand);
      const { negated } = expression;
      return (row) => (operand(row) === null) !== negated;
    }
    case "coalesce":
      return compileCoalesce(expression);
  }
}

function compileArithmetic({ operator, left, right, type }: OfKind<"arithmetic">): Evaluate {
  const leftValue = compileExpression(left);
  const rightValue = compileExpression(right);
  const compute = ARITHMETIC[operator];
  return (row) => {
    const a = leftValue(row);
    if (a === null) return null;
    const b = rightValue(row);
    return b === null ? null : writeDecimal(compute(readDecimal(a), readDecimal(b)), type);
  };
}

const ARITHMETIC: Readonly<Record<"+" | "-" | "*", (a: Decimal, b: Decimal) => Decimal>> = {
  "+": addDecimals,
  "-": (a, b) => addDecimals(a, { units: -b.units, scale: b.scale }),
  "*": multiplyDecimals,
};

function compileComparison({ operator, left, right, operands }: OfKind<"comparison">): Evaluate {
  const leftValue = compileOperand(left, operands);
  const rightValue = compileOperand(right, operands);
  const compare = comparisonOf(operands) as Comparison<unknown>;
  const holds = COMPARISONS[operator];
  return (row) => {
    const a = leftValue(row);
    if (a === null) return null;
    const b = rightValue(row);
    return b === null ? null : holds(compare(a, b));
  };
}

const COMPARISONS: Readonly<Record<OfKind<"comparison">["operator"], (result: number) => boolean>> = {
  "=": (result) => result === 0,
  "<>": (result) => result !== 0,
  "<": (result) => result < 0,
  "<=": (result) => result <= 0,
  ">": (result) => result > 0,
  ">=": (result) => result >= 0,
};

/** A side of a comparison, in the form in which it can be compared: of another type than the other side, perhaps. */
function compileOperand(expression: ValueExpression, operands: LogicalType): Evaluate {
  const evaluate = compileExpression(expression);
  if (expression.kind === "constant") {
    const value = expression.value === null ? null : asComparable(expression.value, operands);
    return () => value;
  }
  return (row) => {
    const value = evaluate(row);
    return value === null ? null : asComparable(value, operands);
  };
}

/** `or` is decided by an operand that is true, `and` by one that is false; undecided, a null among them makes it null. */
function compileJunction(operands: readonly Evaluate[], deciding: boolean): Evaluate {
  return (row) => {
    let result: boolean | null = !deciding;
    for (const operand of operands) {
      const value = operand(row);
      if (value === deciding) return deciding;
      if (value === null) result = null;
    }
    return result;
  };
}

function compileCoalesce({ operands, type }: OfKind<"coalesce">): Evaluate {
  const values = operands.map(compileExpression);
  return (row) => {
    for (const evaluate of values) {
      const value = evaluate(row);
      if (value !== null) return type === undefined ? value : asType(value, type);
    }
    return null;
  };
}
