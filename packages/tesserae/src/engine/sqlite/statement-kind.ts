/** What a statement does, by its first word: enough to know what its result means and where it may run. */

/** `change` and `insert` alone have affected rows; `state` would change the connection itself, which others use next, and is refused. */
export type StatementKind = "read" | "insert" | "change" | "state" | "other";

const KINDS: Readonly<Record<string, StatementKind>> = {
  select: "read",
  values: "read",
  explain: "read",
  insert: "insert",
  replace: "insert",
  update: "change",
  delete: "change",
  begin: "state",
  commit: "state",
  end: "state",
  rollback: "state",
  savepoint: "state",
  release: "state",
  attach: "state",
  detach: "state",
};

/** Each blank for itself: runs of them inside a repetition take time without end where no word follows. */
const FIRST_WORD = /^(?:\s|--[^\n]*\n|\/\*(?:[^*]|\*(?!\/))*\*\/|;)*([a-z]+)/i;
const RETURNING = /\breturning\b/i;

/** The statement cannot change anything, by its first word. */
export function isRead(sql: string): boolean {
  return kindOf(sql) === "read";
}

export function kindOf(sql: string): StatementKind {
  const word = FIRST_WORD.exec(sql)?.[1]?.toLowerCase() ?? "";
  if (word === "with")
    return RETURNING.test(sql) || /\)\s*(?:insert|update|delete|replace)\b/i.test(sql) ? "change" : "read";
  if (word === "pragma") return kindOfPragma(sql);
  return KINDS[word] ?? "other";
}

const PRAGMA_WITH_VALUE = /\bpragma\s+(?:\w+\s*\.\s*)?(\w+)\s*[=(]/i;

/** Pragmas whose value asks about something, or ends with the statement or the transaction. */
const HARMLESS_PRAGMAS: ReadonlySet<string> = new Set([
  "defer_foreign_keys",
  "foreign_key_check",
  "foreign_key_list",
  "incremental_vacuum",
  "index_info",
  "index_list",
  "index_xinfo",
  "integrity_check",
  "optimize",
  "quick_check",
  "table_info",
  "table_list",
  "table_xinfo",
  "wal_checkpoint",
]);

function kindOfPragma(sql: string): StatementKind {
  const name = PRAGMA_WITH_VALUE.exec(sql)?.[1]?.toLowerCase();
  return name === undefined || HARMLESS_PRAGMAS.has(name) ? "read" : "state";
}
