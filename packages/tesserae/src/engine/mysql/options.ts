/** What the factory takes, checked, as the driver takes it. */
import { readFileSync } from "node:fs";
import type { SslOptions } from "mysql2";
import { TesseraeError } from "../../base/errors.ts";
import { expandEnvironment, type HostAndPort, readHosts, readUrlOptions, type UrlForm } from "../address.ts";
import { BINARY_COLLATION } from "./ddl.ts";

/** As Node's `tls.connect` has them. `verifyIdentity` (default true): the certificate must name the host, too. */
export interface MysqlTlsOptions {
  readonly ca?: string | readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
  readonly minVersion?: string;
  /** `false` encrypts without knowing to whom. */
  readonly rejectUnauthorized?: boolean;
  readonly verifyIdentity?: boolean;
}

export interface MysqlOptions {
  /** A host name or an address. Default `localhost`. `${NAME}` in any text here is taken from the environment. */
  readonly host?: string;
  /** Default 3306. */
  readonly port?: number;
  /** Instead of host and port: servers that replicate. The one that takes writes is found, and found again after a failover. */
  readonly hosts?: readonly { readonly host: string; readonly port?: number }[];
  /** A Unix socket, instead of host and port. */
  readonly socketPath?: string;
  readonly user?: string;
  readonly password?: string;
  readonly database: string;
  /** `true` checks the server's certificate against the system's authorities. Default: no TLS. */
  readonly tls?: boolean | MysqlTlsOptions;
  /** A transaction in which nothing happens for so long is ended by the server, in ms; 0 for never. Default 60 000: a stopped writer must not stop a move for good. MariaDB alone. */
  readonly idleInTransactionTimeoutMs?: number;
  /** A statement that waits longer for a row's lock fails with LOCK_TIMEOUT, in ms (the server counts whole seconds). Default: the server's. */
  readonly lockTimeoutMs?: number;
}

