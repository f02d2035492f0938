/** Private PgBouncers in front of PostgreSQL servers: in transaction mode unless said. */
import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { requireBinary } from "./binaries.ts";
import { APPLICATION, type ServerAddress } from "./server.ts";
import {
  findFreePort,
  findRunner,
  makeServerFolder,
  removeFolder,
  ServerProcess,
  waitUntilReady,
} from "./server-process.ts";

export interface PgBouncerOptions {
  readonly mode?: "transaction" | "session";
  /** Connections to the server for each database, at most. Default 3. */
  readonly poolSize?: number;
  /** Connections of clients, of all databases. Default 200. */
  readonly clientsMax?: number;
  /** Further settings by PgBouncer's own names. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** It dies with this process, and its folder with it. */
export interface PrivatePgBouncer {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** The URL of the same database by way of this PgBouncer. */
  through(url: string): string;
  /** What its console answers, such as to `show pools`. */
  show(what: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Another process may take the port between our finding it and PgBouncer's listening. */
const PORT_ATTEMPTS = 5;

/** Starts a PgBouncer on a free port of 127.0.0.1, for the application's user and every database of the server. */
export async function startPgBouncer(
  server: ServerAddress,
  options: PgBouncerOptions = {},
): Promise<PrivatePgBouncer> {
  const command = requireBinary("pgbouncer");
  const runner = findRunner(["postgres", "nobody"]);
  const folder = makeServerFolder("tesserae-pgbouncer-", runner);
  const write = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    if (runner !== undefined) chownSync(path, runner.uid, runner.gid);
    return path;
  };
  const launch = async (port: number): Promise<ServerProcess> => {
    const users = write("users.txt", `"${APPLICATION.user}" "${APPLICATION.password}"\n`);
    const settings = write("pgbouncer.ini", settingsText(server, options, port, users));
    const program = new ServerProcess({ command, args: [settings], folder, runner, killSignal: "SIGKILL" });
    try {
      await waitUntilReady(program, async () => void (await show(port, "version")));
      return program;
    } catch (error) {
      await program.end("SIGKILL");
      throw error;
    }
  };
  for (let attempt = 1; ; attempt += 1) {
    const port = await findFreePort();
    try {
      const program = await launch(port);
      const stop = async () => {
        // SIGTERM is its immediate end; SIGINT would wait for its clients.
        await program.end("SIGTERM");
        removeFolder(folder);
      };
      return {
        host: "127.0.0.1",
        port,
        pid: program.pid,
        through: (url) => Object.assign(new URL(url), { port: `${port}` }).href,
        show: (what) => show(port, what),
        stop,
        [Symbol.asyncDispose]: stop,
      };
    } catch (error) {
      if (/address already in use|cannot listen|bind\(/i.test(String(error)) && attempt < PORT_ATTEMPTS)
        continue;
      removeFolder(folder);
      throw error;
    }
  }
}

function settingsText(server: ServerAddress, options: PgBouncerOptions, port: number, users: string): string {
  const { mode = "transaction", poolSize = 3, clientsMax = 200, settings } = options;
  const all: Record<string, string> = {
    listen_addr: "127.0.0.1",
    listen_port: `${port}`,
    unix_socket_dir: "",
    auth_type: "scram-sha-256",
    auth_file: users,
    // Who may ask the console.
    stats_users: APPLICATION.user,
    pool_mode: mode,
    default_pool_size: `${poolSize}`,
    max_client_conn: `${clientsMax}`,
    ...settings,
  };
  return [
    "[databases]",
    `* = host=${server.host} port=${server.port}`,
    "[pgbouncer]",
    ...Object.entries(all).map(([name, value]) => `${name} = ${value}`),
    "",
  ].join("\n");
}

async function show(port: number, what: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { user, password } = APPLICATION;
  const client = new pg.Client({ host: "127.0.0.1", port, user, password, database: "pgbouncer" });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query(`show ${what}`)).rows as Readonly<Record<string, unknown>>[];
  } finally {
    await client.end();
  }
}
