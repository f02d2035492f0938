/** What a statement's tree tells about what it writes: where it may run, and whether the guard hears of it. */
import type { OperationNode, RawNode, SelectQueryNode, WithNode } from "kysely";

/**
 * True for a plain SELECT: no row locks, no writing query in WITH. It may run where nothing can be written: a replica, or a reader beside the
 * one writer of an embedded database.
 */
export function isReadOnly(node: OperationNode): boolean {
  if (node.kind !== "SelectQueryNode") return false;
  const select = node as SelectQueryNode;
  const locks = select.endModifiers?.some(({ modifier }) => modifier !== "Distinct") ?? false;
  if (locks) return false;
  return readsOnlyInWith(select);
}

/** Each blank for itself: runs of them inside a repetition take time without end where no word follows. */
const FIRST_WORD = /^(?:\s|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/|\()*([a-z]+)/i;
const READING_WORDS = new Set(["select", "with", "values", "table", "explain", "show"]);

/** A whole raw statement that reads, by its first word. What it calls or holds may write, and what ends a transaction does not begin so. */
export function isReadOnlyRaw(node: OperationNode): boolean {
  if (node.kind !== "RawNode") return false;
  const word = FIRST_WORD.exec((node as RawNode).sqlFragments[0] ?? "")?.[1];
  return word !== undefined && READING_WORDS.has(word.toLowerCase());
}

/**
 * When the guard hears nothing of a statement, so that its result alone does not show that it went to the right shard: `always` for a select, also
 * one that locks; `without rows` for a write, which fires no trigger where it meets no row. `unknown` for what must not be made again, because it may have
 * written all the same: a raw statement, or one with a write in WITH.
 */
export type Unguarded = "always" | "without rows" | "unknown";

export function whenUnguarded(node: OperationNode): Unguarded {
  switch (node.kind) {
    case "SelectQueryNode":
      return readsOnlyInWith(node as SelectQueryNode) ? "always" : "unknown";
    case "InsertQueryNode":
    case "UpdateQueryNode":
    case "DeleteQueryNode":
      return readsOnlyInWith(node as { readonly with?: WithNode }) ? "without rows" : "unknown";
    default:
      return "unknown";
  }
}

function readsOnlyInWith(node: { readonly with?: WithNode | undefined }): boolean {
  return node.with?.expressions.every((cte) => isReadOnly(cte.expression)) ?? true;
}
