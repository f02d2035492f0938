/**
 * The walk over statements: which tables a statement names, and where the condition on each of them goes. What a table needs is the subclass's
 * answer (`source`, `target`): the tenant filter gives the condition on the key, main's check gives none.
 *
 * A condition must act as if the table held nothing else. Under inner, left and cross joins that is a condition in WHERE for the
 * tables of FROM and one in ON for a joined table. A right or full join keeps or invents rows on either side, so that no condition after the
 * join is right: there the table gives way to a derived table, `(select * from t where …) as t`.
 */
import type {
  AliasNode,
  ColumnUpdateNode,
  DeleteQueryNode,
  FetchNode,
  FunctionNode,
  InsertQueryNode,
  JoinNode,
  OnConflictNode,
  OperationNode,
  OrActionNode,
  SelectQueryNode,
  SetOperationNode,
  TableNode,
  UpdateQueryNode,
} from "kysely";
import type { TableModel } from "../schema/model.ts";
import { ExpressionWalk, refuse } from "./expression-walk.ts";
import { type Mutable, mapList, withProperty } from "./node-children.ts";
import { unwrap } from "./raw-fragment.ts";
import { refuseRaw } from "./raw-tokens.ts";
import { ROW_FUNCTIONS } from "./raw-words.ts";

/** A row source of a statement: a table of the schema, or undefined for a derived table, a CTE or a function. */
export interface Source {
  readonly alias: string;
  readonly table: TableModel | undefined;
}

/** What was met while walking a statement's FROM and joins. */
class Sources {
  readonly list: Source[] = [];
  /** Conditions that belong into WHERE. */
  condition: OperationNode | undefined;
  /** A right or full join is among the joins. */
  readonly derive: boolean;
  /** The visible names of a DELETE's targets, which cannot give way to derived tables. */
  readonly targets: readonly string[];

  constructor(joins: readonly JoinNode[] | undefined, targets: readonly string[] = []) {
    this.derive = joins?.some(isOuterOnTheLeft) ?? false;
    this.targets = targets;
  }

  add(source: Source): void {
    // Two sources of one name would let a column's qualifier mean the other one.
    const name = source.alias.toLowerCase();
    if (this.list.some((other) => other.alias.toLowerCase() === name))
      throw refuse(
        `Two sources of the query have the name "${source.alias}". Give one an alias: "${source.alias} as other".`,
        source.alias,
      );
    this.list.push(source);
  }

  require(condition: OperationNode | undefined): void {
    if (condition !== undefined)
      this.condition = this.condition === undefined ? condition : and(this.condition, condition);
  }
}

export abstract class StatementWalk extends ExpressionWalk {
  /** The table that a row source names (refused where it may not be read), with the condition its rows must meet. */
  protected abstract source(
    table: TableNode,
    alias: string,
  ): { readonly table: TableModel | undefined; readonly condition: OperationNode | undefined };
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

