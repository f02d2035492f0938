/**
 * The servers that all tests of a run share: two of each engine, started when they are first asked for. In a test run a broker in the
 * runner's process owns them and the workers ask it over a socket; elsewhere (a bench, a script) this process owns them itself.
 */
import { mkdtempSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { databaseServer } from "./administration.ts";
import { DatabasePool } from "./database-pool.ts";
import { startMariaDb } from "./mariadb.ts";
import { startPostgres } from "./postgres.ts";
import type { DatabaseServer, PrivateServer, ServerAddress, ServerEngine, ServerOptions } from "./server.ts";
import { removeFolder } from "./server-process.ts";

/** How many servers of one engine are shared. */
export const SERVERS_PER_ENGINE = 2;

const BROKER_VARIABLE = "TESSERAE_TEST_SERVERS";

/** What can be asked of the shared servers, from whichever process. */
interface SharedServers {
  server(engine: ServerEngine, index: number): Promise<DatabaseServer>;
  takeDatabase(engine: ServerEngine, index: number): Promise<string>;
  giveBackDatabase(engine: ServerEngine, index: number, url: string): Promise<void>;
}

/** Servers by engine and number, each started once, by the process that owns them. */
export class ServerSet implements SharedServers {
  readonly #options: ServerOptions;
  readonly #servers = new Map<string, Promise<PrivateServer>>();
  readonly #pools = new Map<string, DatabasePool>();

  constructor(options: ServerOptions = {}) {
    this.#options = options;
  }

  server(engine: ServerEngine, index = 0): Promise<PrivateServer> {
    const name = `${engine} ${index}`;
    let server = this.#servers.get(name);
    if (server === undefined) {
      server = engine === "mysql" ? startMariaDb(this.#options) : startPostgres(this.#options);
      this.#servers.set(name, server);
    }
    return server;
  }

  async takeDatabase(engine: ServerEngine, index = 0): Promise<string> {
    return (await this.#pool(engine, index)).take();
  }

  async giveBackDatabase(engine: ServerEngine, index: number, url: string): Promise<void> {
    await (await this.#pool(engine, index)).giveBack(url);
  }

  async #pool(engine: ServerEngine, index: number): Promise<DatabasePool> {
    const server = await this.server(engine, index);
    const name = `${engine} ${index}`;
    let pool = this.#pools.get(name);
    if (pool === undefined) {
      pool = new DatabasePool(server);
      this.#pools.set(name, pool);
    }
    return pool;
  }

  async stop(): Promise<void> {
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    this.#pools.clear();
    // One that failed to start has nothing to stop, and whoever asked for it has had the error.
    const stopped = servers.map(async (server) => (await server.catch(() => undefined))?.stop());
    await Promise.all(stopped);
  }
}

/** A question to the broker, as JSON on one HTTP request. */
interface Question {
  readonly verb: keyof SharedServers;
  readonly engine: ServerEngine;
  readonly index: number;
  readonly url?: string;
}

/** Starts the broker and tells the workers, which start later, where it is. Returns what ends it and its servers. */
export async function startBroker(): Promise<() => Promise<void>> {
  const servers = new ServerSet();
  const folder = mkdtempSync(join(tmpdir(), "tesserae-broker-"));
  const socketPath = join(folder, "broker.sock");
  const broker = createServer((message, response) => {
    readBody(message)
      .then((body) => answer(servers, JSON.parse(body) as Question))
      .then(
        (result) => response.end(JSON.stringify(result ?? null)),
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

async function answer(servers: ServerSet, { verb, engine, index, url = "" }: Question): Promise<unknown> {
  if (verb === "takeDatabase") return servers.takeDatabase(engine, index);
  if (verb === "giveBackDatabase") return servers.giveBackDatabase(engine, index, url);
  const { host, port, user, password, adminUser, adminPassword } = await servers.server(engine, index);
  return { engine, host, port, user, password, adminUser, adminPassword } satisfies ServerAddress;
}

async function readBody(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The shared servers as a worker sees them. */
class BrokerClient implements SharedServers {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  async server(engine: ServerEngine, index: number): Promise<DatabaseServer> {
    return databaseServer((await this.#ask({ verb: "server", engine, index })) as ServerAddress);
  }

  async takeDatabase(engine: ServerEngine, index: number): Promise<string> {
    return (await this.#ask({ verb: "takeDatabase", engine, index })) as string;
  }

  async giveBackDatabase(engine: ServerEngine, index: number, url: string): Promise<void> {
    await this.#ask({ verb: "giveBackDatabase", engine, index, url });
  }

  #ask(question: Question): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const message = request({ socketPath: this.#socketPath, method: "POST", agent: false }, (response) => {
        readBody(response).then((body) => {
          if (response.statusCode === 200) resolve(JSON.parse(body));
          else reject(new Error(`The shared ${question.engine} server: ${body}`));
        }, reject);
      });
      message.on("error", reject);
      message.end(JSON.stringify(question));
    });
  }
}

let current: SharedServers | undefined;

/** The shared servers of this test run, or, outside one, of this process. */
export function sharedServers(): SharedServers {
  if (current === undefined) {
    const socketPath = process.env[BROKER_VARIABLE];
    current = socketPath === undefined ? new ServerSet() : new BrokerClient(socketPath);
  }
  return current;
}

/** One of the shared servers of an engine; it is started if nobody has asked for it before. */
export function sharedServer(engine: ServerEngine, index = 0): Promise<DatabaseServer> {
  return sharedServers().server(engine, index);
}

/** Stops the shared servers that this process owns. Outside a test run, call it at the end; inside one it does nothing. */
export async function stopSharedServers(): Promise<void> {
  if (!(current instanceof ServerSet)) return;
  await current.stop();
  current = undefined;
}
