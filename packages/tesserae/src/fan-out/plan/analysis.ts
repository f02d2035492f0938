/**
 * What a query gives when each shard runs it by itself. `relationOf` answers it for queries inside others, which must be right on each shard as they are; `readBlock` for the outermost one, whose
 * groups, order and limit may be put together afterwards.
 */
import type { OperationNode, SelectQueryNode, SetOperationNode, WithNode } from "kysely";
import type { KeyValue, LogicalType } from "../../schema/logical-type.ts";
import type { SchemaModel } from "../../schema/model.ts";
import { unify } from "../../session/expression-types.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import { bothKeys, conjuncts, eitherKeys, keysOf } from "./conditions.ts";
import { checkExpression, holdsAggregate } from "./expression-check.ts";
import { readFrom } from "./from-clause.ts";
import { childNodes, queryOf, withoutParts } from "./nodes.ts";
import { ownNames, refuseResultNames } from "./ordering.ts";
import { GATHER, unsupported } from "./refusal.ts";
import { type Ctes, keyStatus, type Relation, type RelationColumn, type Scope } from "./scope.ts";
import { type Selected, selectedColumns } from "./selections.ts";
import { areMixedMoments, type QueryTypes } from "./types.ts";

export interface AnalysisContext {
  readonly schema: SchemaModel;
  readonly key: LogicalType;
  readonly types: QueryTypes;
  /** What each select that was read selects. */
  readonly selected: Map<SelectQueryNode, readonly Selected[]>;
}

/** One select without its set operations. */
export interface Block {
  readonly node: SelectQueryNode;
  readonly scope: Scope;
  readonly standing: Relation["standing"];
  readonly selected: readonly Selected[];
  readonly keys: readonly KeyValue[] | undefined;
  /** It groups, or it has aggregates. */
  readonly grouped: boolean;
  /** No group spans keys. */
  readonly groupedByKey: boolean;
}

export function relationOf(
  node: SelectQueryNode,
  outer: Scope | undefined,
  outerCtes: Ctes | undefined,
  context: AnalysisContext,
): Relation {
  const ctes = readWith(node.with, outer, outerCtes, context);
  if (node.setOperations === undefined || node.setOperations.length === 0)
    return blockRelation(readBlock(node, outer, ctes, context));
  const relation = setRelation(readArms(node, outer, ctes, context), node.setOperations);
  if (relation.standing === "keywise") refuseLimit(node);
  return relation;
}

export function readWith(
  node: WithNode | undefined,
  outer: Scope | undefined,
  outerCtes: Ctes | undefined,
  context: AnalysisContext,
): Ctes | undefined {
  let ctes = outerCtes;
  for (const cte of node?.expressions ?? []) {
    const { name } = cte.name.table.table.identifier;
    const query = queryOf(cte.expression) as SelectQueryNode;
    const names = cte.name.columns?.map((column) => column.column.name);
    const rename = (relation: Relation): Relation =>
      names === undefined
        ? relation
        : {
            ...relation,
            columns: relation.columns?.map((column, index) => ({
              ...column,
              name: names[index] ?? column.name,
            })),
          };
    const before = ctes;
    let first: Relation | undefined;
    if (node?.recursive === true && query.setOperations !== undefined) {
      // A recursive query sees itself with the columns of its first arm; that each step keeps to its row's key is checked below.
      first = rename(relationOf(withoutParts(query, ["setOperations"]), outer, before, context));
      ctes = { name, relation: { ...first, keys: undefined }, outer: before };
    }
    const relation = rename(relationOf(query, outer, ctes, context));
    if (first !== undefined && !sameKeys(first, relation))
      throw unsupported(
        `The recursive query "${name}" leaves its row's key.`,
        "Select the key in the same place in each arm, and join the table with the query on it.",
      );
    ctes = { name, relation, outer: before };
  }
  return ctes;
}

function sameKeys(first: Relation, whole: Relation): boolean {
  return (
    first.standing === whole.standing &&
    (first.columns ?? []).every(({ key }, index) => key === whole.columns?.[index]?.key)
  );
}

