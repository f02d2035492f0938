/**
 * Conditions on the distribution key, as nodes of Kysely's tree. A key stands beside the key's column in a comparison, so that the types' inference knows how each engine
 * wants it.
 */
import type { OperationNode } from "kysely";
import { residenceTableName } from "../../engine/control-tables.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { KeyCondition } from "./keyed-sources.ts";

/** A point, or a range from `low`, inclusive, to `high`, exclusive; null is unbounded. */
export interface KeyMember {
  readonly kind: "p" | "r";
  readonly low: KeyValue;
  readonly high: KeyValue | null;
}

/** The rows of these keys. */
export function inKeys(keys: readonly KeyValue[]): KeyCondition {
  if (keys.length === 0) return () => comparison(immediate(1), "=", immediate(0));
  const values = keys.length === 1 ? value(keys[0]) : list(repeated(keys));
  return (column) => comparison(column, keys.length === 1 ? "=" : "in", values);
}

/**
 * All rows but those of the members, which this shard does not own. A range's rows are those of its keys that have no point of their own in the residences of the database
 * that is asked: a point wins over the range around it.
 */
export function notOwned(members: readonly KeyMember[], federation: string): KeyCondition {
  const points = members.filter(({ kind }) => kind === "p").map(({ low }) => low);
  const ranges = members.filter(({ kind }) => kind === "r");
  return (column) => {
    const conditions = ranges.map((range) => not(all(...isInRange(column, range, federation))));
    if (points.length > 0) conditions.unshift(comparison(column, "not in", list(repeated(points))));
    if (conditions.length === 0) return comparison(immediate(1), "=", immediate(1));
    return conditions.length === 1 ? (conditions[0] as OperationNode) : parens(all(...conditions));
  };
}

function isInRange(column: OperationNode, { low, high }: KeyMember, federation: string): OperationNode[] {
  const bounds = [comparison(column, ">=", value(low))];
  if (high !== null) bounds.push(comparison(column, "<", value(high)));
  return [...bounds, not(exists(ownPoint(column, federation)))];
}

const OWN = "tesserae_own";

/** `select 1 from tesserae_residence_users as tesserae_own where tesserae_own.kind = 'p' and tesserae_own.low = d.user_id` */
function ownPoint(column: OperationNode, federation: string): OperationNode {
  const isPoint = comparison(reference(OWN, "kind"), "=", immediate("p"));
  const isKey = comparison(reference(OWN, "low"), "=", column);
  return {
    kind: "SelectQueryNode",
    from: {
      kind: "FromNode",
      froms: [{ kind: "AliasNode", node: table(residenceTableName(federation)), alias: identifier(OWN) }],
    },
    selections: [
      {
        kind: "SelectionNode",
        selection: { kind: "AliasNode", node: immediate(1), alias: identifier("found") },
      },
    ],
    where: { kind: "WhereNode", where: all(isPoint, isKey) },
  } as unknown as OperationNode;
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

const not = (operand: OperationNode): OperationNode => unary("not", parens(operand));
const exists = (query: OperationNode): OperationNode => unary("exists", query);

function unary(operator: string, operand: OperationNode): OperationNode {
  return {
    kind: "UnaryOperationNode",
    operator: { kind: "OperatorNode", operator },
    operand,
  } as OperationNode;
}

function all(...conditions: readonly OperationNode[]): OperationNode {
  return conditions.reduce((left, right) => ({ kind: "AndNode", left, right }) as OperationNode);
}

function table(name: string): object {
  return { kind: "TableNode", table: { kind: "SchemableIdentifierNode", identifier: identifier(name) } };
}

const identifier = (name: string) => ({ kind: "IdentifierNode", name });
const parens = (node: OperationNode) => ({ kind: "ParensNode", node }) as OperationNode;
const value = (of: unknown) => ({ kind: "ValueNode", value: of }) as OperationNode;
const list = (values: readonly unknown[]) => ({ kind: "PrimitiveValueListNode", values }) as OperationNode;
const immediate = (of: unknown) => ({ kind: "ValueNode", value: of, immediate: true }) as OperationNode;
