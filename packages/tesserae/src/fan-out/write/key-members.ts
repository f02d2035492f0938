/** Conditions on a table's key column: whose rows they are, and whether they are the shard's own. Made with Kysely's expressions, so that each value stands beside the key's column. */
import { type Expression, type ExpressionBuilder, expressionBuilder, type SqlBool, sql } from "kysely";
import type { KeyCodec } from "../../directory/key-codec.ts";
import { type ResidenceState, residenceTableName } from "../../engine/control-tables.ts";
import type { KeyValue } from "../../schema/logical-type.ts";

/** Some keys, or a range from `low`, inclusive, to `high`, exclusive; null is unbounded. */
export type KeyMember =
  | { readonly kind: "p"; readonly low: KeyValue; readonly high: null }
  | { readonly kind: "r"; readonly low: KeyValue; readonly high: KeyValue | null };

export type Condition = Expression<SqlBool>;

// biome-ignore lint/suspicious/noExplicitAny: of any tables.
const eb: ExpressionBuilder<any, any> = expressionBuilder();

/** The keys of these members, whatever place they have. `column`: `table.column`. Undefined for none. */
export function inMembers(column: string, members: readonly KeyMember[]): Condition | undefined {
  const points = members.filter(({ kind }) => kind === "p").map(({ low }) => low);
  const conditions: Condition[] = members
    .filter(({ kind }) => kind === "r")
    .map(({ low, high }) =>
      high === null ? eb(column, ">=", low) : eb.and([eb(column, ">=", low), eb(column, "<", high)]),
    );
  if (points.length > 0) conditions.push(eb(column, "in", padded(points)));
  return conditions.length === 0 ? undefined : eb.or(conditions);
}

/** The keys of these members as a move means them: a range without the keys that have a place of their own, as the shard knows it. Undefined for none. */
export function meantBy(
  column: string,
  members: readonly KeyMember[],
  federation: string,
): Condition | undefined {
  const points = inMembers(
    column,
    members.filter(({ kind }) => kind === "p"),
  );
  const ranges = inMembers(
    column,
    members.filter(({ kind }) => kind === "r"),
  );
  if (ranges === undefined) return points;
  const inRanges = eb.and([ranges, eb.not(eb.exists(point(column, federation)))]);
  return points === undefined ? inRanges : eb.or([points, inRanges]);
}

/** The residence of the key alone, in any state. */
function point(column: string, federation: string) {
  return eb
    .selectFrom(`${residenceTableName(federation)} as own`)
    .select(sql.lit(1).as("found"))
    .where("own.kind", "=", sql.lit("p"))
    .whereRef("own.low", "=", column);
}

/** The rows of these keys; of no key no rows. */
export function inKeys(column: string, keys: readonly KeyValue[]): Condition {
  return keys.length === 0 ? sql<SqlBool>`1 = 0` : eb(column, "in", padded(keys));
}

/** Keys in one statement: a power of two, and fewer than an engine has places for parameters. */
const PORTION_KEYS = 8_192;

/** The rows of these keys, in as many portions as statements need; no row is in two. Undefined for all rows. */
export function portionsOf(
  column: string,
  only: readonly KeyValue[] | undefined,
  keys: KeyCodec,
): readonly (Condition | undefined)[] {
  if (only === undefined) return [undefined];
  const distinct = [...new Map(only.map((key) => [keys.toText(key), key])).values()];
  const portions = [inKeys(column, distinct.slice(0, PORTION_KEYS))];
  for (let start = PORTION_KEYS; start < distinct.length; start += PORTION_KEYS)
    portions.push(inKeys(column, distinct.slice(start, start + PORTION_KEYS)));
  return portions;
}

/** With the last key again up to a power of two: a list of each length would have a text of its own, which engines and the library keep. */
function padded(keys: readonly KeyValue[]): KeyValue[] {
  const length = 2 ** Math.ceil(Math.log2(keys.length));
  return Array.from({ length }, (_, index) => keys[index] ?? (keys.at(-1) as KeyValue));
}

/** The keys whose residence on the shard is in one of the states: their own, or else that of the range around them. */
export function isOwn(column: string, federation: string, states: readonly ResidenceState[]): Condition {
  const residence = `${residenceTableName(federation)} as own`;
  const inState = () => eb("own.state", "in", sql`(${sql.join(states.map((state) => sql.lit(state)))})`);
  const range = eb
    .selectFrom(residence)
    .select(sql.lit(1).as("found"))
    .where("own.kind", "=", sql.lit("r"))
    .whereRef("own.low", "<=", column)
    .where((own) => own.or([own("own.high", "is", null), own("own.high", ">", own.ref(column))]))
    .where(inState());
  return eb.or([
    eb.exists(point(column, federation).where(inState())),
    eb.and([eb.not(eb.exists(point(column, federation))), eb.exists(range)]),
  ]);
}

export function both(...conditions: readonly (Condition | undefined)[]): Condition {
  return eb.and(conditions.filter((condition) => condition !== undefined));
}

export const not = (condition: Condition | undefined): Condition | undefined =>
  condition === undefined ? undefined : eb.not(condition);

/** True where `outer` holds all keys of `inner`. */
export function contains(keys: KeyCodec, outer: KeyMember, inner: KeyMember): boolean {
  if (outer.kind === "p") return inner.kind === "p" && keys.compare(outer.low, inner.low) === 0;
  if (keys.compare(outer.low, inner.low) > 0) return false;
  if (outer.high === null) return true;
  if (inner.kind === "p") return keys.compare(inner.low, outer.high) < 0;
  return inner.high !== null && keys.compare(inner.high, outer.high) <= 0;
}

export function overlaps(keys: KeyCodec, a: KeyMember, b: KeyMember): boolean {
  if (a.kind === "p") return contains(keys, b, a);
  if (b.kind === "p") return contains(keys, a, b);
  const beginsBefore = (one: KeyMember, other: KeyMember) =>
    other.high === null || keys.compare(one.low, other.high) < 0;
  return beginsBefore(a, b) && beginsBefore(b, a);
}