/** The arms of a set operation, the query's own select first. */
export function readArms(
  node: SelectQueryNode,
  outer: Scope | undefined,
  ctes: Ctes | undefined,
  context: AnalysisContext,
): Relation[] {
  const first = readBlock(
    withoutParts(node, ["setOperations", "orderBy", "limit", "offset", "with"]),
    outer,
    ctes,
    context,
  );
  context.selected.set(node, first.selected);
  for (const operation of node.setOperations ?? []) refuseLooseArm(operation);
  return [
    blockRelation(first),
    ...(node.setOperations ?? []).map((operation) => relationOf(armOf(operation), outer, ctes, context)),
  ];
}

/** Kysely writes an arm without parentheses of its own: what stands at its end would be read as the whole's. */
function refuseLooseArm(operation: SetOperationNode): void {
  if (unwrap(operation.expression).kind === "ParensNode") return;
  const { setOperations, orderBy, limit, offset } = armOf(operation);
  if (
    (setOperations?.length ?? 0) > 0 ||
    orderBy !== undefined ||
    limit !== undefined ||
    offset !== undefined
  )
    throw unsupported(
      `The arm behind ${operation.operator} has a set operation, an order or a limit of its own without parentheses, which the engine reads as the whole query's.`,
      "Put set operations one behind the other, order and limit the whole; or put the arm in parentheses, (eb) => eb.parens(query).",
    );
}

export const armOf = (operation: SetOperationNode): SelectQueryNode =>
  queryOf(operation.expression) as SelectQueryNode;

/** Of arms that are each right on their shards. */
export function setRelation(arms: readonly Relation[], operations: readonly SetOperationNode[]): Relation {
  const columns = unionColumns(arms);
  if (arms.every(({ standing }) => standing === "here"))
    return { standing: "here", columns, keys: undefined };
  if (arms.some(({ standing }) => standing === "here"))
    throw unsupported(
      "A set operation has an arm that reads no federated table, whose rows each shard would give again.",
      "Run that arm by itself on fed.main, and put the rows together in the application.",
    );
  const keyed = columns.some(({ key }) => key === "always");
  if (!keyed && !operations.every(({ operator, all }) => operator === "union" && all))
    throw unsupported(
      "A set operation compares rows of several keys inside the query.",
      `Select the key in the same place in each arm, use unionAll, or ${GATHER}.`,
    );
  return { standing: "keywise", columns, keys: unionKeys(arms) };
}

export function unionKeys(arms: readonly Relation[]): readonly KeyValue[] | undefined {
  return arms.map(({ keys }) => keys).reduce(eitherKeys);
}

export function unionColumns(arms: readonly Relation[]): RelationColumn[] {
  const [first, ...others] = arms.map(({ columns }) => columns ?? []);
  return (first ?? []).map((column, index) => {
    const all = [column, ...others.map((columns) => columns[index])];
    if (all.some((one) => one === undefined))
      throw unsupported(
        "The arms of a set operation have different numbers of columns.",
        "Select as many in each.",
      );
    const columns = all as RelationColumn[];
    return {
      name: column.name,
      type: unionType(columns),
      key: columns.every(({ key }) => key === "always") ? "always" : undefined,
      binaryText: columns.every(({ binaryText }) => binaryText),
    };
  });
}

/** Of arms whose types differ the engines make something of their own. */
function unionType(columns: readonly RelationColumn[]): LogicalType | undefined {
  const types = columns.map(({ type }) => type);
  const [first] = types;
  if (first === undefined || types.some((type) => type === undefined)) return undefined;
  if (areMixedMoments(types)) return undefined;
  const whole = types.every((type) => type?.kind === "int" || type?.kind === "bigint");
  if (!whole && types.some((type) => type?.kind !== first.kind)) return undefined;
  if (
    first.kind === "decimal" &&
    types.some(
      (type) =>
        type?.kind === "decimal" && (type.scale !== first.scale || type.precision !== first.precision),
    )
  )
    return undefined;
  return unify(types);
}

