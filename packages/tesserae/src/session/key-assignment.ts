/**
 * Assignments of UPDATE, ON CONFLICT and ON DUPLICATE KEY: each names a column of the schema, none changes the distribution column. One that
 * gives it the value it has is taken out, so that nobody needs to strip the key from a row read before.
 */
import type { ColumnNode, ColumnUpdateNode, OperationNode, ReferenceNode, ValueNode } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import { unwrap } from "./raw-fragment.ts";
import { refuseRaw } from "./raw-tokens.ts";
import { type Source, tableName } from "./source-walk.ts";
import type { TenantScope } from "./tenant-scope.ts";

export function checkAssignments(
  updates: readonly ColumnUpdateNode[],
  sources: readonly Source[],
  scope: TenantScope,
): readonly ColumnUpdateNode[] {
  const kept = updates.filter((update) => !isKeyItself(update, sources, scope));
  // A statement needs an assignment: `set user_id = user_id` alone is an idiom for touching a row.
  return kept.length === updates.length || kept.length === 0 ? updates : kept;
}

/** True for an assignment of the key's own value to the distribution column. */
function isKeyItself(update: ColumnUpdateNode, sources: readonly Source[], scope: TenantScope): boolean {
  const { name, qualifier } = assignedColumn(update.column);
  const table = assignedTable(name, qualifier, sources);
  const place = { federation: scope.federation, table: table.name, column: name };
  if (table.kind !== "federated") {
    throw new TesseraeError(
      "REFERENCE_READ_ONLY",
      `Table "${table.name}" is a reference table: each shard holds a copy, which is read only. Write it with fed.main.`,
      place,
    );
  }
  if (!table.column.has(name)) throw unknownColumn(table.name, name, scope.federation);
  if (name !== table.keyColumn) return false;
  if (isSameKey(unwrap(update.value), name, [...sources.map((source) => source.alias), "excluded"], scope))
    return true;
  throw new TesseraeError(
    "KEY_IMMUTABLE",
    `Column "${name}" of table "${table.name}" is the distribution column: the key of a row never changes. Insert the row under the other key, with fed.at(otherKey), and delete this one.`,
    place,
  );
}

export function unknownColumn(table: string, column: string, federation: string): TesseraeError {
  return new TesseraeError(
    "COLUMN_UNKNOWN",
    `Table "${table}" has no column "${column}". Correct the name (its case counts), or add the column to the schema.`,
    { federation, table, column },
  );
}

function isSameKey(
  value: OperationNode,
  keyColumn: string,
  aliases: readonly string[],
  scope: TenantScope,
): boolean {
  if (value.kind === "ValueNode") return scope.sameKey((value as ValueNode).value);
  if (value.kind !== "ReferenceNode") return false;
  const { column, table } = value as ReferenceNode;
  const name = column.kind === "ColumnNode" ? (column as ColumnNode).column.name : undefined;
  return (
    name === keyColumn && (table === undefined ? aliases.length <= 2 : aliases.includes(tableName(table)))
  );
}

function assignedColumn(node: OperationNode): {
  readonly name: string;
  readonly qualifier: string | undefined;
} {
  const inner = unwrap(node);
  if (inner.kind === "ColumnNode") return { name: (inner as ColumnNode).column.name, qualifier: undefined };
  const { column, table } = inner as ReferenceNode;
  if (inner.kind !== "ReferenceNode" || column.kind !== "ColumnNode" || table?.table.schema !== undefined)
    throw refuseRaw("the column of an assignment; name it: .set({ column: value })");
  return {
    name: (column as ColumnNode).column.name,
    qualifier: table === undefined ? undefined : tableName(table),
  };
}

function assignedTable(name: string, qualifier: string | undefined, sources: readonly Source[]) {
  const candidates =
    qualifier === undefined ? sources : sources.filter((source) => source.alias === qualifier);
  // Without a qualifier, the column belongs to the one table that has it.
  const having =
    candidates.length === 1
      ? candidates
      : candidates.filter(({ table }) => table === undefined || table.column.has(name));
  const [only] = having;
  if (having.length === 1 && only?.table !== undefined) return only.table;
  throw new TesseraeError(
    "STATEMENT_REFUSED",
    `The assignment to "${qualifier === undefined ? name : `${qualifier}.${name}`}" does not say which table it changes. Write it with the table's alias: .set("alias.${name}", value).`,
    { column: name },
  );
}
