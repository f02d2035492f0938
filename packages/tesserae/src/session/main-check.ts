/**
 * The check of statements on main: only global tables, reference tables and CTEs can be named, in poor man's mode too, where a
 * federated table would be found in the same database. Nothing is changed, and nothing but the tables' names is looked at: on main there is no key to
 * keep to. Raw SQL passes, as far as it names no federated table plainly.
 */
import type { FunctionNode, OperationNode, QueryNode, RawNode, RootOperationNode, TableNode } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { SchemaModel } from "../schema/model.ts";
import type { CteScope } from "./expression-walk.ts";
import { tableName } from "./source-walk.ts";

const TABLE_IN_RAW = /\b(?:from|join|into|update|table)\s+["`]?(\w+)/gi;

/**
 * Gives the statement back. Raises TABLE_NOT_HERE for a table that does not live on main, and STATEMENT_REFUSED for DDL that is not raw, each with what to write
 * instead.
 */
export function checkMainQuery(node: RootOperationNode, schema: SchemaModel): RootOperationNode {
  switch (node.kind) {
    case "SelectQueryNode":
    case "InsertQueryNode":
    case "UpdateQueryNode":
    case "DeleteQueryNode":
    case "MergeQueryNode":
    case "RawNode":
      check(node, schema, undefined);
      return node;
    default:
      throw new TesseraeError(
        "STATEMENT_REFUSED",
        `A ${node.kind} is refused: tables are made and changed by fed.schema.apply(), so that every server has them. What the schema cannot say, send as raw SQL: sql\`…\`.execute(fed.main).`,
        { cluster: "main" },
      );
  }
}

function check(node: OperationNode, schema: SchemaModel, ctes: CteScope | undefined): void {
  switch (node.kind) {
    // Names and values: a table in a reference is one that FROM names.
    case "ReferenceNode":
    case "ColumnNode":
    case "ValueNode":
    case "PrimitiveValueListNode":
    case "OperatorNode":
    case "IdentifierNode":
    case "SelectAllNode":
    case "SelectModifierNode":
    case "CommonTableExpressionNameNode":
      return;
    case "TableNode":
      checkTable(node as TableNode, schema, ctes);
      return;
    case "RawNode":
      checkRaw(node as RawNode, schema);
      break;
    case "FunctionNode":
    case "AggregateFunctionNode":
      checkChildren(withoutRows(node as FunctionNode), schema, ctes);
      return;
    case "SelectQueryNode":
    case "InsertQueryNode":
    case "UpdateQueryNode":
    case "DeleteQueryNode":
    case "MergeQueryNode":
      checkChildren(node, schema, checkWith(node as QueryNode, schema, ctes));
      return;
    default:
  }
  checkChildren(node, schema, ctes);
}

/** The CTEs in scope inside the query; each sees those before it. */
function checkWith(node: QueryNode, schema: SchemaModel, ctes: CteScope | undefined): CteScope | undefined {
  let scope = ctes;
  for (const cte of node.with?.expressions ?? []) {
    const within: CteScope = { name: cte.name.table.table.identifier.name, outer: scope };
    check(cte.expression, schema, node.with?.recursive === true ? within : scope);
    scope = within;
  }
  return scope;
}

function checkChildren(node: OperationNode, schema: SchemaModel, ctes: CteScope | undefined): void {
  for (const property in node) {
    if (property === "with") continue;
    const value = (node as unknown as Record<string, unknown>)[property];
    if (typeof value !== "object" || value === null) continue;
    if (!Array.isArray(value)) check(value as OperationNode, schema, ctes);
    else
      for (const item of value)
        if (typeof item === "object" && item !== null) check(item as OperationNode, schema, ctes);
  }
}

/** `to_json(t)`: a row of a table that FROM names. */
function withoutRows(node: FunctionNode): OperationNode {
  const rest: Record<string, unknown> = { ...node };
  for (const list of ["arguments", "aggregated"]) {
    if (Array.isArray(rest[list]))
      rest[list] = (rest[list] as OperationNode[]).filter((item) => item.kind !== "TableNode");
  }
  return rest as unknown as OperationNode;
}

function checkTable(node: TableNode, schema: SchemaModel, ctes: CteScope | undefined): void {
  const name = tableName(node);
  const plain = node.table.schema === undefined;
  if (plain) for (let scope = ctes; scope !== undefined; scope = scope.outer) if (scope.name === name) return;
  const table = plain ? schema.tables.get(name) : undefined;
  if (table === undefined || table.kind === "federated") throw notOnMain(name, table?.federation);
}

function checkRaw(node: RawNode, schema: SchemaModel): void {
  for (const fragment of node.sqlFragments) {
    for (const [, name] of fragment.matchAll(TABLE_IN_RAW)) {
      const table = schema.tables.get(name as string);
      if (table?.kind === "federated") throw notOnMain(table.name, table.federation);
    }
  }
}

function notOnMain(name: string, federation: string | undefined): TesseraeError {
  const message =
    federation === undefined
      ? `The schema defines no table "${name}" on main. Define it in defineSchema, or send the whole statement as raw SQL: sql\`…\`.execute(fed.main).`
      : `Table "${name}" is federated: its rows live on the shard of their key. Write fed.at(key).selectFrom("${name}").`;
  return new TesseraeError("TABLE_NOT_HERE", message, { cluster: "main", table: name, federation });
}