export function readBlock(
  node: SelectQueryNode,
  outer: Scope | undefined,
  ctes: Ctes | undefined,
  context: AnalysisContext,
): Block {
  const { scope, standing } = readFrom(node, outer, {
    schema: context.schema,
    ctes,
    query: (query, around) => relationOf(query, around, ctes, context),
  });
  const place = {
    scope,
    standing,
    subquery: (query: SelectQueryNode) => relationOf(query, scope, ctes, context),
  };
  const check = (part: OperationNode | undefined) => {
    if (part !== undefined) checkExpression(part, place);
  };
  for (const { on } of node.joins ?? []) check(on?.on);
  for (const source of node.from?.froms ?? []) checkRowFunction(source, check);
  for (const { table } of node.joins ?? []) checkRowFunction(table, check);
  for (const { selection } of node.selections ?? []) check(selection as OperationNode);
  for (const part of node.distinctOn ?? []) check(part);
  for (const part of [node.where, node.groupBy, node.having, node.orderBy]) check(part);
  const conditions = conjuncts(node.where?.where);
  const selected = selectedColumns(node, scope, context.types.typeOf);
  context.selected.set(node, selected);
  for (const part of node.distinctOn ?? []) refuseResultNames(ownNames(childNodes)(part), selected);
  const parts = [
    ...selected.map(({ expression }) => expression),
    ...(node.having === undefined ? [] : [node.having]),
    ...(node.orderBy === undefined ? [] : [node.orderBy]),
  ];
  return {
    node,
    scope,
    standing,
    selected,
    keys: bothKeys(sourceKeys(scope), keysOf(conditions, scope, context.key)),
    grouped: node.groupBy !== undefined || node.having !== undefined || parts.some(holdsAggregate),
    groupedByKey: (node.groupBy?.items ?? []).some(({ groupBy }) => isOwnKey(groupBy, scope)),
  };
}

function checkRowFunction(item: OperationNode, check: (node: OperationNode) => void): void {
  const node = unwrap(
    item.kind === "AliasNode" ? (item as unknown as { readonly node: OperationNode }).node : item,
  );
  if (node.kind !== "FunctionNode") return;
  for (const argument of (node as unknown as { readonly arguments: readonly OperationNode[] }).arguments)
    check(argument);
}

/** A keywise source that the joins keep bounds the keys of all rows. */
function sourceKeys(scope: Scope): readonly KeyValue[] | undefined {
  return scope.sources
    .filter(({ standing, nullable }) => standing === "keywise" && !nullable)
    .map(({ relation }) => relation.keys)
    .reduce(bothKeys, undefined);
}

/** A column that holds the key of the query's own rows, and is never null. */
export function isOwnKey(node: OperationNode, scope: Scope): boolean {
  const found = scope.resolveHere(node);
  return found !== undefined && found.source.standing === "keywise" && keyStatus(found) === "always";
}

/** Of a query inside another one: refused where the shards' results together are not the whole. */
function blockRelation(block: Block): Relation {
  const { node, standing, selected, keys } = block;
  if (standing === "here") {
    refuseChoice(node, block.scope);
    return { standing, columns: selected, keys };
  }
  if (block.grouped && !block.groupedByKey)
    throw unsupported(
      "Groups or aggregates inside the query span several keys.",
      `Group by the distribution column too; bind the query to the key of the row outside it; run it first and give its values as parameters; or ${GATHER}.`,
    );
  const distinct = node.frontModifiers?.some(({ modifier }) => modifier === "Distinct") ?? false;
  if (distinct && !selected.some(({ key }) => key === "always"))
    throw unsupported(
      "A distinct inside the query spans several keys.",
      `Select the distribution column too, or ${GATHER}.`,
    );
  if (node.distinctOn !== undefined && !node.distinctOn.some((part) => isOwnKey(part, block.scope)))
    throw unsupported("distinct on spans several keys.", `Name the distribution column in it, or ${GATHER}.`);
  refuseLimit(node);
  return { standing, columns: selected, keys };
}

function refuseLimit(node: SelectQueryNode): void {
  if (node.limit !== undefined || node.offset !== undefined)
    throw unsupported(
      "A limit inside the query counts rows of several keys.",
      `Put it on the outermost query, bind the subquery to the row's key, or ${GATHER}.`,
    );
}

/** Of reference tables alone, rows that are taken without an order may be others on each shard. */
function refuseChoice(node: SelectQueryNode, scope: Scope): void {
  const chosen = node.limit !== undefined || node.offset !== undefined || node.distinctOn !== undefined;
  const shared = scope.sources.every(({ relation }) => relation.standing === "here");
  if (chosen && shared && node.orderBy === undefined)
    throw unsupported(
      "A limit in a subquery over reference tables takes any rows, which may be others on each shard.",
      "Give the subquery an order.",
    );
}
