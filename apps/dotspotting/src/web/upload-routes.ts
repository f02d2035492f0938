import { Hono } from "hono";
import { FileRefused } from "../places/place.ts";
import type { ImportJob } from "../sheets/import-jobs.ts";
import { type ImportRequest, type ImportResult, importSheet } from "../sheets/import-sheet.ts";
import { forbidden, page, toLogIn } from "./answers.ts";
import { type Environment, formToken, type Web } from "./environment.ts";
import { refusedPage, uploadPage } from "./pages/upload.ts";
import { type UploadedFile, withUploadedFile } from "./upload-body.ts";

/** Uploading a file, and asking how far it is. */
export const uploadRoutes = new Hono<Environment>();

uploadRoutes.get("/upload", (c) => {
  if (!c.var.user) return toLogIn(c);
  const form = { token: formToken(c), bytesMax: c.var.services.settings.uploadBytesMax };
  return page(c, "Upload", uploadPage(form), { scripts: ["upload"], width: "narrow" });
});

uploadRoutes.post("/upload", async (c) => {
  const { settings, sessions, log } = c.var.services;
  const { user, session } = c.var;
  let fileName = "";
  try {
    const result = await withUploadedFile(c.env.incoming, settings.uploadBytesMax, async (file) => {
      // The token is in the form, before the file: a request without it is refused before anything is read.
      const allowed = session && sessions.formTokenMatches(session, file.fields.get("token"));
      if (!allowed) return "forbidden";
      if (!user) return "unknown";
      fileName = file.fileName;
      return receive(c, user.id, file);
    });
    if (result === "forbidden") return forbidden(c);
    if (result === "unknown") return toLogIn(c);
    if (result.outcome === "refused") return refused(c, fileName, result.reason, result);
    const address = `/s/${result.sheetId}`;
    return wantsJson(c) ? c.json({ address }) : c.redirect(address, 303);
  } catch (error) {
    if (!(error instanceof FileRefused)) {
      log(`The upload of ${JSON.stringify(fileName)} failed`, error);
      throw error;
    }
    return refused(c, fileName, error.message, undefined, error.status);
  }
});

uploadRoutes.get("/imports/:token", (c) => {
  const { user, services } = c.var;
  const job = user && services.imports.find(c.req.param("token"), user.id);
  if (!job) return c.json({ error: "There is no such import." }, 404);
  const { bytes, bytesTotal, dots, bad, done } = job;
  return c.json({ bytes, bytesTotal, dots, bad, done }, 200, { "Cache-Control": "no-store" });
});

/** Imports a file whose form has been found good. */
async function receive(c: Web, userId: bigint, file: UploadedFile): Promise<ImportResult> {
  const { fed, imports } = c.var.services;
  const token = /^[\w-]{8,64}$/.exec(file.fields.get("import") ?? "")?.[0] ?? crypto.randomUUID();
  const job = imports.begin(token, userId, Number(c.req.header("content-length")) || undefined);
  if (!job)
    throw new FileRefused("Three of your files are being imported already. Wait for one of them.", 422);
  try {
    return await importSheet(fed, importRequest(userId, file), counted(file.bytes, job), (progress) => {
      job.dots = progress.dots;
      job.bad = progress.bad;
    });
  } finally {
    job.done = true;
  }
}

async function* counted(bytes: AsyncIterable<Uint8Array>, job: ImportJob): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    job.bytes += chunk.byteLength;
    yield chunk;
  }
}

function importRequest(userId: bigint, { fields, fileName }: UploadedFile): ImportRequest {
  const badRows = fields.get("bad_rows");
  return {
    userId,
    fileName,
    label: (fields.get("label") ?? "").toWellFormed().replaceAll("\0", ""),
    // Whoever does not say that everybody may see it has not said so.
    visibility: fields.get("visibility") === "public" ? "public" : "private",
    badRows: badRows === "keep" || badRows === "refuse" ? badRows : "ask",
  };
}

function wantsJson(c: Web): boolean {
  return (c.req.header("accept") ?? "").includes("application/json");
}

function refused(
  c: Web,
  fileName: string,
  reason: string,
  result?: ImportResult,
  status: FileRefused["status"] = 422,
) {
  if (wantsJson(c)) {
    const problems = result?.report.problems ?? [];
    return c.json({ fileName, reason, bad: result?.report.bad ?? 0, problems }, status);
  }
  const body = refusedPage(fileName, reason, result?.report);
  return page(c, "Nothing was imported", body, { width: "narrow" }, status);
}
