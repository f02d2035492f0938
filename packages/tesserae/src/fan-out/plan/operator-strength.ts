/** In which order the engine reads operators that stand in one another. */
import type { OperationNode } from "kysely";
import { unwrap } from "../../session/raw-fragment.ts";
import { operatorOf } from "./nodes.ts";
import { unsupported } from "./refusal.ts";

/**
 * Kysely writes operands one after the other, without parentheses of its own: `(a + b) * c` that was built without them is `a + b * c` to the engine, and is refused.
 */
export function checkBinding(node: OperationNode, operands: readonly OperationNode[]): void {
  operands.forEach((operand, index) => {
    const inner = unwrap(operand);
    const between = operatorOf(node) === "between" && index === 1;
    const [outside, within] = [strength(node), strength(inner)];
    if (within === undefined || outside === undefined || between) return;
    const leftToRight = index === 0 && outside >= 5 && within === outside;
    if (within > outside || leftToRight || (within === outside && node.kind === inner.kind && outside <= 2))
      return;
    throw unsupported(
      "Operators stand in one another without parentheses, where the engine reads them in another order than they were built.",
      "Put the inner one in eb.parens(…).",
    );
  });
}

/** How strongly an operator holds its operands; undefined for what is complete in itself. */
export function strength(node: OperationNode): number | undefined {
  switch (node.kind) {
    case "OrNode":
      return 1;
    case "AndNode":
      return 2;
    case "UnaryOperationNode":
      return operatorOf(node) === "not" ? 3 : 7;
    case "BinaryOperationNode":
      switch (operatorOf(node)) {
        case "+":
        case "-":
          return 5;
        case "*":
          return 6;
        default:
          return 4;
      }
    case "RawNode":
      return 0;
    default:
      return undefined;
  }
}
