/** Why the driver raised an error, by the server's error number (https://mariadb.com/docs/server/reference/error-codes) or mysql2's own code. */
import type { ErrorCode } from "../../base/error-codes.ts";
import { TesseraeError } from "../../base/errors.ts";
import type { ErrorReason, GuardReason } from "../contract.ts";

/** The guard's SIGNAL carries it, with SQLSTATE 45000. */
export const GUARD_ERRNO = 31_001;

const TOO_MANY_CONNECTIONS = new Set([1040, 1203, 1226]);
const NOT_PREPARABLE = 1295;
const NO_MORE_PREPARED = 1461;
const INTERRUPTED = 1317;

const CODES: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [1020, "SERIALIZATION"],
  [1040, "CONNECTION_LIMIT"],
  [1044, "CONNECT_FAILED"],
  [1045, "CONNECT_FAILED"],
  [1048, "CONSTRAINT_NOT_NULL"],
  [1049, "CONNECT_FAILED"],
  [1021, "DISK_FULL"],
  [1053, "CONNECTION_LOST"],
  [1114, "DISK_FULL"],
  [1062, "CONSTRAINT_UNIQUE"],
  [1129, "CONNECT_FAILED"],
  [1130, "CONNECT_FAILED"],
  [1159, "CONNECTION_LOST"],
  [1169, "CONSTRAINT_UNIQUE"],
  [1203, "CONNECTION_LIMIT"],
  [1205, "LOCK_TIMEOUT"],
  [1213, "DEADLOCK"],
  [1216, "CONSTRAINT_FOREIGN_KEY"],
  [1217, "CONSTRAINT_FOREIGN_KEY"],
  [1226, "CONNECTION_LIMIT"],
  [1264, "VALUE_INVALID"],
  [1265, "VALUE_INVALID"],
  [1292, "VALUE_INVALID"],
  [1364, "CONSTRAINT_NOT_NULL"],
  [1366, "VALUE_INVALID"],
  [1367, "VALUE_INVALID"],
  [1406, "VALUE_INVALID"],
  [1419, "SERVER_SETTING"],
  [1665, "SERVER_SETTING"],
  // The table's definition changed under the transaction or the prepared statement.
  [1412, "SERIALIZATION"],
  [1451, "CONSTRAINT_FOREIGN_KEY"],
  [1452, "CONSTRAINT_FOREIGN_KEY"],
  [1586, "CONSTRAINT_UNIQUE"],
  [1615, "SERIALIZATION"],
  [1690, "VALUE_INVALID"],
  [1698, "CONNECT_FAILED"],
  // The transaction was begun read only.
  [1792, "SERVER_READ_ONLY"],
  [1836, "SERVER_READ_ONLY"],
  // The connection was killed, or was idle for longer than the server lets it.
  [1927, "CONNECTION_LOST"],
  [3140, "VALUE_INVALID"],
  // MySQL's words for a lock that NOWAIT did not get, and for a check; MariaDB has 1205 and 4025.
  [3572, "LOCK_TIMEOUT"],
  [3819, "CONSTRAINT_CHECK"],
  // MySQL's alone: the login is locked, its password is out of date, the server is closed to all but its administrators.
  [1862, "CONNECT_FAILED"],
  [3032, "CONNECT_FAILED"],
  [3118, "CONNECT_FAILED"],
  [3955, "CONNECT_FAILED"],
  // MySQL's group replication: another member has changed the same rows.
  [3101, "SERIALIZATION"],
  [4025, "CONSTRAINT_CHECK"],
  [4031, "CONNECTION_LOST"],
]);

/** MySQL has no RETURNING; MariaDB has none on updates. */
const SYNTAX = 1064;
/** Settings that a server with a binary log, and so each with replicas, must have. */
const ADVICE: ReadonlyMap<number, string> = new Map([
  [
    1419,
    "The guard's triggers need log_bin_trust_function_creators = 1 on a server with a binary log: set it in the configuration of every server that may be the primary, and with SET GLOBAL.",
  ],
  [
    1665,
    "The library's transactions are read committed, which InnoDB writes to a binary log by rows alone: set binlog_format = ROW or MIXED on every server that may be the primary.",
  ],
]);

const OPTION_PREVENTS = 1290;
const READ_ONLY_MODE = 1836;

