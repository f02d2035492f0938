/** What the conditions of a query say about keys: which columns are equal in all its rows, and which keys it can be about. */
import type {
  BinaryOperationNode,
  OperationNode,
  PrimitiveValueListNode,
  RawNode,
  TupleNode,
  ValueListNode,
} from "kysely";
import { checkBigint, checkBytes, checkText, checkUuid } from "../../engine/value-checks.ts";
import type { KeyValue, LogicalType } from "../../schema/logical-type.ts";
import { unwrap } from "../../session/raw-fragment.ts";
import { tokenize } from "../../session/raw-tokens.ts";
import { childNodes, givenValue, inside, operatorOf } from "./nodes.ts";
import { unsupported } from "./refusal.ts";
import { keyStatus, type Scope } from "./scope.ts";

/** The conditions that all hold, one by one. Kysely writes them one after the other, so that an `or` among them without parentheses would take part of them along. */
export function conjuncts(node: OperationNode | undefined): OperationNode[] {
  if (node === undefined) return [];
  const inner = unwrap(node);
  if (inner.kind === "AndNode") {
    const { left, right } = inner as unknown as Record<"left" | "right", OperationNode>;
    return [...conjuncts(left), ...conjuncts(right)];
  }
  if (inner.kind === "ParensNode") {
    const within = unwrap((inner as unknown as { readonly node: OperationNode }).node);
    return within.kind === "OrNode" ? [within] : conjuncts(within);
  }
  refuseLooseOr(inner);
  return [inner];
}

/** Refuses what the engine would read as `a and b or c` where the tree says `a and (b or c)`. */
function refuseLooseOr(node: OperationNode): void {
  switch (node.kind) {
    case "OrNode":
      throw looseOr();
    case "BinaryOperationNode":
    case "UnaryOperationNode":
      // MariaDB and MySQL read || as or.
      if (operatorOf(node) === "||") throw looseOr();
      for (const child of childNodes(node)) refuseLooseOr(unwrap(child));
      break;
    case "RawNode":
      if (hasLooseOr(node as RawNode)) throw looseOr();
      break;
    default:
  }
}

function looseOr(): Error {
  return unsupported(
    "An or stands among other conditions without parentheses, where the engine may read it otherwise than it is meant.",
    "Write it as eb.or([…]), or in parentheses.",
  );
}

export function hasLooseOr(node: RawNode): boolean {
  let depth = 0;
  const tokens = tokenize(node);
  return tokens.some(({ text, kind, ...token }, at) => {
    if (text === "(") depth++;
    else if (text === ")") depth--;
    if (depth > 0) return false;
    if (kind === "hole") {
      const hole = inside((token as { readonly node: OperationNode }).node);
      return hole.kind === "OrNode";
    }
    return (
      (kind === "word" && (text === "or" || text === "xor")) || (text === "|" && tokens[at + 1]?.text === "|")
    );
  });
}

/** `a.k = b.k` among the conditions, as pairs of columns' ids. */
export function equalities(conditions: readonly OperationNode[], scope: Scope): [string, string][] {
  return conditions.flatMap((node): [string, string][] => {
    if (node.kind !== "BinaryOperationNode" || operatorOf(node) !== "=") return [];
    const { leftOperand, rightOperand } = node as BinaryOperationNode;
    const [left, right] = [scope.resolve(leftOperand), scope.resolve(rightOperand)];
    if (left?.column.key === undefined || right?.column.key === undefined) return [];
    return [[scope.idOf(left), scope.idOf(right)]];
  });
}

/** Columns that are equal, by way of others too. */
export class EqualColumns {
  readonly #next = new Map<string, string>();

