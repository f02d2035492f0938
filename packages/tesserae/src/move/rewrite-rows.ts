/**
 * Rows that are written anew one key at a time: those that the log tells of, and those of a slice with something in its way. They come in pieces whose size follows
 * that of the rows, so that rows of megabytes are not all in memory at once.
 */
import type { Connection } from "../engine/contract.ts";
import type { TransferRow } from "../engine/row-transfer.ts";
import { bytesOfRow } from "../engine/transfer-values.ts";
import type { TableModel } from "../schema/model.ts";
import { refuseDifference } from "./differences.ts";
import type { MoveWork } from "./move-work.ts";

const PIECE_BYTES = 4 << 20;
const PIECE_ROWS_FIRST = 20;
const PIECE_ROWS_MAX = 500;

export interface Ends {
  /** In a snapshot: two rows that swap a unique value must not both have it. */
  readonly source: Connection;
  readonly target: Connection;
}

/**
 * Writes the rows that there are of these primary keys, of which the target has none. Whoever has one of their unique values there has lost it at the source since,
 * and has an entry of its own in the log: it goes. With `compare` what was written is read again: MOVE_VERIFY. Gives the number of rows.
 */
export async function rewriteRows(
  work: MoveWork,
  { source, target }: Ends,
  table: TableModel,
  keys: readonly (readonly unknown[])[],
  { compare = false }: { readonly compare?: boolean } = {},
): Promise<number> {
  let written = 0;
  for (let start = 0, count = PIECE_ROWS_FIRST; start < keys.length; ) {
    const piece = keys.slice(start, start + count);
    const rows = await work.transfer.read("source", source, table, piece);
    if (rows.length > 0) {
      if (table.uniques.length > 0) await work.transfer.deleteOccupants(target, table, rows);
      await work.transfer.write(target, table, rows);
    }
    if (compare)
      refuseDifference(work, table, rows, await work.transfer.read("target", target, table, piece));
    written += rows.length;
    start += piece.length;
    count = nextCount(rows);
  }
  return written;
}

function nextCount(rows: readonly TransferRow[]): number {
  const bytes = rows.reduce((sum, row) => sum + bytesOfRow(row), 0);
  const fitting = Math.floor((PIECE_BYTES * rows.length) / Math.max(1, bytes));
  return Math.max(1, Math.min(PIECE_ROWS_MAX, fitting || PIECE_ROWS_FIRST));
}
