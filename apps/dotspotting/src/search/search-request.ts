/** What somebody looks for, read from an address, and written into one again. */

/** A part of the earth in degrees; west of `east` even where that is past the 180th meridian. */
export interface Box {
  readonly west: number;
  readonly south: number;
  readonly east: number;
  readonly north: number;
}

export interface Circle {
  readonly latitude: number;
  readonly longitude: number;
  readonly km: number;
}

/** Behind which dot of the list, newest first, the next page begins. */
export interface After {
  readonly created: Date;
  readonly id: bigint;
}

export interface SearchRequest {
  readonly words: readonly string[];
  readonly field: { readonly name: string; readonly value: string } | undefined;
  /** The first moment that is meant. */
  readonly from: Date | undefined;
  /** The first moment that is not. */
  readonly until: Date | undefined;
  readonly box: Box | undefined;
  readonly near: Circle | undefined;
  readonly after: After | undefined;
}

/** The fields of the form, as they were sent. */
export type SearchFields = Readonly<Record<(typeof fieldNames)[number], string>>;

const fieldNames = ["q", "field", "value", "from", "to", "box", "near", "km"] as const;
const wordsMax = 8;
const charactersMax = 200;
const kmMax = 20_000;
const kmDefault = 50;
const dayMs = 86_400_000;

/** What cannot be meant, in words for the person who wrote it. */
export class SearchRefused extends Error {
  override readonly name = "SearchRefused";
}

export function readSearchFields(query: Record<string, string>): SearchFields {
  return Object.fromEntries(
    fieldNames.map((name) => [name, (query[name] ?? "").trim().slice(0, charactersMax)]),
  ) as unknown as SearchFields;
}

/** The address's query for these fields and a place in the list. */
export function searchQuery(fields: SearchFields, after?: After): string {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== ""));
  if (after) query.set("after", `${after.created.getTime()}-${after.id}`);
  return query.toString();
}

/** SearchRefused says what is wrong. */
export function readSearchRequest(fields: SearchFields, after: string | undefined): SearchRequest {
  const words = fields.q.split(/\s+/).filter((word) => word !== "");
  if (words.length > wordsMax) throw new SearchRefused(`Look for at most ${wordsMax} words at a time.`);
  if (fields.value !== "" && fields.field === "")
    throw new SearchRefused("Say which column is to have that value.");
  if (fields.field !== "" && fields.value === "")
    throw new SearchRefused(`Say what is to stand in the column “${fields.field}”.`);
  const from = readDay(fields.from);
  const to = readDay(fields.to);
  if (from && to && to < from) throw new SearchRefused("The last day is before the first.");
  return {
    words,
    field: fields.field === "" ? undefined : { name: fields.field, value: fields.value },
    from,
    until: to && new Date(to.getTime() + dayMs),
    box: readBox(fields.box),
    near: readCircle(fields.near, fields.km),
    after: readAfter(after),
  };
}

function readDay(text: string): Date | undefined {
  if (text === "") return undefined;
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text) ? new Date(`${text}T00:00:00Z`) : undefined;
  if (!day || Number.isNaN(day.getTime()) || !day.toISOString().startsWith(text))
    throw new SearchRefused(`“${text}” is not a day. Write it as 2026-11-21.`);
  return day;
}

/** Only what is written as a decimal number: `Number` takes much else. */
function readNumbers(text: string, count: number): number[] | undefined {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length !== count || !parts.every((part) => /^-?\d{1,5}(\.\d{1,12})?$/.test(part)))
    return undefined;
  return parts.map(Number);
}

function readBox(text: string): Box | undefined {
  if (text === "") return undefined;
  const numbers = readNumbers(text, 4);
  if (!numbers) throw new SearchRefused("A part of the map is west, south, east, north: -10,50,2,60.");
  const [west, south, east, north] = numbers as [number, number, number, number];
  if (Math.abs(west) > 180 || Math.abs(east) > 180 || south < -90 || north > 90 || north < south)
    throw new SearchRefused("That part of the map lies outside the world. It is west, south, east, north.");
  return { west, south, east, north };
}

function readCircle(text: string, km: string): Circle | undefined {
  if (text === "") return undefined;
  const [latitude, longitude] = readNumbers(text, 2) ?? [];
  if (
    latitude === undefined ||
    longitude === undefined ||
    Math.abs(latitude) > 90 ||
    Math.abs(longitude) > 180
  )
    throw new SearchRefused("Write a place as latitude, longitude: 54.32, 10.13.");
  const [distance] = km === "" ? [kmDefault] : (readNumbers(km, 1) ?? []);
  if (distance === undefined || distance <= 0 || distance > kmMax)
    throw new SearchRefused(`The distance is a number of kilometres up to ${kmMax}.`);
  return { latitude, longitude, km: distance };
}

/** A place in the list that nobody could have been given begins at its head. */
function readAfter(text: string | undefined): After | undefined {
  const [, created, id] = /^(\d{1,15})-(\d{1,19})$/.exec(text ?? "") ?? [];
  if (created === undefined || id === undefined || BigInt(id) >= 2n ** 63n) return undefined;
  const moment = new Date(Number(created));
  return Number.isNaN(moment.getTime()) ? undefined : { created: moment, id: BigInt(id) };
}
