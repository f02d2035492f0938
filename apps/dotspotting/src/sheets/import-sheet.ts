import { setImmediate } from "node:timers/promises";
import type { DotFederation } from "../federation.ts";
import type { Place } from "../places/place.ts";
import { openPlaces, type PlaceFile } from "../places/read-places.ts";
import type { ImportReport, Visibility } from "../schema.ts";
import { markSearchable, writeDotTexts } from "../search/dot-texts.ts";
import { deleteSheet } from "./delete-sheet.ts";
import { Preview } from "./preview.ts";
import { signOfLifeMs } from "./sheets.ts";

export interface ImportRequest {
  readonly userId: bigint;
  readonly fileName: string;
  /** May be empty: then the file's name without its ending. */
  readonly label: string;
  readonly visibility: Visibility;
  /** What to do with a file in which some rows are bad: ask the owner, keep the rest, or refuse it all. */
  readonly badRows: "ask" | "keep" | "refuse";
}

export type ImportResult =
  | {
      readonly outcome: "ready" | "draft";
      readonly sheetId: bigint;
      readonly dots: number;
      readonly report: ImportReport;
    }
  | { readonly outcome: "refused"; readonly reason: string; readonly report: ImportReport };

/** How far an import is; told after every batch. */
export interface ImportProgress {
  readonly bytes: number;
  readonly dots: number;
  readonly bad: number;
}

const dotsAtOnce = 500;
const problemsMax = 100;

/**
 * Makes a sheet of a file, in one pass over its bytes: each batch of rows is written while the next one is still on
 * its way, and memory holds one batch.
 *
 * The sheet is `importing` meanwhile and nobody else sees it. At the end it becomes `ready`, or a `draft` if its
 * owner has to decide: about bad rows, or because the same file is there already (its fingerprint is known only now).
 * Whatever goes wrong before, the dots written so far are deleted again.
 */
export async function importSheet(
  fed: DotFederation,
  request: ImportRequest,
  bytes: AsyncIterable<Uint8Array>,
  tell: (progress: ImportProgress) => void = () => {},
): Promise<ImportResult> {
  const file = await openPlaces(bytes);
  const sheetId = await createSheet(fed, request, file);
  const life = setInterval(
    () => void showLife(fed, sheetId, counts.dots).catch(() => undefined),
    signOfLifeMs,
  );
  const counts: Counts = { dots: 0, bad: 0, problems: [], preview: new Preview() };
  try {
    await writeRows(fed, request, sheetId, file, counts, tell);
    const fingerprint = file.fingerprint();
    const sameAs = await earlierSheet(fed, request.userId, sheetId, fingerprint);
    const report = makeReport(file, counts, sameAs);
    const reason = refusal(request, counts);
    if (reason) {
      await deleteSheet(fed, request.userId, sheetId);
      return { outcome: "refused", reason, report };
    }
    const undecided = sameAs !== undefined || (counts.bad > 0 && request.badRows === "ask");
    const outcome = undecided ? "draft" : "ready";
    const finished = {
      dots: counts.dots,
      columns: [...file.columns],
      report,
      fingerprint,
      preview: counts.preview.points(),
    };
    await markSearchable(fed, sheetId);
    await finishSheet(fed, request.userId, sheetId, outcome, finished);
    return { outcome, sheetId, dots: counts.dots, report };
  } catch (error) {
    await deleteSheet(fed, request.userId, sheetId).catch(() => undefined);
    throw error;
  } finally {
    clearInterval(life);
  }
}

interface Counts {
  dots: number;
  bad: number;
  readonly problems: { line: number; problem: string }[];
  readonly preview: Preview;
}

/** The lookup knows of the sheet first: what is on a shard can always be found and deleted. */
async function createSheet(fed: DotFederation, request: ImportRequest, file: PlaceFile): Promise<bigint> {
  const id = await fed.ids.next("sheets");
  const created = new Date();
  const common = {
    id,
    label: sheetLabel(request),
    visibility: request.visibility,
    state: "importing",
    dots: 0,
    created,
  };
  await fed.main
    .insertInto("sheets_lookup")
    .values({ ...common, user_id: request.userId, fingerprint: null, preview: [], touched: created })
    .execute();
  await fed
    .at(request.userId)
    .insertInto("sheets")
    .values({ ...common, file_name: request.fileName.slice(-200), columns: [...file.columns], report: null })
    .execute();
  return id;
}

function sheetLabel({ label, fileName }: ImportRequest): string {
  const wanted =
    label.replace(/\s+/g, " ").trim() ||
    fileName
      .replace(/\.[^.]+$/, "")
      .replace(/[_-]+/g, " ")
      .trim();
  return Array.from(wanted || "Untitled")
    .slice(0, 200)
    .join("");
}

