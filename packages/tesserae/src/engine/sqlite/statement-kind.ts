/** What a statement does, by its first word: enough to know what its result means and where it may run. */

/** `change` and `insert` alone have affected rows; `transaction` goes through begin, commit and their like only. */
export type StatementKind = "read" | "insert" | "change" | "transaction" | "other";

const KINDS: Readonly<Record<string, StatementKind>> = {
  select: "read",
  values: "read",
  explain: "read",
  pragma: "read",
  insert: "insert",
  replace: "insert",
  update: "change",
  delete: "change",
  begin: "transaction",
  commit: "transaction",
  end: "transaction",
  rollback: "transaction",
  savepoint: "transaction",
  release: "transaction",
};

const FIRST_WORD = /^(?:\s+|--[^\n]*\n|\/\*[\s\S]*?\*\/|;)*([a-z]+)/i;
const RETURNING = /\breturning\b/i;

/** The statement cannot change anything, by its first word. */
export function isRead(sql: string): boolean {
  return kindOf(sql) === "read";
}

export function kindOf(sql: string): StatementKind {
  const word = FIRST_WORD.exec(sql)?.[1]?.toLowerCase() ?? "";
  if (word === "with")
    return RETURNING.test(sql) || /\)\s*(?:insert|update|delete|replace)\b/i.test(sql) ? "change" : "read";
  return KINDS[word] ?? "other";
}