  constructor(pairs: readonly (readonly [string, string])[]) {
    for (const [left, right] of pairs) {
      const [a, b] = [this.#root(left), this.#root(right)];
      if (a !== b) this.#next.set(a, b);
    }
  }

  #root(id: string): string {
    let root = id;
    for (let next = this.#next.get(root); next !== undefined; next = this.#next.get(root)) root = next;
    return root;
  }

  areEqual(a: string, b: string): boolean {
    return this.#root(a) === this.#root(b);
  }
}

/** Notes the columns that these conditions, being true, keep from being null. */
export function noteNotNull(conditions: readonly OperationNode[], scope: Scope): void {
  for (const node of conditions) {
    if (node.kind !== "BinaryOperationNode") continue;
    for (const side of sidesNotNull(node as BinaryOperationNode)) {
      const found = scope.resolveHere(side);
      if (found !== undefined) scope.notNull.add(scope.idOf(found));
    }
  }
}

function sidesNotNull(node: BinaryOperationNode): readonly OperationNode[] {
  const { leftOperand, rightOperand } = node;
  switch (operatorOf(node)) {
    case "=":
    case "<":
    case "<=":
    case ">":
    case ">=":
      return [leftOperand, rightOperand];
    case "is not":
      return givenValue(rightOperand)?.value === null ? [leftOperand] : [];
    case "in": {
      const left = inside(leftOperand);
      return left.kind === "TupleNode" ? (left as TupleNode).values : [left];
    }
    default:
      return [];
  }
}

/** The keys that rows meeting the conditions can be of; undefined for any. */
export function keysOf(
  conditions: readonly OperationNode[],
  scope: Scope,
  key: LogicalType,
): readonly KeyValue[] | undefined {
  let keys: readonly KeyValue[] | undefined;
  for (const condition of conditions) keys = bothKeys(keys, keysOfOne(condition, scope, key));
  return keys;
}

export function bothKeys(
  a: readonly KeyValue[] | undefined,
  b: readonly KeyValue[] | undefined,
): readonly KeyValue[] | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const named = new Set(b.map(keyName));
  return a.filter((value) => named.has(keyName(value)));
}

export function eitherKeys(
  a: readonly KeyValue[] | undefined,
  b: readonly KeyValue[] | undefined,
): readonly KeyValue[] | undefined {
  if (a === undefined || b === undefined) return undefined;
  return [...new Map([...a, ...b].map((value) => [keyName(value), value])).values()];
}

const keyName = (value: KeyValue): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value);

function keysOfOne(node: OperationNode, scope: Scope, key: LogicalType): readonly KeyValue[] | undefined {
  if (node.kind === "OrNode") {
    const { left, right } = node as unknown as Record<"left" | "right", OperationNode>;
    return eitherKeys(keysOf(alternative(left), scope, key), keysOf(alternative(right), scope, key));
  }
  if (node.kind !== "BinaryOperationNode") return undefined;
  const { leftOperand, rightOperand } = node as BinaryOperationNode;
  switch (operatorOf(node)) {
    case "=":
      if (isKeyHere(leftOperand, scope)) return keyValues([rightOperand], key);
      return isKeyHere(rightOperand, scope) ? keyValues([leftOperand], key) : undefined;
    case "in":
      return isKeyHere(leftOperand, scope) ? keyValues(listItems(rightOperand), key) : undefined;
    default:
      return undefined;
  }
}

/** One side of an `or`, which may itself be one. */
function alternative(node: OperationNode): readonly OperationNode[] {
  const inner = unwrap(node);
  return inner.kind === "OrNode" ? [inner] : conjuncts(inner);
}

/** A column that holds the key of this query's own rows. */
function isKeyHere(node: OperationNode, scope: Scope): boolean {
  const found = scope.resolveHere(node);
  return found !== undefined && found.source.standing === "keywise" && keyStatus(found) !== undefined;
}

function listItems(node: OperationNode): readonly (OperationNode | { readonly raw: unknown })[] | undefined {
  const list = unwrap(node);
  if (list.kind === "PrimitiveValueListNode")
    return (list as PrimitiveValueListNode).values.map((raw) => ({ raw }));
  if (list.kind === "ValueListNode") return (list as ValueListNode).values;
  return list.kind === "ParensNode" ? [list] : undefined;
}

function keyValues(
  items: readonly (OperationNode | { readonly raw: unknown })[] | undefined,
  key: LogicalType,
): readonly KeyValue[] | undefined {
  if (items === undefined) return undefined;
  const keys: KeyValue[] = [];
  for (const item of items) {
    const value = "raw" in item ? { value: item.raw } : givenValue(item);
    if (value === undefined) return undefined;
    // Null is equal to no key.
    if (value.value === null) continue;
    const checked = keyValue(value.value, key);
    if (checked === undefined) return undefined;
    keys.push(checked);
  }
  return eitherKeys(keys, []);
}

/** Undefined for what is no key: the shard's own statement refuses it, naming the column. */
function keyValue(value: unknown, key: LogicalType): KeyValue | undefined {
  try {
    switch (key.kind) {
      case "bigint":
        return checkBigint(value);
      case "uuid":
        return checkUuid(value);
      case "bytes":
        return checkBytes(value);
      case "text":
        return checkText(value);
      default:
        return undefined;
    }
  } catch {
    return undefined;
  }
}
