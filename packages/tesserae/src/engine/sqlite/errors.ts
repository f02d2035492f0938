/** Why node:sqlite raised an error, by SQLite's result code and not by its message. */
import { TesseraeError } from "../../base/errors.ts";
import type { ErrorReason, GuardReason } from "../contract.ts";

/** Primary result codes, the low byte of `errcode` (https://www.sqlite.org/rescode.html). */
const BUSY = 5;
const LOCKED = 6;
const IOERR = 10;
const CORRUPT = 11;
const READONLY = 8;
const FULL = 13;
const CANTOPEN = 14;
const CONSTRAINT = 19;
const NOTADB = 26;

/** Extended result codes. */
const BUSY_SNAPSHOT = 517;
const CONSTRAINT_CODES: ReadonlyMap<number, ErrorReason["code"]> = new Map([
  [275, "CONSTRAINT_CHECK"],
  [787, "CONSTRAINT_FOREIGN_KEY"],
  [1299, "CONSTRAINT_NOT_NULL"],
  [1555, "CONSTRAINT_UNIQUE"],
  [2067, "CONSTRAINT_UNIQUE"],
  [2579, "CONSTRAINT_UNIQUE"],
  // A value that is not of its column's type in a STRICT table.
  [3091, "CONSTRAINT_CHECK"],
]);

interface SqliteError extends Error {
  readonly errcode: number;
}

function isSqliteError(error: unknown): error is SqliteError {
  return error instanceof Error && typeof (error as Partial<SqliteError>).errcode === "number";
}

/** Another connection holds a lock, and may be done in a moment. A read transaction that wants to write on an old snapshot never is. */
export function isBusy(error: unknown): boolean {
  return isSqliteError(error) && (error.errcode & 0xff) === BUSY && error.errcode !== BUSY_SNAPSHOT;
}

const GUARD_MESSAGE =
  /^TESSERAE_GUARD:(no_residence|not_here|key_change|residence_changed):([^:]*):([\s\S]*)$/;
const CONSTRAINT_MESSAGE = /^[A-Z]+(?: [A-Z]+)? constraint failed: ([\s\S]+)$/;

export function classifySqliteError(error: unknown): ErrorReason {
  if (error instanceof TesseraeError) return { code: error.code, fatal: false };
  if (!isSqliteError(error)) return { code: codeOfNodeError(error), fatal: false };
  const primary = error.errcode & 0xff;
  switch (primary) {
    case BUSY:
      return { code: error.errcode === BUSY_SNAPSHOT ? "SERIALIZATION" : "LOCK_TIMEOUT", fatal: false };
    case LOCKED:
      return { code: "LOCK_TIMEOUT", fatal: false };
    case CONSTRAINT:
      return classifyConstraint(error);
    case CANTOPEN:
    case NOTADB:
      return { code: "CONNECT_FAILED", fatal: true };
    case IOERR:
    case CORRUPT:
      return { code: "CONNECTION_LOST", fatal: true };
    case READONLY:
      return { code: "SERVER_READ_ONLY", fatal: false };
    default:
      return primary === FULL ? { code: "DISK_FULL", fatal: true } : { code: "QUERY_FAILED", fatal: false };
  }
}

function classifyConstraint(error: SqliteError): ErrorReason {
  const guard = GUARD_MESSAGE.exec(error.message);
  if (guard !== null) {
    const [, reason, table, key] = guard as unknown as [string, GuardReason, string, string];
    return { code: "GUARD_REFUSED", guard: { reason, table, key }, fatal: false };
  }
  const code = CONSTRAINT_CODES.get(error.errcode) ?? "QUERY_FAILED";
  // SQLite names a check by its name and a unique key by its columns ("users.name").
  return { code, constraint: CONSTRAINT_MESSAGE.exec(error.message)?.[1], fatal: false };
}

/** What node:sqlite raises by itself: a value that it cannot bind, a database that was closed. */
function codeOfNodeError(error: unknown): ErrorReason["code"] {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  if (code === "ERR_INVALID_ARG_TYPE" || code === "ERR_INVALID_ARG_VALUE") return "VALUE_INVALID";
  return code === "ERR_INVALID_STATE" ? "CONNECTION_LOST" : "QUERY_FAILED";
}
