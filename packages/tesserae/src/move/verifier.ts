/**
 * The comparison of both ends. Slice by slice their digests; where these differ, row by row. While the source is live a row may differ for a good reason:
 * it was changed since, and then the source's log has it. The log is read after the rows, and nothing is applied from it meanwhile, so whatever explains a difference is
 * found there. Any other difference is a true one, and the move turns back.
 */
import type { RowSlice } from "../engine/row-transfer.ts";
import type { TableModel } from "../schema/model.ts";
import { withoutEntry } from "./catch-up.ts";
import { different } from "./differences.ts";
import type { Cursor } from "./move-record.ts";
import type { MoveWork } from "./move-work.ts";
import { Rate, SliceSize } from "./slice-size.ts";

/** A slice that differs is cut until it has so many rows, and then looked at row by row. */
const COMPARE_ROWS = 2_000;

/** Compares all rows of the keys; goes on where the record says. MOVE_VERIFY. */
export async function verifyRows(work: MoveWork): Promise<void> {
  const { tables } = work.parts;
  const cursor: Cursor = work.record.progress.verify ?? { table: tables[0]?.name ?? "" };
  const rate = new Rate();
  const first = tables.findIndex(({ name }) => name === cursor.table);
  for (const table of tables.slice(first)) {
    const from = table.name === cursor.table ? cursor.after : undefined;
    const size = new SliceSize(work.throttle, work.target.store.capabilities);
    const begin = from === undefined ? undefined : work.transfer.parseLogKey(table, from);
    // What comes behind it is new: compared as one slice in the end, however fast it grows.
    const last = await work.reading("source", (connection) =>
      work.transfer.last("source", connection, { table, scope: work.scope, after: begin }),
    );
    for (let after = begin, behind = last === undefined; ; ) {
      await work.waitFor(work.throttle.wait().why, () => work.throttle.wait().ms);
      const begun = performance.now();
      const slice = { table, scope: work.scope, after, upTo: behind ? undefined : last };
      const cut = behind
        ? undefined
        : await work.reading("source", (connection) => work.transfer.boundary(connection, slice, size.rows));
      const upTo = cut ?? slice.upTo;
      const rows = await verifySlice(work, { ...slice, upTo });
      size.took(rows, performance.now() - begun);
      work.throttle.spend(rows);
      rate.add(rows);
      work.note({
        rowsVerified: work.record.progress.rowsVerified + rows,
        rowsPerSecond: rate.perSecond,
        verify: {
          table: table.name,
          after: upTo === undefined ? undefined : work.transfer.primaryKeyText(upTo),
        },
      });
      await work.between();
      await work.at("verify:slice");
      if (behind) break;
      behind = cut === undefined;
      after = upTo;
    }
  }
}

/** The rows of the slice at the source. */
async function verifySlice(work: MoveWork, slice: RowSlice): Promise<number> {
  const [source, target] = await Promise.all(
    (["source", "target"] as const).map((which) =>
      work.reading(which, (connection) => work.transfer.digest(which, connection, slice)),
    ),
  );
  if (source?.digest === target?.digest && source?.rows === target?.rows) return source?.rows ?? 0;
  await compareSlice(work, slice);
  return source?.rows ?? 0;
}

async function compareSlice(work: MoveWork, slice: RowSlice): Promise<void> {
  for (let after = slice.after; ; ) {
    const upTo = await work.reading("source", (connection) =>
      work.transfer.boundary(connection, { ...slice, after }, COMPARE_ROWS),
    );
    const part = { ...slice, after, upTo: upTo ?? slice.upTo };
    const differing = await differingKeys(work, part);
    if (differing.length > 0) await explain(work, slice.table, differing);
    if (upTo === undefined) return;
    after = upTo;
    await work.between();
  }
}

/** Primary keys whose rows differ, or are at one end only. */
async function differingKeys(work: MoveWork, slice: RowSlice): Promise<string[]> {
  const [source, target] = (await Promise.all(
    (["source", "target"] as const).map((which) =>
      work.reading(which, (connection) => work.transfer.primaryKeysOf(which, connection, slice)),
    ),
  )) as [Map<string, string>, Map<string, string>];
  const differing = [...source].filter(([key, hash]) => target.get(key) !== hash).map(([key]) => key);
  return [...differing, ...[...target.keys()].filter((key) => !source.has(key))];
}

/** What is in the log will be copied again; anything else is a difference that nothing explains. */
async function explain(work: MoveWork, table: TableModel, differing: readonly string[]): Promise<void> {
  const unexplained = await withoutEntry(work, table, differing);
  if (unexplained.length > 0) throw different(work, table, unexplained);
}
