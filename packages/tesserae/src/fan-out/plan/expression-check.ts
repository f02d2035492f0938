/**
 * The expressions of a query: each must have on its shard the value that it has where all rows are together. That is so for what is computed from a row's own values; a subquery
 * must be bound to the row's key, a window to one key's rows, and a function must be known to compute alone.
 */
import type {
  AggregateFunctionNode,
  BinaryOperationNode,
  FunctionNode,
  OperationNode,
  OverNode,
  RawNode,
  SelectQueryNode,
  ValueListNode,
} from "kysely";
import { unwrap } from "../../session/raw-fragment.ts";
import { argumentsMin, isAggregate, isScalar, isWindowFunction } from "./known-functions.ts";
import { childNodes, columnOf, givenValue, inside, operatorOf, queryOf } from "./nodes.ts";
import { checkRaw, MOMENT, ownClock, unknownFunction } from "./raw-check.ts";
import { GATHER, howToCall, unsupported } from "./refusal.ts";
import { keyStatus, type Relation, type Scope } from "./scope.ts";

export interface ExpressionPlace {
  readonly scope: Scope;
  /** Whose rows are all on one shard: windows may span them. */
  readonly standing: Relation["standing"];
  /** What a query gives that stands inside the expression. */
  subquery(node: SelectQueryNode): Relation;
}

export function checkExpression(node: OperationNode, place: ExpressionPlace): void {
  switch (node.kind) {
    case "SelectQueryNode":
      if (place.subquery(node as SelectQueryNode).standing === "keywise") throw acrossKeys();
      return;
    case "BinaryOperationNode":
      if (checkInQuery(node as BinaryOperationNode, place)) return;
      refuseMoments(node, true);
      break;
    case "FunctionNode":
      checkFunction(node as FunctionNode);
      break;
    case "AggregateFunctionNode":
      checkAggregate(node as AggregateFunctionNode, place);
      break;
    case "RawNode":
      if (unwrap(node) === node) checkRaw(node as RawNode);
      break;
    case "CastNode":
      refuseMoments(node);
      break;
    case "CollateNode":
      throw unsupported(
        "A collation is named.",
        "Leave it to the columns' own, which every shard has alike.",
      );
    default:
  }
  for (const child of childNodes(node)) checkExpression(child, place);
}

function acrossKeys(): Error {
  return unsupported(
    "A subquery reads rows of other keys than the row it stands beside, which may be on another shard.",
    `Bind it to the row's key: .whereRef("inner.key", "=", "outer.key"), or select the key in it and compare both, (key, id) in (select key, id …). Else run it first and give its values as parameters, or ${GATHER}.`,
  );
}

/** `(key, id) in (select key, id …)`: what other keys' rows give is different from this row's key anyway. True where it was checked. */
function checkInQuery(node: BinaryOperationNode, place: ExpressionPlace): boolean {
  const operator = operatorOf(node);
  const query = operator === "in" || operator === "not in" ? queryOf(node.rightOperand) : undefined;
  if (query === undefined) return false;
  checkExpression(node.leftOperand, place);
  const relation = place.subquery(query);
  if (relation.standing === "here") return true;
  const left = inside(node.leftOperand);
  const parts =
    left.kind === "TupleNode" || left.kind === "ValueListNode" ? (left as ValueListNode).values : [left];
  const bound = parts.some(
    (part, index) => relation.columns?.[index]?.key === "always" && place.scope.isKey(part),
  );
  if (!bound) throw acrossKeys();
  return true;
}

function checkFunction(node: FunctionNode): void {
  const { func } = node;
  const name = func.toLowerCase();
  if (isScalar(name)) {
    if (node.arguments.length < argumentsMin(name)) throw ownClock(`${func}()`);
    refuseMoments(node);
    return;
  }
  if (isAggregate(name) || isWindowFunction(name))
    throw unsupported(`${func}() is called as if it were a function of one row.`, howToCall(name));
  throw unknownFunction(func);
}

function refuseMoments(node: OperationNode, writtenOut = false): void {
  for (const child of childNodes(node)) {
    const given = givenValue(child);
    if (given === undefined || (writtenOut && given.immediate !== true)) continue;
    const { value } = given;
    if (typeof value === "string" && MOMENT.test(value)) throw ownClock(`'${value}'`);
  }
}

function checkAggregate(node: AggregateFunctionNode, { scope, standing }: ExpressionPlace): void {
  const name = node.func.toLowerCase();
  if (!isAggregate(name) && !isWindowFunction(name)) throw unknownFunction(node.func);
  if (node.over === undefined) refuseOuterAggregate(node, scope);
  if (node.over === undefined || standing === "here") return;
  if (!partitionsByKey(node.over, scope))
    throw unsupported(
      `The window of ${name}() spans rows of several keys.`,
      `Partition it by the distribution column: .over((ob) => ob.partitionBy("…")), or ${GATHER}.`,
    );
}

/** In a subquery, an aggregate of nothing but outer columns belongs to the query outside, and groups that. */
function refuseOuterAggregate(node: AggregateFunctionNode, scope: Scope): void {
  if (scope.outer === undefined) return;
  let [own, foreign] = [false, false];
  const look = (part: OperationNode): void => {
    const inner = inside(part);
    if (columnOf(inner) !== undefined) {
      if (scope.resolveHere(inner) === undefined) foreign = true;
      else own = true;
      return;
    }
    if (inner.kind === "RawNode" && /[A-Za-z_"`]/.test((inner as RawNode).sqlFragments.join(" ")))
      foreign = true;
    for (const child of childNodes(inner)) look(child);
  };
  for (const argument of node.aggregated) look(argument);
  if (foreign && !own)
    throw unsupported(
      `${node.func}() in a subquery is taken of columns of the query outside.`,
      "Take it in the query whose columns they are.",
    );
}

function partitionsByKey({ partitionBy }: OverNode, scope: Scope): boolean {
  return (partitionBy?.items ?? []).some(({ partitionBy: item }) => {
    const found = scope.resolveHere(item);
    return found?.source.standing === "keywise" && keyStatus(found) === "always";
  });
}

/** True where an aggregate of this very query is called, outside subqueries and windows' own calls. */
export function holdsAggregate(node: OperationNode): boolean {
  if (node.kind === "SelectQueryNode") return false;
  if (node.kind === "AggregateFunctionNode" && (node as AggregateFunctionNode).over === undefined)
    return true;
  for (const child of childNodes(node)) if (holdsAggregate(child)) return true;
  return false;
}
