/** Creating and dropping databases on a running server, from any process that knows its address. */
import mysql from "mysql2/promise";
import pg from "pg";
import type { DatabaseServer, ServerAddress } from "./server.ts";

let databasesNamed = 0;

/** A database name that no other process and no earlier call has used. */
export function freshName(): string {
  databasesNamed += 1;
  const random = Math.floor(Math.random() * 36 ** 5).toString(36);
  return `t_${process.pid.toString(36)}_${databasesNamed}_${random}`;
}

function urlOf(address: ServerAddress, user: string, password: string, database: string): string {
  const scheme = address.engine === "mysql" ? "mysql" : "postgres";
  return `${scheme}://${user}:${encodeURIComponent(password)}@${address.host}:${address.port}/${database}`;
}

type Rows = readonly Readonly<Record<string, unknown>>[];

/** Runs one statement as the superuser and returns its rows. */
export async function queryAsAdmin(
  address: ServerAddress,
  statement: string,
  database?: string,
): Promise<Rows> {
  return (await runAsAdmin(address, [statement], database))[0] ?? [];
}

/** Runs statements as the superuser on one connection of their own. Returns the rows of each. */
export async function runAsAdmin(
  address: ServerAddress,
  statements: readonly string[],
  database?: string,
): Promise<readonly Rows[]> {
  const { host, port, adminUser: user, adminPassword: password } = address;
  const results: Rows[] = [];
  if (address.engine === "mysql") {
    const place = database === undefined ? {} : { database };
    const connection = await mysql.createConnection({ host, port, user, password, ...place });
    try {
      for (const statement of statements) {
        const [rows] = await connection.query(statement);
        results.push(Array.isArray(rows) ? (rows as Rows) : []);
      }
    } finally {
      connection.destroy();
    }
  } else {
    const client = new pg.Client({ host, port, user, password, database: database ?? "postgres" });
    client.on("error", () => {});
    await client.connect();
    try {
      for (const statement of statements) results.push((await client.query(statement)).rows as Rows);
    } finally {
      await client.end();
    }
  }
  return results;
}

/** The database's name in an URL of ours, or the name itself. */
export function databaseNameOf(nameOrUrl: string): string {
  return nameOrUrl.includes("://") ? decodeURIComponent(new URL(nameOrUrl).pathname.slice(1)) : nameOrUrl;
}

/** A server that runs, in this process or another one, as something that makes databases. */
export function databaseServer(address: ServerAddress): DatabaseServer {
  const url = (database: string) => urlOf(address, address.user, address.password, database);
  return {
    ...address,
    url,
    adminUrl: (database = address.engine === "mysql" ? "mysql" : "postgres") =>
      urlOf(address, address.adminUser, address.adminPassword, database),
    async createDatabase(name = freshName()) {
      const statement =
        address.engine === "mysql"
          ? `create database \`${name}\``
          : `create database "${name}" owner "${address.user}"`;
      await runAsAdmin(address, [statement]);
      return url(name);
    },
    async dropDatabase(nameOrUrl) {
      const name = databaseNameOf(nameOrUrl);
      const statement =
        address.engine === "mysql"
          ? `drop database if exists \`${name}\``
          : `drop database if exists "${name}" with (force)`;
      await runAsAdmin(address, [statement]);
    },
  };
}
