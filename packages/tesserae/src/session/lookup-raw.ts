/** Whether a raw statement writes a column that has a lookup, as far as its text tells. */
import type { RootOperationNode } from "kysely";
import type { EngineName } from "../engine/contract.ts";
import type { SchemaModel, TableModel } from "../schema/model.ts";
import { unknownValue, writesLookups, writtenTable } from "./lookup-claims.ts";
import { readStatement, type StatementToken } from "./raw-statement-tokens.ts";

/** Where `update` is no statement's own word. */
const OTHER_UPDATES = /\b(?:for\s+(?:no\s+key\s+)?|on\s+(?:duplicate\s+key\s+)?)update\b/gi;
const INSERTS: ReadonlySet<string> = new Set(["insert", "replace", "merge", "copy", "load"]);
const READS: ReadonlySet<string> = new Set(["select", "values", "table", "show"]);
const ENDS_ASSIGNMENTS: ReadonlySet<string> = new Set(["where", "returning", "from"]);

/** LOOKUP_VALUE_UNKNOWN for a text that does. One that reads, deletes, or sets other columns passes. */
export function refuseLookupText(sql: string, schema: SchemaModel, engine: EngineName): void {
  const table = writtenByText(sql, schema, engine);
  if (table !== undefined)
    throw unknownValue(
      table,
      undefined,
      "A raw statement does not tell. Write it with fed.at(key).insertInto(…) or .updateTable(…)",
    );
}

/** LOOKUP_VALUE_UNKNOWN for an update that sets such a column in a fragment of raw SQL, where its tree does not show it: `set(sql`email`, …)`. */
export function refuseHiddenLookups(
  node: RootOperationNode,
  sql: string,
  schema: SchemaModel,
  engine: EngineName,
): void {
  if (node.kind !== "UpdateQueryNode" || writesLookups(node, schema)) return;
  const table = writtenTable(node, schema);
  const tokens = table && readStatement(sql, engine);
  if (table === undefined || tokens === undefined) return;
  const column = table.lookups.find((name) => isAssigned(tokens, name));
  if (column !== undefined)
    throw unknownValue(
      table,
      column,
      "A fragment of raw SQL sets it. Name the column: .set({ column: value })",
    );
}

function writtenByText(sql: string, schema: SchemaModel, engine: EngineName): TableModel | undefined {
  const tables = [...schema.tables.values()].filter(({ lookups }) => lookups.length > 0);
  if (tables.length === 0) return undefined;
  const tokens = readStatement(sql, engine);
  if (tokens === undefined) return writtenByUnreadText(sql, tables);
  if (onlyReads(tokens)) return undefined;
  const inserts = tokens.some(
    ({ kind, text }, at) => kind === "word" && INSERTS.has(text) && tokens[at + 1]?.text !== "(",
  );
  return tables.find(
    (table) =>
      tokens.some((token) => isNamed(token, table.name)) &&
      (inserts || table.lookups.some((column) => isAssigned(tokens, column))),
  );
}

/** The text of an engine's own dialect that is not understood here: the words alone tell. */
function writtenByUnreadText(sql: string, tables: readonly TableModel[]): TableModel | undefined {
  const text = sql.replace(OTHER_UPDATES, " ");
  const inserts = /\b(?:insert|replace|merge|copy|load)\b(?!\s*\()/i.test(text);
  if (!inserts && !/\bupdate\b/i.test(text)) return undefined;
  const named = (name: string) => new RegExp(`\\b${name}\\b`, "i").test(text);
  return tables.find(({ name, lookups }) => named(name) && (inserts || lookups.some(named)));
}

function onlyReads(tokens: readonly StatementToken[]): boolean {
  const first = tokens.find(({ text }) => text !== "(");
  if (first?.kind !== "word") return false;
  // `explain analyze` runs what it explains.
  if (first.text === "explain") return !tokens.some(({ text }) => text === "analyze" || text === "analyse");
  return READS.has(first.text);
}

/** `set email = …`, `set a = …, t.email = …`, `set (a, email) = …`. */
function isAssigned(tokens: readonly StatementToken[], column: string): boolean {
  return tokens.some(
    ({ kind, text }, at) => kind === "word" && text === "set" && isAmongAssignments(tokens, at, column),
  );
}

function isAmongAssignments(tokens: readonly StatementToken[], set: number, column: string): boolean {
  const { depth } = tokens[set] as StatementToken;
  let isTarget = true;
  for (const token of tokens.slice(set + 1)) {
    if (token.depth < depth) return false;
    if (token.kind === "word" && token.depth === depth && ENDS_ASSIGNMENTS.has(token.text)) return false;
    if (token.depth === depth && token.text === "=") isTarget = false;
    else if (token.depth === depth && token.text === ",") isTarget = true;
    else if (isTarget && isNamed(token, column)) return true;
  }
  return false;
}

function isNamed({ kind, text }: StatementToken, name: string): boolean {
  return (kind === "word" || kind === "name") && text === name.toLowerCase();
}
