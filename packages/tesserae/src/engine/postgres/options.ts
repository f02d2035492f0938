/** What the factory takes, checked, as the driver takes it. */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { TesseraeError } from "../../base/errors.ts";
import { expandEnvironment, type HostAndPort, readHosts, readUrlOptions, type UrlForm } from "../address.ts";
import { quoteIdentifier } from "./ddl.ts";
import { MARKER, type Pooler, type PoolerSettings, poolerSettings } from "./pooler.ts";

export interface PostgresOptions {
  /** A host name, an address, or the folder of a Unix socket. Default `localhost`. `${NAME}` in any text here is taken from the environment. */
  readonly host?: string;
  /** Default 5432. */
  readonly port?: number;
  /** Instead of host and port: servers that replicate. The one that takes writes is found, and found again after a failover. */
  readonly hosts?: readonly { readonly host: string; readonly port?: number }[];
  readonly user?: string;
  readonly password?: string;
  readonly database: string;
  /** The schema that the tables are in; PostgreSQL's own choice (`public`) unless said. It must exist. */
  readonly schema?: string;
  /** `true` checks the server's certificate against the system's authorities; options of Node's `tls.connect` say otherwise. Default: no TLS. */
  readonly tls?: boolean | ConnectionOptions;
  /** Shown in `pg_stat_activity`. Default `tesserae`. */
  readonly applicationName?: string;
  /** A transaction in which nothing happens for so long is ended by the server, in ms; 0 for never. Default 60 000: a stopped writer must not stop a move for good. */
  readonly idleInTransactionTimeoutMs?: number;
  /** A statement that runs longer is ended by the server, in ms. Default 0: never. */
  readonly statementTimeoutMs?: number;
  /** A statement that waits longer for a lock fails with LOCK_TIMEOUT, in ms. Default 0: never. */
  readonly lockTimeoutMs?: number;
  /** `transaction`: host and port are those of a PgBouncer in transaction mode (session mode, too). Without it, one is found out and refused: POOLER_TRANSACTION. */
  readonly pooler?: Pooler;
}

/** What `pg` is told. Declared here, so that an application which uses another engine needs no types of `pg` either. */
export interface DriverConfig {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user?: string;
  readonly password?: string;
  readonly ssl: boolean | ConnectionOptions;
  readonly application_name: string;
  readonly keepAlive: boolean;
  /** Settings of the session; a pooler takes none here. */
  readonly options?: string;
  readonly pooler?: PoolerSettings;
}

type ClientSettings = Omit<DriverConfig, "host" | "port">;

