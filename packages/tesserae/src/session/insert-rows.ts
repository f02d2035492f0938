/**
 * Inserted rows carry the session's key: the distribution column is filled where it is left out, and a value given for it must be the
 * key. In a list of values it becomes the first column. In an insert of a query's rows it becomes the last one, so that a position in the query's
 * `order by 1` keeps its meaning.
 */
import type {
  AliasNode,
  ColumnNode,
  ColumnUpdateNode,
  InsertQueryNode,
  OnConflictNode,
  OperationNode,
  PrimitiveValueListNode,
  RawNode,
  ReferenceNode,
  SelectionNode,
  SelectQueryNode,
  ValueListNode,
  ValueNode,
  ValuesNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { TableModel } from "../schema/model.ts";
import { refuse } from "./expression-walk.ts";
import { checkAssignments, unknownColumn } from "./key-assignment.ts";
import { mapList, type Visit, withProperty } from "./node-children.ts";
import { checkFragment, hasStar, unwrap } from "./raw-fragment.ts";
import { refuseRaw } from "./raw-tokens.ts";
import { tableName } from "./source-walk.ts";
import type { TenantScope } from "./tenant-scope.ts";

interface Walks {
  readonly walk: Visit;
  assignments(updates: readonly ColumnUpdateNode[]): readonly ColumnUpdateNode[];
}

/** A query's rows, where a plain further column would not do. */
const ROWS_NAME = "tesserae_rows";

const ONE = { kind: "ValueNode", value: 1, immediate: true };
const ALWAYS = {
  kind: "BinaryOperationNode",
  leftOperand: ONE,
  operator: { kind: "OperatorNode", operator: "=" },
  rightOperand: ONE,
};

export class InsertRows {
  readonly #scope: TenantScope;
  readonly #key: OperationNode;

  constructor(scope: TenantScope, key: OperationNode) {
    this.#scope = scope;
    this.#key = key;
  }

  complete(node: InsertQueryNode, table: TableModel, alias: string, walks: Walks): InsertQueryNode {
    let copy = this.#source(node, table, walks);
    const targets = [{ alias, table }];
    if (copy.onConflict !== undefined)
      copy = withProperty(copy, "onConflict", this.#onConflict(copy.onConflict, table, alias, walks));
    if (copy.onDuplicateKey !== undefined) {
      const updates = checkAssignments(walks.assignments(copy.onDuplicateKey.updates), targets, this.#scope);
      copy = withProperty(copy, "onDuplicateKey", withProperty(copy.onDuplicateKey, "updates", updates));
    }
    return copy;
  }

  #source(node: InsertQueryNode, table: TableModel, walks: Walks): InsertQueryNode {
    const keyColumn = table.keyColumn as string;
    if (node.values === undefined) {
      if (node.defaultValues !== true && node.columns !== undefined)
        throw refuse(`The insert into "${table.name}" has no rows. Write .values({ … }).`, table.name);
      const { defaultValues: _, ...rest } = node;
      return {
        ...rest,
        columns: [columnNode(keyColumn)],
        values: {
          kind: "ValuesNode",
          values: [{ kind: "ValueListNode", values: [this.#key] }],
        } as unknown as OperationNode,
      };
    }
    const columns = node.columns?.map((column) => column.column.name);
    const unknown = columns?.find((name) => !table.column.has(name));
    if (unknown !== undefined) throw unknownColumn(table.name, unknown, this.#scope.federation);
    const position = columns?.indexOf(keyColumn) ?? -1;
    const values = unwrap(node.values);
    if (values.kind === "ValuesNode") return this.#listed(node, table, values as ValuesNode, position, walks);
    if (values.kind === "SelectQueryNode")
      return this.#selected(node, table, values as SelectQueryNode, position, walks);
    throw refuseRaw("the rows of an insert; give them as .values(…), or as a Kysely query in .expression(…)");
  }

  #listed(
    node: InsertQueryNode,
    table: TableModel,
    values: ValuesNode,
    position: number,
    walks: Walks,
  ): InsertQueryNode {
    const { columns } = node;
    if (columns === undefined)
      throw refuse(
        `The insert into "${table.name}" names no columns. Write .values({ column: value }).`,
        table.name,
      );
    const rows = values.values.map((row) => {
      if (row.values.length !== columns.length)
        throw refuse(
          `A row of the insert into "${table.name}" has ${row.values.length} values for ${columns.length} columns. Give each column its value.`,
          table.name,
        );
      return row.kind === "PrimitiveValueListNode"
        ? this.#primitiveRow(row as PrimitiveValueListNode, table, position)
        : this.#expressionRow(row as ValueListNode, table, position, walks);
    });
    return {
      ...node,
      columns: position < 0 ? [columnNode(table.keyColumn as string), ...columns] : columns,
      values: { ...values, values: rows } as ValuesNode,
    };
  }

  #primitiveRow(row: PrimitiveValueListNode, table: TableModel, position: number): PrimitiveValueListNode {
    const { key } = this.#scope;
    if (position < 0) return { ...row, values: [key, ...row.values] };
    const given = row.values[position];
    if (given === key) return row;
    this.#checkKey(given, table);
    return { ...row, values: row.values.with(position, key) };
  }

  #expressionRow(row: ValueListNode, table: TableModel, position: number, walks: Walks): ValueListNode {
    const values = mapList(row.values, walks.walk);
    if (position < 0) return { ...row, values: [this.#key, ...values] };
    const given = unwrap(values[position] as OperationNode);
    if (given.kind === "ValueNode") this.#checkKey((given as ValueNode).value, table);
    else if (given.kind !== "DefaultInsertValueNode") throw this.#mismatch(table, "an expression");
    return { ...row, values: values.with(position, this.#key) };
  }

  #checkKey(value: unknown, table: TableModel): void {
    if (!this.#scope.sameKey(value)) throw this.#mismatch(table, "another value");
  }

  #mismatch(table: TableModel, what: string): TesseraeError {
    const { federation } = this.#scope;
    return new TesseraeError(
      "KEY_MISMATCH",
      `The insert into "${table.name}" gives its distribution column "${table.keyColumn}" ${what} than the session's key. Leave the column out, it fills itself; rows of another key are inserted with fed.at(thatKey).`.replace(
        "an expression than",
        "an expression, not",
      ),
      { federation, table: table.name, column: table.keyColumn },
    );
  }

  #selected(
    node: InsertQueryNode,
    table: TableModel,
    query: SelectQueryNode,
    position: number,
    walks: Walks,
  ): InsertQueryNode {
    const { columns } = node;
    if (columns === undefined)
      throw selectColumns(table, "names no columns. Write .columns([…]) before .expression(…)");
    for (const arm of arms(query)) {
      this.#checkSelections(arm, columns.length, table);
      if (position >= 0) this.#checkSelectedKey(arm, position, table);
    }
    const walked = walks.walk(query) as SelectQueryNode;
    if (position >= 0) return withProperty(node, "values", walked);
    const completed = [...columns, columnNode(table.keyColumn as string)];
    return {
      ...node,
      columns: completed,
      values: isPlain(walked) ? this.#withKeySelected(walked) : this.#wrapped(walked, columns),
    };
  }

  #withKeySelected(query: SelectQueryNode): SelectQueryNode {
    return {
      ...query,
      selections: [
        ...(query.selections ?? []),
        { kind: "SelectionNode", selection: this.#key } as unknown as SelectionNode,
      ],
    };
  }

  /**
   * `with tesserae_rows(a, b) as (…) select a, b, key from tesserae_rows`: in an arm of a union, or beside `distinct`, PostgreSQL would take the
   * key's parameter for text. The condition that always holds keeps SQLite from reading a following `on conflict` as a join's ON.
   */
  #wrapped(query: SelectQueryNode, columns: readonly ColumnNode[]): SelectQueryNode {
    const table = tableNode(ROWS_NAME);
    return {
      kind: "SelectQueryNode",
      with: {
        kind: "WithNode",
        expressions: [
          {
            kind: "CommonTableExpressionNode",
            name: { kind: "CommonTableExpressionNameNode", table, columns },
            expression: query,
          },
        ],
      },
      from: { kind: "FromNode", froms: [table] },
      where: { kind: "WhereNode", where: ALWAYS },
      selections: [
        ...columns.map((column) => ({ kind: "SelectionNode", selection: { kind: "ReferenceNode", column } })),
        { kind: "SelectionNode", selection: this.#key },
      ],
    } as unknown as SelectQueryNode;
  }

  /** As many columns are selected as the insert names: one for each selection. */
  #checkSelections(arm: SelectQueryNode, count: number, table: TableModel): void {
    const selections = arm.selections ?? [];
    for (const selection of selections) {
      const node = selected(selection);
      if (isStar(node)) throw selectColumns(table, "selects *. Select each column by name");
      if (node.kind === "RawNode") checkFragment(node as RawNode, this.#scope.schema, { commas: false });
    }
    if (selections.length !== count)
      throw selectColumns(
        table,
        `names ${count} columns, and its query selects ${selections.length}. Select one for each`,
      );
  }

  /** A selection in the distribution column's place is the key, or the distribution column of a table that the arm reads. */
  #checkSelectedKey(arm: SelectQueryNode, position: number, table: TableModel): void {
    const selection = selected(arm.selections?.[position] as SelectionNode);
    if (selection.kind === "ValueNode") {
      this.#checkKey((selection as ValueNode).value, table);
      return;
    }
    const { column, table: qualifier } = selection as ReferenceNode;
    const name =
      selection.kind === "ReferenceNode" && column.kind === "ColumnNode"
        ? (column as ColumnNode).column.name
        : undefined;
    const sources = [...(arm.from?.froms ?? []), ...(arm.joins ?? []).map((join) => join.table)];
    const found = sources.filter((item) => qualifier === undefined || aliasOf(item) === tableName(qualifier));
    const only = found.length === 1 ? this.#federatedTable(found[0] as OperationNode, arm) : undefined;
    if (name === undefined || only === undefined || only.keyColumn !== name)
      throw this.#mismatch(table, "an expression");
  }

  #federatedTable(item: OperationNode, arm: SelectQueryNode): TableModel | undefined {
    const node = item.kind === "AliasNode" ? unwrap((item as AliasNode).node) : item;
    if (node.kind !== "TableNode" || arm.from === undefined) return undefined;
    const table = this.#scope.schema.tables.get(
      (node as unknown as { readonly table: { readonly identifier: { readonly name: string } } }).table
        .identifier.name,
    );
    return table?.kind === "federated" ? table : undefined;
  }

  /** Every unique key of a federated table carries the distribution column, so the target of a conflict does too. */
  #onConflict(node: OnConflictNode, table: TableModel, alias: string, walks: Walks): OnConflictNode {
    let copy = node;
    const keyColumn = table.keyColumn as string;
    if (copy.columns !== undefined && !copy.columns.some((column) => column.column.name === keyColumn))
      copy = { ...copy, columns: [columnNode(keyColumn), ...copy.columns] };
    if (copy.updates === undefined) return copy;
    return withProperty(
      copy,
      "updates",
      checkAssignments(walks.assignments(copy.updates), [{ alias, table }], this.#scope),
    );
  }
}

/** The query and those of its set operations. */
function arms(query: SelectQueryNode): SelectQueryNode[] {
  const rest = (query.setOperations ?? []).flatMap((operation) => {
    const inner = unwrap(operation.expression);
    const arm =
      inner.kind === "ParensNode" ? (inner as unknown as { readonly node: OperationNode }).node : inner;
    return arm.kind === "SelectQueryNode" ? arms(arm as SelectQueryNode) : [];
  });
  return [query, ...rest];
}

function isStar(node: OperationNode): boolean {
  if (node.kind === "ReferenceNode") return (node as ReferenceNode).column.kind === "SelectAllNode";
  return node.kind === "SelectAllNode" || (node.kind === "RawNode" && hasStar(node as RawNode));
}

function selected(selection: SelectionNode): OperationNode {
  const node = selection.selection as OperationNode;
  return unwrap(node.kind === "AliasNode" ? (node as AliasNode).node : node);
}

/** A query to whose selections a parameter can be added without changing what it means, or how PostgreSQL types it. */
function isPlain(query: SelectQueryNode): boolean {
  return query.setOperations === undefined && query.distinctOn === undefined && !query.frontModifiers?.length;
}

function aliasOf(item: OperationNode): string | undefined {
  const name =
    item.kind === "AliasNode"
      ? unwrap((item as AliasNode).alias)
      : (item as unknown as { readonly table?: { readonly identifier?: OperationNode } }).table?.identifier;
  return (name as unknown as { readonly name?: string } | undefined)?.name;
}

function selectColumns(table: TableModel, problem: string): TesseraeError {
  return new TesseraeError(
    "INSERT_SELECT_COLUMNS",
    `The insert of a query's rows into "${table.name}" ${problem}.`,
    { table: table.name },
  );
}

function columnNode(name: string): ColumnNode {
  return { kind: "ColumnNode", column: { kind: "IdentifierNode", name } } as ColumnNode;
}

function tableNode(name: string): OperationNode {
  return {
    kind: "TableNode",
    table: { kind: "SchemableIdentifierNode", identifier: { kind: "IdentifierNode", name } },
  } as unknown as OperationNode;
}
