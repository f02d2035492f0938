/**
 * Catching up with what the application changed since the source is `leaving`, after the copy and never beside it.
 *
 * A round reads a batch of the change log, and then, at the same moment or later, the rows of those primary keys as they are now. At the target, in
 * one transaction, all of them are deleted, and those that exist are inserted. Only then are exactly these entries deleted from the log: by id, for ids commit
 * out of order. Whatever ends a round, it may be done again.
 *
 * It is no upsert: with a second unique key one rewrites another row, and two rows that have swapped a value collide. A row of another primary key that is in
 * the way has lost its value at the source, so its own change is in the log still: it is deleted, and comes back with it.
 */
import { type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { logTable } from "../engine/control-tables.ts";
import type { TableModel } from "../schema/model.ts";
import { acrossBoth } from "./at-target.ts";
import { LOCK_WAIT_MS, type MoveWork } from "./move-work.ts";
import { rewriteRows } from "./rewrite-rows.ts";
import { scopeCondition } from "./scope-condition.ts";

const ROUND_ENTRIES = 2_000;
const DELETE_ENTRIES = 500;

/** Entries of the log, and the rows that they tell of. */
interface Batch {
  readonly ids: readonly unknown[];
  readonly keys: ReadonlyMap<TableModel, readonly (readonly unknown[])[]>;
}

/** One round; gives the number of its entries: 0, the log was empty. */
export async function catchUpOnce(work: MoveWork): Promise<number> {
  const batch = await readLog(work, { entriesMax: ROUND_ENTRIES });
  await work.at("catchUp:read");
  if (batch.ids.length === 0) return 0;
  await apply(work, batch);
  await work.at("catchUp:applied");
  await forget(work, batch.ids);
  return batch.ids.length;
}

/**
 * The rest of the log of keys that are frozen, applied and compared. Nothing comes to it any more, so that one look at it is enough, and its entries may stay
 * until writers have gone on. False: it took longer than `until`.
 */
export async function drainLog(work: MoveWork, until: () => boolean): Promise<boolean> {
  let after: unknown;
  for (;;) {
    const batch = await readLog(work, { entriesMax: ROUND_ENTRIES, after });
    if (batch.ids.length === 0) return true;
    await apply(work, batch, { compare: true });
    if (batch.ids.length < ROUND_ENTRIES) return true;
    if (!until()) return false;
    after = batch.ids.at(-1);
  }
}

async function apply(
  work: MoveWork,
  batch: Batch,
  options: { readonly compare?: boolean } = {},
): Promise<void> {
  // After the entries: what is read now is at least as new as what they tell of.
  await acrossBoth(
    work,
    async (source, target) => {
      for (const [table, keys] of batch.keys) await work.transfer.delete(target, "target", table, keys);
      for (const [table, keys] of batch.keys)
        await rewriteRows(work, { source, target }, table, keys, options);
    },
    { snapshot: true },
  );
  work.note({ logEntries: work.record.progress.logEntries + batch.ids.length });
}

/** Those of a table's primary keys, as texts, of which the log says nothing now. */
export async function withoutEntry(
  work: MoveWork,
  table: TableModel,
  keys: readonly string[],
): Promise<readonly string[]> {
  const log = logOf(work);
  const { sql, parameters } = scopeCondition(work, "source", "key_value");
  const name = log.codec.encode("table_name", table.name);
  const left = new Set(keys);
  let after: unknown;
  while (left.size > 0) {
    const behind = after === undefined ? "" : " and id > ?";
    const { rows } = await work.source.store.run(
      `select id, primary_key from ${log.name} where ${sql} and table_name = ?${behind} order by id limit ${ROUND_ENTRIES}`,
      [...parameters, name, ...(after === undefined ? [] : [after])],
    );
    for (const row of rows) {
      const text = log.codec.decode("primary_key", row["primary_key"]) as string;
      left.delete(work.transfer.primaryKeyText(work.transfer.parseLogKey(table, text)));
    }
    if (rows.length < ROUND_ENTRIES) break;
    after = log.codec.encode("id", log.codec.decode("id", rows.at(-1)?.["id"]));
  }
  return [...left];
}

/** Deletes what the log has of the keys, when nothing more will come to it: `state` is what their residences have then. */
export async function clearLog(work: MoveWork, state: "here" | "gone"): Promise<void> {
  const log = logOf(work);
  const { sql, parameters } = scopeCondition(work, "source", "key_value");
  for (;;) {
    // Found without a lock and deleted by id: a delete that looks for them would wait for other keys' writers.
    const { rows } = await work.source.store.run(
      `select id from ${log.name} where ${sql} order by id limit ${ROUND_ENTRIES}`,
      parameters,
    );
    if (rows.length === 0) return;
    const ids = rows.map((row) => row["id"]);
    await work.source.store.transaction(async (transaction) => {
      await work.source.residences.expect(transaction, work.record.members, work.record.token, [state], {
        how: "shared",
      });
      await deleteEntries(transaction, work, ids);
    });
  }
}

async function readLog(
  work: MoveWork,
  { entriesMax, after }: { readonly entriesMax: number; readonly after?: unknown },
): Promise<Batch> {
  const log = logOf(work);
  const { sql, parameters } = scopeCondition(work, "source", "key_value");
  const behind = after === undefined ? "" : " and id > ?";
  const { rows } = await work.source.store.run(
    `select id, table_name, primary_key from ${log.name} where ${sql}${behind} order by id limit ${entriesMax}`,
    [...parameters, ...(after === undefined ? [] : [log.codec.encode("id", log.codec.decode("id", after))])],
  );
  const keys = new Map<TableModel, Map<string, readonly unknown[]>>();
  for (const row of rows) {
    const table = work.table(log.codec.decode("table_name", row["table_name"]) as string);
    const key = work.transfer.parseLogKey(
      table,
      log.codec.decode("primary_key", row["primary_key"]) as string,
    );
    const ofTable = keys.get(table) ?? new Map<string, readonly unknown[]>();
    keys.set(table, ofTable.set(work.transfer.primaryKeyText(key), key));
  }
  return {
    ids: rows.map((row) => row["id"]),
    keys: new Map([...keys].map(([table, ofTable]) => [table, [...ofTable.values()]])),
  };
}

/** Shared, beside the writers: what must not happen is that a mover which was replaced deletes what its successor has not applied. */
async function forget(work: MoveWork, ids: readonly unknown[]): Promise<void> {
  const { source, record } = work;
  await source.store.transaction(async (transaction) => {
    await source.residences.expect(transaction, record.members, record.token, ["leaving", "frozen"], {
      how: "shared",
      lockWaitMs: LOCK_WAIT_MS * 10,
    });
    await deleteEntries(transaction, work, ids);
  });
}

async function deleteEntries(
  transaction: ControlTransaction,
  work: MoveWork,
  ids: readonly unknown[],
): Promise<void> {
  const log = logOf(work);
  for (let start = 0; start < ids.length; start += DELETE_ENTRIES) {
    const some = ids.slice(start, start + DELETE_ENTRIES);
    await transaction.run(
      `delete from ${log.name} where id in (${some.map(() => "?").join(", ")})`,
      some.map((id) => log.codec.encode("id", log.codec.decode("id", id))),
    );
  }
}

function logOf(work: MoveWork): { readonly name: string; readonly codec: RowCodec } {
  const { dialect } = work.source.store;
  const model = logTable(work.parts.federation);
  return { name: dialect.quote(model.name), codec: new RowCodec(dialect, model) };
}
