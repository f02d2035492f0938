import { findLabelAndMoment } from "./columns.ts";
import { JsonElements } from "./json-elements.ts";
import { makePlace } from "./make-place.ts";
import { FileRefused, type Reading, type ReadingLimits } from "./place.ts";

/** The features of a GeoJSON text as they stream by. `columns` grows with the names of the properties that are met. */
export function readGeoJson(
  text: AsyncIterable<string>,
  limits: ReadingLimits,
): { columns: readonly string[]; rows: AsyncIterable<Reading> } {
  const columns: string[] = [];
  return { columns, rows: readFeatures(text, new Set(), columns, limits) };
}

async function* readFeatures(
  text: AsyncIterable<string>,
  seen: Set<string>,
  columns: string[],
  limits: ReadingLimits,
): AsyncGenerator<Reading> {
  const elements = new JsonElements("features", limits.recordCharactersMax);
  for await (const element of elements.read(text)) {
    const reading = readFeature(element.line, parsed(element.text), limits);
    if (reading.place) meet(Object.keys(reading.place.details), seen, columns, limits.columnsMax);
    yield reading;
  }
  if (elements.whole === undefined) return;
  const whole = parsed(elements.whole);
  if (!isObject(whole) || whole["type"] !== "Feature") {
    throw new FileRefused(
      "This is JSON, but not GeoJSON with features: there is no list called “features” in it.",
    );
  }
  const reading = readFeature(1, whole, limits);
  if (reading.place) meet(Object.keys(reading.place.details), seen, columns, limits.columnsMax);
  yield reading;
}

function meet(names: readonly string[], seen: Set<string>, columns: string[], columnsMax: number): void {
  for (const name of names) {
    if (seen.has(name) || columns.length >= columnsMax) continue;
    seen.add(name);
    columns.push(name);
  }
}

const unreadable = Symbol("unreadable");

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return unreadable;
  }
}

function readFeature(line: number, feature: unknown, limits: ReadingLimits): Reading {
  if (feature === unreadable) return { line, problem: "the feature is not valid JSON" };
  if (!isObject(feature) || feature["type"] !== "Feature")
    return { line, problem: "this is no GeoJSON feature" };
  const position = pointOf(feature["geometry"]);
  if (typeof position === "string") return { line, problem: position };
  const properties = isObject(feature["properties"]) ? feature["properties"] : {};
  const { label, happened } = findLabelAndMoment(Object.keys(properties));
  const id = feature["id"];
  const details: Record<string, unknown> = { ...properties };
  if (label.length === 1) delete details[label[0]!];
  if (position.length > 2 && !Object.hasOwn(details, "z")) details["z"] = position[2];
  if ((typeof id === "string" || typeof id === "number") && !Object.hasOwn(details, "id")) details["id"] = id;
  const raw = {
    latitude: position[1],
    longitude: position[0],
    label: label.map((name) => asLabel(properties[name])).join(" "),
    happened: happened === undefined ? null : properties[happened],
    details,
  };
  return makePlace(line, raw, limits);
}

/** The position of a point, or the reason why the geometry has none. */
function pointOf(geometry: unknown): readonly unknown[] | string {
  if (geometry === null || geometry === undefined) return "the feature has no geometry";
  if (!isObject(geometry)) return "the geometry is no object";
  const coordinates = geometry["coordinates"];
  if (geometry["type"] === "MultiPoint" && Array.isArray(coordinates) && coordinates.length === 1) {
    return Array.isArray(coordinates[0]) ? coordinates[0] : "the point has no coordinates";
  }
  if (geometry["type"] !== "Point")
    return `only points become dots, this is a ${String(geometry["type"]).slice(0, 40)}`;
  return Array.isArray(coordinates) ? coordinates : "the point has no coordinates";
}

function asLabel(value: unknown): string {
  return value === null || value === undefined || typeof value === "object" ? "" : String(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
