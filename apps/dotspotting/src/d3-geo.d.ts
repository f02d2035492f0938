/** What is used of two packages that carry no types. */
declare module "d3-geo" {
  interface Projection {
    scale(value: number): Projection;
    translate(point: [number, number]): Projection;
    reflectY(flip: boolean): Projection;
    precision(pixels: number): Projection;
  }
  export function geoEquirectangular(): Projection;
  /** Steradians. */
  export function geoArea(shape: import("geojson").Geometry): number;
  export function geoCentroid(shape: import("geojson").Geometry): [number, number];
}

declare module "d3-geo-projection" {
  export function geoProject<T>(shape: T, projection: unknown): T;
}
