/**
 * The servers that all tests of a run share: two of each engine, started when they are first asked for. In a test run a broker in the
 * runner's process owns them and the workers ask it over a socket; elsewhere (a bench, a script) this process owns them itself.
 */

import { mkdtempSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { databaseServer } from "./administration.ts";
import { startMariaDb } from "./mariadb.ts";
import { startPostgres } from "./postgres.ts";
import type { DatabaseServer, PrivateServer, ServerAddress, ServerEngine, ServerOptions } from "./server.ts";
import { removeFolder } from "./server-process.ts";

/** How many servers of one engine are shared. */
export const SERVERS_PER_ENGINE = 2;

const BROKER_VARIABLE = "TESSERAE_TEST_SERVERS";

/** Servers by engine and number, each started once. */
export class ServerSet {
  readonly #options: ServerOptions;
  readonly #servers = new Map<string, Promise<PrivateServer>>();

  constructor(options: ServerOptions = {}) {
    this.#options = options;
  }

  get(engine: ServerEngine, index = 0): Promise<PrivateServer> {
    const name = `${engine} ${index}`;
    let server = this.#servers.get(name);
    if (server === undefined) {
      server = engine === "mysql" ? startMariaDb(this.#options) : startPostgres(this.#options);
      this.#servers.set(name, server);
    }
    return server;
  }

  async stop(): Promise<void> {
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    // One that failed to start has nothing to stop, and whoever asked for it has had the error.
    await Promise.all(
      servers.map((server) =>
        server.then(
          (started) => started.stop(),
          () => {},
        ),
      ),
    );
  }
}

/** Starts the broker and tells the workers, which start later, where it is. */
export async function startBroker(): Promise<() => Promise<void>> {
  const servers = new ServerSet();
  const folder = mkdtempSync(join(tmpdir(), "tesserae-broker-"));
  const socketPath = join(folder, "broker.sock");
  const broker = createServer((message, response) => {
    const [, engine, index] = (message.url ?? "").split("/");
    servers.get(engine as ServerEngine, Number(index)).then(
      (server) => response.end(JSON.stringify(addressOf(server))),
      (error: unknown) => {
        response.statusCode = 500;
        response.end(error instanceof Error ? error.message : String(error));
      },
    );
  });
  await new Promise<void>((resolve) => broker.listen(socketPath, resolve));
  process.env[BROKER_VARIABLE] = socketPath;
  return async () => {
    delete process.env[BROKER_VARIABLE];
    broker.close();
    broker.closeAllConnections();
    await servers.stop();
    removeFolder(folder);
  };
}

function addressOf(server: ServerAddress): ServerAddress {
  const { engine, host, port, user, password, adminUser, adminPassword } = server;
  return { engine, host, port, user, password, adminUser, adminPassword };
}

function askBroker(socketPath: string, engine: ServerEngine, index: number): Promise<ServerAddress> {
  return new Promise((resolve, reject) => {
    const question = request({ socketPath, path: `/${engine}/${index}` }, (answer) => {
      let body = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        body += chunk;
      });
      answer.on("end", () => {
        if (answer.statusCode === 200) resolve(JSON.parse(body) as ServerAddress);
        else reject(new Error(`The shared ${engine} server did not start: ${body}`));
      });
    });
    question.on("error", reject);
    question.end();
  });
}

const known = new Map<string, Promise<DatabaseServer>>();
let ownServers: ServerSet | undefined;

/** One of the shared servers of an engine; it is started if nobody has asked for it before. */
export function sharedServer(engine: ServerEngine, index = 0): Promise<DatabaseServer> {
  const name = `${engine} ${index}`;
  let server = known.get(name);
  if (server === undefined) {
    const socketPath = process.env[BROKER_VARIABLE];
    if (socketPath === undefined) {
      ownServers ??= new ServerSet();
      server = ownServers.get(engine, index);
    } else {
      server = askBroker(socketPath, engine, index).then(databaseServer);
    }
    known.set(name, server);
  }
  return server;
}

/** Stops the shared servers that this process owns. Outside a test run, call it at the end; inside one it does nothing. */
export async function stopSharedServers(): Promise<void> {
  known.clear();
  await ownServers?.stop();
  ownServers = undefined;
}
