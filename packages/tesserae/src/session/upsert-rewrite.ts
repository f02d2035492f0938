/**
 * One form of upsert for all engines: Kysely's `onConflict`. For an engine without it (MariaDB, MySQL) it becomes `on duplicate key update`, where
 * that means the same; that form acts on a conflict with any unique key, not only with the one named. The rest is refused.
 */
import type {
  ColumnNode,
  ColumnUpdateNode,
  InsertQueryNode,
  OnConflictNode,
  OperationNode,
  RawNode,
  ReferenceNode,
  RootOperationNode,
  TableNode,
  ValuesNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { EngineDialect } from "../engine/contract.ts";
import type { SchemaModel, TableModel } from "../schema/model.ts";
import { columnName } from "./expression-inference.ts";
import { isNode } from "./parameter-order.ts";
import { unwrap } from "./raw-fragment.ts";

export interface PortableUpsert {
  readonly node: RootOperationNode;
  /** How many rows the statement writes, where the engine counts otherwise: an updated row twice. */
  readonly rowsWritten: bigint | undefined;
}

/** UPSERT_UNSUPPORTED for what the engine cannot do, or not exactly. */
export function portableUpsert(
  node: RootOperationNode,
  schema: SchemaModel,
  { name, capabilities }: Pick<EngineDialect, "name" | "capabilities">,
): PortableUpsert {
  if (node.kind !== "InsertQueryNode") return { node, rowsWritten: undefined };
  const insert = node as InsertQueryNode;
  const { onConflict, onDuplicateKey } = insert;
  if (capabilities.upsert === "on conflict") {
    if (onDuplicateKey !== undefined)
      throw unsupported(
        `${name} has no ON DUPLICATE KEY UPDATE. Write onConflict((oc) => oc.columns([…]).doUpdateSet({ … })) with the columns of the key, which every engine takes.`,
        insert,
      );
    return { node: withQualifiedColumns(insert, schema), rowsWritten: undefined };
  }
  if (onConflict === undefined) return { node, rowsWritten: undefined };
  const table = schema.tables.get(tableOf(insert) ?? "");
  const updates = new OnDuplicateKey(insert, onConflict, table, name).updates();
  const { onConflict: _, ...rest } = insert;
  return {
    node: { ...rest, onDuplicateKey: { kind: "OnDuplicateKeyNode", updates } } as InsertQueryNode,
    rowsWritten: onConflict.doNothing === true ? undefined : listedRows(insert),
  };
}

class OnDuplicateKey {
  readonly #insert: InsertQueryNode;
  readonly #node: OnConflictNode;
  readonly #table: TableModel | undefined;
  readonly #engine: string;

  constructor(insert: InsertQueryNode, node: OnConflictNode, table: TableModel | undefined, engine: string) {
    this.#insert = insert;
    this.#node = node;
    this.#table = table;
    this.#engine = engine;
  }

  updates(): readonly ColumnUpdateNode[] {
    const { constraint, indexExpression, indexWhere, updateWhere, updates, doNothing } = this.#node;
    if (this.#table === undefined)
      throw this.#refusal("an insert with onConflict into a table that the schema does not define");
    if (constraint !== undefined || indexExpression !== undefined || indexWhere !== undefined)
      throw this.#refusal(
        "a conflict's target that is a constraint's name, an expression or a part of an index. Name the columns: oc.columns([…])",
      );
    if (updateWhere !== undefined)
      throw this.#refusal(
        "a condition on the update of a conflict. Update with the condition, then insert with onConflict((oc) => oc.doNothing()), in one transaction",
      );
    this.#checkTarget(this.#table);
    if (doNothing !== true) return this.#inOrder((updates ?? []).map((update) => this.#withValues(update)));
    if (this.#insert.returning !== undefined)
      throw this.#refusal(
        "doNothing() with returning, which would give the rows that were there as well. Read them in the same transaction instead",
      );
    const key = { kind: "ColumnNode", column: { kind: "IdentifierNode", name: this.#table.primaryKey[0] } };
    return [{ kind: "ColumnUpdateNode", column: key, value: key } as unknown as ColumnUpdateNode];
  }

  /** Any other unique key whose conflict would be taken for the target's. A key that has all of the target's columns finds the same row. */
  #checkTarget(table: TableModel): void {
    const target = this.#node.columns?.map((column) => column.column.name);
    // `do nothing` without a target is about every key, as is MariaDB's form.
    if (target === undefined && this.#node.doNothing === true) return;
    if (target === undefined)
      throw this.#refusal("doUpdateSet without the conflict's columns: oc.columns([…])");
    const keys = [table.primaryKey, ...table.uniques.map(({ columns }) => columns)];
    if (!keys.some((key) => key.length === target.length && key.every((name) => target.includes(name))))
      throw this.#refusal(
        `the columns ${list(target)} as a conflict's target: they are no primary or unique key of "${table.name}". Its keys are ${keys.map(list).join(", ")}`,
      );
    const other = keys.find((key) => !target.every((name) => key.includes(name)));
    if (other !== undefined)
      throw this.#refusal(
        `a conflict's target in "${table.name}", which has another unique key, ${list(other)}: a conflict with it would be taken for one with ${list(target)}. ${
          this.#node.doNothing === true
            ? "Leave the target out, onConflict((oc) => oc.doNothing()), to pass over conflicts with any key"
            : "Update first, and insert where no row was updated, in one transaction"
        }`,
      );
  }

  /** `excluded.column` is `values(column)` here. */
  #withValues(update: ColumnUpdateNode): ColumnUpdateNode {
    return { ...update, value: this.#replaced(update.value) };
  }

  #replaced<T extends OperationNode>(node: T): T {
    if (node.kind === "ReferenceNode") {
      const { table, column } = node as unknown as ReferenceNode;
      if (table?.table.identifier.name !== "excluded") return node;
      return { kind: "FunctionNode", func: "values", arguments: [column] } as unknown as T;
    }
    if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return node;
    if (
      node.kind === "RawNode" &&
      (node as unknown as RawNode).sqlFragments.some((text) => /\bexcluded\b/i.test(text))
    )
      throw this.#refusal(
        'the word "excluded" in raw SQL. Write the column with eb.ref("excluded.column") or sql.ref("excluded.column")',
      );
    const copy: Record<string, unknown> = {};
    for (const property in node) {
      const value = (node as unknown as Record<string, unknown>)[property];
      if (Array.isArray(value))
        copy[property] = value.map((item) => (isNode(item) ? this.#replaced(item) : item));
      else copy[property] = isNode(value) ? this.#replaced(value) : value;
    }
    return copy as unknown as T;
  }

  /** Assignments act one after the other on MariaDB; elsewhere each sees the row as it was. So whatever reads a column comes before what sets it. */
  #inOrder(updates: readonly ColumnUpdateNode[]): readonly ColumnUpdateNode[] {
    const left = updates.map((update) => {
      const reads = new Set<string>();
      collectNames(update.value, reads);
      return { update, column: (columnName(unwrap(update.column)) ?? "").toLowerCase(), reads };
    });
    const ordered: ColumnUpdateNode[] = [];
    while (left.length > 0) {
      const next = left.findIndex(
        ({ column }, index) => !left.some(({ reads }, other) => other !== index && reads.has(column)),
      );
      if (next < 0)
        throw this.#refusal(
          `assignments that read each other's columns (${list(left.map(({ column }) => column))}). Read the row and update it in one transaction`,
        );
      ordered.push(...left.splice(next, 1).map(({ update }) => update));
    }
    return ordered;
  }

  #refusal(what: string): TesseraeError {
    return unsupported(
      `${this.#engine} has no ON CONFLICT, and its ON DUPLICATE KEY UPDATE cannot stand for ${what}.`,
      this.#insert,
    );
  }
}

