import type { DotFederation } from "../federation.ts";
import type { ImportReport, SheetState, Visibility } from "../schema.ts";
import { type PagePlace, type PageRequest, placePage } from "./paging.ts";

/** A sheet as its own page shows it. */
export interface Sheet {
  readonly id: bigint;
  readonly userId: bigint;
  readonly label: string;
  readonly fileName: string;
  readonly visibility: Visibility;
  readonly state: SheetState;
  readonly dots: number;
  readonly columns: readonly string[];
  readonly report: ImportReport | null;
  readonly created: Date;
  /** An import or deletion that has shown no sign of life for a while. */
  readonly interrupted: boolean;
}

/** A sheet as lists show it, from the lookup alone. */
export interface SheetSummary {
  readonly id: bigint;
  readonly userId: bigint;
  readonly userName: string;
  readonly label: string;
  readonly visibility: Visibility;
  readonly state: SheetState;
  readonly dots: number;
  readonly preview: readonly number[];
  readonly created: Date;
  readonly interrupted: boolean;
}

/** Signs of life come every few seconds; this long without one means that the process is gone. */
export const signOfLifeMs = 5_000;
export const interruptedAfterMs = 60_000;

/**
 * A sheet by its id alone: the lookup says whose it is, and its owner's shard has it. Undefined also where
 * `viewer` may not know of it, so that a private sheet and none at all look the same. It is read from the primaries, for
 * it decides who sees what and who may change it.
 */
export async function findSheet(
  fed: DotFederation,
  id: bigint,
  viewer: bigint | undefined,
): Promise<Sheet | undefined> {
  const found = await fed.main
    .selectFrom("sheets_lookup")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirst();
  if (!found || found.state === "deleted") return undefined;
  const own = found.user_id === viewer;
  if (!own && (found.visibility !== "public" || found.state !== "ready")) return undefined;
  const row = await fed
    .at(found.user_id)
    .selectFrom("sheets")
    .selectAll()
    .where("id", "=", id)
    .executeTakeFirst();
  // An import that was interrupted very early has an entry in the lookup only; its owner must be able to delete it.
  if (!row && !own) return undefined;
  if (row && !own && (row.visibility !== "public" || row.state !== "ready")) return undefined;
  return {
    id,
    userId: found.user_id,
    label: found.label,
    fileName: row?.file_name ?? "",
    visibility: found.visibility as Visibility,
    state: found.state as SheetState,
    dots: found.dots,
    columns: row?.columns ?? [],
    report: row?.report ?? null,
    created: found.created,
    interrupted: isInterrupted(found.state, found.touched),
  };
}

function isInterrupted(state: string, touched: Date): boolean {
  const working = state === "importing" || state === "deleting";
  return working && Date.now() - touched.getTime() > interruptedAfterMs;
}

/** Lists are read from replicas, which may lag: who has changed a sheet sees it changed, others a moment later. Whether a sheet may be opened `findSheet` decides. */
const lookup = (fed: DotFederation) => fed.replica.selectFrom("sheets_lookup");

interface SheetPage {
  readonly place: PagePlace;
  readonly sheets: SheetSummary[];
}

/** A page of the sheets that may be seen, newest first. */
async function pageOfSheets(visible: ReturnType<typeof lookup>, request: PageRequest): Promise<SheetPage> {
  const { total } = await visible.select((eb) => eb.fn.countAll().as("total")).executeTakeFirstOrThrow();
  const place = placePage(request, Number(total));
  if (place.count === 0) return { place, sheets: [] };
  const rows = await visible
    .innerJoin("users", "users.id", "sheets_lookup.user_id")
    .select(summaryColumns)
    .orderBy("sheets_lookup.created", "desc")
    .orderBy("sheets_lookup.id", "desc")
    .limit(place.count)
    .offset(place.offset)
    .execute();
  return { place, sheets: rows.map(summary) };
}

/** The newest public sheets of everybody, a page at a time. */
export async function recentSheets(fed: DotFederation, request: PageRequest): Promise<SheetPage> {
  const visible = lookup(fed)
    .where("sheets_lookup.state", "=", "ready")
    .where("sheets_lookup.visibility", "=", "public");
  return pageOfSheets(visible, request);
}

/** A user's sheets, newest first: all of them for the user, the public ones for everybody else. */
export async function sheetsOfUser(
  fed: DotFederation,
  user: { id: bigint; name: string },
  viewer: bigint | undefined,
  request: PageRequest,
): Promise<SheetPage> {
  let visible = lookup(fed)
    .where("sheets_lookup.user_id", "=", user.id)
    .where("sheets_lookup.state", "!=", "deleted");
  if (viewer !== user.id) {
    visible = visible
      .where("sheets_lookup.state", "=", "ready")
      .where("sheets_lookup.visibility", "=", "public");
  }
  return pageOfSheets(visible, request);
}

/** Which of a user's sheets everybody may see, by the primary: dots on replicas may be older than the decision to hide them. */
export async function publicSheetIds(fed: DotFederation, userId: bigint): Promise<Set<bigint>> {
  const rows = await fed.main
    .selectFrom("sheets_lookup")
    .select("id")
    .where("user_id", "=", userId)
    .where("state", "=", "ready")
    .where("visibility", "=", "public")
    .execute();
  return new Set(rows.map(({ id }) => id));
}

const summaryColumns = [
  "sheets_lookup.id",
  "sheets_lookup.user_id",
  "sheets_lookup.label",
  "sheets_lookup.visibility",
  "sheets_lookup.state",
  "sheets_lookup.dots",
  "sheets_lookup.preview",
  "sheets_lookup.created",
  "sheets_lookup.touched",
  "users.name as user_name",
] as const;

interface SummaryRow {
  readonly id: bigint;
  readonly user_id: bigint;
  readonly user_name: string;
  readonly label: string;
  readonly visibility: string;
  readonly state: string;
  readonly dots: number;
  readonly preview: readonly number[];
  readonly created: Date;
  readonly touched: Date;
}

function summary(row: SummaryRow): SheetSummary {
  return {
    id: row.id,
    userId: row.user_id,
    userName: row.user_name,
    label: row.label,
    visibility: row.visibility as Visibility,
    state: row.state as SheetState,
    dots: row.dots,
    preview: row.preview,
    created: row.created,
    interrupted: isInterrupted(row.state, row.touched),
  };
}

/**
 * Makes a sheet public or private. The lookup and the shard cannot change in one transaction, and a sheet is seen only
 * if both say public: so the order does not matter to privacy, and a crash between leaves it private.
 */
export async function setVisibility(fed: DotFederation, sheet: Sheet, visibility: Visibility): Promise<void> {
  await fed.main.updateTable("sheets_lookup").set({ visibility }).where("id", "=", sheet.id).execute();
  await fed.at(sheet.userId).updateTable("sheets").set({ visibility }).where("id", "=", sheet.id).execute();
}

/** Keeps a draft: from now on it is a sheet like any other. */
export async function keepDraft(fed: DotFederation, sheet: Sheet): Promise<void> {
  await settle(fed, sheet.userId, sheet.id, "ready");
}

async function settle(fed: DotFederation, userId: bigint, id: bigint, state: SheetState): Promise<void> {
  await fed
    .at(userId)
    .updateTable("sheets")
    .set({ state })
    .where("id", "=", id)
    .where("state", "=", "draft")
    .execute();
  await fed.main
    .updateTable("sheets_lookup")
    .set({ state })
    .where("id", "=", id)
    .where("state", "=", "draft")
    .execute();
}
