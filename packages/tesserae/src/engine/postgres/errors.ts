/** Why the driver raised an error, by the server's SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
import type { ErrorCode } from "../../base/error-codes.ts";
import { TesseraeError } from "../../base/errors.ts";
import { connectFailure } from "../connect-failure.ts";
import type { ErrorReason, GuardReason, PoolOptions } from "../contract.ts";
import { poolerRefusal } from "./pooler.ts";

/** What the server says about an error, as `pg` hands it on. */
export interface ServerError extends Error {
  readonly code: string;
  readonly severity?: string;
  readonly constraint?: string;
  readonly routine?: string;
}

export function isServerError(error: unknown): error is ServerError {
  return (
    error instanceof Error &&
    "severity" in error &&
    /^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code))
  );
}

export const GUARD_STATE = "TS001";

const CODES: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  ["22001", "VALUE_INVALID"],
  ["22003", "VALUE_INVALID"],
  ["22007", "VALUE_INVALID"],
  ["22008", "VALUE_INVALID"],
  ["22021", "VALUE_INVALID"],
  ["22P02", "VALUE_INVALID"],
  ["22P03", "VALUE_INVALID"],
  ["22P05", "VALUE_INVALID"],
  ["23001", "CONSTRAINT_FOREIGN_KEY"],
  ["23502", "CONSTRAINT_NOT_NULL"],
  ["23503", "CONSTRAINT_FOREIGN_KEY"],
  ["23505", "CONSTRAINT_UNIQUE"],
  ["23514", "CONSTRAINT_CHECK"],
  ["23P01", "CONSTRAINT_UNIQUE"],
  // The idle-in-transaction limit, and the administrator's commands.
  ["25P03", "CONNECTION_LOST"],
  ["25P04", "CONNECTION_LOST"],
  // A standby, or a database or role that was made read-only; a transaction that was begun read only says the same.
  ["25006", "SERVER_READ_ONLY"],
  ["28000", "CONNECT_FAILED"],
  ["28P01", "CONNECT_FAILED"],
  ["3D000", "CONNECT_FAILED"],
  ["40001", "SERIALIZATION"],
  ["40003", "CONNECTION_LOST"],
  ["40P01", "DEADLOCK"],
  ["53100", "DISK_FULL"],
  ["53300", "CONNECTION_LIMIT"],
  ["55P03", "LOCK_TIMEOUT"],
  ["57P01", "CONNECTION_LOST"],
  ["57P02", "CONNECTION_LOST"],
  ["57P03", "CONNECT_FAILED"],
  ["57P05", "CONNECTION_LOST"],
]);

const GUARD_MESSAGE =
  /^TESSERAE_GUARD:(no_residence|not_here|key_change|residence_changed):([^:]*):([\s\S]*)$/;

export function classifyPostgresError(error: unknown): ErrorReason {
  if (error instanceof TesseraeError) return { code: error.code, fatal: false };
  if (!isServerError(error))
    return { code: isConnectionError(error) ? "CONNECTION_LOST" : "QUERY_FAILED", fatal: true };
  const fatal = isFatal(error);
  if (error.code === GUARD_STATE) {
    const guard = GUARD_MESSAGE.exec(error.message);
    if (guard !== null) {
      const [, reason, table, key] = guard as unknown as [string, GuardReason, string, string];
      return { code: "GUARD_REFUSED", guard: { reason, table, key }, fatal };
    }
  }
  if (isPoolerLimit(error)) return { code: "CONNECTION_LIMIT", fatal: true };
  if (error.code.startsWith("08")) return { code: "CONNECTION_LOST", fatal: true };
  // The table changed under the statement's plan, or two sessions made the same object: the same call again sees what is there now.
  if (isStalePlan(error) || isCatalogueRace(error)) return { code: "SERIALIZATION", fatal };
  return { code: CODES.get(error.code) ?? "QUERY_FAILED", constraint: error.constraint, fatal };
}

/** The server ends the connection after such an error. */
export function isFatal(error: ServerError): boolean {
  return error.severity === "FATAL" || error.severity === "PANIC" || error.code.startsWith("08");
}

/** A prepared statement that has to be prepared again: its result's columns changed, or somebody deallocated it. */
export function isStalePlan(error: ServerError): boolean {
  return error.code === "26000" || (error.code === "0A000" && error.routine === "RevalidateCachedQuery");
}

/** A write was refused: by the server, or because its transaction was begun read only. */
export function isReadOnly(error: unknown): boolean {
  return isServerError(error) && error.code === "25006";
}

function isCatalogueRace(error: ServerError): boolean {
  return error.code === "XX000" && /^tuple concurrently (updated|deleted)$/.test(error.message);
}

/** The operating system's errors of a socket, and what `pg` says when it finds one closed. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as NodeJS.ErrnoException).code;
  return (
    (typeof code === "string" && /^E[A-Z]+$/.test(code)) ||
    /^Connection terminated|not queryable$/.test(error.message)
  );
}

/** What PgBouncer says, as errors of the protocol, where it has no connection left: for a client, or for a statement, which then has not run. */
const POOLER_LIMIT = /^(?:no more connections allowed|query_wait_timeout)/;

/** The server, the database, the role or the pooler has as many connections as it may have. */
export function isLimit(error: unknown): boolean {
  return isServerError(error) && (error.code === "53300" || isPoolerLimit(error));
}

const isPoolerLimit = (error: ServerError): boolean =>
  error.code === "08P01" && POOLER_LIMIT.test(error.message);

export function closedError(display: string): TesseraeError {
  return new TesseraeError("CLOSED", `The pool of ${display} is closed; no more work is taken.`);
}

/** Why the pool gave no connection; `exhausted` where it waited for a connection in use and not for the server. */
export function connectError(
  error: Error,
  exhausted: boolean,
  display: string,
  { acquireTimeoutMs, connectionsMax }: PoolOptions,
): TesseraeError {
  if (exhausted && error.message === "timeout exceeded when trying to connect")
    return new TesseraeError(
      "CONNECTION_LIMIT",
      `No connection to ${display} came free within ${acquireTimeoutMs} ms: all ${connectionsMax} are in use. Keep transactions short, or raise connectionsMax.`,
    );
  if (error instanceof TesseraeError) return error;
  const pooler = poolerRefusal(error, display);
  if (pooler !== undefined) return pooler;
  const text = error.message || String((error as NodeJS.ErrnoException).code);
  return connectFailure(display, text, error, isLimit(error));
}

/** Errors that `pg` raises itself, other than those of a value that cannot be read or written. */
export function isSocketError(error: Error): boolean {
  return !(error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError);
}
