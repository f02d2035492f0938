import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { geoArea, geoCentroid, geoEquirectangular } from "d3-geo";
import { geoProject } from "d3-geo-projection";
import type { Feature, FeatureCollection, Geometry, Polygon } from "geojson";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";

/** The layers behind the dots. They are made of the packages world-atlas and us-atlas, so that no network is needed. */
export const basemapLayers = [
  "land",
  "coast",
  "borders",
  "labels",
  "states",
  "state-labels",
  "counties",
  "county-labels",
] as const;
export type BasemapLayer = (typeof basemapLayers)[number];

export interface LayerFile {
  /** GeoJSON, compressed by gzip. */
  readonly body: Uint8Array<ArrayBuffer>;
  readonly tag: string;
}

/** Makes each layer when it is first asked for (some 50 to 300 ms) and keeps it compressed. */
export class Basemap {
  readonly #made = new Map<BasemapLayer, Promise<LayerFile>>();

  layer(name: BasemapLayer): Promise<LayerFile> {
    let made = this.#made.get(name);
    if (!made) {
      made = makeLayer(name);
      made.catch(() => this.#made.delete(name));
      this.#made.set(name, made);
    }
    return made;
  }
}

type Named = FeatureCollection<Geometry, { name: string }>;
type Atlas = Topology<Record<string, GeometryCollection<{ name: string }>>>;

async function makeLayer(name: BasemapLayer): Promise<LayerFile> {
  const text = JSON.stringify(await layerGeometry(name), (key, value) =>
    key === "coordinates" ? rounded(value) : value,
  );
  const body = new Uint8Array(await promisify(gzip)(text, { level: 6 }));
  return { body, tag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 16)}"` };
}

async function layerGeometry(name: BasemapLayer): Promise<unknown> {
  if (name === "land" || name === "coast" || name === "borders" || name === "labels") {
    const atlas = await readAtlas("world-atlas/countries-50m.json");
    const { land, countries } = atlas.objects as Required<Atlas["objects"]>;
    if (name === "land") return cut(feature(atlas, land!));
    // The coast is its own layer, for the outline of the land has the cuts in it.
    if (name === "coast") return cut(mesh(atlas, countries!, (a, b) => a === b));
    if (name === "borders") return cut(mesh(atlas, countries!, (a, b) => a !== b));
    return labels(feature(atlas, countries!) as Named);
  }
  const atlas = await readAtlas(
    name === "states" ? "us-atlas/states-10m.json" : "us-atlas/counties-10m.json",
  );
  const { states, counties } = atlas.objects as Required<Atlas["objects"]>;
  if (name === "states") return cut(mesh(atlas, states!, (a, b) => a !== b));
  if (name === "state-labels") return labels(feature(atlas, states!) as Named);
  if (name === "counties") return cut(mesh(atlas, counties!, (a, b) => a !== b));
  return labels(feature(atlas, counties!) as Named);
}

async function readAtlas(file: string): Promise<Atlas> {
  return JSON.parse(await readFile(new URL(import.meta.resolve(file)), "utf8")) as Atlas;
}

/**
 * Cuts what crosses the antimeridian. The atlases join the two halves of Chukotka into one ring on the sphere, which
 * on a flat map would be drawn as a band around the world; d3 clips it as it would for any projection.
 */
function cut<T>(shape: T): unknown {
  const degrees = geoEquirectangular()
    .scale(180 / Math.PI)
    .translate([0, 0])
    .reflectY(true)
    .precision(0);
  return geoProject(shape, degrees);
}

/** A point with the name and the size of each shape, at the middle of its largest part. */
function labels(shapes: Named): FeatureCollection {
  const features = shapes.features.flatMap((shape): Feature[] => {
    const largest = largestPart(shape.geometry);
    if (!largest) return [];
    const area = geoArea(largest);
    const properties = { name: shape.properties.name, size: Math.round(Math.log2(area) * 10) / 10 };
    return [{ type: "Feature", properties, geometry: { type: "Point", coordinates: geoCentroid(largest) } }];
  });
  return { type: "FeatureCollection", features };
}

function largestPart(geometry: Geometry): Polygon | undefined {
  if (geometry.type === "Polygon") return geometry;
  if (geometry.type !== "MultiPolygon") return undefined;
  const parts = geometry.coordinates.map((coordinates): Polygon => ({ type: "Polygon", coordinates }));
  return parts.reduce((best, part) => (geoArea(part) > geoArea(best) ? part : best));
}

/** To a thousandth of a degree, some hundred metres: finer than the atlases are. */
function rounded(coordinates: unknown): unknown {
  if (typeof coordinates === "number") return Math.round(coordinates * 1000) / 1000;
  return Array.isArray(coordinates) ? coordinates.map(rounded) : coordinates;
}
