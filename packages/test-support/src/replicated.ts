/** Sets of private servers that replicate: a primary and its replicas, each with a port, a folder and a life of its own. */
import { freshName } from "./administration.ts";
import { startReplicatedMariaDb } from "./replicated-mariadb.ts";
import { startReplicatedPostgres } from "./replicated-postgres.ts";
import { isRunning, type ReplicatedServer, type ReplicationOptions } from "./replicated-server.ts";
import type { ServerEngine } from "./server.ts";

export interface ReplicatedOptions extends ReplicationOptions {
  /** How many replicas follow the primary. 1 unless said. */
  readonly replicas?: number;
}

/** One database as each server of a set has it; the lists are in the order of `servers`, the first primary first. */
export interface ReplicatedDatabase {
  readonly name: string;
  /** The application's URLs. */
  readonly urls: readonly string[];
  /** The superuser's URLs. */
  readonly adminUrls: readonly string[];
  /** Drops the database on whichever server is the primary by then. */
  drop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface ReplicatedServers {
  readonly engine: ServerEngine;
  /** The server that began as the primary, whatever it is by now. */
  readonly primary: ReplicatedServer;
  /** The servers that began as replicas. */
  readonly replicas: readonly ReplicatedServer[];
  /** All of them, the first primary first. */
  readonly servers: readonly ReplicatedServer[];
  /** Creates an empty database on the present primary, and waits until the replicas that follow it have it. */
  freshDatabase(): Promise<ReplicatedDatabase>;
  /** Waits until every replica that follows the present primary has applied all that it has. */
  waitUntilCaughtUp(patience_ms?: number): Promise<void>;
  /** A planned change of the primary: the present one takes no more writes, the other one has them all and takes over, and all follow it. */
  switchOver(to: ReplicatedServer): Promise<void>;
  /** Ends the servers and removes their folders. May be called twice. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a primary and replicas that follow it.
 *
 * @example
 * ```ts
 * await using set = await startReplicated("postgres", { replicas: 2 });
 * await using database = await set.freshDatabase();
 * const [primaryUrl, ...replicaUrls] = database.urls;
 * ```
 */
export async function startReplicated(
  engine: ServerEngine,
  { replicas: count = 1, ...options }: ReplicatedOptions = {},
): Promise<ReplicatedServers> {
  const start = (number: number, upstream?: ReplicatedServer) =>
    engine === "mysql"
      ? startReplicatedMariaDb(options, number, upstream)
      : startReplicatedPostgres(options, upstream);
  const primary = await start(1);
  const started = await Promise.allSettled(
    Array.from({ length: count }, (_, index) => start(index + 2, primary)),
  );
  const replicas = started.filter((result) => result.status === "fulfilled").map(({ value }) => value);
  const servers = [primary, ...replicas];
  const failed = started.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    await Promise.all(servers.map((server) => server.stop()));
    throw failed.reason;
  }
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const waitUntilCaughtUp = async (patience_ms?: number) => {
    const present = presentPrimary(servers);
    const following = servers.filter(({ upstream }) => upstream === present);
    await Promise.all(following.map((server) => server.waitUntilCaughtUp(patience_ms)));
  };
  return {
    engine,
    primary,
    replicas,
    servers,
    async freshDatabase() {
      const name = freshName();
      await presentPrimary(servers).createDatabase(name);
      await waitUntilCaughtUp();
      const drop = async () => presentPrimary(servers).dropDatabase(name);
      return {
        name,
        urls: servers.map((server) => server.url(name)),
        adminUrls: servers.map((server) => server.adminUrl(name)),
        drop,
        [Symbol.asyncDispose]: drop,
      };
    },
    waitUntilCaughtUp,
    async switchOver(to) {
      await presentPrimary(servers).demote();
      await to.waitUntilCaughtUp();
      await to.promote();
      const others = servers.filter((server) => server !== to);
      await Promise.all(others.map((server) => server.follow(to)));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function presentPrimary(servers: readonly ReplicatedServer[]): ReplicatedServer {
  const [primary, second] = servers.filter((server) => server.role === "primary" && isRunning(server));
  if (primary === undefined) throw new Error("No server of the set that runs is a primary: promote one.");
  if (second !== undefined)
    throw new Error("Two servers of the set are primaries: let one of them follow the other, or demote it.");
  return primary;
}
