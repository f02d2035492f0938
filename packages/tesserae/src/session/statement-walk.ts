/**
 * The walk over statements: what a statement writes, and that every part of it is known. What a table needs is the subclass's answer (`source`,
 * `target`, `updates`, `rows`).
 */
import type {
  AliasNode,
  ColumnUpdateNode,
  DeleteQueryNode,
  InsertQueryNode,
  OnConflictNode,
  OperationNode,
  OrActionNode,
  SelectQueryNode,
  TableNode,
  UpdateQueryNode,
} from "kysely";
import type { TableModel } from "../schema/model.ts";
import { refuse } from "./expression-walk.ts";
import { type Mutable, mapList, withProperty } from "./node-children.ts";
import { unwrap } from "./raw-fragment.ts";
import { refuseRaw } from "./raw-tokens.ts";
import { allOf, type Source, Sources, SourceWalk, tableName } from "./source-walk.ts";

export abstract class StatementWalk extends SourceWalk {
  /** Checks that a statement may write the table; gives the condition that the rows it changes must meet. */
  protected abstract target(
    table: TableNode,
    alias: string,
  ): { readonly table: TableModel; readonly condition: OperationNode | undefined };
  /** The assignments of an UPDATE, checked against the tables they may belong to. Their values were walked. */
  protected abstract updates(
    updates: readonly ColumnUpdateNode[],
    sources: readonly Source[],
  ): readonly ColumnUpdateNode[];
  /** Columns and values of an insert, walked and completed. */
  protected abstract rows(node: InsertQueryNode, table: TableModel, alias: string): InsertQueryNode;

  protected override statement(node: OperationNode): OperationNode {
    switch (node.kind) {
      case "SelectQueryNode":
        return this.select(node as SelectQueryNode);
      case "InsertQueryNode":
        return this.insert(node as InsertQueryNode);
      case "UpdateQueryNode":
        return this.update(node as UpdateQueryNode);
      case "DeleteQueryNode":
        return this.delete(node as DeleteQueryNode);
      case "RawNode":
        throw refuseRaw("a whole query; build it with Kysely");
      case "MergeQueryNode":
        throw refuse(
          "MERGE is not on every engine. Use insertInto(…).onConflict(…), or an update and an insert in one transaction.",
        );
      default:
        throw refuse(
          `A ${node.kind} is refused here: a session reads and writes rows. Tables are made and changed by fed.schema.apply().`,
        );
    }
  }
  protected insert(node: InsertQueryNode): InsertQueryNode {
    const outer = this.ctes;
    let copy = node.with === undefined ? node : withProperty(node, "with", this.with(node.with));
    if (copy.into === undefined) throw refuse("An insert without a table. Write insertInto(table).");
    const { node: into, alias } = this.#targetTable(copy.into);
    const { table } = this.target(into, alias);
    copy = this.rows(copy, table, alias);
    if (copy.onConflict !== undefined)
      copy = withProperty(copy, "onConflict", this.#onConflict(copy.onConflict));
    if (copy.returning !== undefined)
      copy = withProperty(copy, "returning", this.expression(copy.returning, false) as never);
    for (const property in copy) {
      if (
        /^(?:kind|with|into|columns|values|defaultValues|replace|onConflict|onDuplicateKey|returning)$/.test(
          property,
        )
      )
        continue;
      const action =
        property === "orAction" ? (copy.orAction as OrActionNode | undefined)?.action : undefined;
      if (property === "endModifiers")
        for (const modifier of copy.endModifiers ?? []) this.endModifier(modifier);
      else if (property !== "orAction") this.rare(copy, property);
      else if (action !== undefined && !/^(?:or )?(?:abort|fail|ignore|replace|rollback)$/.test(action))
        throw refuse(`The action ${JSON.stringify(action)} of an insert is not known.`);
    }
    this.ctes = outer;
    return copy;
  }

  /** The target's columns and assignments are the subclass's to complete, in `rows`; here the rest is walked. */
  #onConflict(node: OnConflictNode): OnConflictNode {
    let copy = node;
    if (copy.indexExpression !== undefined)
      copy = withProperty(copy, "indexExpression", this.expression(copy.indexExpression, false));
    if (copy.indexWhere !== undefined)
      copy = withProperty(copy, "indexWhere", this.expression(copy.indexWhere, false) as never);
    if (copy.updateWhere !== undefined)
      copy = withProperty(copy, "updateWhere", this.expression(copy.updateWhere, false) as never);
    return copy;
  }

  /** The values of assignments, walked. */
  protected assignments(updates: readonly ColumnUpdateNode[]): readonly ColumnUpdateNode[] {
    return mapList(updates, (update) => withProperty(update, "value", this.expression(update.value, false)));
  }

