/**
 * The copy: table by table, those that are referred to first, in slices of the primary key. Each slice is one transaction at the target, under
 * the lock of the residence; the cursor in main says where to go on.
 *
 * A slice that another row is in the way of, under a second unique key, is written row by row: the occupant had that value when it was copied and has lost it
 * since, so its change is in the source's log and it will be copied again. It may be deleted.
 */
import { isTesseraeError } from "../base/errors.ts";
import type { Connection } from "../engine/contract.ts";
import type { RowSlice } from "../engine/row-transfer.ts";
import type { TableModel } from "../schema/model.ts";
import { acrossBoth, atTarget } from "./at-target.ts";
import type { Cursor } from "./move-record.ts";
import type { MoveWork } from "./move-work.ts";
import { heedReplicas } from "./replica-pace.ts";
import { rewriteRows } from "./rewrite-rows.ts";
import { Rate, SliceSize } from "./slice-size.ts";

/** A slice that has to be written row by row is cut down to so many rows. */
const CAREFUL_ROWS = 500;

/** Copies all rows of the keys; goes on where the record says. */
export async function copyRows(work: MoveWork): Promise<void> {
  if (work.record.progress.copy === undefined) await beginCopy(work);
  const cursor = work.record.progress.copy as Cursor;
  const { tables } = work.parts;
  const first = tables.findIndex(({ name }) => name === cursor.table);
  await emptyAfter(work, tables.slice(first), cursor);
  const rate = new Rate();
  for (const table of tables.slice(first)) {
    const after = table.name === cursor.table ? cursor.after : undefined;
    await copyTable(
      work,
      table,
      after === undefined ? undefined : work.transfer.parseLogKey(table, after),
      rate,
    );
  }
}

async function beginCopy(work: MoveWork): Promise<void> {
  let rowsTotal = 0;
  for (const table of work.parts.tables) {
    await work.between();
    rowsTotal += await work.reading("source", (connection) =>
      work.transfer.count("source", connection, { table, scope: work.scope }),
    );
  }
  const first = work.parts.tables[0]?.name ?? "";
  const progress = {
    ...work.record.progress,
    rowsTotal,
    rowsCopied: 0,
    copy: { table: first, after: undefined },
  };
  await work.save({ progress });
}

/** What was copied after the cursor was saved, by a process that ended then, is copied again: it goes first. */
async function emptyAfter(work: MoveWork, tables: readonly TableModel[], cursor: Cursor): Promise<void> {
  for (const table of tables.toReversed()) {
    const after =
      table.name === cursor.table && cursor.after !== undefined
        ? work.transfer.parseLogKey(table, cursor.after)
        : undefined;
    await emptySlice(work, { table, scope: work.scope, after });
  }
}

const EMPTY_ROWS = 5_000;

/** Deletes the keys' rows of a slice at the target, in batches. */
export async function emptySlice(work: MoveWork, slice: RowSlice): Promise<void> {
  for (;;) {
    const deleted = await atTarget(work, (connection) =>
      work.transfer.deleteSlice("target", connection, slice, EMPTY_ROWS),
    );
    if (deleted < EMPTY_ROWS) return;
    await work.between();
  }
}

async function copyTable(
  work: MoveWork,
  table: TableModel,
  from: readonly unknown[] | undefined,
  rate: Rate,
): Promise<void> {
  const size = new SliceSize(work.throttle, work.target.store.capabilities);
  const { scope } = work;
  // Rows behind it are new, and in the log: a copy that is throttled would chase a writer who is not.
  const last = await work.reading("source", (connection) =>
    work.transfer.last("source", connection, { table, scope, after: from }),
  );
  for (let after = from; last !== undefined; ) {
    await heedReplicas(work, work.target);
    await work.waitFor(work.throttle.wait().why, () => work.throttle.wait().ms);
    const begun = performance.now();
    const cut = await work.reading("source", (connection) =>
      work.transfer.boundary(connection, { table, scope, after, upTo: last }, size.rows),
    );
    const rows = await copySlice(work, { table, scope, after, upTo: cut ?? last });
    await work.at("copy:copied");
    size.took(rows, performance.now() - begun);
    work.throttle.spend(rows);
    rate.add(rows);
    work.note({
      rowsCopied: work.record.progress.rowsCopied + rows,
      rowsPerSecond: rate.perSecond,
      copy: { table: table.name, after: work.transfer.primaryKeyText(cut ?? last) },
    });
    if (cut === undefined) break;
    await work.between();
    await work.at("copy:chunk");
    after = cut;
  }
  await finishTable(work, table);
}

/** The next table is the cursor's from now on; after the last one the step has ended. */
async function finishTable(work: MoveWork, table: TableModel): Promise<void> {
  const { tables } = work.parts;
  const next = tables[tables.indexOf(table) + 1];
  if (next !== undefined) work.note({ copy: { table: next.name, after: undefined } });
  await work.between();
}

/** Copies one slice in a transaction at the target, whatever is in its way. Rows that are at the target now. */
async function copySlice(work: MoveWork, slice: RowSlice): Promise<number> {
  try {
    return await acrossBoth(work, (source, target) => work.transfer.copy(source, target, slice));
  } catch (error) {
    if (isTesseraeError(error, "CONSTRAINT_UNIQUE")) return copyCarefully(work, slice);
    throw error;
  }
}

async function deleteWhole(work: MoveWork, connection: Connection, slice: RowSlice): Promise<void> {
  while ((await work.transfer.deleteSlice("target", connection, slice, EMPTY_ROWS)) === EMPTY_ROWS);
}

async function copyCarefully(work: MoveWork, slice: RowSlice): Promise<number> {
  let copied = 0;
  for (let after = slice.after; ; ) {
    const upTo = await work.reading("source", (connection) =>
      work.transfer.boundary(connection, { ...slice, after }, CAREFUL_ROWS),
    );
    const part = { ...slice, after, upTo: upTo ?? slice.upTo };
    copied += await acrossBoth(
      work,
      async (source, target) => {
        const texts = [...(await work.transfer.primaryKeysOf("source", source, part)).keys()];
        await deleteWhole(work, target, part);
        const keys = texts.map((text) => work.transfer.parseLogKey(slice.table, text));
        return rewriteRows(work, { source, target }, slice.table, keys);
      },
      { snapshot: true },
    );
    if (upTo === undefined) return copied;
    after = upTo;
    await work.between();
  }
}
