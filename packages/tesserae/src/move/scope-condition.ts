/** Which rows of a table with a key column belong to a move: those of its keys, or of its range without the keys that have a residence of their own. */
import { residenceTableName } from "../engine/control-tables.ts";
import type { TransferEnd } from "../engine/row-transfer.ts";
import type { MoveWork } from "./move-work.ts";

export interface Condition {
  /** With `?` for driver values. */
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

/** `column`: the key's column as it stands in the statement, quoted. */
export function scopeCondition(
  work: Pick<MoveWork, "end" | "parts" | "scope">,
  which: TransferEnd,
  column: string,
): Condition {
  const { dialect } = work.end(which).store;
  const codec = dialect.codec(work.parts.federation.key);
  const { scope } = work;
  if (scope.kind === "points")
    return {
      sql: `${column} in (${scope.keys.map(() => "?").join(", ")})`,
      parameters: scope.keys.map((key) => codec.encode(key)),
    };
  const residence = dialect.quote(residenceTableName(work.parts.federation.name));
  const end = scope.high === null ? "" : ` and ${column} < ?`;
  return {
    sql: `${column} >= ?${end} and not exists (select 1 from ${residence} own where own.kind = 'p' and own.low = ${column})`,
    parameters: [scope.low, ...(scope.high === null ? [] : [scope.high])].map((key) => codec.encode(key)),
  };
}
