/**
 * The walk over what a query reads: its sources, and where the condition on each of them goes. Which condition a table needs is the subclass's
 * answer (`source`).
 *
 * A condition must act as if the table held nothing else. Under inner, left and cross joins that is a condition in WHERE for the
 * tables of FROM and one in ON for a joined table. A right join drops the rows on its left that match nothing, and keeps its own table's: the conditions
 * that would have gone into WHERE go into its ON, and its own table's takes their place. A full join keeps or invents rows on either side, so
 * that no condition after the join is right: there, and where a right join follows a list of tables, a table gives way to a derived table,
 * `(select * from t where …) as t`. Derived tables are the exception on purpose: under a right join MariaDB 10.11 gives wrong rows for some (a window's count of a
 * column that the join left null, and `not in`).
 */
import type {
  AliasNode,
  DeleteQueryNode,
  FetchNode,
  FunctionNode,
  InsertQueryNode,
  JoinNode,
  OperationNode,
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
export class Sources {
  readonly list: Source[] = [];
  /** Conditions that belong into WHERE. */
  condition: OperationNode | undefined;
  /** Tables give way to derived tables. */
  readonly derive: boolean;
  /** The visible names of a DELETE's targets, which cannot give way to derived tables. */
  readonly targets: readonly string[];

  constructor(derive: boolean, targets: readonly string[] = []) {
    this.derive = derive;
    this.targets = targets;
  }

  /** Of a select: conditions can follow a right join, as long as all sources stand in one chain of joins. */
  static ofSelect(node: SelectQueryNode): Sources {
    const chained = node.from?.froms.length === 1;
    return new Sources(
      node.joins?.some(({ joinType }) => joinType === "FullJoin" || (joinType === "RightJoin" && !chained)) ??
        false,
    );
  }

  /** Of a statement that writes, where the target's condition must stay in WHERE. */
  static ofWrite(joins: readonly JoinNode[] | undefined, targets: readonly string[] = []): Sources {
    return new Sources(joins?.some(isOuterOnTheLeft) ?? false, targets);
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
export abstract class SourceWalk extends ExpressionWalk {
  /** The table that a row source names (refused where it may not be read), with the condition its rows must meet. */
  protected abstract source(
    table: TableNode,
    alias: string,
  ): { readonly table: TableModel | undefined; readonly condition: OperationNode | undefined };

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
      const sources = Sources.ofSelect(node);
      put("from", withProperty(node.from, "froms", this.sourceList(node.from.froms, sources)));
      if (node.joins !== undefined) put("joins", this.joins(node.joins, sources));
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
          this.rare(node, key);
      }
    }
    this.ctes = outer;
    return changed ? ({ ...node, ...copy } as SelectQueryNode) : node;
  }

  /** Properties without children, and those a later Kysely may bring: an unknown one is refused, not passed. */
  protected rare(
    node: SelectQueryNode | InsertQueryNode | UpdateQueryNode | DeleteQueryNode,
    property: string,
  ): void {
    const value = (node as unknown as Record<string, unknown>)[property];
    // Plugins that copy a node write down what it has not.
    if (value === undefined) return;
    if (property === "explain") this.checkExplain(value as never);
    else if (property === "top") this.checkTop(value as never);
    else if (property === "fetch") {
      const { modifier, rowCount } = value as FetchNode;
      if (rowCount.kind !== "ValueNode" || (modifier !== "only" && modifier !== "with ties"))
        throw refuse("fetch() takes a number of rows. Use limit(…).");
    } else if (property === "output") throw refuse("OUTPUT is SQL Server's. Use returning(…).");
    else throw refuse(`The part ${property} of the statement is not known here and is refused.`);
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

  protected sourceList(items: readonly OperationNode[], sources: Sources): readonly OperationNode[] {
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

  protected joins(joins: readonly JoinNode[], sources: Sources): readonly JoinNode[] {
    return mapList(joins, (join) => {
      if (join.joinType === "OuterApply" || join.joinType === "CrossApply" || join.joinType === "Using")
        throw refuse(`The join ${join.joinType} is SQL Server's. Use a lateral join.`);
      const before = sources.condition;
      sources.condition = undefined;
      const table = this.#sourceItem(join.table, sources);
      let condition = sources.condition as OperationNode | undefined;
      sources.condition = before;
      if (join.joinType === "RightJoin" && !sources.derive) {
        sources.condition = condition;
        condition = before;
      }
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
}

export function tableName(node: TableNode): string {
  return node.table.identifier.name;
}

function isOuterOnTheLeft(join: JoinNode): boolean {
  return join.joinType === "RightJoin" || join.joinType === "FullJoin";
}

function and(left: OperationNode, right: OperationNode): OperationNode {
  return { kind: "AndNode", left, right } as OperationNode;
}

/** The condition before the caller's own, which stands in parentheses: a fragment `a or b` must not widen it. */
export function allOf(
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
