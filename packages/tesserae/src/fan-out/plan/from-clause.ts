/**
 * FROM and joins: whether what a query makes of its sources is made of one key's rows at a time, so that each shard can do its part.
 *
 * The sources are taken one after the other, as the joins do. A source whose rows are all `here` (a reference table; rows of the key of a row outside) may be joined with anything, except that an
 * outer join which keeps its unmatched rows needs the whole other side to know which they are. A `keywise` source may be joined with another by the key alone: by an equality of both
 * keys in the join's ON, or in a condition that the final rows meet (WHERE, and ON of inner joins). The latter makes an inner join of whatever join it spans, since it is not true of nulls.
 */
import type { AliasNode, IdentifierNode, JoinNode, OperationNode, SelectQueryNode, TableNode } from "kysely";
import type { SchemaModel } from "../../schema/model.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import { conjuncts, EqualColumns, equalities, noteNotNull } from "./conditions.ts";
import { isShardName, queryOf } from "./nodes.ts";
import { unsupported } from "./refusal.ts";
import { type Ctes, type Relation, Scope, type Source, tableRelation } from "./scope.ts";

export interface FromContext {
  readonly schema: SchemaModel;
  readonly ctes: Ctes | undefined;
  query(node: SelectQueryNode, outer: Scope | undefined): Relation;
}

type JoinKind = "first" | "inner" | "left" | "right" | "full";

interface Step {
  readonly source: Source;
  readonly kind: JoinKind;
  readonly on: readonly OperationNode[];
}

export interface FromResult {
  readonly scope: Scope;
  readonly standing: Relation["standing"];
}

export function readFrom(node: SelectQueryNode, outer: Scope | undefined, context: FromContext): FromResult {
  const scope = new Scope(outer);
  const steps = readSteps(node, scope, context);
  const where = conjuncts(node.where?.where);
  noteNotNull(where, scope);
  const filters = [...where, ...steps.flatMap(({ kind, on }) => (kind === "inner" ? on : []))];
  return { scope, standing: new Joining(scope, filters).join(steps) };
}

function readSteps(node: SelectQueryNode, scope: Scope, context: FromContext): Step[] {
  const froms = node.from?.froms ?? [];
  const joins = node.joins ?? [];
  const kinds = joins.map(joinKind);
  if (froms.length > 1 && kinds.some((kind) => kind === "right" || kind === "full"))
    throw unsupported(
      "A right or full join follows a list of tables.",
      "Join the tables one by one with innerJoin(…).",
    );
  const keepsRight = (from: number) => kinds.slice(from).some((kind) => kind === "right" || kind === "full");
  const steps: Step[] = froms.map((item, index) => ({
    source: readSource(item, scope, context, { lateral: false, nullable: keepsRight(0) }),
    kind: index === 0 ? "first" : "inner",
    on: [],
  }));
  joins.forEach((join, index) => {
    const kind = kinds[index] as JoinKind;
    const nullable = kind === "left" || kind === "full" || keepsRight(index + 1);
    const source = readSource(join.table, scope, context, {
      lateral: join.joinType.startsWith("Lateral"),
      nullable,
    });
    steps.push({ source, kind, on: conjuncts(join.on?.on) });
  });
  return steps;
}

function joinKind({ joinType }: JoinNode): JoinKind {
  switch (joinType) {
    case "InnerJoin":
    case "CrossJoin":
    case "LateralInnerJoin":
    case "LateralCrossJoin":
      return "inner";
    case "LeftJoin":
    case "LateralLeftJoin":
      return "left";
    case "RightJoin":
      return "right";
    case "FullJoin":
      return "full";
    default:
      throw unsupported(`The join ${joinType} is not taken apart.`, "Use innerJoin or leftJoin.");
  }
}

function readSource(
  item: OperationNode,
  scope: Scope,
  context: FromContext,
  { lateral, nullable }: { readonly lateral: boolean; readonly nullable: boolean },
): Source {
  const aliased = item.kind === "AliasNode" ? (item as AliasNode) : undefined;
  const inner = unwrap(aliased?.node ?? item);
  const alias = aliased === undefined ? undefined : unwrap(aliased.alias);
  const query = queryOf(inner);
  const relation =
    query !== undefined
      ? context.query(query, lateral ? scope : scope.outer)
      : inner.kind === "TableNode"
        ? namedRelation(inner as TableNode, context)
        : FUNCTION;
  const name =
    alias === undefined
      ? inner.kind === "TableNode"
        ? (inner as TableNode).table.identifier.name
        : (inner as unknown as { readonly func: string }).func
      : (alias as IdentifierNode).name;
  // An alias that names columns too is written as text.
  if (name === undefined)
    throw unsupported("A source's alias names its columns.", "Name them in its select.");
  if (isShardName(name) || relation.columns?.some((column) => isShardName(column.name)))
    throw unsupported(
      `The source "${name}" has a name that begins like those of the shards' own columns, tesserae_0 and so on.`,
      "Give it another one.",
    );
  const source: Source = { alias: name, relation, nullable, standing: relation.standing };
  scope.sources.push(source);
  return source;
}

