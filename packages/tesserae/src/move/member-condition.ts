/** The rows of a move's keys in the directory or in a shard's residences: both have the primary key `(kind, low)`. */
import type { KeyValue } from "../schema/logical-type.ts";
import type { Member } from "./move-record.ts";

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
