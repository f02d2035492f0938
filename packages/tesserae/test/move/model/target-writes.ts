/** What a mover's transaction does to the rows at the target. */
import { rowOf, withRow } from "./state.ts";

/**
 * Deletes the keys, then inserts what exists of them. A row that holds the value of the unique column under another key is deleted: it differs
 * from the source's, so it has an entry in the log that brings it back.
 */
export function replaceRows(target: number, keys: number, rows: number): number {
  for (const key of [0, 1]) if ((keys >>> key) & 1) target = withRow(target, key, 0);
  for (const key of [0, 1]) {
    const value = rowOf(rows, key);
    if (((keys >>> key) & 1) === 0 || value === 0) continue;
    if (rowOf(target, 1 - key) === value) target = withRow(target, 1 - key, 0);
    target = withRow(target, key, value);
  }
  return target;
}

/**
 * The wrong way: keys without a row are deleted, the others are upserted as MariaDB's `on duplicate key update` does it: a row that
 * is met by its second unique key is rewritten in place of the one that was meant. Undefined: the statement fails on the unique column.
 */
export function upsertRows(target: number, keys: number, rows: number): number | undefined {
  for (const key of [0, 1]) {
    if ((keys >>> key) & 1 && rowOf(rows, key) === 0) target = withRow(target, key, 0);
  }
  for (const key of [0, 1]) {
    const value = rowOf(rows, key);
    if (((keys >>> key) & 1) === 0 || value === 0) continue;
    const occupied = rowOf(target, 1 - key) === value;
    if (rowOf(target, key) !== 0 && occupied) return undefined;
    if (!occupied) target = withRow(target, key, value);
  }
  return target;
}
