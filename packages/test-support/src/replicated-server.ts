/** What a server of a replicated set is, whichever engine it runs. */
import type { PrivateServer, ServerOptions } from "./server.ts";

export interface ReplicationOptions extends ServerOptions {
  /**
   * A commit is answered once a replica has received it, so that no write is lost with the primary (the default is: answered at once). A primary
   * without any replica answers no commit. MariaDB: semi-synchronous replication; PostgreSQL: `synchronous_standby_names`. Not with `relaxed`.
   */
  readonly synchronous?: boolean;
}

export type Role = "primary" | "replica";

/**
 * A server of a replicated set. Both engines keep to the same meaning, but for what is said below.
 *
 * A killed replica goes on replicating after `restart`, also one whose replication was stopped before: neither engine remembers that.
 */
export interface ReplicatedServer extends PrivateServer {
  /** What the server is by the last of `promote`, `demote` and `follow`. */
  readonly role: Role;
  /** The server that this one follows. */
  readonly upstream: ReplicatedServer | undefined;
  /** A replica applies nothing from now on and goes on receiving. Returns once that is so. */
  stopReplication(): Promise<void>;
  startReplication(): Promise<void>;
  /** Waits until this replica has applied all that its primary has at the time of the call. */
  waitUntilCaughtUp(patience_ms?: number): Promise<void>;
  /** Makes a replica a primary, once it has applied all it had received. Connections live on. Whoever is primary elsewhere stays it. */
  promote(): Promise<void>;
  /**
   * A primary takes no writes from now on, also after a `restart`, and may be called while it is down. MariaDB sets `read_only` and connections
   * live on (a user with READ_ONLY ADMIN still writes: the admin here does, the application does not). PostgreSQL has no such thing: the server
   * is stopped in an orderly way and starts as a replica that follows nobody; one that is down stays down until `restart`.
   */
  demote(): Promise<void>;
  /**
   * Follows another primary. A replica is told where the new one is, and its connections live on; so is a primary of MariaDB, which is made
   * read-only first. It is made anew from the new primary if it has what that one has not, or has ever been a primary (PostgreSQL): its process,
   * its connections and its own writes are gone then. A server that is down is started. Replication that was stopped begins again.
   */
  follow(primary: ReplicatedServer): Promise<void>;
}

export const PATIENCE_MS = 30_000;

/** Asks until the answer is yes. The servers tell nobody when they have come so far. */
export async function waitFor(
  what: string,
  isSo: () => Promise<boolean>,
  patience_ms = PATIENCE_MS,
): Promise<void> {
  const deadline = Date.now() + patience_ms;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`Not within ${patience_ms} ms: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function isRunning({ pid }: PrivateServer): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Gives a server more properties; getters stay getters, on both sides. */
export function extend<Server extends object, More extends object>(
  server: Server,
  more: More,
): Server & More {
  return Object.defineProperties(server, Object.getOwnPropertyDescriptors(more)) as Server & More;
}
