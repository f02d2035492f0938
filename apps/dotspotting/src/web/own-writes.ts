import type { MiddlewareHandler } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { isTesseraeError } from "tesserae";
import type { DotFederation } from "../federation.ts";
import { cookieName, type Environment, isSecure } from "./environment.ts";

/**
 * How long a visitor's writes are waited for. A replica that is further behind than `replication.maxLagMs`, 10 seconds unless that is configured, answers
 * nobody: long before this is over every one that answers has them.
 */
const keptSeconds = 60;

/**
 * Lets visitors see at once what they have written, although pages are read from replicas that may lag, and although another process may answer the next
 * request: where the writes are goes along in a cookie. Each request is a context of its own, so that it waits for its visitor's writes and for nobody else's.
 */
export const ownWrites: MiddlewareHandler<Environment> = async (c, next) => {
  const { fed, log } = c.var.services;
  const name = cookieName(c, "dotspotting-written");
  const carried = getCookie(c, name);
  await runWith(fed, carried, async () => {
    await next();
    const written = await fed.freshness.token().catch((error: unknown) => {
      // The answer stands: what is lost is that the next page shows it at once.
      log("It cannot be told where the last writes are", error);
      return carried;
    });
    if (written === carried) return;
    const options = { path: "/", httpOnly: true, sameSite: "Lax", secure: isSecure(c) } as const;
    if (written === undefined) deleteCookie(c, name, options);
    else setCookie(c, name, written, { ...options, maxAge: keptSeconds });
  });
};

/** A cookie that somebody has tampered with is as good as none. */
function runWith<T>(fed: DotFederation, token: string | undefined, body: () => Promise<T>): Promise<T> {
  try {
    return fed.freshness.run(body, { token });
  } catch (error) {
    if (!isTesseraeError(error, "FRESHNESS_TOKEN_INVALID")) throw error;
    return fed.freshness.run(body);
  }
}
