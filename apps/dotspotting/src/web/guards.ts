import type { MiddlewareHandler } from "hono";
import { findUser } from "../accounts/users.ts";
import { forbidden } from "./answers.ts";
import { type Environment, isSecure, readSession, type Web } from "./environment.ts";

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  // MapLibre's stylesheet has its signs as data; it draws what it makes as blobs.
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** What every answer tells the browser not to do. */
export const securityHeaders: MiddlewareHandler<Environment> = async (c, next) => {
  await next();
  const { headers } = c.res;
  headers.set("Content-Security-Policy", policy);
  headers.set("X-Content-Type-Options", "nosniff");
  headers.set("X-Frame-Options", "DENY");
  headers.set("Referrer-Policy", "same-origin");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  if (!headers.has("Cache-Control")) headers.set("Cache-Control", "private, no-cache");
  if (isSecure(c)) headers.set("Strict-Transport-Security", "max-age=31536000");
};

/** Finds out who the visitor is. */
export const visitor: MiddlewareHandler<Environment> = async (c, next) => {
  const session = readSession(c);
  const user = session?.userId === undefined ? undefined : await findUser(c.var.services.fed, session.userId);
  c.set("session", session);
  c.set("user", user);
  c.set("isOperator", user !== undefined && (await c.var.services.operators.includes(user)));
  await next();
};

/**
 * Takes a form only from this site and this session. An upload is checked where its form is taken apart, since
 * its token comes in the stream.
 */
export const formGuard: MiddlewareHandler<Environment> = async (c, next) => {
  if (c.req.method === "GET" || c.req.method === "HEAD") return next();
  if (!fromHere(c)) return forbidden(c);
  if (c.req.path !== "/upload") {
    const length = Number(c.req.header("content-length") ?? Number.NaN);
    if (!(length <= formBytesMax) || !isUrlEncoded(c)) return forbidden(c);
    const { token } = await c.req.parseBody();
    if (!c.var.session || !c.var.services.sessions.formTokenMatches(c.var.session, token))
      return forbidden(c);
  }
  return next();
};

const formBytesMax = 64 * 1024;

function isUrlEncoded(c: Web): boolean {
  return (c.req.header("content-type") ?? "").startsWith("application/x-www-form-urlencoded");
}

/** Browsers say where a form comes from; where they do, it must be here. */
function fromHere(c: Web): boolean {
  const site = c.req.header("sec-fetch-site");
  if (site && site !== "same-origin" && site !== "none") return false;
  const origin = c.req.header("origin");
  if (!origin || origin === "null") return origin !== "null";
  const host = c.var.services.settings.origin ?? `http://${c.req.header("host")}`;
  return origin === host;
}