const GUARD_MESSAGE =
  /TESSERAE_GUARD:(no_residence|not_here|key_change|residence_changed):([^:]*):([\s\S]*)$/;

interface ServerError extends Error {
  readonly errno: number;
  readonly sqlState?: string;
}

/** An error that the server sent; the others are of the network or the driver. */
function isServerError(error: unknown): error is ServerError {
  return error instanceof Error && typeof (error as { sqlState?: unknown }).sqlState === "string";
}

export function classifyMysqlError(error: unknown): ErrorReason {
  if (error instanceof TesseraeError) return { code: error.code, fatal: false };
  if (!isServerError(error)) return classifyDriverError(error);
  if (error.errno === GUARD_ERRNO) {
    const guard = GUARD_MESSAGE.exec(error.message);
    if (guard !== null) {
      const [, reason, table, text] = guard as unknown as [string, GuardReason, string, string];
      // See the guard's text: letters that the server's messages cannot carry.
      const key = text.startsWith("~") ? Buffer.from(text.slice(1), "hex").toString() : text;
      return { code: "GUARD_REFUSED", guard: { reason, table, key }, fatal: false };
    }
  }
  if (error.errno === SYNTAX && /near 'returning\b/i.test(error.message))
    return { code: "RETURNING_UNSUPPORTED", fatal: false };
  const code = isReadOnlyServer(error) ? "SERVER_READ_ONLY" : (CODES.get(error.errno) ?? "QUERY_FAILED");
  const advice = ADVICE.get(error.errno);
  return { code, constraint: constraintOf(error.message), advice, fatal: isFatal(error) };
}

/** Nothing more may be sent on the connection. */
export function isFatal(error: unknown): boolean {
  if (!isServerError(error)) return !isUsage(error);
  return CODES.get(error.errno) === "CONNECTION_LOST" || isReadOnlyServer(error);
}

/** The server became a replica, or was made read-only: a connection that is opened later may find another one. */
function isReadOnlyServer(error: ServerError): boolean {
  return (
    error.errno === READ_ONLY_MODE || (error.errno === OPTION_PREVENTS && /read.only/.test(error.message))
  );
}

/** The server cannot prepare this statement, or no more of them: it may still run. */
export function isNotPreparable(error: unknown): boolean {
  return isServerError(error) && (error.errno === NOT_PREPARABLE || error.errno === NO_MORE_PREPARED);
}

/** Somebody ended the statement alone, by KILL QUERY. */
export function isInterrupted(error: unknown): boolean {
  return isServerError(error) && error.errno === INTERRUPTED;
}

export function isConnectionLimit(error: unknown): boolean {
  return isServerError(error) && TOO_MANY_CONNECTIONS.has(error.errno);
}

/** What a statement on a connection that is given up ends with. */
export class LostError extends Error {
  readonly code = "PROTOCOL_CONNECTION_LOST";
}

/** mysql2 refuses a value before anything is sent. */
function isUsage(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError;
}

/** The operating system's errors of a socket that never connected. */
const UNREACHABLE = /^(?:ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ENOENT|EACCES)$/;

function classifyDriverError(error: unknown): ErrorReason {
  if (!(error instanceof Error) || isUsage(error)) return { code: "QUERY_FAILED", fatal: false };
  const { code = "", syscall } = error as NodeJS.ErrnoException;
  if (syscall === "connect" || UNREACHABLE.test(code)) return { code: "CONNECT_FAILED", fatal: true };
  if (/^(?:E[A-Z]+|PROTOCOL_[A-Z_]+|ERR_[A-Z_]+)$/.test(code) || /closed state/.test(error.message)) {
    return { code: "CONNECTION_LOST", fatal: true };
  }
  return { code: "QUERY_FAILED", fatal: true };
}

/** Of "… for key 'name'", "CONSTRAINT `name` …", "CONSTRAINT `table`.`name` failed" and "Check constraint 'name' is violated". */
function constraintOf(message: string): string | undefined {
  const key = /for key '(?:[^'.]*\.)?([^']+)'/.exec(message)?.[1];
  const quoted = /CONSTRAINT `(?:[^`]*`\.`)?([^`]+)`/.exec(message)?.[1];
  return key ?? quoted ?? /constraint '([^']+)'/i.exec(message)?.[1];
}
