/** Why no connection came about, with what to do, for the engines that have servers. */
import { TesseraeError } from "../base/errors.ts";

/** SQLSTATEs of a login that is refused, and of a database that is not there. */
const LOGIN_REFUSED = /^(?:28|3D|42)/;

/** The server answered, and refuses the login or has no such database: the same call will fail again. */
export function isLoginRefused(cause: unknown): boolean {
  const { sqlState, severity, code } = (cause ?? {}) as Readonly<Record<string, unknown>>;
  const state = sqlState ?? (severity === undefined ? undefined : code);
  return typeof state === "string" && LOGIN_REFUSED.test(state);
}

/** `isLimit`: the server has no connection left for this login. */
export function connectFailure(
  display: string,
  text: string,
  cause: unknown,
  isLimit: boolean,
): TesseraeError {
  const refused = !isLimit && isLoginRefused(cause);
  const advice = refused
    ? ". Correct the user, the password or the database's name in the configuration."
    : "";
  return new TesseraeError(
    isLimit ? "CONNECTION_LIMIT" : "CONNECT_FAILED",
    `Could not connect to ${display}: ${text}${advice}`,
    { operation: "connect", cause, ...(refused ? { retryable: false } : {}) },
  );
}