  protected override select(node: SelectQueryNode): SelectQueryNode {
    const outer = this.ctes;
    const copy: Mutable<Partial<SelectQueryNode>> = {};
    let changed = false;
    const put = <K extends keyof SelectQueryNode>(property: K, value: SelectQueryNode[K]): void => {
      if (node[property] === value) return;
      copy[property] = value as never;
      changed = true;
    };
    if (node.with !== undefined) put("with", this.with(node.with));
    const where = node.where === undefined ? undefined : this.expression(node.where.where, false);
    let condition: OperationNode | undefined;
    if (node.from !== undefined) {
      const sources = new Sources(node.joins);
      put("from", withProperty(node.from, "froms", this.#sourceList(node.from.froms, sources)));
      if (node.joins !== undefined) put("joins", this.#joins(node.joins, sources));
      condition = sources.condition;
    }
    if (condition !== undefined || where !== node.where?.where)
      put("where", { kind: "WhereNode", where: allOf(condition, where) } as SelectQueryNode["where"]);
    for (const property in node) {
      const key = property as keyof SelectQueryNode;
      if (node[key] === undefined) continue;
      switch (key) {
        case "kind":
        case "with":
        case "from":
        case "joins":
        case "where":
          break;
        case "selections":
        case "distinctOn":
          put(key, mapList(node[key] as readonly OperationNode[], this.visit) as never);
          break;
        case "frontModifiers":
        case "endModifiers":
          for (const modifier of node[key] as NonNullable<SelectQueryNode["endModifiers"]>)
            this.selectModifier(modifier, key === "frontModifiers" ? "front" : "end");
          break;
        case "setOperations":
          put(
            key,
            mapList(node[key] as readonly SetOperationNode[], (operation) => this.#setOperation(operation)),
          );
          break;
        case "groupBy":
        case "having":
        case "orderBy":
        case "limit":
        case "offset":
          put(key, this.expression(node[key] as OperationNode, false) as never);
          break;
        default:
          this.#rare(node, key);
      }
    }
    this.ctes = outer;
    return changed ? ({ ...node, ...copy } as SelectQueryNode) : node;
  }

  /** Properties without children, and those a later Kysely may bring: an unknown one is refused, not passed. */
  #rare(node: SelectQueryNode | InsertQueryNode | UpdateQueryNode | DeleteQueryNode, property: string): void {
    const value = (node as unknown as Record<string, unknown>)[property];
    if (property === "explain") this.checkExplain(value as never);
    else if (property === "top") this.checkTop(value as never);
    else if (property === "fetch") {
      const { modifier, rowCount } = value as FetchNode;
      if (rowCount.kind !== "ValueNode" || (modifier !== "only" && modifier !== "with ties"))
        throw refuse("fetch() takes a number of rows. Use limit(…).");
    } else if (property === "output") throw refuse("OUTPUT is SQL Server's. Use returning(…).");
    else if (value !== undefined)
      throw refuse(`The part ${property} of the statement is not known here and is refused.`);
  }

  #setOperation(node: SetOperationNode): SetOperationNode {
    const inner = unwrap(node.expression);
    const query =
      inner.kind === "ParensNode" ? (inner as unknown as { readonly node: OperationNode }).node : inner;
    if (query.kind !== "SelectQueryNode")
      throw refuseRaw(`a whole query after ${node.operator}; build it with Kysely`);
    if (!/^(?:union|intersect|except)$/.test(node.operator))
      throw refuse(`The set operator ${JSON.stringify(node.operator)} is not known.`);
    return withProperty(node, "expression", this.expression(node.expression, false));
  }

  #sourceList(items: readonly OperationNode[], sources: Sources): readonly OperationNode[] {
    return mapList(items, (item) => this.#sourceItem(item, sources));
  }

  #sourceItem(item: OperationNode, sources: Sources): OperationNode {
    if (item.kind === "TableNode")
      return this.#tableSource(item, item as TableNode, tableName(item as TableNode), sources);
    if (item.kind === "FunctionNode") return this.#rowFunction(item as FunctionNode);
    if (item.kind !== "AliasNode") throw refuseSource(item);
    const { node, alias } = item as AliasNode;
    const inner = unwrap(node);
    const name = this.aliasName(alias);
    if (inner.kind === "TableNode") {
      // `dots as d(a, b)` would give the columns other names, and the key's column with them.
      if (name === undefined)
        throw refuseRaw(
          "an alias with columns for a table; give the table a plain alias, and the columns theirs in select",
        );
      return this.#tableSource(item, inner as TableNode, name, sources);
    }
    const query =
      inner.kind === "ParensNode" ? (inner as unknown as { readonly node: OperationNode }).node : inner;
    if (name !== undefined) sources.add({ alias: name, table: undefined });
    if (inner.kind === "FunctionNode")
      return withProperty(item as AliasNode, "node", this.#rowFunction(inner as FunctionNode));
    if (query.kind !== "SelectQueryNode") throw refuseSource(inner);
    return withProperty(item as AliasNode, "node", this.expression(node, false));
  }

  #rowFunction(node: FunctionNode): OperationNode {
    if (!ROW_FUNCTIONS.has(node.func.toLowerCase()))
      throw refuseRaw(
        `the function ${node.func}() as a table; those that may stand there are ${[...ROW_FUNCTIONS].join(", ")}`,
      );
    return this.expression(node, false);
  }

  #tableSource(item: OperationNode, node: TableNode, alias: string, sources: Sources): OperationNode {
    const { table, condition } = this.source(node, alias);
    sources.add({ alias, table });
    if (condition === undefined) return item;
    if (!sources.derive || sources.targets.includes(alias)) {
      sources.require(condition);
      return item;
    }
    return derivedTable(node, alias, this.source(node, tableName(node)).condition as OperationNode);
  }

