/** Private MariaDB servers. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import mysql from "mysql2/promise";
import { requireBinary } from "./binaries.ts";
import { startPrivateServer } from "./private-server.ts";
import {
  ADMIN_PASSWORD,
  APPLICATION,
  type PrivateServer,
  type ServerAddress,
  type ServerOptions,
} from "./server.ts";
import { findRunner, makeServerFolder, removeFolder, runToEnd } from "./server-process.ts";
import { makeCertificate, type ServerCertificate } from "./tls.ts";

const ADMIN = "tesserae_admin";
const RUNNERS = ["mysql", "nobody"];

const dataFolder = (folder: string) => join(folder, "data");

/**
 * Runs at each start, so every statement must bear being run again. The application gets every database and no global privilege.
 * None of it goes into the binary log: every server of a replicated set makes its users itself, and has no transaction that the others have not.
 */
const INITIAL_STATEMENTS = `
SET SESSION sql_log_bin = 0;
CREATE USER IF NOT EXISTS '${ADMIN}'@'%' IDENTIFIED BY '${ADMIN_PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO '${ADMIN}'@'%' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS '${APPLICATION.user}'@'%' IDENTIFIED BY '${APPLICATION.password}';
GRANT ALL PRIVILEGES ON \`%\`.* TO '${APPLICATION.user}'@'%';
`;

/** Makes a new data folder, or makes one new that is there. */
export async function installMariaDb(folder: string): Promise<void> {
  const data = dataFolder(folder);
  removeFolder(data);
  const setUp = [
    "--no-defaults",
    `--datadir=${data}`,
    // At its start a server removes what other servers have under way in the same folder for temporary files.
    `--tmpdir=${folder}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
  ];
  await runToEnd(requireBinary("mariadb-install-db"), setUp, findRunner(RUNNERS));
}

/** Starts a MariaDB server on a free port of 127.0.0.1. `settingsNow` is asked at each start, for settings that change while the server lives. */
export async function startMariaDb(
  options: ServerOptions = {},
  settingsNow: () => Readonly<Record<string, string>> = () => ({}),
): Promise<PrivateServer> {
  const mariadbd = requireBinary("mariadbd");
  const runner = findRunner(RUNNERS);
  const folder = makeServerFolder("tesserae-mariadb-", runner);
  const initFile = join(folder, "init.sql");
  let tls: ServerCertificate | undefined;
  try {
    // One statement a line: MariaDB reads the file line by line.
    writeFileSync(initFile, INITIAL_STATEMENTS.trimStart());
    await installMariaDb(folder);
    if (options.tls) tls = await makeCertificate(folder, runner);
  } catch (error) {
    removeFolder(folder);
    throw error;
  }
  const settings: Record<string, string> = {
    "bind-address": "127.0.0.1",
    "max-connections": `${options.maxConnections ?? 400}`,
    // What Debian's packages set; the server's own default is latin1.
    "character-set-server": "utf8mb4",
    "collation-server": "utf8mb4_general_ci",
    ...(options.durability === "relaxed" ? { "innodb-flush-log-at-trx-commit": "2" } : {}),
    ...(tls === undefined ? {} : { "ssl-cert": tls.certificatePath, "ssl-key": tls.keyPath }),
    ...options.settings,
  };
  const address = (port: number): ServerAddress => ({
    engine: "mysql",
    host: "127.0.0.1",
    port,
    ...APPLICATION,
    adminUser: ADMIN,
    adminPassword: ADMIN_PASSWORD,
  });
  return startPrivateServer({
    folder,
    certificate: tls?.certificate,
    address,
    shutdownSignal: "SIGTERM",
    launch: (port) => ({
      command: mariadbd,
      args: [
        "--no-defaults",
        `--datadir=${dataFolder(folder)}`,
        `--tmpdir=${folder}`,
        `--port=${port}`,
        `--socket=${join(folder, "mysql.sock")}`,
        `--pid-file=${join(folder, "mysql.pid")}`,
        `--init-file=${initFile}`,
        "--skip-name-resolve",
        ...Object.entries({ ...settings, ...settingsNow() }).map(([name, value]) => `--${name}=${value}`),
      ],
      folder,
      runner,
      killSignal: "SIGKILL",
    }),
    async ping({ host, port, user, password }) {
      const connection = await mysql.createConnection({ host, port, user, password, connectTimeout: 2000 });
      await connection.end();
    },
  });
}
