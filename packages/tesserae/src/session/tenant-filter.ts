/**
 * The tenant filter: a statement built on `fed.at(key)` becomes one that sees and touches that key's rows alone, as if each federated table
 * held only them. It works on Kysely's tree, after all plugins and before the compiler, so that `withoutPlugins()` cannot take it off. Where the
 * conditions go is in `statement-walk.ts`, what a fragment of raw SQL may hold in `raw-fragment.ts`, how rows are inserted in `insert-rows.ts`.
 */
import type {
  ColumnUpdateNode,
  InsertQueryNode,
  OperationNode,
  RawNode,
  RootOperationNode,
  TableNode,
} from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { TableModel } from "../schema/model.ts";
import { InsertRows } from "./insert-rows.ts";
import { checkAssignments } from "./key-assignment.ts";
import { checkFragment } from "./raw-fragment.ts";
import { refuseRaw } from "./raw-tokens.ts";
import { type Source, tableName } from "./source-walk.ts";
import { StatementWalk } from "./statement-walk.ts";
import type { TenantScope } from "./tenant-scope.ts";

export { checkMainQuery } from "./main-check.ts";
export { isReadOnly } from "./read-only.ts";
export type { TenantScope } from "./tenant-scope.ts";

/**
 * The statement bound to the scope's key. Raises TABLE_NOT_HERE for a table that does not live with the key, REFERENCE_READ_ONLY,
 * KEY_MISMATCH, KEY_IMMUTABLE, COLUMN_UNKNOWN, INSERT_SELECT_COLUMNS, RAW_REFUSED and STATEMENT_REFUSED, each with what to write instead. Parts that need no change
 * keep their identity.
 */
export function filterForTenant(node: RootOperationNode, scope: TenantScope): RootOperationNode {
  if (node.kind === "RawNode") throw refuseRaw("a whole statement, which is not bound to the key");
  return new TenantFilter(scope).run(node);
}

class TenantFilter extends StatementWalk {
  readonly #scope: TenantScope;
  readonly #rows: InsertRows;
  /** One node for all conditions of the statement. */
  readonly #key: OperationNode;

  constructor(scope: TenantScope) {
    super(scope.schema);
    this.#scope = scope;
    this.#key = { kind: "ValueNode", value: scope.key } as OperationNode;
    this.#rows = new InsertRows(scope, this.#key);
  }

  run(node: RootOperationNode): RootOperationNode {
    return this.statement(node) as RootOperationNode;
  }

  protected override fragment(node: RawNode, commas: boolean): void {
    checkFragment(node, this.schema, { commas });
  }

  protected override source(node: TableNode, alias: string) {
    const name = tableName(node);
    if (node.table.schema === undefined && this.isCte(name)) return NO_CONDITION;
    const table = this.#table(node);
    return {
      table,
      condition: table.kind === "federated" ? this.#isKey(alias, table.keyColumn as string) : undefined,
    };
  }

  /** A CTE is no target: the engines would write the table of that name. */
  protected override target(node: TableNode, alias: string) {
    const table = this.#table(node);
    if (table.kind === "reference") throw readOnly(table, this.#scope.federation);
    return { table, condition: this.#isKey(alias, table.keyColumn as string) };
  }

  protected override updates(
    updates: readonly ColumnUpdateNode[],
    sources: readonly Source[],
  ): readonly ColumnUpdateNode[] {
    return checkAssignments(updates, sources, this.#scope);
  }

  protected override rows(node: InsertQueryNode, table: TableModel, alias: string): InsertQueryNode {
    return this.#rows.complete(node, table, alias, {
      walk: this.visit,
      assignments: (updates) => this.assignments(updates),
    });
  }

  #table(node: TableNode): TableModel {
    const { federation, schema } = this.#scope;
    const table = node.table.schema === undefined ? schema.tables.get(tableName(node)) : undefined;
    if (table !== undefined && (table.kind === "reference" || table.federation === federation)) return table;
    throw notHere(node, table, federation);
  }

  #isKey(alias: string, column: string): OperationNode {
    return {
      kind: "BinaryOperationNode",
      leftOperand: reference(alias, column),
      operator: EQUALS,
      rightOperand: this.#key,
    } as OperationNode;
  }
}

const NO_CONDITION = { table: undefined, condition: undefined };
const EQUALS = Object.freeze({ kind: "OperatorNode", operator: "=" });

function reference(alias: string, column: string): object {
  return {
    kind: "ReferenceNode",
    table: {
      kind: "TableNode",
      table: { kind: "SchemableIdentifierNode", identifier: { kind: "IdentifierNode", name: alias } },
    },
    column: { kind: "ColumnNode", column: { kind: "IdentifierNode", name: column } },
  };
}

function readOnly(table: TableModel, federation: string): TesseraeError {
  return new TesseraeError(
    "REFERENCE_READ_ONLY",
    `Table "${table.name}" is a reference table: each shard holds a copy, which is read only. Write it with fed.main and then call fed.references.publish().`,
    { federation, table: table.name },
  );
}

function notHere(node: TableNode, table: TableModel | undefined, federation: string): TesseraeError {
  const name = tableName(node);
  const place = { federation, table: name };
  const schema = node.table.schema?.name;
  if (schema !== undefined) {
    return new TesseraeError(
      "TABLE_NOT_HERE",
      `Table "${schema}"."${name}" is named with a schema (withSchema, or a point in the name), which a session for one key does not take. Name the table alone: "${name}".`,
      place,
    );
  }
  if (table?.kind === "global") {
    return new TesseraeError(
      "TABLE_NOT_HERE",
      `Table "${name}" is global: it lives on main, not on a shard. Query it with fed.main.selectFrom("${name}") and use the values here.`,
      place,
    );
  }
  if (table !== undefined) {
    return new TesseraeError(
      "TABLE_NOT_HERE",
      `Table "${name}" is federated on "${table.federation}", this session on "${federation}". Use fed.in("${table.federation}").at(key).`,
      place,
    );
  }
  return new TesseraeError(
    "TABLE_NOT_HERE",
    `The schema defines no table "${name}", and no query of that name comes before in .with(…). Define it in defineSchema, or correct the name.`,
    place,
  );
}
