/** Whose rows a move's are: in the federated tables, and in the directory and the residences. */
import type { KeyScope } from "../engine/row-transfer.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Member } from "./move-record.ts";

/** The rows of some keys, or of one range, in the federated tables. */
export function scopeOf(federation: string, members: readonly Member[]): KeyScope {
  const [first] = members;
  return first?.kind === "r"
    ? { kind: "range", low: first.low, high: first.high, federation }
    : { kind: "points", keys: members.map(({ low }) => low) };
}

/** The rows in the directory or in a shard's residences: both have the primary key `(kind, low)`. */
export function memberCondition(
  members: readonly Pick<Member, "kind" | "low">[],
  encodeKey: (key: KeyValue) => unknown,
): { readonly sql: string; readonly parameters: readonly unknown[] } {
  const kind = members[0]?.kind ?? "p";
  const places = members.map(() => "?").join(", ");
  return {
    sql: `kind = '${kind}' and low in (${places})`,
    parameters: members.map(({ low }) => encodeKey(low)),
  };
}
