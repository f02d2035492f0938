/** What a failing server means to whoever follows the primary: what was never sent, what no waiting will mend, and the errors that say so. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { redactUrl } from "./address.ts";
import { isLoginRefused } from "./connect-failure.ts";

/** A new connection's server takes no writes. */
export function readOnlyError(display: string): TesseraeError {
  return new TesseraeError(
    "SERVER_READ_ONLY",
    `The server that ${display} leads to takes no writes: it is a replica, or was made read-only.`,
    { operation: "connect" },
  );
}

/** The pool gave no connection, so nothing was sent, and another server may give one. A pool that is being left answers CLOSED. */
export function wasNeverSent(error: unknown): boolean {
  if (!(error instanceof TesseraeError)) return false;
  const { code } = error;
  return (
    code === "CLOSED" || code === "SERVER_READ_ONLY" || (code === "CONNECT_FAILED" && !isHopeless(error))
  );
}

/** A new connection led to a server that takes no writes. */
export function ledToReadOnly(error: unknown): boolean {
  return isTesseraeError(error, "SERVER_READ_ONLY") && error.operation === "connect";
}

/** What neither another server nor waiting could mend: the login, a missing driver, a pooler that nobody named. */
export function isHopeless(error: unknown): boolean {
  if (isTesseraeError(error, "CONNECTION_LIMIT")) return false;
  if (!isTesseraeError(error, "CONNECT_FAILED")) return true;
  return isLoginRefused(error.cause);
}

/** A statement that takes effect as a whole or not at all. A CALL may have done a part of its work before it was refused. */
export function isOneStatement(sql: string): boolean {
  return /^\s*(?:insert|update|delete|replace|merge|select|with|create|alter|drop|truncate)\b/i.test(sql);
}

/** Why a host is not the primary, in the words of a list. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof TesseraeError && error.cause instanceof Error ? error.cause : error;
  const { message = "", code = "" } = (cause ?? {}) as { message?: string; code?: string };
  return redactUrl(message || code || String(cause));
}

export interface HostReason {
  readonly name: string;
  readonly reason: string;
}

export function notFoundError(
  display: string,
  hosts: readonly HostReason[],
  waitedMs: number,
  cause: unknown,
): TesseraeError {
  const reasons = hosts.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
  const text = `No server of ${display} that takes writes was found within ${Math.round(waitedMs)} ms (${reasons}). Promote one, or bring the primary back.`;
  return new TesseraeError("PRIMARY_NOT_FOUND", text, { operation: "connect", cause });
}

export function ambiguousError(display: string, names: readonly string[]): TesseraeError {
  return new TesseraeError(
    "PRIMARY_AMBIGUOUS",
    `More than one server of ${display} takes writes: ${names.join(", ")}. None of them is used. Make all but the primary read-only.`,
    { operation: "connect" },
  );
}

export function closedError(display: string): TesseraeError {
  return new TesseraeError("CLOSED", `The pool of ${display} is closed; no more work is taken.`);
}