export interface MysqlSettings {
  readonly hosts: readonly HostAndPort[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string;
  /** mysql2's connection options for one of the hosts. Not by mysql2's type: who uses another engine has no mysql2 to read its declarations. */
  driver(host: HostAndPort): Readonly<Record<string, unknown>>;
  /** What each new connection runs first. */
  readonly sessionSql: string;
}

const IDLE_IN_TRANSACTION_MS = 60_000;
/** For so long, in seconds, a stream's reader may leave what the server sends unread. */
const UNREAD_S = 86_400;
const PORT = 3306;
const URL_DEFAULTS = { schemes: ["mysql", "mariadb"], port: PORT };

/**
 * Strict for every storage engine, so that nothing is cut or rounded to fit; an id of 0 is an id. NO_BACKSLASH_ESCAPES is left out on
 * purpose: Kysely escapes the backslashes of literals.
 */
const SQL_MODE =
  "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO";

/** CONFIG_INVALID, which names the option. */
function invalid(problem: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", `The options of a MySQL database: ${problem}.`);
}

export function readSettings(target: string | MysqlOptions): MysqlSettings {
  const options = typeof target === "string" ? fromUrl(target) : expandOptions(target);
  const { user, password, database, socketPath } = options;
  const hosts = readHosts(options, PORT, invalid);
  if (socketPath !== undefined && options.hosts !== undefined)
    throw invalid("socketPath stands beside hosts; a socket leads to one server");
  if (typeof database !== "string" || database === "")
    throw invalid("database is missing: name the database to connect to");
  for (const [name, value] of Object.entries({ user, password, socketPath })) {
    if (value !== undefined && typeof value !== "string") throw invalid(`${name} is text`);
  }
  return {
    hosts: hosts.map(({ host, port }) => ({ host: socketPath ?? host, port })),
    user,
    password,
    database,
    driver: driverConfig(options),
    sessionSql: sessionSql(options),
  };
}

function driverConfig(options: MysqlOptions): MysqlSettings["driver"] {
  const { user, password, database, socketPath } = options;
  const ssl = tlsConfig(options.tls ?? false);
  return ({ host, port }) => ({
    ...(socketPath === undefined ? { host, port } : { socketPath }),
    database,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(ssl === undefined ? {} : { ssl }),
    // A 64-bit integer comes as a number while it is exact, else as text; `convertRows` makes bigints of both.
    supportBigNumbers: true,
    dateStrings: true,
    jsonStrings: true,
    timezone: "Z",
    flags: ["-LOCAL_FILES"],
    connectAttributes: { program_name: "tesserae" },
  });
}

function tlsConfig(tls: boolean | MysqlTlsOptions): SslOptions | undefined {
  if (tls === false) return undefined;
  if (tls !== true && (typeof tls !== "object" || tls === null))
    throw invalid("tls is true, false or TLS options");
  const options = tls === true ? {} : tls;
  const { rejectUnauthorized = true, verifyIdentity = rejectUnauthorized } = options;
  return { ...(options as SslOptions), rejectUnauthorized, verifyIdentity };
}

/**
 * What the codecs and the guard rely on, whatever the server has as its defaults. `@tesserae_session` tells the guard that this session never
 * sets its clock: it may then know by the clock whether two rows are of one statement.
 *
 * Transactions are read committed unless they say otherwise, as on PostgreSQL. Under InnoDB's own default, repeatable read, the guard's look for a point that is not there
 * leaves a lock on the gap: writers of a range then kept a mover from writing a point into it, for tens of seconds.
 *
 * `net_write_timeout` is 60 s where nobody sets it: the server ends the connection of a stream whose reader does something else meanwhile, or, where several shards' streams are merged, waits for
 * another shard's rows.
 */
function sessionSql(options: MysqlOptions): string {
  const { idleInTransactionTimeoutMs = IDLE_IN_TRANSACTION_MS, lockTimeoutMs } = options;
  const seconds = (name: string, value: number) => {
    if (!Number.isInteger(value) || value < 0 || value > 2 ** 31 - 1)
      throw invalid(`${name} is a whole number of milliseconds`);
    return Math.ceil(value / 1000);
  };
  const idle = seconds("idleInTransactionTimeoutMs", idleInTransactionTimeoutMs);
  const lock =
    lockTimeoutMs === undefined
      ? ""
      : `, innodb_lock_wait_timeout = ${Math.max(1, seconds("lockTimeoutMs", lockTimeoutMs))}`;
  return `set names utf8mb4 collate ${BINARY_COLLATION}, time_zone = '+00:00', sql_mode = '${SQL_MODE}', @tesserae_session = 1, net_write_timeout = ${UNREAD_S}${lock} /*M!100300 , idle_transaction_timeout = ${idle}, tx_isolation = 'READ-COMMITTED' */ /*!80000 , transaction_isolation = 'READ-COMMITTED' */`;
}

function expandOptions(options: MysqlOptions): MysqlOptions {
  if (typeof options !== "object" || options === null) throw invalid("a URL or an object is expected");
  const expanded = Object.entries(options).map(([name, value]) => [
    name,
    typeof value === "string" ? expandEnvironment(value) : value,
  ]);
  return Object.fromEntries(expanded) as MysqlOptions;
}

/** The parameters of a URL besides those of TLS. */
const PARAMETERS: Readonly<Record<string, (value: string) => Partial<MysqlOptions>>> = {
  socketPath: (value) => ({ socketPath: value }),
  idleInTransactionTimeoutMs: (value) => ({ idleInTransactionTimeoutMs: Number(value) }),
  lockTimeoutMs: (value) => ({ lockTimeoutMs: Number(value) }),
};
const TLS_PARAMETERS = ["ssl", "ssl-mode", "ssl-ca", "ssl-cert", "ssl-key"];

const URL_FORM: UrlForm<MysqlOptions> = {
  defaults: URL_DEFAULTS,
  example: "mysql://user:password@host:port/database",
  parameters: PARAMETERS,
  tlsParameters: TLS_PARAMETERS,
  invalid,
};

const fromUrl = (text: string): MysqlOptions => readUrlOptions(text, URL_FORM, tlsOf);

/** `ssl=true` checks everything; `ssl-mode` has the meaning of the mysql client: REQUIRED encrypts, VERIFY_CA also checks who signed, VERIFY_IDENTITY also the name. */
function tlsOf(parameters: ReadonlyMap<string, string>): boolean | MysqlTlsOptions {
  const ssl = parameters.get("ssl");
  if (ssl !== undefined && ssl !== "true" && ssl !== "false")
    throw invalid(`the URL's ssl is true or false, not "${ssl}"`);
  const strict = ssl === "true" || parameters.has("ssl-ca");
  const mode = (parameters.get("ssl-mode") ?? (strict ? "VERIFY_IDENTITY" : "DISABLED"))
    .toUpperCase()
    .replace("-", "_");
  const files = {
    ...fileOption("ca", parameters.get("ssl-ca")),
    ...fileOption("cert", parameters.get("ssl-cert")),
    ...fileOption("key", parameters.get("ssl-key")),
  };
  switch (mode) {
    case "DISABLED":
      return false;
    case "REQUIRED":
      return { ...files, rejectUnauthorized: false };
    case "VERIFY_CA":
      return { ...files, verifyIdentity: false };
    case "VERIFY_IDENTITY":
      return files;
    default:
      throw invalid(`ssl-mode is DISABLED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY, not "${mode}"`);
  }
}

function fileOption(name: "ca" | "cert" | "key", path: string | undefined): MysqlTlsOptions {
  if (path === undefined) return {};
  try {
    return { [name]: readFileSync(path, "utf8") };
  } catch (error) {
    throw new TesseraeError("CONFIG_INVALID", `The file "${path}" of the MySQL URL cannot be read.`, {
      cause: error,
    });
  }
}