export interface PostgresSettings {
  readonly hosts: readonly HostAndPort[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string;
  readonly schema: string | undefined;
  /** For any of the hosts. */
  readonly client: ClientSettings;
}

const IDLE_IN_TRANSACTION_MS = 60_000;
const PORT = 5432;
const URL_DEFAULTS = { schemes: ["postgres", "postgresql"], port: PORT };

/** CONFIG_INVALID, which names the option. */
function invalid(problem: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", `The options of a PostgreSQL database: ${problem}.`);
}

export function readSettings(target: string | PostgresOptions): PostgresSettings {
  const options = typeof target === "string" ? fromUrl(target) : expandOptions(target);
  const { user, password, database, schema, tls = false } = options;
  const hosts = readHosts(options, PORT, invalid);
  if (typeof database !== "string" || database === "")
    throw invalid("database is missing: name the database to connect to");
  for (const [name, value] of Object.entries({ user, password, schema })) {
    if (value !== undefined && typeof value !== "string") throw invalid(`${name} is text`);
  }
  if (schema === "") throw invalid("schema is empty");
  if (typeof tls !== "boolean" && (typeof tls !== "object" || tls === null))
    throw invalid("tls is true, false or TLS options");
  const client = clientConfig(options);
  return { hosts, user, password, database, schema, client };
}

function clientConfig(options: PostgresOptions): ClientSettings {
  const { user, password, database, schema, tls = false, applicationName = "tesserae" } = options;
  const {
    idleInTransactionTimeoutMs = IDLE_IN_TRANSACTION_MS,
    statementTimeoutMs = 0,
    lockTimeoutMs = 0,
  } = options;
  for (const [name, value] of Object.entries({
    idleInTransactionTimeoutMs,
    statementTimeoutMs,
    lockTimeoutMs,
  })) {
    if (!Number.isInteger(value) || value < 0 || value > 2 ** 31 - 1)
      throw invalid(`${name} is a whole number of milliseconds`);
  }
  const config = {
    database,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ssl: tls,
    application_name: applicationName,
    keepAlive: true,
  };
  const pooler = poolerSettings(options, idleInTransactionTimeoutMs, invalid);
  if (pooler !== undefined) return { ...config, pooler };
  return {
    ...config,
    // What the codecs rely on, whatever the server, the database and the role have as their defaults.
    options: sessionSettings({
      TimeZone: "UTC",
      DateStyle: "ISO",
      IntervalStyle: "postgres",
      bytea_output: "hex",
      extra_float_digits: "1",
      standard_conforming_strings: "on",
      [MARKER]: "on",
      idle_in_transaction_session_timeout: String(idleInTransactionTimeoutMs),
      ...(statementTimeoutMs === 0 ? {} : { statement_timeout: String(statementTimeoutMs) }),
      ...(lockTimeoutMs === 0 ? {} : { lock_timeout: String(lockTimeoutMs) }),
      ...(schema === undefined ? {} : { search_path: quoteIdentifier(schema) }),
    }),
  };
}

/** As the server's command line takes them; a blank or a backslash in a value is escaped. */
function sessionSettings(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, "\\$&")}`)
    .join(" ");
}

function expandOptions(options: PostgresOptions): PostgresOptions {
  if (typeof options !== "object" || options === null) throw invalid("a URL or an object is expected");
  const expanded = Object.entries(options).map(([name, value]) => [
    name,
    typeof value === "string" ? expandEnvironment(value) : value,
  ]);
  return Object.fromEntries(expanded) as PostgresOptions;
}

/** The parameters of a URL, as PostgreSQL's own tools name them where they have them. */
const PARAMETERS: Readonly<Record<string, (value: string) => Partial<PostgresOptions>>> = {
  application_name: (value) => ({ applicationName: value }),
  schema: (value) => ({ schema: value }),
  idle_in_transaction_session_timeout: (value) => ({ idleInTransactionTimeoutMs: Number(value) }),
  statement_timeout: (value) => ({ statementTimeoutMs: Number(value) }),
  lock_timeout: (value) => ({ lockTimeoutMs: Number(value) }),
  pooler: (value) => ({ pooler: value as Pooler }),
};
const TLS_PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

const URL_FORM: UrlForm<PostgresOptions> = {
  defaults: URL_DEFAULTS,
  example: "postgres://user:password@host:port/database",
  parameters: PARAMETERS,
  tlsParameters: TLS_PARAMETERS,
  invalid,
};

const fromUrl = (text: string): PostgresOptions => readUrlOptions(text, URL_FORM, tlsOf);

/** libpq's meaning: `require` encrypts, `verify-ca` also checks who signed the certificate, `verify-full` also whom it names. */
function tlsOf(parameters: ReadonlyMap<string, string>): boolean | ConnectionOptions {
  const mode = parameters.get("sslmode") ?? (parameters.has("sslrootcert") ? "verify-full" : "disable");
  const files = {
    ...fileOption("ca", parameters.get("sslrootcert")),
    ...fileOption("cert", parameters.get("sslcert")),
    ...fileOption("key", parameters.get("sslkey")),
  };
  switch (mode) {
    case "disable":
      return false;
    case "require":
    case "no-verify":
      return { ...files, rejectUnauthorized: false };
    case "verify-ca":
      return { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined };
    case "verify-full":
      return { ...files, rejectUnauthorized: true };
    default:
      throw invalid(`sslmode is disable, require, verify-ca or verify-full, not "${mode}"`);
  }
}

function fileOption(name: string, path: string | undefined): ConnectionOptions {
  if (path === undefined) return {};
  try {
    return { [name]: readFileSync(path, "utf8") };
  } catch (error) {
    throw new TesseraeError("CONFIG_INVALID", `The file "${path}" of the PostgreSQL URL cannot be read.`, {
      cause: error,
    });
  }
}
