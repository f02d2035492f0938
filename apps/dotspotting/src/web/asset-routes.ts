import { Hono } from "hono";
import { type BasemapLayer, basemapLayers } from "../basemap.ts";
import { notFound } from "./answers.ts";
import type { Environment, Web } from "./environment.ts";

/** Scripts, styles, fonts, and the layers behind the dots. All of them are revalidated by their tag. */
export const assetRoutes = new Hono<Environment>();

assetRoutes.get("/assets/:name", async (c) => {
  const file = await c.var.services.files.find(c.req.param("name"));
  if (!file) return notFound(c);
  const compressed = acceptsGzip(c) ? file.compressed : undefined;
  return tagged(c, file.tag, file.type, compressed ?? file.plain, compressed !== undefined);
});

assetRoutes.get("/basemap/:file", async (c) => {
  const name = /^([a-z-]+)\.geojson$/.exec(c.req.param("file"))?.[1] as BasemapLayer;
  if (!basemapLayers.includes(name)) return notFound(c);
  const { body, tag } = await c.var.services.basemap.layer(name);
  if (acceptsGzip(c)) return tagged(c, tag, "application/geo+json", body, true);
  const plain = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
  return c.body(plain, 200, { "Content-Type": "application/geo+json" });
});

function acceptsGzip(c: Web): boolean {
  return /\bgzip\b/.test(c.req.header("accept-encoding") ?? "");
}

function tagged(
  c: Web,
  tag: string,
  type: string,
  body: Uint8Array<ArrayBuffer>,
  compressed: boolean,
): Response {
  c.header("ETag", tag);
  c.header("Cache-Control", "public, no-cache");
  c.header("Vary", "Accept-Encoding");
  if (c.req.header("if-none-match") === tag) return c.body(null, 304);
  c.header("Content-Type", type);
  if (compressed) c.header("Content-Encoding", "gzip");
  return c.body(body);
}
