/** Everybody's public dots, over all shards, newest first. */
import type { DotFederation } from "../federation.ts";
import { boxAround, distanceKm } from "./distance.ts";
import type { After, Box, SearchRequest } from "./search-request.ts";
import { fieldPattern, wordPattern } from "./search-text.ts";

export interface SearchedDot {
  readonly id: bigint;
  readonly userId: bigint;
  readonly sheetId: bigint;
  readonly sheetLabel: string;
  readonly latitude: string;
  readonly longitude: string;
  readonly label: string;
  readonly happened: Date | null;
  readonly created: Date;
}

export interface SearchPage {
  readonly dots: readonly SearchedDot[];
  /** Where the next page begins; undefined on the last one. */
  readonly next: After | undefined;
}

/** Dots read at a time: some of them may not be shown, so a page is not asked for to the dot. */
const readAtOnce = 200;
/** Dots looked at for one page. A small circle in a crowded box would otherwise have one request read them all. */
const lookedAtMax = 20_000;

/**
 * A page of the public dots that are meant, newest first. Which sheets are public is asked of the shards, beside the dots, and of main, which is
 * changed first when a sheet is hidden: only what both call public is shown.
 */
export async function searchDots(
  fed: DotFederation,
  request: SearchRequest,
  count: number,
): Promise<SearchPage> {
  const dots: SearchedDot[] = [];
  let { after } = request;
  for (let lookedAt = 0; lookedAt < lookedAtMax; lookedAt += readAtOnce) {
    const read = await readDots(fed, request, after);
    const shown = await visible(
      fed,
      read.filter((dot) => isNear(dot, request)),
    );
    for (const dot of shown) {
      if (dots.length === count) return { dots, next: placeOf(dots.at(-1)!) };
      dots.push(dot);
    }
    if (read.length < readAtOnce) return { dots, next: undefined };
    after = placeOf(read.at(-1)!);
  }
  return { dots, next: after };
}

const placeOf = ({ created, id }: SearchedDot): After => ({ created, id });

/** The next dots that the databases find, whether they are shown or not. */
async function readDots(
  fed: DotFederation,
  { words, field, from, until, box, near }: SearchRequest,
  after: After | undefined,
): Promise<SearchedDot[]> {
  let query = fed.everywhere
    .selectFrom("dot_texts")
    .innerJoin("dots", (join) =>
      join.onRef("dots.user_id", "=", "dot_texts.user_id").onRef("dots.id", "=", "dot_texts.id"),
    )
    .innerJoin("sheets", (join) =>
      join.onRef("sheets.user_id", "=", "dots.user_id").onRef("sheets.id", "=", "dots.sheet_id"),
    )
    .where("sheets.visibility", "=", "public")
    .where("sheets.state", "=", "ready")
    .select([
      "dot_texts.id",
      "dot_texts.user_id",
      "dot_texts.created",
      "dots.sheet_id",
      "dots.latitude",
      "dots.longitude",
      "dots.label",
      "dots.happened",
      "sheets.label as sheet_label",
    ])
    .orderBy("dot_texts.created", "desc")
    .orderBy("dot_texts.id", "desc")
    .limit(readAtOnce);
  for (const word of words) query = query.where("dot_texts.text", "like", wordPattern(word));
  if (field) query = query.where("dot_texts.text", "like", fieldPattern(field.name, field.value));
  if (from) query = query.where("dots.happened", ">=", from);
  if (until) query = query.where("dots.happened", "<", until);
  for (const { west, south, east, north } of boxes(box, near && boxAround(near))) {
    query = query.where("dots.latitude", ">=", degrees(south)).where("dots.latitude", "<=", degrees(north));
    query = query.where((eb) => {
      const behindWest = eb("dots.longitude", ">=", degrees(west));
      const beforeEast = eb("dots.longitude", "<=", degrees(east));
      // A box with the 180th meridian in it has two parts.
      return west <= east ? eb.and([behindWest, beforeEast]) : eb.or([behindWest, beforeEast]);
    });
  }
  if (after)
    query = query.where((eb) =>
      eb.or([
        eb("dot_texts.created", "<", after.created),
        eb.and([eb("dot_texts.created", "=", after.created), eb("dot_texts.id", "<", after.id)]),
      ]),
    );
  return (await query.execute()).map((row) => ({
    id: row.id,
    userId: row.user_id,
    sheetId: row.sheet_id,
    sheetLabel: row.sheet_label,
    latitude: row.latitude,
    longitude: row.longitude,
    label: row.label,
    happened: row.happened,
    created: row.created,
  }));
}

const boxes = (...all: readonly (Box | undefined)[]): Box[] => all.filter((box) => box !== undefined);

const degrees = (value: number): string => value.toFixed(6);

function isNear(dot: SearchedDot, { near }: SearchRequest): boolean {
  if (!near) return true;
  const place = { latitude: Number(dot.latitude), longitude: Number(dot.longitude) };
  return distanceKm(near, place) <= near.km;
}

/** Those whose sheets main calls public, too. */
async function visible(fed: DotFederation, dots: readonly SearchedDot[]): Promise<SearchedDot[]> {
  const sheetIds = [...new Set(dots.map(({ sheetId }) => sheetId))];
  if (sheetIds.length === 0) return [];
  const rows = await fed.main
    .selectFrom("sheets_lookup")
    .select("id")
    .where("id", "in", sheetIds)
    .where("visibility", "=", "public")
    .where("state", "=", "ready")
    .execute();
  const shown = new Set(rows.map(({ id }) => id));
  return dots.filter(({ sheetId }) => shown.has(sheetId));
}