async function writeRows(
  fed: DotFederation,
  request: ImportRequest,
  sheetId: bigint,
  file: PlaceFile,
  counts: Counts,
  tell: (progress: ImportProgress) => void,
): Promise<void> {
  const created = new Date();
  let batch: Place[] = [];
  const flush = async () => {
    await writeDots(fed, request.userId, sheetId, batch, created);
    counts.dots += batch.length;
    batch = [];
    tell({ bytes: file.bytes(), dots: counts.dots, bad: counts.bad });
    // An embedded database answers without letting anybody else have a turn; the other requests are let in here.
    await setImmediate();
  };
  for await (const { line, place, problem } of file.rows) {
    if (problem !== undefined) {
      counts.bad++;
      if (counts.problems.length < problemsMax) counts.problems.push({ line, problem });
      continue;
    }
    // A file that will be refused is read to its end for the report, and written no further.
    if (counts.bad > 0 && request.badRows === "refuse") continue;
    counts.preview.add(Number(place.longitude), Number(place.latitude));
    batch.push(place);
    if (batch.length === dotsAtOnce) await flush();
  }
  if (batch.length > 0) await flush();
}

/**
 * One batch: its ids, then its entries in the lookup, its rows on the shard and their texts at the same time. Should one of them fail, the others are
 * waited for all the same: whoever cleans up afterwards must not be overtaken by them.
 */
async function writeDots(
  fed: DotFederation,
  userId: bigint,
  sheetId: bigint,
  places: readonly Place[],
  created: Date,
): Promise<void> {
  const ids = await fed.ids.take("dots", places.length);
  const entries = ids.map((id) => ({ id, user_id: userId, sheet_id: sheetId, deleted: null }));
  const rows = places.map((place, index) => ({ ...place, id: ids[index]!, sheet_id: sheetId, created }));
  const written = await Promise.allSettled([
    fed.main.insertInto("dots_lookup").values(entries).execute(),
    fed.at(userId).insertInto("dots").values(rows).execute(),
    writeDotTexts(fed, userId, sheetId, rows),
  ]);
  for (const part of written) if (part.status === "rejected") throw part.reason;
}

async function showLife(fed: DotFederation, sheetId: bigint, dots: number): Promise<void> {
  await fed.main
    .updateTable("sheets_lookup")
    .set({ touched: new Date(), dots })
    .where("id", "=", sheetId)
    .where("state", "=", "importing")
    .execute();
}

async function earlierSheet(
  fed: DotFederation,
  userId: bigint,
  sheetId: bigint,
  fingerprint: string,
): Promise<bigint | undefined> {
  const row = await fed.main
    .selectFrom("sheets_lookup")
    .select("id")
    .where("user_id", "=", userId)
    .where("fingerprint", "=", fingerprint)
    .where("state", "in", ["ready", "draft"])
    .where("id", "!=", sheetId)
    .orderBy("id")
    .limit(1)
    .executeTakeFirst();
  return row?.id;
}

function makeReport(file: PlaceFile, counts: Counts, sameAs: bigint | undefined): ImportReport {
  return {
    format: file.format,
    encoding: file.encoding(),
    bytes: file.bytes(),
    bad: counts.bad,
    problems: counts.problems,
    bounds: counts.preview.bounds,
    sameAs: sameAs === undefined ? null : String(sameAs),
  };
}

/** Why nothing of this file is kept; undefined if something is. */
function refusal(request: ImportRequest, counts: Counts): string | undefined {
  if (counts.bad > 0 && request.badRows === "refuse") {
    return `${rows(counts.bad)} bad, and you asked to refuse the file in that case.`;
  }
  if (counts.dots > 0) return undefined;
  return counts.bad > 0 ? "Not one of its rows is a place." : "There are no places in it.";
}

function rows(count: number): string {
  return count === 1 ? "One row is" : `${count.toLocaleString("en")} rows are`;
}

interface Finished {
  readonly dots: number;
  readonly columns: readonly string[];
  readonly report: ImportReport;
  readonly fingerprint: string;
  readonly preview: readonly number[];
}

/** The shard first: a sheet that the lookup calls ready is complete. */
async function finishSheet(
  fed: DotFederation,
  userId: bigint,
  sheetId: bigint,
  state: "ready" | "draft",
  { dots, columns, report, fingerprint, preview }: Finished,
): Promise<void> {
  const sheet = { state, dots, columns, report };
  await fed.at(userId).updateTable("sheets").set(sheet).where("id", "=", sheetId).execute();
  const entry = { state, dots, fingerprint, preview, touched: new Date() };
  await fed.main.updateTable("sheets_lookup").set(entry).where("id", "=", sheetId).execute();
}
