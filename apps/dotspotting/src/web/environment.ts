import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import type { Operators } from "../accounts/operators.ts";
import type { Session, Sessions } from "../accounts/session.ts";
import { sessionSecondsMax } from "../accounts/session.ts";
import type { Throttle } from "../accounts/throttle.ts";
import type { User } from "../accounts/users.ts";
import type { Basemap } from "../basemap.ts";
import type { DotFederation } from "../federation.ts";
import type { UserMoves } from "../operator/user-moves.ts";
import type { Settings } from "../settings.ts";
import type { ImportJobs } from "../sheets/import-jobs.ts";
import type { StaticFiles } from "./static-files.ts";

/** What the routes work with. */
export interface Services {
  readonly fed: DotFederation;
  readonly settings: Pick<Settings, "origin" | "uploadBytesMax">;
  readonly sessions: Sessions;
  readonly operators: Operators;
  readonly moves: UserMoves;
  readonly loginsByName: Throttle;
  readonly loginsByAddress: Throttle;
  readonly signUps: Throttle;
  readonly imports: ImportJobs;
  readonly basemap: Basemap;
  readonly files: StaticFiles;
  readonly log: (message: string, error?: unknown) => void;
}

export interface Environment {
  Bindings: HttpBindings;
  Variables: {
    services: Services;
    session: Session | undefined;
    user: User | undefined;
    /** Whether the user may see where users live, and move them. */
    isOperator: boolean;
  };
}

export type Web = Context<Environment>;

/** A cookie of this site's. With https no other site under the same domain can set it. */
export function cookieName(c: Web, name = "dotspotting"): string {
  return isSecure(c) ? `__Host-${name}` : name;
}

/** Whether people come by https; behind a proxy only the configured origin can say so. */
export function isSecure(c: Web): boolean {
  return (c.var.services.settings.origin ?? c.req.url).startsWith("https:");
}

/** The visitor's session, as the cookie says. */
export function readSession(c: Web): Session | undefined {
  return c.var.services.sessions.open(getCookie(c, cookieName(c)));
}

/** Begins a new session, in which the user, if any, is logged in. The old one's forms are void with it. */
export function beginSession(c: Web, userId?: bigint): Session {
  const { sessions } = c.var.services;
  const session = sessions.begin(userId);
  c.set("session", session);
  setCookie(c, cookieName(c), sessions.seal(session), {
    path: "/",
    httpOnly: true,
    sameSite: "Lax",
    secure: isSecure(c),
    maxAge: sessionSecondsMax,
  });
  return session;
}

/** The token for a form on the page that is being made. A visitor without a session gets one now. */
export function formToken(c: Web): string {
  return c.var.services.sessions.formToken(c.var.session ?? beginSession(c));
}

/** The address that the connection comes from. */
export function remoteAddress(c: Web): string {
  return c.env?.incoming?.socket?.remoteAddress ?? "unknown";
}