/** A function in FROM makes rows of the values of the row beside it. */
const FUNCTION: Relation = { standing: "here", columns: undefined, keys: undefined };

function namedRelation(node: TableNode, { schema, ctes }: FromContext): Relation {
  const { name } = node.table.identifier;
  for (let cte = ctes; cte !== undefined; cte = cte.outer) if (cte.name === name) return cte.relation;
  const table = schema.tables.get(name);
  if (table === undefined)
    throw unsupported(`The schema has no table "${name}".`, "Name one of its tables.", name);
  return tableRelation(table);
}

class Joining {
  readonly #scope: Scope;
  /** Equalities that the query's final rows meet. */
  readonly #equal: EqualColumns;
  readonly #filterIds: readonly string[];
  /** Columns with keys whose rows are here: of the queries outside, and of sources that are bound to those. */
  readonly #here: string[];
  /** The key's columns of the keywise sources joined so far. */
  readonly #keys: string[] = [];
  #standing: Relation["standing"] = "here";

  constructor(scope: Scope, filters: readonly OperationNode[]) {
    this.#scope = scope;
    const pairs = equalities(filters, scope);
    this.#equal = new EqualColumns(pairs);
    this.#filterIds = pairs.flat();
    this.#here = scope.outerKeyIds();
  }

  join(steps: readonly Step[]): Relation["standing"] {
    for (const step of steps) this.#add(step);
    return this.#standing;
  }

  #add({ source, kind, on }: Step): void {
    const own = this.#scope.keyIds(source);
    const inOn = equalities(on, this.#scope);
    if (source.relation.standing === "keywise") {
      // Only ON of a join that drops the source's unmatched rows binds it.
      const binding = kind === "inner" || kind === "left" ? inOn : [];
      if (this.#linked(own, this.#here, binding)) source.standing = "here";
    }
    if (source.standing === "keywise") this.#addKeywise(source, kind, own, inOn);
    else this.#addHere(source, kind, own);
  }

  #addHere(source: Source, kind: JoinKind, own: readonly string[]): void {
    if (this.#standing === "keywise" && (kind === "right" || kind === "full"))
      throw keepsUnmatched(source.alias, kind);
    // Rows that are here, whichever of their keys it is.
    if (source.relation.standing === "keywise") this.#here.push(...own);
  }

  #addKeywise(
    source: Source,
    kind: JoinKind,
    own: readonly string[],
    inOn: readonly (readonly [string, string])[],
  ): void {
    if (this.#standing === "keywise") {
      if (!this.#linked(own, this.#keys, inOn)) throw notOnKey(source.alias);
    } else if (kind === "left" || kind === "full") {
      throw keepsUnmatched(source.alias, kind);
    }
    this.#standing = "keywise";
    this.#keys.push(...own);
  }

  #linked(
    own: readonly string[],
    others: readonly string[],
    inOn: readonly (readonly [string, string])[],
  ): boolean {
    return own.some((id) =>
      others.some(
        (other) =>
          inOn.some(([a, b]) => (a === id && b === other) || (b === id && a === other)) ||
          (this.#filterIds.includes(id) && this.#equal.areEqual(id, other)),
      ),
    );
  }
}

function notOnKey(alias: string): Error {
  return unsupported(
    `"${alias}" is not joined on the distribution key, so that rows of several shards would have to meet.`,
    `Join it on the keys of both tables (.on(…) by equality, beside whatever else), or use fed.gather.`,
    alias,
  );
}

function keepsUnmatched(alias: string, kind: JoinKind): Error {
  return unsupported(
    `The ${kind} join with "${alias}" keeps rows of a reference table that match nothing, which no shard knows by itself.`,
    "Keep the federated table's rows instead (put it on the side that is kept), use innerJoin, or use fed.gather.",
    alias,
  );
}
