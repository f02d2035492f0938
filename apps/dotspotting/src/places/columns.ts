import { FileRefused } from "./place.ts";

/** Which columns of a file mean what, as indexes into its names. */
export interface ColumnRoles {
  readonly latitude: number;
  readonly longitude: number;
  /** The columns whose values, joined by a space, call the place by name; may be empty. */
  readonly label: readonly number[];
  readonly happened: number | undefined;
}

/**
 * The names each role is known by, in the order of preference: a file with both `lat` and `y` means `lat`.
 * Compared without regard to case, and with every run of other signs as one underscore ("Start Lat." is `start_lat`).
 */
export const columnAliases = {
  latitude: [
    "latitude",
    "lat",
    "lat_dd",
    "latitude_dd",
    "decimal_latitude",
    "decimallatitude",
    "geo_lat",
    "y_coord",
    "y",
  ],
  longitude: [
    "longitude",
    "lon",
    "long",
    "lng",
    "lon_dd",
    "longitude_dd",
    "decimal_longitude",
    "decimallongitude",
    "geo_lon",
    "geo_lng",
    "geo_long",
    "x_coord",
    "x",
  ],
  label: ["title", "name", "label", "full_name", "place_name", "place", "headline"],
  happened: [
    "date",
    "datetime",
    "date_time",
    "created",
    "created_at",
    "time",
    "timestamp",
    "when",
    "day",
    "observed",
    "start_date",
    "death_date",
  ],
} as const;

/** What calls a place by name if nothing better does. */
const lesserLabels = ["city", "town", "address"];

/** Two columns that together are a person's name, where no single column is. */
const joinedNames = [
  ["first_name", "last_name"],
  ["firstname", "lastname"],
  ["given_name", "family_name"],
] as const;

/** Finds the roles among a table's column names; refuses the file where there is no latitude or no longitude. */
export function findColumns(names: readonly string[]): ColumnRoles {
  const known = names.map(plainName);
  const latitude = firstOf(known, columnAliases.latitude);
  const longitude = firstOf(known, columnAliases.longitude);
  if (latitude === undefined || longitude === undefined) {
    throw new FileRefused(missingColumn(names, latitude === undefined, longitude === undefined));
  }
  const label = labelColumns(known) ?? [known.findIndex((_, at) => at !== latitude && at !== longitude)];
  return {
    latitude,
    longitude,
    label: label.filter((at) => at >= 0),
    happened: firstOf(known, columnAliases.happened),
  };
}

/** The same for the properties of a GeoJSON feature, by name: its position is in its geometry. */
export function findLabelAndMoment(names: readonly string[]): {
  readonly label: readonly string[];
  readonly happened: string | undefined;
} {
  const known = names.map(plainName);
  const happened = firstOf(known, columnAliases.happened);
  return {
    label: (labelColumns(known) ?? []).map((at) => names[at]!),
    happened: happened === undefined ? undefined : names[happened],
  };
}

function firstOf(known: readonly string[], aliases: readonly string[]): number | undefined {
  return aliases.map((alias) => known.indexOf(alias)).find((at) => at >= 0);
}

function labelColumns(known: readonly string[]): readonly number[] | undefined {
  const single = firstOf(known, columnAliases.label);
  if (single !== undefined) return [single];
  for (const [given, family] of joinedNames) {
    const pair = [known.indexOf(given), known.indexOf(family)];
    if (pair.every((at) => at >= 0)) return pair;
  }
  const lesser = firstOf(known, lesserLabels);
  return lesser === undefined ? undefined : [lesser];
}

/** How a column's name is compared with the aliases. */
export function plainName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "_")
    .replace(/^_+|_+$/g, "");
}

/** Column names for people: blank ones are numbered, repeated ones too, so that details lose nothing. */
export function columnNames(header: readonly string[]): string[] {
  const seen = new Set<string>();
  return header.map((cell, index) => {
    const wanted = cell.replace(/\s+/g, " ").trim().slice(0, 100) || `column ${index + 1}`;
    let name = wanted;
    for (let copy = 2; seen.has(name); copy++) name = `${wanted} ${copy}`;
    seen.add(name);
    return name;
  });
}

function missingColumn(names: readonly string[], latitude: boolean, longitude: boolean): string {
  const missing = [latitude && "latitude", longitude && "longitude"].filter(Boolean).join(" and no ");
  const shown = names.slice(0, 12).join(", ") + (names.length > 12 ? ", …" : "");
  return `There is no ${missing} column. The first line of a table names its columns; this one has: ${shown}. Names such as lat, latitude or y and lon, lng, longitude or x are understood.`;
}
