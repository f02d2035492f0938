/**
 * What is asked of a new connection before it is used, in one statement: is the server new enough, does the connection go where it was said to go, does the server have the settings that
 * the codecs rely on, and, where somebody follows the primary, does it take writes?
 */
import type { PoolClient } from "pg";
import { TesseraeError } from "../../base/errors.ts";
import type { PoolWatch } from "../contract.ts";
import { readOnlyError } from "../failover-errors.ts";
import { CODEC_SETTINGS, MARKER, POOLER_STARTUP, poolerFound } from "./pooler.ts";

type Answer = Readonly<Record<string, unknown>>;

/** A connection that nobody else has yet, and how long it has to answer. */
export interface NewConnection {
  readonly client: PoolClient;
  readonly display: string;
  readonly timeoutMs: number;
  readonly watch: PoolWatch | undefined;
}

/** The columns, and what is asked of every connection. */
function questionWith(columns: readonly string[], watch: PoolWatch | undefined): string {
  const writable = watch === undefined ? "1" : `(select status.writable from (${watch.statusSql}) as status)`;
  return `select ${[VERSION, ...columns, `${writable} as writable`].join(", ")}`;
}

/** Outside the session's memory of statements. */
function ask(client: PoolClient, text: string, timeoutMs: number): Promise<Answer> {
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

function checkWritable({ writable }: Answer, display: string): void {
  if (writable !== 1) throw readOnlyError(display);
}

/**
 * Whether a connection that was opened without `pooler` goes straight to the server. POOLER_TRANSACTION where something between keeps the settings from it. "other" where something
 * between hands them on: what its connections remember nobody knows, so statements get no names.
 */
export async function checkDirect({
  client,
  display,
  timeoutMs,
  watch,
}: NewConnection): Promise<"direct" | "other"> {
  const columns = [
    "pg_catalog.pg_backend_pid() as pid",
    `coalesce(pg_catalog.current_setting('${MARKER}', true), '') as marker`,
  ];
  const answer = await ask(client, questionWith(columns, watch), timeoutMs);
  const { version, pid, marker } = answer;
  checkVersion(version, display);
  const isDirect = pid === (client as unknown as { readonly processID: number }).processID;
  if (!isDirect && marker === "")
    throw poolerFound(display, "it keeps the session's settings from the server");
  checkWritable(answer, display);
  return isDirect ? "direct" : "other";
}

/** POOLER_SETTINGS where a connection of the server that the pooler gave is not as the codecs need it. */
export async function checkPooled({ client, display, timeoutMs, watch }: NewConnection): Promise<void> {
  const wanted = { ...POOLER_STARTUP, ...CODEC_SETTINGS };
  const names = Object.keys(wanted);
  const settings = names.map((name) => `pg_catalog.current_setting('${name}') as "${name}"`);
  const answer = await ask(client, questionWith(settings, watch), timeoutMs).catch((error: Error) => {
    throw error.message === READ_TIMEOUT ? poolerBusy(display, timeoutMs, error) : error;
  });
  checkVersion(answer["version"], display);
  const wrong = names.filter((name) => !fits(name, String(answer[name]), wanted[name] as string));
  if (wrong.length === 0) {
    checkWritable(answer, display);
    return;
  }
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
