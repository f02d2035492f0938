/**
 * Conditions on the distribution key, as nodes of Kysely's tree. A key stands beside the key's column in a comparison, so that the types' inference knows how each engine
 * wants it.
 */
import type { OperationNode } from "kysely";
import { type ResidenceState, residenceTableName } from "../../engine/control-tables.ts";
import type { KeyValue } from "../../schema/logical-type.ts";

/** Gives a condition for the key's column, which comes qualified with the name that its table has in the query. */
export type KeyCondition = (keyColumn: OperationNode) => OperationNode;

/** A point, or a range from `low`, inclusive, to `high`, exclusive; null is unbounded. */
export interface KeyMember {
  readonly kind: "p" | "r";
  readonly low: KeyValue;
  readonly high: KeyValue | null;
}

/** Whose rows a shard may have without their being its own. A key that has a residence of its own there is meant by none of the ranges of `owned` and `foreign`. */
export interface DoubtfulKeys {
  readonly federation: string;
  /** The shard's residences say, at the moment that the statement shows, whether they are its own. */
  readonly asked: readonly KeyMember[];
  /** They are its own, whatever its residences say: it is about to learn so. */
  readonly owned: readonly KeyMember[];
  /** They are not. */
  readonly foreign: readonly KeyMember[];
}

/** The states in which a key's rows on a shard are whole, and no other shard's are newer: for as long as nobody has cut over. */
const OWN_STATES: readonly ResidenceState[] = ["here", "leaving", "frozen"];

/** The rows of these keys. */
export function inKeys(keys: readonly KeyValue[]): KeyCondition {
  if (keys.length === 0) return () => comparison(immediate(1), "=", immediate(0));
  return (column) => isOneOf(column, keys);
}

/** All rows but those of doubtful keys that are not the shard's own. */
export function ownRows({ federation, asked, owned, foreign }: DoubtfulKeys): KeyCondition {
  const residence = new ResidenceConditions(federation);
  /** `within` of each range, and the keys that are named. */
  const among = (
    column: OperationNode,
    members: readonly KeyMember[],
    within: (bounds: OperationNode) => OperationNode,
  ): OperationNode[] => {
    const named = keysOf(members);
    return [
      ...(named.length === 0 ? [] : [isOneOf(column, named)]),
      ...members.filter(({ kind }) => kind === "r").map((range) => within(isBetween(column, range))),
    ];
  };
  return (column) => {
    const withoutPoint = (bounds: OperationNode) => and(bounds, not(residence.hasPoint(column)));
    const doubtful = among(column, [...asked, ...owned, ...foreign], (bounds) => bounds);
    if (doubtful.length === 0) return comparison(immediate(1), "=", immediate(1));
    const isOwn = or(not(or(...doubtful)), ...among(column, owned, withoutPoint), residence.isOwn(column));
    const others = among(column, foreign, withoutPoint);
    return parens(others.length === 0 ? isOwn : and(not(or(...others)), parens(isOwn)));
  };
}

/** What a shard's residences say of the key in a column: its point, or else the range around it. */
class ResidenceConditions {
  readonly #table: string;

  constructor(federation: string) {
    this.#table = residenceTableName(federation);
  }

  hasPoint(column: OperationNode): OperationNode {
    return this.#exists(this.#isPoint(column));
  }

  isOwn(column: OperationNode): OperationNode {
    const ownState = comparison(of("state"), "in", literals(OWN_STATES));
    const covers = and(
      comparison(of("kind"), "=", immediate("r")),
      comparison(of("low"), "<=", column),
      parens(or(comparison(of("high"), "is", immediate(null)), comparison(of("high"), ">", column))),
    );
    const ownPoint = this.#exists(and(this.#isPoint(column), ownState));
    return or(ownPoint, parens(and(not(this.hasPoint(column)), this.#exists(and(covers, ownState)))));
  }

  #isPoint(column: OperationNode): OperationNode {
    return and(comparison(of("kind"), "=", immediate("p")), comparison(of("low"), "=", column));
  }

  /** `exists (select 1 from tesserae_residence_users as tesserae_own where …)` */
  #exists(where: OperationNode): OperationNode {
    const from = { kind: "AliasNode", node: table(this.#table), alias: identifier(RESIDENCE) };
    const one = { kind: "AliasNode", node: immediate(1), alias: identifier("found") };
    return unary("exists", {
      kind: "SelectQueryNode",
      from: { kind: "FromNode", froms: [from] },
      selections: [{ kind: "SelectionNode", selection: one }],
      where: { kind: "WhereNode", where },
    } as unknown as OperationNode);
  }
}

const RESIDENCE = "tesserae_own";
const of = (column: string): OperationNode => reference(RESIDENCE, column);

function keysOf(members: readonly KeyMember[]): KeyValue[] {
  return members.filter(({ kind }) => kind === "p").map(({ low }) => low);
}

function isOneOf(column: OperationNode, keys: readonly KeyValue[]): OperationNode {
  return keys.length === 1
    ? comparison(column, "=", value(keys[0]))
    : comparison(column, "in", list(repeated(keys)));
}

function isBetween(column: OperationNode, { low, high }: KeyMember): OperationNode {
  const from = comparison(column, ">=", value(low));
  return parens(high === null ? from : and(from, comparison(column, "<", value(high))));
}

/**
 * The values and the last of them again, up to a power of two. Engines and the library keep statements by their text, and a list of each length has its own; the answer is
 * the same.
 */
function repeated(keys: readonly KeyValue[]): KeyValue[] {
  const length = 2 ** Math.ceil(Math.log2(keys.length));
  const last = keys.at(-1) as KeyValue;
  return Array.from({ length }, (_, index) => keys[index] ?? last);
}

export function reference(alias: string, column: string): OperationNode {
  return {
    kind: "ReferenceNode",
    table: table(alias),
    column: { kind: "ColumnNode", column: identifier(column) },
  } as unknown as OperationNode;
}

function comparison(left: OperationNode, operator: string, right: OperationNode): OperationNode {
  return {
    kind: "BinaryOperationNode",
    leftOperand: left,
    operator: { kind: "OperatorNode", operator },
    rightOperand: right,
  } as OperationNode;
}

function unary(operator: string, operand: OperationNode): OperationNode {
  return {
    kind: "UnaryOperationNode",
    operator: { kind: "OperatorNode", operator },
    operand,
  } as OperationNode;
}

const not = (operand: OperationNode): OperationNode => unary("not", parens(operand));

function and(...conditions: readonly OperationNode[]): OperationNode {
  return conditions.reduce((left, right) => ({ kind: "AndNode", left, right }) as OperationNode);
}

function or(...conditions: readonly OperationNode[]): OperationNode {
  return conditions
    .map((condition) => (condition.kind === "AndNode" ? parens(condition) : condition))
    .reduce((left, right) => ({ kind: "OrNode", left, right }) as OperationNode);
}

function table(name: string): object {
  return { kind: "TableNode", table: { kind: "SchemableIdentifierNode", identifier: identifier(name) } };
}

const identifier = (name: string) => ({ kind: "IdentifierNode", name });
const parens = (node: OperationNode) => ({ kind: "ParensNode", node }) as OperationNode;
const value = (of: unknown) => ({ kind: "ValueNode", value: of }) as OperationNode;
const list = (values: readonly unknown[]) => ({ kind: "PrimitiveValueListNode", values }) as OperationNode;
const immediate = (of: unknown) => ({ kind: "ValueNode", value: of, immediate: true }) as OperationNode;
const literals = (values: readonly unknown[]) =>
  ({ kind: "ValueListNode", values: values.map(immediate) }) as unknown as OperationNode;
