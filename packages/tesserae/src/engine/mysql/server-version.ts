/** Which server answers: MariaDB or MySQL, and whether it is new enough. Each says so in its greeting, before anything is asked. */
import { TesseraeError } from "../../base/errors.ts";

export interface ServerVersion {
  readonly product: "MariaDB" | "MySQL";
  readonly version: readonly [major: number, minor: number, patch: number];
}

/** MariaDB 10.6 has what the guard and the tables need; MySQL 8.0.29 is the first to take `create trigger if not exists`. */
const OLDEST: Readonly<Record<ServerVersion["product"], ServerVersion["version"]>> = {
  MariaDB: [10, 6, 0],
  MySQL: [8, 0, 29],
};

/** "8.0.36", "10.11.6-MariaDB-0+deb12u1" or "5.5.5-10.11.6-MariaDB", as MariaDB says for old replicas; undefined for a text that is none of them. */
export function parseServerVersion(text: string): ServerVersion | undefined {
  const product = /mariadb/i.test(text) ? "MariaDB" : "MySQL";
  const parts = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(
    product === "MariaDB" ? text.replace(/^5\.5\.5-/, "") : text,
  );
  if (parts === null) return undefined;
  const [, major, minor, patch] = parts;
  return { product, version: [Number(major), Number(minor), Number(patch ?? 0)] };
}

/** SERVER_VERSION for a server that is too old. What names itself in another way is let pass: its own errors tell. */
export function serverTooOld(greeting: string, display: string): TesseraeError | undefined {
  const server = parseServerVersion(greeting);
  if (server === undefined) return undefined;
  const { product, version } = server;
  const oldest = OLDEST[product];
  const at = version.findIndex((part, index) => part !== oldest[index]);
  if (at === -1 || (version[at] as number) > (oldest[at] as number)) return undefined;
  return new TesseraeError(
    "SERVER_VERSION",
    `${display} is ${product} ${version.join(".")}; the library needs ${oldest.join(".")} or newer. Upgrade the server.`,
    { operation: "connect" },
  );
}

/** mysql2 keeps the greeting to itself; "" where it is not to be had. */
export function greetingOf(client: unknown): string {
  const { _handshakePacket: greeting } = client as {
    readonly _handshakePacket?: { serverVersion?: unknown };
  };
  return typeof greeting?.serverVersion === "string" ? greeting.serverVersion : "";
}
