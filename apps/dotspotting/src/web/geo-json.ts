import type { MapDot } from "../sheets/dots.ts";

/** A dot as a feature of GeoJSON, on one line. */
export function geoJsonFeature({ id, latitude, longitude, label }: MapDot): string {
  const properties = `{"id":"${id}","label":${JSON.stringify(label)}}`;
  const coordinates = `[${Number(longitude)},${Number(latitude)}]`;
  return `{"type":"Feature","properties":${properties},"geometry":{"type":"Point","coordinates":${coordinates}}}`;
}

export const geoJsonHeaders = {
  "Content-Type": "application/geo+json",
  "Cache-Control": "private, no-cache",
};
