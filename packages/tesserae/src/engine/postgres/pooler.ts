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
 * hands `options` on or not: `checkDirect` in connection-check.ts.
 */
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
export const CODEC_SETTINGS: Readonly<Record<string, string>> = {
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

/** PgBouncer's word for `options`, in a connection's first answer. */
const REFUSED_PARAMETER = /^unsupported startup parameter(?: in options)?: /;

/** The refusal of a connection that shows a pooler of which nobody said a word. */
export function poolerRefusal(error: Error, display: string): TesseraeError | undefined {
  return REFUSED_PARAMETER.test(error.message) ? poolerFound(display, error.message, error) : undefined;
}

export function poolerFound(display: string, sign: string, cause?: Error): TesseraeError {
  return new TesseraeError(
    "POOLER_TRANSACTION",
    `Between this process and ${display} stands a pooler, such as PgBouncer (${sign}). Say so: postgres({ …, pooler: "transaction" }), or ?pooler=transaction in the URL. It is right for PgBouncer's session mode, too.`,
    { operation: "connect", ...(cause === undefined ? {} : { cause }) },
  );
}
