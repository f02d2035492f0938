/**
 * The comparison of both ends. Slice by slice their digests; where these differ, row by row. While the source is live a row may differ for a good reason:
 * it was changed since, and then the source's log has it. The log is read after the rows, and nothing is applied from it meanwhile, so whatever explains a difference is
 * found there. Any other difference is a true one, and the move turns back.
 */
import { TesseraeError } from "../base/errors.ts";
import type { RowSlice, TransferRow } from "../engine/row-transfer.ts";
import { canonicalRow, primaryKeyText } from "../engine/transfer-values.ts";
import type { TableModel } from "../schema/model.ts";
import { loggedKeys, type Round } from "./catch-up.ts";
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
    const size = new SliceSize(work.throttle);
    let after = from === undefined ? undefined : work.transfer.parseLogKey(table, from);
    for (;;) {
      await work.waitFor(work.throttle.wait().why, () => work.throttle.wait().ms);
      const begun = performance.now();
      const upTo = await work.reading("source", (connection) =>
        work.transfer.boundary(connection, { table, scope: work.scope, after }, size.rows),
      );
      const rows = await verifySlice(work, { table, scope: work.scope, after, upTo });
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
      if (upTo === undefined) break;
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
  const logged = await loggedKeys(work, table);
  const unexplained = differing.filter((key) => !logged.has(key));
  if (unexplained.length > 0) throw different(work, table, unexplained);
}

/** Rows that were applied while the keys were frozen: now both ends must have the same. */
export async function verifyRound(work: MoveWork, round: Round): Promise<void> {
  for (const [table, keys] of round.keys) {
    const [source, target] = (await Promise.all(
      (["source", "target"] as const).map((which) =>
        work.reading(which, (connection) => work.transfer.read(which, connection, table, keys)),
      ),
    )) as [TransferRow[], TransferRow[]];
    const atSource = textsByKey(table, source);
    const atTarget = textsByKey(table, target);
    const differing = keys
      .map((key) => work.transfer.primaryKeyText(key))
      .filter((key) => atSource.get(key) !== atTarget.get(key));
    if (differing.length > 0) throw different(work, table, differing);
  }
}

function textsByKey(table: TableModel, rows: readonly TransferRow[]): ReadonlyMap<string, string> {
  const positions = table.primaryKey.map((name) => table.columns.findIndex((column) => column.name === name));
  return new Map(
    rows.map((row) => [primaryKeyText(positions.map((position) => row[position])), canonicalRow(row)]),
  );
}

function different(work: MoveWork, table: TableModel, keys: readonly string[]): TesseraeError {
  const { record, parts } = work;
  const some = keys.slice(0, 5).join(", ");
  return new TesseraeError(
    "MOVE_VERIFY",
    `${keys.length === 1 ? "A row" : `${keys.length} rows`} of table "${table.name}" on shard ${record.target} differ from shard ${record.source}, and no change under way explains it: ${some}${keys.length > 5 ? ", …" : ""}. Move ${record.id} was turned back and the keys are served where they were. Look for what else writes to shard ${record.target}, and move again.`,
    { cluster: "shards", shard: record.target, federation: parts.federation.name, table: table.name },
  );
}
