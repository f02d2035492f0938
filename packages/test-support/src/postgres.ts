/** Private PostgreSQL servers. */
import { chownSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { runAsAdmin } from "./administration.ts";
import { requireBinary } from "./binaries.ts";
import { startPrivateServer } from "./private-server.ts";
import {
  ADMIN_PASSWORD,
  APPLICATION,
  type PrivateServer,
  type ServerAddress,
  type ServerOptions,
} from "./server.ts";
import { findRunner, makeServerFolder, type Runner, removeFolder, runToEnd } from "./server-process.ts";
import { makeCertificate, type ServerCertificate } from "./tls.ts";

const ADMIN = "postgres";
const RUNNERS = ["postgres", "nobody"];

/** Where a server keeps its data in its folder. */
export const postgresData = (folder: string) => join(folder, "data");

/** What a login needs to move tables that refer to each other; there is no such grant before PostgreSQL 15. Tests that want it missing make a role of their own. */
export const LEAVE_OUT_REFERENCES = `do $$ begin
  if current_setting('server_version_num')::int >= 150000 then
    execute 'grant set on parameter session_replication_role to "${APPLICATION.user}"';
  end if;
end $$`;

/** Makes a new data folder: an empty cluster of databases. */
async function initialize(folder: string, runner: Runner | undefined): Promise<void> {
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, ADMIN_PASSWORD, { mode: 0o600 });
  if (runner !== undefined) chownSync(passwordFile, runner.uid, runner.gid);
  // A default collation that sorts as people do: text that must sort by code point has to say so, and a test sees it if it does not.
  const collation = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"];
  const login = ["-U", ADMIN, "-A", "scram-sha-256", `--pwfile=${passwordFile}`];
  const quickly = ["--no-sync", "--no-instructions"];
  await runToEnd(
    requireBinary("initdb"),
    ["-D", postgresData(folder), ...quickly, ...login, ...collation],
    runner,
  );
  rmSync(passwordFile);
}

/** Makes the data folder of a server that is not running a copy of a server that runs, set up to follow it. */
export async function copyPostgres(source: ServerAddress, folder: string): Promise<void> {
  const data = postgresData(folder);
  removeFolder(data);
  const copier = join(dirname(requireBinary("postgres")), "pg_basebackup");
  if (!existsSync(copier))
    throw new Error(
      `${copier} is missing: the package of PostgreSQL 18 comes without. Leave TESSERAE_POSTGRES out.`,
    );
  await runToEnd(
    copier,
    ["-d", connectionString(source), "-D", data, "--checkpoint=fast", "--no-sync", "--write-recovery-conf"],
    findRunner(RUNNERS),
  );
}

/** How a replica reaches the server that it follows. */
export function connectionString({ host, port, adminUser, adminPassword }: ServerAddress): string {
  return `host=${host} port=${port} user=${adminUser} password='${adminPassword}'`;
}

/** Starts a PostgreSQL server on a free port of 127.0.0.1: an empty one, or a replica of one that runs. */
export async function startPostgres(
  options: ServerOptions = {},
  source?: ServerAddress,
): Promise<PrivateServer> {
  const postgres = requireBinary("postgres");
  const runner = findRunner(RUNNERS);
  const folder = makeServerFolder("tesserae-postgres-", runner);
  let tls: ServerCertificate | undefined;
  try {
    if (source === undefined) await initialize(folder, runner);
    else await copyPostgres(source, folder);
    if (options.tls) tls = await makeCertificate(folder, runner);
  } catch (error) {
    removeFolder(folder);
    throw error;
  }
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: folder,
    max_connections: `${options.maxConnections ?? 400}`,
    ...(options.durability === "relaxed" ? { synchronous_commit: "off" } : {}),
    ...(tls === undefined
      ? {}
      : { ssl: "on", ssl_cert_file: tls.certificatePath, ssl_key_file: tls.keyPath }),
    ...options.settings,
  };
  const address = (port: number): ServerAddress => ({
    engine: "postgres",
    host: "127.0.0.1",
    port,
    ...APPLICATION,
    adminUser: ADMIN,
    adminPassword: ADMIN_PASSWORD,
  });
  const server = await startPrivateServer({
    folder,
    certificate: tls?.certificate,
    address,
    shutdownSignal: "SIGINT",
    launch: (port) => ({
      command: postgres,
      args: [
        "-D",
        postgresData(folder),
        "-p",
        `${port}`,
        ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
      folder,
      runner,
      // The immediate shutdown: no checkpoint, so the next start recovers as after a crash. SIGKILL would leave shared memory behind.
      killSignal: "SIGQUIT",
    }),
    async ping({ host, port, adminUser: user, adminPassword: password }) {
      const client = new pg.Client({
        host,
        port,
        user,
        password,
        database: "postgres",
        connectionTimeoutMillis: 2000,
      });
      client.on("error", () => {});
      await client.connect();
      await client.end();
    },
  });
  // A replica has its users from the server that it follows.
  if (source !== undefined) return server;
  try {
    await runAsAdmin(server, [
      `create role "${APPLICATION.user}" login createdb password '${APPLICATION.password}'`,
      LEAVE_OUT_REFERENCES,
    ]);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}
