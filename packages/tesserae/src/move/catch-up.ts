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
import type { TransferRow } from "../engine/row-transfer.ts";
import type { TableModel } from "../schema/model.ts";
import { atTarget } from "./copier.ts";
import { LOCK_WAIT_MS, type MoveWork } from "./move-work.ts";
import { scopeCondition } from "./scope-condition.ts";

const ROUND_ENTRIES = 2_000;
const DELETE_ENTRIES = 500;

/** Entries of the log, and the rows that they tell of. */
interface Batch {
  readonly ids: readonly unknown[];
  readonly keys: ReadonlyMap<TableModel, readonly (readonly unknown[])[]>;
}

export interface Round {
  readonly entries: number;
  /** The primary keys that were written anew, by table. */
  readonly keys: ReadonlyMap<TableModel, readonly (readonly unknown[])[]>;
}

/** One round; `entries` of 0: the log was empty. */
export async function catchUpOnce(work: MoveWork, entriesMax: number = ROUND_ENTRIES): Promise<Round> {
  const batch = await readLog(work, entriesMax);
  await work.at("catchUp:read");
  if (batch.ids.length === 0) return { entries: 0, keys: batch.keys };
  const rows = new Map<TableModel, readonly TransferRow[]>();
  // After the entries: what is read now is at least as new as what they tell of. At one moment, lest two rows that swap a unique value both have it.
  await work.reading(
    "source",
    async (connection) => {
      for (const [table, keys] of batch.keys)
        rows.set(table, await work.transfer.read("source", connection, table, keys));
    },
    { snapshot: true },
  );
  await atTarget(work, async (connection) => {
    for (const [table, keys] of batch.keys) await work.transfer.delete(connection, "target", table, keys);
    for (const [table, found] of rows) {
      if (found.length === 0) continue;
      await work.transfer.deleteOccupants(connection, table, found);
      await work.transfer.write(connection, table, found);
    }
  });
  await work.at("catchUp:applied");
  await forget(work, batch.ids);
  work.note({ logEntries: work.record.progress.logEntries + batch.ids.length });
  return { entries: batch.ids.length, keys: batch.keys };
}

/** Which of the primary keys have an entry in the log now. */
export async function loggedKeys(work: MoveWork, table: TableModel): Promise<ReadonlySet<string>> {
  const log = logOf(work);
  const { sql, parameters } = scopeCondition(work, "source", "key_value");
  const { rows } = await work.source.store.run(
    `select primary_key from ${log.name} where ${sql} and table_name = ?`,
    [...parameters, log.codec.encode("table_name", table.name)],
  );
  return new Set(
    rows.map((row) =>
      work.transfer.primaryKeyText(
        work.transfer.parseLogKey(table, log.codec.decode("primary_key", row["primary_key"]) as string),
      ),
    ),
  );
}

/** Deletes what the log has of the keys: of a move that turned back. */
export async function clearLog(work: MoveWork): Promise<void> {
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
      await work.source.residences.expect(transaction, work.record.members, work.record.token, ["here"], {
        how: "shared",
      });
      await deleteEntries(transaction, work, ids);
    });
  }
}

async function readLog(work: MoveWork, entriesMax: number): Promise<Batch> {
  const log = logOf(work);
  const { sql, parameters } = scopeCondition(work, "source", "key_value");
  const { rows } = await work.source.store.run(
    `select id, table_name, primary_key from ${log.name} where ${sql} order by id limit ${entriesMax}`,
    parameters,
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
