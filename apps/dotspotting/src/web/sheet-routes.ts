import { AsyncResource } from "node:async_hooks";
import { Hono } from "hono";
import { findUser, findUserByName, plainUserName } from "../accounts/users.ts";
import { deleteSheet } from "../sheets/delete-sheet.ts";
import { countDots, dotsOfSheet, findDot, type MapDot, streamDots } from "../sheets/dots.ts";
import { placePage, readPageRequest } from "../sheets/paging.ts";
import {
  findSheet,
  keepDraft,
  recentSheets,
  type Sheet,
  setVisibility,
  sheetsOfUser,
} from "../sheets/sheets.ts";
import { gone, notFound, page, toLogIn } from "./answers.ts";
import { type Environment, formToken, type Web } from "./environment.ts";
import { geoJsonFeature, geoJsonHeaders } from "./geo-json.ts";
import { dotPage } from "./pages/dot.ts";
import { frontPage, frontPageDefaults } from "./pages/front.ts";
import { deletePage, sheetPage, sheetPageDefaults } from "./pages/sheet.ts";
import { userPage, userPageDefaults } from "./pages/user.ts";

/** The front page, sheets, dots and users. */
export const sheetRoutes = new Hono<Environment>();

sheetRoutes.get("/", async (c) => {
  const { fed } = c.var.services;
  const { place, sheets } = await recentSheets(fed, readPageRequest(c.req.query(), frontPageDefaults));
  const newest = place.page === 1 && sheets[0] ? await findSheet(fed, sheets[0].id, undefined) : undefined;
  return page(c, "Maps from tables of places", frontPage(c.var.user, place, sheets, newest), {
    scripts: ["map"],
  });
});

sheetRoutes.get("/u/:name", async (c) => {
  const { fed } = c.var.services;
  const owner = await findUserByName(fed, plainUserName(c.req.param("name")));
  if (!owner) return notFound(c);
  const request = readPageRequest(c.req.query(), userPageDefaults);
  const { place, sheets } = await sheetsOfUser(fed, owner, c.var.user?.id, request);
  return page(c, owner.name, userPage(owner, owner.id === c.var.user?.id, place, sheets), {
    scripts: ["map"],
  });
});

sheetRoutes.get("/u/:name/dots.geojson", async (c) => {
  const { fed } = c.var.services;
  const owner = await findUserByName(fed, plainUserName(c.req.param("name")));
  if (!owner) return notFound(c);
  return geoJson(c, streamDots(fed, owner.id, { viewer: c.var.user?.id }));
});

sheetRoutes.get("/s/:id", async (c) => {
  const { fed } = c.var.services;
  const sheet = await sheetOf(c);
  if (!sheet) return notFound(c);
  const request = readPageRequest(c.req.query(), sheetPageDefaults);
  const place = placePage(request, sheet.state === "importing" ? 0 : await countDots(fed, sheet));
  const [owner, dots] = await Promise.all([
    findUser(fed, sheet.userId),
    dotsOfSheet(fed, sheet, place.offset, place.count),
  ]);
  const token = isOwn(c, sheet) ? formToken(c) : undefined;
  const body = sheetPage({ sheet, owner: owner?.name ?? "", token, place, dots });
  return page(c, sheet.label, body, { scripts: ["map"] });
});

sheetRoutes.get("/s/:id/dots.geojson", async (c) => {
  const sheet = await sheetOf(c);
  if (!sheet) return notFound(c);
  return geoJson(c, streamDots(c.var.services.fed, sheet.userId, { sheetId: sheet.id }));
});

sheetRoutes.post("/s/:id/visibility", async (c) => {
  const sheet = await ownSheetOf(c);
  if (!sheet || sheet.state === "deleting") return notFound(c);
  const { visibility } = await c.req.parseBody();
  if (visibility === "public" || visibility === "private") {
    await setVisibility(c.var.services.fed, sheet, visibility);
  }
  return c.redirect(`/s/${sheet.id}`, 303);
});

sheetRoutes.post("/s/:id/keep", async (c) => {
  const sheet = await ownSheetOf(c);
  if (!sheet) return notFound(c);
  if (sheet.state === "draft") await keepDraft(c.var.services.fed, sheet);
  return c.redirect(`/s/${sheet.id}`, 303);
});

sheetRoutes.get("/s/:id/delete", async (c) => {
  if (!c.var.user) return toLogIn(c);
  const sheet = await ownSheetOf(c);
  if (!sheet) return notFound(c);
  return page(c, `Delete ${sheet.label}`, deletePage(sheet, formToken(c)), { width: "narrow" });
});

sheetRoutes.post("/s/:id/delete", async (c) => {
  const sheet = await ownSheetOf(c);
  if (!sheet) return notFound(c);
  // While a file is being read its importer writes on; it can be deleted when it is there, or given up.
  const importing = sheet.state === "importing" && !sheet.interrupted;
  if (!importing) await deleteSheet(c.var.services.fed, sheet.userId, sheet.id);
  return c.redirect(importing ? `/s/${sheet.id}` : `/u/${c.var.user!.name}`, 303);
});

sheetRoutes.get("/d/:id", async (c) => {
  const { fed } = c.var.services;
  const id = readId(c.req.param("id"));
  const found = id === undefined ? undefined : await findDot(fed, id, c.var.user?.id);
  if (!found) return notFound(c);
  if (found === "deleted") return gone(c);
  const owner = await findUser(fed, found.sheet.userId);
  const body = dotPage(found.dot, found.sheet, owner?.name ?? "");
  return page(c, found.dot.label || "Dot", body, { scripts: ["map"] });
});

async function sheetOf(c: Web): Promise<Sheet | undefined> {
  const id = readId(c.req.param("id"));
  return id === undefined ? undefined : findSheet(c.var.services.fed, id, c.var.user?.id);
}

/** The sheet of the address if it is the visitor's own. */
async function ownSheetOf(c: Web): Promise<Sheet | undefined> {
  const sheet = await sheetOf(c);
  return sheet && isOwn(c, sheet) ? sheet : undefined;
}

function isOwn(c: Web, sheet: Sheet): boolean {
  return sheet.userId === c.var.user?.id;
}

/** An id of an address; undefined if it is none. */
function readId(text: string | undefined): bigint | undefined {
  if (!/^[1-9]\d{0,18}$/.test(text ?? "")) return undefined;
  const id = BigInt(text!);
  return id < 2n ** 63n ? id : undefined;
}

/** Dots as GeoJSON, written while they are read. Ids are strings: JavaScript's numbers cannot hold 64 bits. */
function geoJson(c: Web, batches: AsyncGenerator<MapDot[]>): Response {
  const { log } = c.var.services;
  const encoder = new TextEncoder();
  // The connection asks for the next piece; it is read as a part of this request, which sees its visitor's own writes.
  const nextBatch = AsyncResource.bind(() => batches.next());
  let first = true;
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(encoder.encode('{"type":"FeatureCollection","features":[')),
      async pull(controller) {
        try {
          const { done, value } = await nextBatch();
          if (done) {
            controller.enqueue(encoder.encode("]}\n"));
            controller.close();
            return;
          }
          const text = value.map(geoJsonFeature).join(",\n");
          controller.enqueue(encoder.encode(first ? text : `,\n${text}`));
          first = false;
        } catch (error) {
          log("Dots could not be read to their end", error);
          controller.error(error);
        }
      },
      async cancel() {
        await batches.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return c.body(body, 200, geoJsonHeaders);
}