/** A plain column is the existing row's on SQLite and MariaDB, and ambiguous on PostgreSQL: the table's name says it everywhere. */
function withQualifiedColumns(insert: InsertQueryNode, schema: SchemaModel): InsertQueryNode {
  const { onConflict } = insert;
  const table = schema.tables.get(tableOf(insert) ?? "");
  if (onConflict?.updates === undefined || table === undefined) return insert;
  const into = insert.into as TableNode;
  const updates = onConflict.updates.map((update) => ({
    ...update,
    value: qualified(update.value, into, table),
  }));
  const { updateWhere } = onConflict;
  const condition = updateWhere === undefined ? {} : { updateWhere: qualified(updateWhere, into, table) };
  return { ...insert, onConflict: { ...onConflict, updates, ...condition } };
}

/** A query within has names of its own and stays as it is. */
function qualified<T extends OperationNode>(node: T, into: TableNode, table: TableModel): T {
  if (node.kind === "ReferenceNode") {
    const name = columnName(node);
    const { table: qualifier } = node as unknown as ReferenceNode;
    return qualifier === undefined && table.column.has(name ?? "") ? { ...node, table: into } : node;
  }
  if (/^(?:ValueNode|PrimitiveValueListNode|SelectQueryNode)$/.test(node.kind)) return node;
  let copy: Record<string, unknown> | undefined;
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    const child = (item: unknown) => (isNode(item) ? qualified(item, into, table) : item);
    const changed = Array.isArray(value) ? value.map(child) : child(value);
    const same = Array.isArray(value)
      ? value.every((item, index) => item === (changed as unknown[])[index])
      : changed === value;
    if (!same) copy = { ...(copy ?? node), [property]: changed };
  }
  return (copy ?? node) as T;
}

/** The columns of the row that an expression may read, in lower case. Every word of raw SQL may be one. */
function collectNames(node: OperationNode, names: Set<string>): void {
  if (node.kind === "ValueNode" || node.kind === "PrimitiveValueListNode") return;
  // The proposed row's values stay what they are.
  if (node.kind === "FunctionNode" && (node as unknown as { readonly func: string }).func === "values")
    return;
  if (node.kind === "ColumnNode") names.add((node as ColumnNode).column.name.toLowerCase());
  if (node.kind === "RawNode")
    for (const text of (node as RawNode).sqlFragments)
      for (const word of text.match(/\w+/g) ?? []) names.add(word.toLowerCase());
  for (const property in node) {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) collectNames(item, names);
    } else if (isNode(value)) collectNames(value, names);
  }
}

/** Each row given is inserted or updated. An insert of a query's rows does not tell their number. */
function listedRows({ values }: InsertQueryNode): bigint | undefined {
  const inner = values === undefined ? undefined : unwrap(values);
  return inner?.kind === "ValuesNode" ? BigInt((inner as ValuesNode).values.length) : undefined;
}

function tableOf({ into }: InsertQueryNode): string | undefined {
  const table = into?.table;
  return table?.schema === undefined ? table?.identifier.name : undefined;
}

function list(columns: readonly string[]): string {
  return `(${columns.join(", ")})`;
}

function unsupported(message: string, insert: InsertQueryNode): TesseraeError {
  return new TesseraeError("UPSERT_UNSUPPORTED", message, { table: tableOf(insert), operation: "insert" });
}
