/**
 * What a select names, from the tree that DuckDB itself makes of it. Every text in the tree counts as a name, so that too much is read rather than too little; where columns
 * can be meant without being named, all are.
 */
import type { NamedParts } from "../analytical-engine.ts";

interface Found {
  readonly tables: Set<string>;
  /** Tables and whatever stands for one: their name alone means a whole row. */
  readonly relations: Set<string>;
  readonly texts: Set<string>;
  /** The last part of each reference to a column. */
  readonly references: Set<string>;
  meansAll: boolean;
}

/** `tree` is what `json_serialize_sql` gives. */
export function namedPartsOf(tree: unknown): NamedParts {
  const found: Found = {
    tables: new Set(),
    relations: new Set(),
    texts: new Set(),
    references: new Set(),
    meansAll: false,
  };
  walk(tree, found);
  const meansRow = [...found.references].some((name) => found.relations.has(name));
  return { tables: found.tables, columns: found.meansAll || meansRow ? undefined : found.texts };
}

function walk(node: unknown, found: Found): void {
  if (typeof node === "string") {
    found.texts.add(node.toLowerCase());
    return;
  }
  if (typeof node !== "object" || node === null) return;
  if (!Array.isArray(node)) look(node as Record<string, unknown>, found);
  for (const value of Object.values(node)) walk(value, found);
}

function look(node: Record<string, unknown>, found: Found): void {
  const { alias, table_name: table, column_names: reference } = node;
  if (typeof alias === "string" && alias !== "") found.relations.add(alias.toLowerCase());
  if (node["type"] === "BASE_TABLE" && typeof table === "string") {
    found.tables.add(table.toLowerCase());
    found.relations.add(table.toLowerCase());
  }
  const last = Array.isArray(reference) ? reference.at(-1) : undefined;
  if (typeof last === "string") found.references.add(last.toLowerCase());
  if (meansColumnsUnnamed(node)) found.meansAll = true;
}

/** `*`, `columns(…)`, a natural join, a pivot, `summarize`, and columns that are renamed by their position. */
function meansColumnsUnnamed(node: Record<string, unknown>): boolean {
  const { class: kind, type, ref_type: join, column_name_alias: renamed } = node;
  if (kind === "STAR" || type === "PIVOT" || type === "SHOW_REF" || join === "NATURAL") return true;
  return Array.isArray(renamed) && renamed.length > 0;
}
