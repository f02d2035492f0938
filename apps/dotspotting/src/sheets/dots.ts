import type { DotFederation } from "../federation.ts";
import { findSheet, publicSheetIds, type Sheet } from "./sheets.ts";

export interface Dot {
  readonly id: bigint;
  readonly sheetId: bigint;
  readonly latitude: string;
  readonly longitude: string;
  readonly label: string;
  readonly happened: Date | null;
  readonly details: Record<string, unknown>;
}

/** Dots read at a time when many are streamed. */
const streamedAtOnce = 2_000;

/** What a dot's id leads to: the dot with its sheet, "deleted" where the public may know that it was there, or nothing. */
export type FoundDot = { readonly dot: Dot; readonly sheet: Sheet } | "deleted" | undefined;

/** A dot by its id alone: the lookup says whose it is and in which sheet, and its owner's shard has it. */
export async function findDot(fed: DotFederation, id: bigint, viewer: bigint | undefined): Promise<FoundDot> {
  const found = await fed.main
    .selectFrom("dots_lookup")
    .innerJoin("sheets_lookup", "sheets_lookup.id", "dots_lookup.sheet_id")
    .select([
      "dots_lookup.user_id",
      "dots_lookup.sheet_id",
      "dots_lookup.deleted",
      "sheets_lookup.visibility",
    ])
    .where("dots_lookup.id", "=", id)
    .executeTakeFirst();
  if (!found) return undefined;
  if (found.deleted) return found.visibility === "public" || found.user_id === viewer ? "deleted" : undefined;
  const sheet = await findSheet(fed, found.sheet_id, viewer);
  if (!sheet) return undefined;
  const owners = fed.at(found.user_id);
  const read = (db: Pick<typeof owners.replica, "selectFrom">) =>
    db.selectFrom("dots").select(dotColumns).where("id", "=", id).executeTakeFirst();
  // A replica that does not have it yet is no reason to say that there is nothing.
  const row = (await read(owners.replica)) ?? (await read(owners));
  return row && { dot: asDot(row), sheet };
}

/** Some of a sheet's dots, in the file's order. */
export async function dotsOfSheet(
  fed: DotFederation,
  sheet: Sheet,
  offset: number,
  count: number,
): Promise<Dot[]> {
  if (count === 0) return [];
  const rows = await fed
    .at(sheet.userId)
    .replica.selectFrom("dots")
    .select(dotColumns)
    .where("sheet_id", "=", sheet.id)
    .orderBy("id")
    .limit(count)
    .offset(offset)
    .execute();
  return rows.map(asDot);
}

export async function countDots(fed: DotFederation, sheet: Sheet): Promise<number> {
  const { total } = await fed
    .at(sheet.userId)
    .replica.selectFrom("dots")
    .select((eb) => eb.fn.countAll().as("total"))
    .where("sheet_id", "=", sheet.id)
    .executeTakeFirstOrThrow();
  return Number(total);
}

const dotColumns = ["id", "sheet_id", "latitude", "longitude", "label", "happened", "details"] as const;

interface DotRow {
  readonly id: bigint;
  readonly sheet_id: bigint;
  readonly latitude: string;
  readonly longitude: string;
  readonly label: string;
  readonly happened: Date | null;
  readonly details: Record<string, unknown>;
}

function asDot(row: DotRow): Dot {
  const { id, latitude, longitude, label, happened, details } = row;
  return { id, sheetId: row.sheet_id, latitude, longitude, label, happened, details };
}

/** What a map needs of a dot. */
export interface MapDot {
  readonly id: bigint;
  readonly latitude: string;
  readonly longitude: string;
  readonly label: string;
}

/**
 * All dots of a sheet, or all of a user's that the viewer may see, batch by batch. Each batch begins after the last id
 * of the one before, so that memory holds one batch and a long list costs no more per batch than a short one.
 */
export async function* streamDots(
  fed: DotFederation,
  userId: bigint,
  which: { readonly sheetId: bigint } | { readonly viewer: bigint | undefined },
): AsyncGenerator<MapDot[]> {
  const isStranger = "viewer" in which && which.viewer !== userId;
  const visible = isStranger ? await publicSheetIds(fed, userId) : undefined;
  let after = 0n;
  for (;;) {
    let query = fed
      .at(userId)
      .replica.selectFrom("dots")
      .select(["dots.id", "dots.sheet_id", "dots.latitude", "dots.longitude", "dots.label"])
      .where("dots.id", ">", after)
      .orderBy("dots.id")
      .limit(streamedAtOnce);
    if ("sheetId" in which) {
      query = query.where("dots.sheet_id", "=", which.sheetId);
    } else {
      let seen = query.innerJoin("sheets", "sheets.id", "dots.sheet_id").where("sheets.state", "=", "ready");
      if (isStranger) seen = seen.where("sheets.visibility", "=", "public");
      query = seen;
    }
    const batch = await query.execute();
    const shown = visible ? batch.filter(({ sheet_id }) => visible.has(sheet_id)) : batch;
    if (shown.length > 0) yield shown;
    if (batch.length < streamedAtOnce) return;
    after = batch.at(-1)!.id;
  }
}
