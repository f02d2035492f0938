/** Whether a raw statement writes a column that has a lookup, as far as its text tells. */
import type { SchemaModel, TableModel } from "../schema/model.ts";
import { unknownValue } from "./lookup-claims.ts";

/** Where `update` is no statement's own word. */
const OTHER_UPDATES = /\b(?:for\s+(?:no\s+key\s+)?|on\s+(?:duplicate\s+key\s+)?)update\b/gi;
const READS = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/|\()*(?:select|values|table|explain|show)\b/i;
const INSERTS = /\b(?:insert|replace|merge|copy|load)\b(?!\s*\()/i;

/** LOOKUP_VALUE_UNKNOWN for a text that does. One that reads, deletes, or sets other columns passes. */
export function refuseLookupText(sql: string, schema: SchemaModel): void {
  const table = writtenByText(sql, schema);
  if (table !== undefined)
    throw unknownValue(
      table,
      undefined,
      "A raw statement does not tell. Write it with fed.at(key).insertInto(…) or .updateTable(…)",
    );
}

function writtenByText(sql: string, schema: SchemaModel): TableModel | undefined {
  if (READS.test(sql)) return undefined;
  const text = sql.replace(OTHER_UPDATES, " ");
  const inserts = INSERTS.test(text);
  if (!inserts && !/\bupdate\b/i.test(text)) return undefined;
  for (const table of schema.tables.values()) {
    if (table.lookups.length === 0 || !new RegExp(`\\b${table.name}\\b`, "i").test(text)) continue;
    if (inserts || table.lookups.some((column) => isAssigned(text, column))) return table;
  }
  return undefined;
}

/** `set email = …`, or `…, email = …` before the condition begins. */
function isAssigned(text: string, column: string): boolean {
  const assignments = text.match(/\bset\b[\s\S]*?(?=\bwhere\b|\breturning\b|$)/gi) ?? [];
  const target = new RegExp(
    `(?:\\bset|[,(])\\s*(?:["\`\\w]+\\s*\\.\\s*)?["\`]?${column}["\`]?\\s*(?:=|,|\\))`,
    "i",
  );
  return assignments.some((assignment) => target.test(assignment));
}
