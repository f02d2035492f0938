/** What a bench gets: databases on private servers that nobody else uses, temporary folders, and an end to all of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type EngineName,
  type PrivateServer,
  queryAsAdmin,
  type ReplicatedServers,
  type ServerEngine,
  startMariaDb,
  startPostgres,
  startReplicated,
} from "@tesserae/test-support";

export interface DatabaseOptions {
  /**
   * Flush about once a second instead of at each commit (MariaDB innodb_flush_log_at_trx_commit=2, PostgreSQL synchronous_commit=off).
   * The engines' own durability unless said; the output names it.
   */
  readonly speed?: boolean;
  /** Over how many servers the databases are spread, in turn. 1 unless said. */
  readonly servers?: number;
}

export interface BenchContext {
  /** The whole bench must end within a minute: take fewer cases and less data. */
  readonly quick: boolean;
  /** Fresh, empty databases; on SQLite files in a fresh folder (`sqlite:/path`). */
  databases(engine: EngineName, count?: number, options?: DatabaseOptions): Promise<string[]>;
  /** A primary and so many replicas that follow it, asynchronously, with the engine's own durability. */
  replicated(engine: ServerEngine, replicas: number): Promise<ReplicatedServers>;
  /** So many servers of the bench's own, with the engine's own durability: for what needs their administrator. */
  servers(engine: ServerEngine, count: number): Promise<PrivateServer[]>;
  /** A temporary folder that is removed at the end. */
  folder(): string;
  /** Called when all cases have run, the last one given first. */
  onEnd(action: () => unknown): void;
  /** A line of progress, for people. */
  say(line: string): void;
}

const RELAXED: Record<ServerEngine, string> = {
  mysql: "innodb_flush_log_at_trx_commit=2",
  postgres: "synchronous_commit=off",
};

export class BenchRun implements BenchContext {
  readonly quick: boolean;
  readonly say: (line: string) => void;
  /** The database servers' versions and durability, by engine, as the output names them. */
  readonly engines: Record<string, string> = {};
  readonly #servers = new Map<string, Promise<PrivateServer>>();
  readonly #endings: (() => unknown)[] = [];

  constructor(quick: boolean, say: (line: string) => void) {
    this.quick = quick;
    this.say = say;
  }

  async databases(engine: EngineName, count = 1, options: DatabaseOptions = {}): Promise<string[]> {
    if (engine === "sqlite") {
      this.engines.sqlite = `SQLite ${process.versions.sqlite ?? ""}`.trim();
      const folder = this.folder();
      return Array.from({ length: count }, (_, index) => `sqlite:${join(folder, `${index + 1}.db`)}`);
    }
    const spread = options.servers ?? 1;
    const urls: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const server = await this.#server(engine, index % spread, options.speed ?? false);
      urls.push(await server.createDatabase());
    }
    return urls;
  }

  async replicated(engine: ServerEngine, replicas: number): Promise<ReplicatedServers> {
    const servers = await startReplicated(engine, { replicas });
    this.onEnd(() => servers.stop());
    await this.#noteVersion(servers.primary, `durability as shipped, ${replicas} replicas`);
    return servers;
  }

  servers(engine: ServerEngine, count: number): Promise<PrivateServer[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => this.#server(engine, index, false)));
  }

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), "tesserae-bench-"));
    this.onEnd(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }

  onEnd(action: () => unknown): void {
    this.#endings.push(action);
  }

  async end(): Promise<void> {
    for (const action of this.#endings.splice(0).reverse()) await action();
    await Promise.all(
      [...this.#servers.values()].map(async (server) => (await server.catch(() => undefined))?.stop()),
    );
    this.#servers.clear();
  }

  #server(engine: ServerEngine, index: number, speed: boolean): Promise<PrivateServer> {
    const name = `${engine} ${index} ${speed}`;
    let server = this.#servers.get(name);
    if (server === undefined) {
      server = this.#start(engine, speed);
      this.#servers.set(name, server);
    }
    return server;
  }

  async #start(engine: ServerEngine, speed: boolean): Promise<PrivateServer> {
    const start = engine === "mysql" ? startMariaDb : startPostgres;
    const server = await start({ durability: speed ? "relaxed" : "shipped" });
    await this.#noteVersion(server, speed ? RELAXED[engine] : "durability as shipped");
    return server;
  }

  async #noteVersion(server: PrivateServer, how: string): Promise<void> {
    const { engine } = server;
    const [row] = await queryAsAdmin(
      server,
      engine === "mysql" ? "select version() as v" : "show server_version",
    );
    const version = `${engine === "mysql" ? "MariaDB" : "PostgreSQL"} ${Object.values(row ?? {})[0]}`;
    const label = `${version}, ${how}`;
    const known = this.engines[engine];
    this.engines[engine] = known === undefined || known === label ? label : `${known}; ${label}`;
  }
}
