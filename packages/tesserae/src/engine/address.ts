/**
 * Addresses of database servers: URLs with secrets taken from the environment, read into their parts, and shown without the
 * password. The server engines and the topology share this file.
 */
import { TesseraeError } from "../base/errors.ts";
import type { DatabaseAddress } from "./contract.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** What stands before the hosts of a URL, the hosts, and the rest. */
const AUTHORITY = /^([a-z][a-z0-9+.-]*:\/\/(?:[^/?#]*@)?)([^/?#]*)(.*)$/is;

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** Replaces each `${NAME}` by the environment variable's value; CONFIG_ENV_MISSING names the first one that is not set. */
export function expandEnvironment(text: string, environment: Environment = process.env): string {
  return text.replace(VARIABLE, (_, name: string) => variable(name, environment));
}

function variable(name: string, environment: Environment): string {
  const value = environment[name];
  if (value !== undefined) return value;
  throw new TesseraeError(
    "CONFIG_ENV_MISSING",
    `The configuration uses \${${name}}, but the environment variable ${name} is not set. Set it, or write the value.`,
  );
}

export interface HostAndPort {
  /** Lower case in what comes from a URL; without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

/** A server URL in its parts, decoded. */
export interface ServerUrl {
  readonly scheme: string;
  /** One, or several between which the primary is found: `db-1:3306,db-2:3306`. */
  readonly hosts: readonly HostAndPort[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly parameters: ReadonlyMap<string, string>;
}

export interface ServerUrlDefaults {
  /** The schemes that the engine takes, without the colon; the first one is named in messages. */
  readonly schemes: readonly string[];
  readonly port: number;
}

/** `user@host1,user@host2`: read as a URL, the first host would be part of the user. */
const SECOND_LOGIN = /^[a-z][a-z0-9+.-]*:\/\/[^/?#@]*@[^/?#@]*,[^/?#]*@/i;

/**
 * Reads `scheme://user:password@host:port,host:port/database?name=value`, after `${NAME}` was replaced. A variable in the place of the user or the password holds
 * the plain secret, with whatever characters; anywhere else it is taken as it is, so a whole URL may come from a variable. CONFIG_INVALID
 * when the text is not such a URL.
 */
export function parseServerUrl(
  text: string,
  defaults: ServerUrlDefaults,
  environment: Environment = process.env,
): ServerUrl {
  const expanded = expandUrl(text, environment);
  const form = `${defaults.schemes[0]}://user:password@host:port/database`;
  if (SECOND_LOGIN.test(expanded))
    throw new TesseraeError(
      "CONFIG_INVALID",
      `"${redactUrl(expanded)}" has a login before each host. All hosts of a list have one: ${defaults.schemes[0]}://user:password@host1,host2/database. An @ in the password is written %40.`,
    );
  const [, beginning = "", list = "", rest = ""] = AUTHORITY.exec(expanded) ?? [];
  let urls: readonly URL[];
  try {
    urls = list.split(",").map((host) => new URL(`${beginning}${host}${rest}`));
  } catch {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `"${redactUrl(expanded)}" is not a URL. Write ${form}; percent-encode special characters of the password, or take it from the environment: \${NAME}.`,
    );
  }
  const url = urls[0] as URL;
  const scheme = url.protocol.slice(0, -1);
  if (!defaults.schemes.includes(scheme) || urls.some(({ hostname }) => hostname === "")) {
    throw new TesseraeError("CONFIG_INVALID", `"${redactUrl(expanded)}" is not of the form ${form}.`);
  }
  const path = decode(url.pathname.slice(1), expanded);
  if (path.includes("/")) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `"${redactUrl(expanded)}" names more than one database: "${path}".`,
    );
  }
  return {
    scheme,
    hosts: urls.map(({ hostname, port }) => ({
      host: decode(hostname, expanded)
        .toLowerCase()
        .replace(/^\[|\]$/g, ""),
      port: port === "" ? defaults.port : Number(port),
    })),
    user: url.username === "" ? undefined : decode(url.username, expanded),
    password: url.password === "" ? undefined : decode(url.password, expanded),
    database: path === "" ? undefined : path,
    parameters: new Map(url.searchParams),
  };
}

function decode(part: string, whole: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `"${redactUrl(whole)}" holds a % that is not followed by two hexadecimal digits. Write %25 for a percent sign.`,
    );
  }
}

/** The credentials stand before the last @ in front of the first slash; values put there are percent-encoded. */
function expandUrl(text: string, environment: Environment): string {
  const credentials = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.exec(text)?.[0] ?? "";
  const encoded = credentials.replace(VARIABLE, (_, name: string) =>
    encodeURIComponent(variable(name, environment)),
  );
  return encoded + expandEnvironment(text.slice(credentials.length), environment);
}

const HIDDEN = "***";
const SECRET_NAME = "[a-z_-]*(?:password|passwd|passphrase|pwd|secret|token)";
const SECRET_PARAMETER = new RegExp(
  `((?:^|[?&;,\\s{])(?:${SECRET_NAME}\\s*=|["']${SECRET_NAME}["']\\s*:)\\s*)(?:"[^"]*"|'[^']*'|[^&#;,\\s"'}]+)`,
  "gi",
);

/** How one engine reads its URLs. */
export interface UrlForm<Options> {
  readonly defaults: ServerUrlDefaults;
  /** A URL to follow, for the message when the database's name is missing. */
  readonly example: string;
  /** What each parameter of the URL means. */
  readonly parameters: Readonly<Record<string, (value: string) => Partial<Options>>>;
  /** Parameters about TLS, which the engine reads together. */
  readonly tlsParameters: readonly string[];
  invalid(problem: string): Error;
}

/** Host, port, database, login and the parameters of an engine's URL; `tlsOf` reads the parameters about TLS. */
export function readUrlOptions<Options, Tls>(
  text: string,
  form: UrlForm<Options>,
  tlsOf: (parameters: ReadonlyMap<string, string>) => Tls,
) {
  const { parameters: known, tlsParameters, example, invalid } = form;
  const url = parseServerUrl(text, form.defaults);
  if (url.database === undefined) throw invalid(`"${redactUrl(text)}" names no database; write ${example}`);
  const { hosts, user, password, database, parameters } = url;
  const [first, ...others] = hosts as readonly [HostAndPort, ...HostAndPort[]];
  let extra: Partial<Options> = {};
  for (const [name, value] of parameters) {
    if (tlsParameters.includes(name)) continue;
    const read = known[name];
    if (read === undefined)
      throw invalid(
        `the URL's parameter "${name}" is not known; known are ${[...Object.keys(known), ...tlsParameters].join(", ")}`,
      );
    extra = { ...extra, ...read(value) };
  }
  return {
    ...(others.length === 0 ? first : { hosts }),
    database,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...extra,
    tls: tlsOf(parameters),
  };
}

/** The text with every password replaced by `***`: in URLs (also ones that do not parse), in query parameters and in `name=value` lists. */
export function redactUrl(text: string): string {
  // A text that is a URL as a whole may hold anything before its last @; inside a sentence a URL ends at a blank.
  const alone = /^\s*[a-z][a-z0-9+.-]*:\/\//i.test(text) && !/\s[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const credentials = alone
    ? /([a-z][a-z0-9+.-]*:\/\/[^:/?#@]*):[\s\S]*@/gi
    : /([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@]*):(?:(?!:\/\/)\S)*@/gi;
  return text.replace(credentials, `$1:${HIDDEN}@`).replace(SECRET_PARAMETER, `$1${HIDDEN}`);
}

export interface ServerLocation {
  /** The scheme to show and to identify by; one an engine, whatever the URL said. */
  readonly scheme: string;
  readonly hosts: readonly HostAndPort[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string;
}

const LOOPBACK = new Set(["localhost", "127.0.0.1", "::1"]);

/** A host as it is shown: `db-1:3306`. */
export function showHost({ host, port }: HostAndPort): string {
  const name = host.toLowerCase();
  return `${name.includes(":") ? `[${name}]` : name}:${port}`;
}

function identifyHost({ host, port }: HostAndPort): string {
  return showHost({ host: LOOPBACK.has(host.toLowerCase()) ? "localhost" : host, port });
}

/** What identifies the database (neither the user nor the order of the hosts does), and what to show. */
export function serverAddress({ scheme, hosts, user, password, database }: ServerLocation): DatabaseAddress {
  const credentials =
    user === undefined ? "" : `${encodeURIComponent(user)}${password === undefined ? "" : `:${HIDDEN}`}@`;
  const path = encodeURIComponent(database);
  const names = hosts.map(identifyHost).sort();
  const server = `${scheme}://${names.join(",")}`;
  const each = names.map((name) => ({
    identity: `${scheme}://${name}/${path}`,
    server: `${scheme}://${name}`,
  }));
  return Object.freeze({
    identity: `${server}/${path}`,
    server,
    display: `${scheme}://${credentials}${hosts.map(showHost).join(",")}/${path}`,
    ...(hosts.length === 1 ? {} : { hosts: each }),
  });
}

/** What the options name: one host, or a list of them. `invalid` makes the error of options that make no sense. */
export function readHosts(
  options: { readonly host?: unknown; readonly port?: unknown; readonly hosts?: unknown },
  portDefault: number,
  invalid: (problem: string) => Error,
): readonly HostAndPort[] {
  const { host, port, hosts } = options;
  if (hosts !== undefined) {
    if (host !== undefined || port !== undefined)
      throw invalid("hosts stands beside host or port; give one host, or a list with each one's port");
    if (!Array.isArray(hosts) || hosts.length === 0)
      throw invalid('hosts is a list: hosts: [{ host: "db-1" }, { host: "db-2" }]');
  }
  const given: readonly unknown[] = (hosts as readonly unknown[] | undefined) ?? [{ host, port }];
  const read = given.map((entry) => {
    if (typeof entry !== "object" || entry === null) throw invalid("each of hosts is { host, port }");
    const { host = "localhost", port = portDefault } = entry as { host?: unknown; port?: unknown };
    if (typeof host !== "string" || host === "")
      throw invalid("host is a host name or an address (PostgreSQL: or the folder of a socket)");
    if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535)
      throw invalid("port is a whole number from 1 to 65535");
    return { host: hosts === undefined ? host : expandEnvironment(host), port };
  });
  const twice = read.map(identifyHost).find((name, index, names) => names.indexOf(name) < index);
  if (twice !== undefined) throw invalid(`hosts names ${twice} twice`);
  return read;
}
