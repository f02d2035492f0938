/**
 * Which values a statement gives to columns that have a lookup: what must be claimed in main before the statement's transaction commits. Pure.
 *
 * Every value that a statement may write counts, also one of a row that `on conflict` leaves out. What only the database would know is refused:
 * LOOKUP_VALUE_UNKNOWN.
 */
import type {
  AliasNode,
  ColumnUpdateNode,
  InsertQueryNode,
  ListNode,
  OperationNode,
  PrimitiveValueListNode,
  ReferenceNode,
  RootOperationNode,
  TableNode,
  UpdateQueryNode,
  ValueListNode,
  ValueNode,
  ValuesNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { ColumnModel, SchemaModel, TableModel } from "../schema/model.ts";
import { columnName } from "./expression-inference.ts";
import { isNode } from "./parameter-order.ts";
import { unwrap } from "./raw-fragment.ts";
import { tableName } from "./source-walk.ts";

/** A value of a lookup's column, as the statement gives it. */
export interface WrittenValue {
  readonly table: TableModel;
  readonly column: ColumnModel;
  readonly value: unknown;
}

const WRITES: ReadonlySet<string> = new Set(["InsertQueryNode", "UpdateQueryNode", "MergeQueryNode"]);

/**
 * Whether a statement may write a lookup's column: asked once for each text. Refuses one in which a query in WITH does, since such a query's rows are nobody's
 * before it runs.
 */
export function writesLookups(node: RootOperationNode, schema: SchemaModel): boolean {
  if (node.kind === "RawNode") return false;
  const nested = "with" in node && node.with !== undefined ? writtenWithin(node.with, schema) : undefined;
  if (nested !== undefined)
    throw unknownValue(nested, undefined, "A query in WITH writes it. Write it in a statement of its own");
  if (node.kind === "UpdateQueryNode") refuseSeveral(node as UpdateQueryNode, schema);
  const table = writtenTable(node, schema);
  if (table === undefined) return false;
  if (node.kind === "MergeQueryNode")
    throw unknownValue(table, undefined, "A merge writes it. Insert or update its rows");
  if (node.kind === "InsertQueryNode") return true;
  return ((node as UpdateQueryNode).updates ?? []).some((update) => lookupOf(update, table) !== undefined);
}

export function writtenTable(node: OperationNode, schema: SchemaModel): TableModel | undefined {
  if (!WRITES.has(node.kind)) return undefined;
  const { into, table } = node as { readonly into?: OperationNode; readonly table?: OperationNode };
  let target = unwrap((into ?? table) as OperationNode);
  if (target.kind === "AliasNode") target = unwrap((target as AliasNode).node);
  if (target.kind !== "TableNode") return undefined;
  const model = schema.tables.get(tableName(target as TableNode));
  return model === undefined || model.lookups.length === 0 ? undefined : model;
}

/** An update of several tables at once (MariaDB): which of them an assignment means is not looked into. */
function refuseSeveral(node: UpdateQueryNode, schema: SchemaModel): void {
  const listed = node.table?.kind === "ListNode" ? (node.table as unknown as ListNode).items : [];
  const joined = (node.joins ?? []).map((join) => join.table);
  for (const item of [...listed, ...joined]) {
    const inner = unwrap(item.kind === "AliasNode" ? (item as AliasNode).node : item);
    const table = inner.kind === "TableNode" ? schema.tables.get(tableName(inner as TableNode)) : undefined;
    const update = table && node.updates?.find((candidate) => lookupOf(candidate, table) !== undefined);
    if (table !== undefined && update !== undefined)
      throw unknownValue(
        table,
        lookupOf(update, table)?.name,
        "An update of several tables sets it. Update this table alone",
      );
  }
}

/** A table with lookups that a statement somewhere within writes. */
function writtenWithin(node: OperationNode, schema: SchemaModel): TableModel | undefined {
  const own = writtenTable(node, schema);
  if (own !== undefined) return own;
  for (const property in node) {
    const child = (node as unknown as Record<string, unknown>)[property];
    for (const item of Array.isArray(child) ? child : [child]) {
      const found = isNode(item) ? writtenWithin(item, schema) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** The values that the statement gives to columns with a lookup; null ones are nobody's. `resolve` turns what stands in the tree into the value. */
export function writtenValues(
  node: RootOperationNode,
  schema: SchemaModel,
  resolve: (value: unknown) => unknown = (value) => value,
): WrittenValue[] {
  const table = writtenTable(node, schema);
  if (table === undefined) return [];
  const found: WrittenValue[] = [];
  const add = (column: ColumnModel, value: unknown) => {
    const resolved = resolve(value);
    if (resolved !== null && resolved !== undefined) found.push({ table, column, value: resolved });
  };
  if (node.kind === "InsertQueryNode") insertedValues(node as InsertQueryNode, table, add);
  else assignedValues((node as UpdateQueryNode).updates ?? [], table, add);
  return found;
}

type Add = (column: ColumnModel, value: unknown) => void;

function insertedValues(node: InsertQueryNode, table: TableModel, add: Add): void {
  const rows = node.values === undefined ? undefined : unwrap(node.values);
  if (rows?.kind !== "ValuesNode")
    throw unknownValue(
      table,
      undefined,
      "The rows of a query are inserted. Read them first and insert them with .values([…])",
    );
  const names = node.columns?.map((column) => column.column.name) ?? [];
  for (const name of table.lookups) {
    const column = table.column.get(name) as ColumnModel;
    const position = names.indexOf(name);
    for (const row of (rows as ValuesNode).values) add(column, insertedValue(row, position, table, column));
  }
  const updates = node.onConflict?.updates ?? node.onDuplicateKey?.updates ?? [];
  // `email = excluded.email`: one of the values above.
  const others = updates.filter((update) => !isExcluded(unwrap(update.value), lookupOf(update, table)?.name));
  assignedValues(others, table, add);
}

function insertedValue(
  row: PrimitiveValueListNode | ValueListNode,
  position: number,
  table: TableModel,
  column: ColumnModel,
): unknown {
  const fallback = column.default?.kind === "value" ? column.default.value : null;
  if (position < 0) return fallback;
  if (row.kind === "PrimitiveValueListNode") return row.values[position];
  const value = unwrap(row.values[position] as OperationNode);
  if (value.kind === "DefaultInsertValueNode") return fallback;
  return givenValue(value, table, column);
}

function assignedValues(updates: readonly ColumnUpdateNode[], table: TableModel, add: Add): void {
  for (const update of updates) {
    const column = lookupOf(update, table);
    if (column !== undefined) add(column, givenValue(unwrap(update.value), table, column));
  }
}

function givenValue(value: OperationNode, table: TableModel, column: ColumnModel): unknown {
  if (value.kind === "ValueNode") return (value as ValueNode).value;
  throw unknownValue(
    table,
    column.name,
    "It is an expression. Compute the value in the application and give it as such",
  );
}

function lookupOf(update: ColumnUpdateNode, table: TableModel): ColumnModel | undefined {
  const name = columnName(unwrap(update.column));
  return name !== undefined && table.lookups.includes(name) ? table.column.get(name) : undefined;
}

function isExcluded(value: OperationNode, column: string | undefined): boolean {
  if (column === undefined || value.kind !== "ReferenceNode" || columnName(value) !== column) return false;
  const { table } = value as ReferenceNode;
  return table !== undefined && tableName(table) === "excluded";
}

export function unknownValue(table: TableModel, column: string | undefined, what: string): TesseraeError {
  const columns = column ?? table.lookups.join('", "');
  return new TesseraeError(
    "LOOKUP_VALUE_UNKNOWN",
    `Table "${table.name}" is looked up by "${columns}", so that main must know the value before it is written. ${what}.`,
    { federation: table.federation, table: table.name, column: column ?? table.lookups[0] },
  );
}
