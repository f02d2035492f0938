import type { Box, Circle } from "./search-request.ts";

/** The mean radius of the earth. */
const earthKm = 6_371.0088;
const kmPerDegree = (earthKm * Math.PI) / 180;
const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** The great-circle distance of two places on a sphere: at most half a percent off. */
export function distanceKm(
  a: { readonly latitude: number; readonly longitude: number },
  b: { readonly latitude: number; readonly longitude: number },
): number {
  const [from, to] = [radians(a.latitude), radians(b.latitude)];
  const across = Math.sin(radians(b.longitude - a.longitude) / 2) ** 2;
  const along = Math.sin((to - from) / 2) ** 2;
  return 2 * earthKm * Math.asin(Math.min(1, Math.sqrt(along + Math.cos(from) * Math.cos(to) * across)));
}

/** A box that has the whole circle in it: what a database can look for. */
export function boxAround({ latitude, longitude, km }: Circle): Box {
  const degrees = km / kmPerDegree + 1e-6;
  const south = Math.max(-90, latitude - degrees);
  const north = Math.min(90, latitude + degrees);
  const reach = Math.sin(radians(Math.min(90, degrees))) / Math.cos(radians(latitude));
  // A circle around a pole has every longitude in it.
  if (south === -90 || north === 90 || reach >= 1) return { west: -180, south, east: 180, north };
  const wide = (Math.asin(reach) * 180) / Math.PI + 1e-6;
  const turned = (value: number) => ((((value + 180) % 360) + 360) % 360) - 180;
  return { west: turned(longitude - wide), south, east: turned(longitude + wide), north };
}
