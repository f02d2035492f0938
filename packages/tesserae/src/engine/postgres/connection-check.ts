/** What is asked of a new connection before it is used: is the server new enough, does the connection go where it was said to go, and does the server have the settings that the codecs rely on? */
import type { PoolClient } from "pg";
import { TesseraeError } from "../../base/errors.ts";
import { CODEC_SETTINGS, MARKER, POOLER_STARTUP, poolerFound } from "./pooler.ts";

type Answer = Readonly<Record<string, unknown>>;

/** One statement on a connection that nobody else has yet, outside the session's memory of statements. */
export function ask(client: PoolClient, text: string, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const query = { text, values: [], queryMode: "extended", query_timeout: timeoutMs };
    client.query<Answer>(query, (error: Error | null | undefined, result) => {
      if (error) reject(error);
      else resolve(result.rows[0] ?? {});
    });
  });
}

const VERSION = "pg_catalog.current_setting('server_version_num') as version";
/** `create or replace trigger` is new in 14. */
const OLDEST = 14;

function checkVersion(version: unknown, display: string): void {
  const major = Math.trunc(Number(version) / 10_000);
  if (major >= OLDEST) return;
  throw new TesseraeError(
    "SERVER_VERSION",
    `${display} is PostgreSQL ${major}; the library needs ${OLDEST} or newer. Upgrade the server.`,
    { operation: "connect" },
  );
}

/**
 * Whether a connection that was opened without `pooler` goes straight to the server. POOLER_TRANSACTION where something between keeps the settings from it. "other" where something
 * between hands them on: what its connections remember nobody knows, so statements get no names.
 */
export async function checkDirect(
  client: PoolClient,
  display: string,
  timeoutMs: number,
): Promise<"direct" | "other"> {
  const { version, pid, marker } = await ask(
    client,
    `select ${VERSION}, pg_catalog.pg_backend_pid() as pid, coalesce(pg_catalog.current_setting('${MARKER}', true), '') as marker`,
    timeoutMs,
  );
  checkVersion(version, display);
  if (pid === (client as unknown as { readonly processID: number }).processID) return "direct";
  if (marker === "") throw poolerFound(display, "it keeps the session's settings from the server");
  return "other";
}

/** POOLER_SETTINGS where a connection of the server that the pooler gave is not as the codecs need it. */
export async function checkPooled(client: PoolClient, display: string, timeoutMs: number): Promise<void> {
  const wanted = { ...POOLER_STARTUP, ...CODEC_SETTINGS };
  const names = Object.keys(wanted);
  const settings = names.map((name) => `pg_catalog.current_setting('${name}') as "${name}"`);
  const text = `select ${[VERSION, ...settings].join(", ")}`;
  const answer = await ask(client, text, timeoutMs).catch((error: Error) => {
    throw error.message === READ_TIMEOUT ? poolerBusy(display, timeoutMs, error) : error;
  });
  checkVersion(answer["version"], display);
  const wrong = names.filter((name) => !fits(name, String(answer[name]), wanted[name] as string));
  if (wrong.length === 0) return;
  const found = wrong.map((name) => `${name} is ${answer[name]}`).join(", ");
  const tracked = wrong.filter((name) => name in POOLER_STARTUP);
  const remedy =
    tracked.length > 0
      ? `The pooler does not carry ${tracked.join(", ")} from the client to the server; PgBouncer does.`
      : `Give the login's role what the library needs: ${wrong.map((name) => `alter role … set ${name} = '${wanted[name]}'`).join("; ")}. If that is its default, another program sets it by way of the same pooler, where it stays: let it use "set local", or set PgBouncer's server_reset_query_always = 1. Connections that the pooler holds keep their settings: RECONNECT in its console.`;
  throw new TesseraeError(
    "POOLER_SETTINGS",
    `Values of ${display} would be read wrongly by way of its pooler: ${found}. ${remedy}`,
    { operation: "connect" },
  );
}

/** `pg`'s words. The pooler took the connection at once, and then waited for one of the server's. */
const READ_TIMEOUT = "Query read timeout";

function poolerBusy(display: string, timeoutMs: number, cause: Error): TesseraeError {
  return new TesseraeError(
    "CONNECTION_LIMIT",
    `The pooler of ${display} had no connection of the server free within ${timeoutMs} ms. Keep transactions short, or raise the pooler's pool (PgBouncer: default_pool_size).`,
    { operation: "connect", cause },
  );
}

/** Any order of day and month will do, and any number of digits that gives the same number again. */
function fits(name: string, found: string, wanted: string): boolean {
  if (name === "DateStyle") return found.startsWith("ISO");
  if (name === "extra_float_digits") return Number(found) >= 1;
  return found === wanted;
}
