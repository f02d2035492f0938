/**
 * Derives logical types over a statement's tree: which sources its names mean, through aliases, CTEs, derived tables and outer queries, which
 * columns its result has, and what its values are inserted or set into.
 */
import type {
  AliasNode,
  ColumnUpdateNode,
  DeleteQueryNode,
  IdentifierNode,
  InsertQueryNode,
  JoinNode,
  OperationNode,
  ReferenceNode,
  SelectionNode,
  SelectQueryNode,
  TableNode,
  UpdateQueryNode,
  WithNode,
} from "kysely";
import type { SchemaModel } from "../schema/model.ts";
import { columnName, ExpressionInference, type Type } from "./expression-inference.ts";
import { unify } from "./expression-types.ts";
import { unwrap } from "./raw-fragment.ts";
import { type CteTypes, columnsOf, type TypedColumns, TypeScope } from "./type-scope.ts";

export class TypeInference extends ExpressionInference {
  readonly #schema: SchemaModel;
  #ctes: CteTypes | undefined;

  constructor(schema: SchemaModel) {
    super();
    this.#schema = schema;
  }

  override statement(node: OperationNode, expected: readonly Type[] = []): TypedColumns {
    const { outerScope, outerCtes } = { outerScope: this.scope, outerCtes: this.#ctes };
    this.scope = new TypeScope(outerScope);
    try {
      switch (node.kind) {
        case "SelectQueryNode":
          return this.#select(node as SelectQueryNode, expected);
        case "InsertQueryNode":
          return this.#insert(node as InsertQueryNode);
        case "UpdateQueryNode":
          return this.#update(node as UpdateQueryNode);
        case "DeleteQueryNode":
          return this.#delete(node as DeleteQueryNode);
        default:
          this.rest(node, []);
          return [];
      }
    } finally {
      this.scope = outerScope;
      this.#ctes = outerCtes;
    }
  }

  #select(node: SelectQueryNode, expected: readonly Type[]): TypedColumns {
    this.#with(node.with);
    for (const item of node.from?.froms ?? []) this.#source(item);
    this.#joins(node.joins);
    const columns = this.#selections(node.selections ?? [], expected);
    this.rest(node, ["with", "from", "joins", "selections", "setOperations"]);
    let result = columns;
    for (const operation of node.setOperations ?? []) {
      const inner = unwrap(operation.expression);
      const arm = this.statement(
        inner.kind === "ParensNode" ? (inner as unknown as AliasNode).node : inner,
        expected.length > 0 ? expected : columns.map(({ type }) => type),
      );
      result = result.map(({ name, type }, index) => ({
        name,
        type: type === undefined || arm[index] === undefined ? type : unify([type, arm[index].type]),
      }));
    }
    return result;
  }

