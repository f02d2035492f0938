import { Hono } from "hono";
import { namesOfUsers } from "../accounts/users.ts";
import { searchDots } from "../search/search-dots.ts";
import {
  readSearchFields,
  readSearchRequest,
  type SearchFields,
  SearchRefused,
  type SearchRequest,
} from "../search/search-request.ts";
import { page } from "./answers.ts";
import type { Environment, Web } from "./environment.ts";
import { geoJsonFeature, geoJsonHeaders } from "./geo-json.ts";
import { type SearchAnswer, searchPage } from "./pages/search.ts";

const dotsOnPage = 50;
/** More on a map is not looked at dot by dot. */
const dotsOnMap = 2_000;

/** Everybody's public dots. */
export const searchRoutes = new Hono<Environment>();

searchRoutes.get("/search", async (c) => {
  const fields = readSearchFields(c.req.query());
  const request = readRequest(fields, c);
  if (request instanceof SearchRefused)
    return page(c, "Search", searchPage(fields, { problem: request.message }), {}, 400);
  const { fed } = c.var.services;
  const { dots, next } = await searchDots(fed, request, dotsOnPage);
  const answer: SearchAnswer = {
    dots,
    next,
    isFirst: request.after === undefined,
    owners: await namesOfUsers(fed, [...new Set(dots.map(({ userId }) => userId))]),
  };
  return page(c, "Search", searchPage(fields, answer), { scripts: ["map"] });
});

searchRoutes.get("/search.geojson", async (c) => {
  const request = readRequest(readSearchFields(c.req.query()), c);
  if (request instanceof SearchRefused) return c.text(request.message, 400);
  const { dots } = await searchDots(c.var.services.fed, request, dotsOnMap);
  const features = dots.map(geoJsonFeature).join(",\n");
  return c.body(`{"type":"FeatureCollection","features":[${features}]}\n`, 200, geoJsonHeaders);
});

function readRequest(fields: SearchFields, c: Web): SearchRequest | SearchRefused {
  try {
    return readSearchRequest(fields, c.req.query("after"));
  } catch (error) {
    if (error instanceof SearchRefused) return error;
    throw error;
  }
}
