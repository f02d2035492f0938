/**
 * A pooler between this process and the server: PgBouncer in transaction mode. It gives each transaction, and each statement outside of one, whichever of its few connections to the
 * server is free. What a session of PostgreSQL keeps from one statement to the next is then kept by nobody:
 *
 * - Statements prepared under a name. Two clients' names would be those of one server connection: the second is refused, or runs the first one's statement.
 *   So with a pooler no statement has a name (PgBouncer before 1.21 cannot help; from 1.21 it can, and nothing is lost but the time to parse).
 * - Settings. PgBouncer takes those it tracks as startup parameters, and sets them on whatever connection it hands out: `POOLER_STARTUP`. It refuses or ignores all
 *   others, `options` too. Those the codecs rely on besides (`CODEC_SETTINGS`) must be the role's, database's or server's own: they are looked at when a connection is
 *   opened, and set for each transaction where it begins. A limit to idling can only strike inside a transaction, so it is set there and complete. A
 *   statement's and a lock's limit would be missing outside of transactions, and so would a search path: those options are refused.
 *
 * Nothing else here outlives a transaction: advisory locks, the guard's settings, `session_replication_role` and limits of single statements are all local to it. A stream outside a
 * transaction is one statement, and COPY too: until it ends the pooler leaves the connection to it.
 *
 * Whoever does not say that a pooler is there must hear of it before the first statement has a name. A pooler gives out numbers of its own for the server's processes, and
 * hands `options` on or not: `checkDirect`.
 */
import type { PoolClient } from "pg";
import { TesseraeError } from "../../base/errors.ts";

export type Pooler = "transaction";

/** What a connection by way of a pooler is told besides, and what its transactions begin with. */
export interface PoolerSettings {
  readonly startup: Readonly<Record<string, string>>;
  readonly transactionSql: string;
}

/** As the server reports them: PgBouncer compares by the letter, and would set anew at each transaction what differs. */
export const POOLER_STARTUP: Readonly<Record<string, string>> = {
  TimeZone: "UTC",
  DateStyle: "ISO, MDY",
  standard_conforming_strings: "on",
};

/** The server's own defaults, unless somebody changed them. */
const CODEC_SETTINGS: Readonly<Record<string, string>> = {
  IntervalStyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
};

/** In the settings of a session without pooler: whether they have reached the server. */
export const MARKER = "tesserae.session";

/** Options that would hold in some statements alone, and what to do instead. */
const REFUSED: readonly { readonly option: string; readonly setting: string }[] = [
  { option: "schema", setting: "search_path" },
  { option: "statementTimeoutMs", setting: "statement_timeout" },
  { option: "lockTimeoutMs", setting: "lock_timeout" },
];

/** What `pooler` in the options means; `invalid` makes the error of an option that makes no sense. */
export function poolerSettings(
  options: { readonly pooler?: unknown; readonly user?: string },
  idleInTransactionTimeoutMs: number,
  invalid: (problem: string) => Error,
): PoolerSettings | undefined {
  const { pooler, user = "…" } = options;
  if (pooler === undefined) return undefined;
  if (pooler !== "transaction") throw invalid('pooler is "transaction", or left out');
  for (const { option, setting } of REFUSED) {
    const value = (options as Readonly<Record<string, unknown>>)[option];
    if (value !== undefined && value !== 0)
      throw invalid(
        `${option} does not work with pooler: "transaction", since each statement may run on another connection of the server. Leave it out, and give it to the role: alter role "${user}" in database … set ${setting} = …`,
      );
  }
  const local = {
    ...CODEC_SETTINGS,
    idle_in_transaction_session_timeout: String(idleInTransactionTimeoutMs),
  };
  const transactionSql = Object.entries(local)
    .map(([name, value]) => `set local ${name} = ${value}`)
    .join("; ");
  return { startup: POOLER_STARTUP, transactionSql };
}

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

/** PgBouncer's word for `options`, in a connection's first answer. */
const REFUSED_PARAMETER = /^unsupported startup parameter(?: in options)?: /;

/** The refusal of a connection that shows a pooler of which nobody said a word. */
export function poolerRefusal(error: Error, display: string): TesseraeError | undefined {
  return REFUSED_PARAMETER.test(error.message) ? poolerFound(display, error.message, error) : undefined;
}

function poolerFound(display: string, sign: string, cause?: Error): TesseraeError {
  return new TesseraeError(
    "POOLER_TRANSACTION",
    `Between this process and ${display} stands a pooler, such as PgBouncer (${sign}). Say so: postgres({ …, pooler: "transaction" }), or ?pooler=transaction in the URL. It is right for PgBouncer's session mode, too.`,
    { operation: "connect", ...(cause === undefined ? {} : { cause }) },
  );
}