  protected update(node: UpdateQueryNode): UpdateQueryNode {
    const outer = this.ctes;
    let copy = node.with === undefined ? node : withProperty(node, "with", this.with(node.with));
    if (copy.table === undefined) throw refuse("An update without a table. Write updateTable(table).");
    const sources = Sources.ofWrite(copy.joins);
    const several = copy.table.kind === "ListNode";
    if (several) {
      const tables = copy.table as unknown as { readonly items: readonly OperationNode[] } & OperationNode;
      copy = withProperty(
        copy,
        "table",
        withProperty(tables, "items", this.sourceList(tables.items, sources)),
      );
    } else {
      const { node: table, alias } = this.#targetTable(copy.table);
      const found = this.target(table, alias);
      sources.add({ alias, table: found.table });
      sources.require(found.condition);
    }
    const targets = [...sources.list];
    if (copy.from !== undefined)
      copy = withProperty(
        copy,
        "from",
        withProperty(copy.from, "froms", this.sourceList(copy.from.froms, sources)),
      );
    if (copy.joins !== undefined) copy = withProperty(copy, "joins", this.joins(copy.joins, sources));
    if (copy.updates !== undefined)
      copy = withProperty(copy, "updates", this.updates(this.assignments(copy.updates), targets));
    copy = this.#restricted(copy, sources.condition);
    for (const property in copy)
      if (
        !/^(?:kind|with|table|from|joins|updates|where|returning|orderBy|limit|endModifiers)$/.test(property)
      )
        this.rare(copy, property);
    this.ctes = outer;
    return copy;
  }

  protected delete(node: DeleteQueryNode): DeleteQueryNode {
    const outer = this.ctes;
    let copy = node.with === undefined ? node : withProperty(node, "with", this.with(node.with));
    const targets = copy.from.froms.map((item) => this.#targetTable(item));
    const names = targets.map(({ alias }) => alias);
    const sources = Sources.ofWrite(copy.joins, names);
    if (sources.derive && targets.length > 1)
      throw refuse(
        "A delete from several tables over a right or full join. Write a statement for each table.",
      );
    // MariaDB's form `delete from a using a inner join b` names the target again among the sources: its condition goes there.
    const again = new Map(
      [...(copy.using?.tables ?? []), ...(copy.joins ?? []).map((join) => join.table)].map((item) => [
        visibleName(item),
        item,
      ]),
    );
    for (const { node: table, alias } of targets) {
      const found = this.target(table, alias);
      const twin = again.get(alias);
      if (twin === undefined) {
        sources.add({ alias, table: found.table });
        sources.require(found.condition);
      } else if (tableName(this.#targetTable(twin).node) !== tableName(table)) {
        throw refuse(
          `The delete's target "${alias}" is another table among its sources. Give that one another alias.`,
          alias,
        );
      }
    }
    if (copy.using !== undefined)
      copy = withProperty(
        copy,
        "using",
        withProperty(copy.using, "tables", this.sourceList(copy.using.tables, sources)),
      );
    if (copy.joins !== undefined) copy = withProperty(copy, "joins", this.joins(copy.joins, sources));
    copy = this.#restricted(copy, sources.condition);
    for (const property in copy)
      if (!/^(?:kind|with|from|using|joins|where|returning|orderBy|limit|endModifiers)$/.test(property))
        this.rare(copy, property);
    this.ctes = outer;
    return copy;
  }

  /** WHERE with the condition, and the clauses that stand beside it in an update or delete. */
  #restricted<T extends UpdateQueryNode | DeleteQueryNode>(node: T, condition: OperationNode | undefined): T {
    const copy: Mutable<UpdateQueryNode | DeleteQueryNode> = { ...node };
    const where = node.where === undefined ? undefined : this.expression(node.where.where, false);
    const all = allOf(condition, where);
    if (all !== undefined && all !== node.where?.where)
      copy.where = { kind: "WhereNode", where: all } as NonNullable<T["where"]>;
    if (node.returning !== undefined)
      copy.returning = this.expression(node.returning, false) as NonNullable<T["returning"]>;
    if (node.orderBy !== undefined)
      copy.orderBy = this.expression(node.orderBy, false) as NonNullable<T["orderBy"]>;
    if (node.limit !== undefined) copy.limit = this.expression(node.limit, false) as NonNullable<T["limit"]>;
    for (const modifier of node.endModifiers ?? []) this.endModifier(modifier);
    const same =
      copy.where === node.where &&
      copy.returning === node.returning &&
      copy.orderBy === node.orderBy &&
      copy.limit === node.limit;
    return same ? node : (copy as T);
  }

  #targetTable(item: OperationNode): { readonly node: TableNode; readonly alias: string } {
    if (item.kind === "TableNode") return { node: item as TableNode, alias: tableName(item as TableNode) };
    const inner = item.kind === "AliasNode" ? unwrap((item as AliasNode).node) : item;
    const alias = item.kind === "AliasNode" ? this.aliasName((item as AliasNode).alias) : undefined;
    if (inner.kind !== "TableNode" || alias === undefined)
      throw refuse("The target of a writing statement is a table of the schema, with a plain alias at most.");
    return { node: inner as TableNode, alias };
  }
}
function visibleName(item: OperationNode): string | undefined {
  if (item.kind === "TableNode") return tableName(item as TableNode);
  const alias = item.kind === "AliasNode" ? unwrap((item as AliasNode).alias) : undefined;
  return alias?.kind === "IdentifierNode" ? (alias as unknown as { readonly name: string }).name : undefined;
}
