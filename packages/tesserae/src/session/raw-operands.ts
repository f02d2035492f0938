/** Values in a raw fragment that are compared with a column: `created > ${since}` tells the type of `since`. */
import type { OperationNode, RawNode } from "kysely";
import { type Token, tokenize } from "./raw-tokens.ts";

export interface RawComparison {
  /** A hole of the fragment. */
  readonly value: OperationNode;
  /** Another hole, or a column by its name. */
  readonly operand: OperationNode | { readonly column: string; readonly table: string | undefined };
}

const SIGNS = new Set(["=", "<", ">", "!"]);

/** Best effort: only `operand sign value` and `value sign operand` with a single name or hole for the operand. */
export function rawOperands(node: RawNode): RawComparison[] {
  let tokens: Token[];
  try {
    tokens = tokenize(node);
  } catch {
    // Text that a filtered session refuses, in a whole raw statement: its values go as they are.
    return [];
  }
  return tokens.flatMap((token, at) => {
    if (token.kind !== "hole") return [];
    const operand = operandBefore(tokens, at) ?? operandAfter(tokens, at);
    return operand === undefined ? [] : [{ value: token.node, operand }];
  });
}

function operandBefore(tokens: readonly Token[], at: number): RawComparison["operand"] | undefined {
  let end = at - 1;
  while (SIGNS.has(tokens[end]?.text ?? "")) end--;
  if (end === at - 1) return undefined;
  const token = tokens[end];
  if (token?.kind === "hole") return token.node;
  if (!isName(token)) return undefined;
  const qualified = tokens[end - 1]?.text === "." && isName(tokens[end - 2]);
  return { column: (token as Token).text, table: qualified ? tokens[end - 2]?.text : undefined };
}

function operandAfter(tokens: readonly Token[], at: number): RawComparison["operand"] | undefined {
  let begin = at + 1;
  while (SIGNS.has(tokens[begin]?.text ?? "")) begin++;
  if (begin === at + 1) return undefined;
  const token = tokens[begin];
  if (token?.kind === "hole") return token.node;
  if (!isName(token)) return undefined;
  if (tokens[begin + 1]?.text === "(") return undefined;
  const qualified = tokens[begin + 1]?.text === "." && isName(tokens[begin + 2]);
  return qualified
    ? { column: tokens[begin + 2]?.text as string, table: token?.text }
    : { column: token?.text as string, table: undefined };
}

function isName(token: Token | undefined): boolean {
  return token?.kind === "word" || token?.kind === "name";
}
