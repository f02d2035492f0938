/** What is said of rows that differ between source and target, though they must not. */
import { TesseraeError } from "../base/errors.ts";
import type { TransferRow } from "../engine/row-transfer.ts";
import { canonicalRow, primaryKeyText } from "../engine/transfer-values.ts";
import type { TableModel } from "../schema/model.ts";
import type { MoveWork } from "./move-work.ts";

/** MOVE_VERIFY unless both ends have the same rows of a table. */
export function refuseDifference(
  work: MoveWork,
  table: TableModel,
  source: readonly TransferRow[],
  target: readonly TransferRow[],
): void {
  const atSource = textsByKey(table, source);
  const atTarget = textsByKey(table, target);
  const differing = [...new Set([...atSource.keys(), ...atTarget.keys()])].filter(
    (key) => atSource.get(key) !== atTarget.get(key),
  );
  if (differing.length > 0) throw different(work, table, differing);
}

function textsByKey(table: TableModel, rows: readonly TransferRow[]): ReadonlyMap<string, string> {
  const positions = table.primaryKey.map((name) => table.columns.findIndex((column) => column.name === name));
  return new Map(
    rows.map((row) => [primaryKeyText(positions.map((position) => row[position])), canonicalRow(row)]),
  );
}

export function different(work: MoveWork, table: TableModel, keys: readonly string[]): TesseraeError {
  const { record, parts } = work;
  const some = keys.slice(0, 5).join(", ");
  return new TesseraeError(
    "MOVE_VERIFY",
    `${keys.length === 1 ? "A row" : `${keys.length} rows`} of table "${table.name}" on shard ${record.target} differ from shard ${record.source}, and no change under way explains it: ${some}${keys.length > 5 ? ", …" : ""}. Move ${record.id} was turned back and the keys are served where they were. Look for what else writes to shard ${record.target}, and move again.`,
    { cluster: "shards", shard: record.target, federation: parts.federation.name, table: table.name },
  );
}