  #joins(joins: readonly JoinNode[], sources: Sources): readonly JoinNode[] {
    return mapList(joins, (join) => {
      if (join.joinType === "OuterApply" || join.joinType === "CrossApply" || join.joinType === "Using")
        throw refuse(`The join ${join.joinType} is SQL Server's. Use a lateral join.`);
      const before = sources.condition;
      sources.condition = undefined;
      const table = this.#sourceItem(join.table, sources);
      const condition = sources.condition as OperationNode | undefined;
      sources.condition = before;
      const existing = join.on === undefined ? undefined : this.expression(join.on.on, false);
      // Behind a right join a condition on the joined target of a DELETE belongs into WHERE, as does that of a join without ON.
      const inWhere =
        condition !== undefined &&
        (join.joinType === "CrossJoin" || join.joinType === "LateralCrossJoin" || sources.derive);
      if (inWhere) sources.require(condition);
      const on = inWhere ? existing : allOf(condition, existing);
      const copy = withProperty(join, "table", table);
      return on === existing && existing === join.on?.on
        ? copy
        : { ...copy, on: { kind: "OnNode", on } as JoinNode["on"] & {} };
    });
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
      else if (property !== "orAction") this.#rare(copy, property);
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
    const sources = new Sources(copy.joins);
    const several = copy.table.kind === "ListNode";
    if (several) {
      const tables = copy.table as unknown as { readonly items: readonly OperationNode[] } & OperationNode;
      copy = withProperty(
        copy,
        "table",
        withProperty(tables, "items", this.#sourceList(tables.items, sources)),
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
        withProperty(copy.from, "froms", this.#sourceList(copy.from.froms, sources)),
      );
    if (copy.joins !== undefined) copy = withProperty(copy, "joins", this.#joins(copy.joins, sources));
    if (copy.updates !== undefined)
      copy = withProperty(copy, "updates", this.updates(this.assignments(copy.updates), targets));
    copy = this.#restricted(copy, sources.condition);
    for (const property in copy)
      if (
        !/^(?:kind|with|table|from|joins|updates|where|returning|orderBy|limit|endModifiers)$/.test(property)
      )
        this.#rare(copy, property);
    this.ctes = outer;
    return copy;
  }

  protected delete(node: DeleteQueryNode): DeleteQueryNode {
    const outer = this.ctes;
    let copy = node.with === undefined ? node : withProperty(node, "with", this.with(node.with));
    const targets = copy.from.froms.map((item) => this.#targetTable(item));
    const names = targets.map(({ alias }) => alias);
    const sources = new Sources(copy.joins, names);
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
        withProperty(copy.using, "tables", this.#sourceList(copy.using.tables, sources)),
      );
    if (copy.joins !== undefined) copy = withProperty(copy, "joins", this.#joins(copy.joins, sources));
    copy = this.#restricted(copy, sources.condition);
    for (const property in copy)
      if (!/^(?:kind|with|from|using|joins|where|returning|orderBy|limit|endModifiers)$/.test(property))
        this.#rare(copy, property);
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

export function tableName(node: TableNode): string {
  return node.table.identifier.name;
}

function visibleName(item: OperationNode): string | undefined {
  if (item.kind === "TableNode") return tableName(item as TableNode);
  const alias = item.kind === "AliasNode" ? unwrap((item as AliasNode).alias) : undefined;
  return alias?.kind === "IdentifierNode" ? (alias as unknown as { readonly name: string }).name : undefined;
}

function isOuterOnTheLeft(join: JoinNode): boolean {
  return join.joinType === "RightJoin" || join.joinType === "FullJoin";
}

function and(left: OperationNode, right: OperationNode): OperationNode {
  return { kind: "AndNode", left, right } as OperationNode;
}

/** The condition before the caller's own, which stands in parentheses: a fragment `a or b` must not widen it. */
function allOf(
  condition: OperationNode | undefined,
  existing: OperationNode | undefined,
): OperationNode | undefined {
  if (condition === undefined || existing === undefined) return condition ?? existing;
  return and(
    condition,
    existing.kind === "ParensNode" ? existing : ({ kind: "ParensNode", node: existing } as OperationNode),
  );
}

/** `(select * from t where …) as alias` */
function derivedTable(table: TableNode, alias: string, condition: OperationNode): OperationNode {
  const select = {
    kind: "SelectQueryNode",
    from: { kind: "FromNode", froms: [table] },
    selections: [{ kind: "SelectionNode", selection: { kind: "SelectAllNode" } }],
    where: { kind: "WhereNode", where: condition },
  };
  return {
    kind: "AliasNode",
    node: select,
    alias: { kind: "IdentifierNode", name: alias },
  } as unknown as OperationNode;
}

function refuseSource(node: OperationNode): Error {
  if (node.kind === "RawNode")
    return refuseRaw(
      "the place of a table; name tables with selectFrom and the joins, and give subqueries as Kysely queries",
    );
  return refuse(
    `A ${node.kind} cannot stand in the place of a table. Name a table, or give a query with an alias.`,
  );
}
