import type { DotFederation } from "../federation.ts";
import { interruptedAfterMs } from "./sheets.ts";

const deletedAtOnce = 1_000;

/**
 * Deletes a sheet with its dots, in batches that no other request has to wait long for.
 *
 * The steps, each of which may be done again after a crash: the sheet is hidden (`deleting`); its dots are deleted from the
 * shard, always the first ones that are left, for an OFFSET into a list that shrinks would pass rows over; their
 * entries in the lookup become tombstones; the sheet's row goes; its own entry becomes a tombstone.
 */
export async function deleteSheet(fed: DotFederation, userId: bigint, sheetId: bigint): Promise<void> {
  await fed.main
    .updateTable("sheets_lookup")
    .set({ state: "deleting", touched: new Date() })
    .where("id", "=", sheetId)
    .where("user_id", "=", userId)
    .where("state", "!=", "deleted")
    .execute();
  await fed.at(userId).updateTable("sheets").set({ state: "deleting" }).where("id", "=", sheetId).execute();
  for (const table of ["dot_texts", "dots"] as const) await deleteRows(fed, userId, sheetId, table);
  await fed.at(userId).deleteFrom("sheets").where("id", "=", sheetId).execute();
  await buryDots(fed, sheetId);
  await fed.main
    .updateTable("sheets_lookup")
    .set({ state: "deleted", touched: new Date(), preview: [], fingerprint: null })
    .where("id", "=", sheetId)
    .execute();
  await fed.main.deleteFrom("searchable_sheets").where("id", "=", sheetId).execute();
}

/** The rows of a sheet in one table of its owner's shard. A text may be there without its dot, after an import that was broken off. */
async function deleteRows(
  fed: DotFederation,
  userId: bigint,
  sheetId: bigint,
  table: "dots" | "dot_texts",
): Promise<void> {
  for (;;) {
    const first = await fed
      .at(userId)
      .selectFrom(table)
      .select("id")
      .where("sheet_id", "=", sheetId)
      .orderBy("id")
      .limit(deletedAtOnce)
      .execute();
    if (first.length === 0) return;
    await fed
      .at(userId)
      .deleteFrom(table)
      .where("sheet_id", "=", sheetId)
      .where("id", "<=", first.at(-1)!.id)
      .execute();
    await touch(fed, sheetId);
  }
}

/** Tombstones: also for dots whose entry was written and whose row never was. */
async function buryDots(fed: DotFederation, sheetId: bigint): Promise<void> {
  const deleted = new Date();
  for (let after = 0n; ; ) {
    const next = await fed.main
      .selectFrom("dots_lookup")
      .select("id")
      .where("sheet_id", "=", sheetId)
      .where("id", ">", after)
      .orderBy("id")
      .limit(deletedAtOnce)
      .execute();
    if (next.length === 0) return;
    await fed.main
      .updateTable("dots_lookup")
      .set({ deleted })
      .where("sheet_id", "=", sheetId)
      .where("id", ">", after)
      .where("id", "<=", next.at(-1)!.id)
      .where("deleted", "is", null)
      .execute();
    await touch(fed, sheetId);
    after = next.at(-1)!.id;
  }
}

async function touch(fed: DotFederation, sheetId: bigint): Promise<void> {
  await fed.main
    .updateTable("sheets_lookup")
    .set({ touched: new Date() })
    .where("id", "=", sheetId)
    .execute();
}

/** Goes on with the deletions that a crash left unfinished. Called at the start; returns how many there were. */
export async function resumeDeletions(fed: DotFederation): Promise<number> {
  const unfinished = await fed.main
    .selectFrom("sheets_lookup")
    .select(["id", "user_id"])
    .where("state", "=", "deleting")
    .where("touched", "<", new Date(Date.now() - interruptedAfterMs))
    .execute();
  for (const { id, user_id } of unfinished) await deleteSheet(fed, user_id, id);
  return unfinished.length;
}