  #with(node: WithNode | undefined): void {
    for (const cte of node?.expressions ?? []) {
      const name = cte.name.table.table.identifier.name;
      const named = cte.name.columns?.map((column) => column.column.name);
      const rename = (columns: TypedColumns) =>
        columns.map((column, index) => ({ ...column, name: named?.[index] ?? column.name }));
      const before = this.#ctes;
      const query = unwrap(cte.expression);
      // A recursive query refers to itself with the columns of its first arm.
      if (node?.recursive && query.kind === "SelectQueryNode") {
        const { setOperations: _, ...first } = query as SelectQueryNode;
        this.#ctes = { name, columns: rename(this.statement(first as OperationNode)), outer: before };
      }
      const columns = rename(this.statement(query));
      this.#ctes = { name, columns, outer: before };
    }
  }

  #source(item: OperationNode): void {
    if (item.kind === "TableNode") {
      const name = (item as TableNode).table.identifier.name;
      this.scope.add(name, this.#tableColumns(item as TableNode));
      return;
    }
    if (item.kind !== "AliasNode") {
      this.infer(item);
      return;
    }
    const { node, alias } = item as AliasNode;
    const inner = unwrap(node);
    const name = unwrap(alias).kind === "IdentifierNode" ? (unwrap(alias) as IdentifierNode).name : undefined;
    const query = inner.kind === "ParensNode" ? (inner as unknown as AliasNode).node : inner;
    let columns: TypedColumns = [];
    if (query.kind === "TableNode") columns = this.#tableColumns(query as TableNode);
    else if (query.kind === "SelectQueryNode") columns = this.statement(query);
    else this.infer(inner);
    if (name !== undefined) this.scope.add(name, columns);
  }

  #tableColumns(node: TableNode): TypedColumns {
    const name = node.table.identifier.name;
    for (let cte = this.#ctes; cte !== undefined; cte = cte.outer) if (cte.name === name) return cte.columns;
    const table = this.#schema.tables.get(name);
    return table === undefined ? [] : columnsOf(table);
  }

  #joins(joins: readonly JoinNode[] | undefined): void {
    for (const join of joins ?? []) this.#source(join.table);
    for (const join of joins ?? []) if (join.on !== undefined) this.infer(join.on.on);
  }

  #selections(selections: readonly SelectionNode[], expected: readonly Type[] = []): TypedColumns {
    return selections.flatMap(({ selection }, index) => {
      const node = selection as OperationNode;
      if (node.kind === "SelectAllNode") return this.scope.all(undefined);
      if (node.kind === "ReferenceNode") {
        const { column, table } = node as ReferenceNode;
        if (column.kind === "SelectAllNode") return this.scope.all(table?.table.identifier.name);
      }
      const aliased = node.kind === "AliasNode" ? (node as AliasNode) : undefined;
      const type = this.infer(aliased?.node ?? node, expected[index]);
      const name =
        aliased === undefined ? columnName(unwrap(node)) : (unwrap(aliased.alias) as IdentifierNode).name;
      return [{ name: name ?? "", type }];
    });
  }

  #insert(node: InsertQueryNode): TypedColumns {
    this.#with(node.with);
    const target = node.into as OperationNode | undefined;
    const inner = target?.kind === "AliasNode" ? unwrap((target as AliasNode).node) : target;
    const table = inner?.kind === "TableNode" ? (inner as TableNode) : undefined;
    const columns = table === undefined ? [] : this.#schemaColumns(table);
    const types =
      node.columns?.map((column) => columns.find(({ name }) => name === column.column.name)?.type) ?? [];
    const values = node.values === undefined ? undefined : unwrap(node.values);
    if (values?.kind === "ValuesNode")
      for (const row of (values as unknown as { readonly values: readonly OperationNode[] }).values)
        this.list(row, types);
    else if (values !== undefined) this.statement(values, types);
    if (target !== undefined) this.#source(target);
    this.scope.add("excluded", columns);
    this.#assign(node.onConflict?.updates, columns);
    this.#assign(node.onDuplicateKey?.updates, columns);
    if (node.onConflict !== undefined) this.rest(node.onConflict, ["updates"]);
    return this.#selections(node.returning?.selections ?? []);
  }

  #schemaColumns(node: TableNode): TypedColumns {
    const table = this.#schema.tables.get(node.table.identifier.name);
    return table === undefined ? [] : columnsOf(table);
  }

  #assign(updates: readonly ColumnUpdateNode[] | undefined, columns?: TypedColumns): void {
    for (const { column, value } of updates ?? []) {
      const inner = unwrap(column);
      const name = columnName(inner);
      const type = columns?.find((entry) => entry.name === name)?.type ?? this.infer(column);
      this.infer(value, type);
    }
  }

  #update(node: UpdateQueryNode): TypedColumns {
    this.#with(node.with);
    const tables =
      node.table?.kind === "ListNode"
        ? (node.table as unknown as { readonly items: readonly OperationNode[] }).items
        : [node.table];
    for (const table of tables) if (table !== undefined) this.#source(table);
    for (const item of node.from?.froms ?? []) this.#source(item);
    this.#joins(node.joins);
    this.#assign(node.updates);
    this.rest(node, ["with", "table", "from", "joins", "updates", "returning"]);
    return this.#selections(node.returning?.selections ?? []);
  }

  #delete(node: DeleteQueryNode): TypedColumns {
    this.#with(node.with);
    for (const item of [...node.from.froms, ...(node.using?.tables ?? [])]) this.#source(item);
    this.#joins(node.joins);
    this.rest(node, ["with", "from", "using", "joins", "returning"]);
    return this.#selections(node.returning?.selections ?? []);
  }
}
