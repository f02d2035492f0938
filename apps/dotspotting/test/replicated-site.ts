import { type ReplicatedDatabase, type ReplicatedServers, startReplicated } from "@tesserae/test-support";
import { readDatabases } from "../src/federation.ts";
import { openSite, type Site, type SiteOptions } from "./site.ts";

/** MariaDB lets a login without SUPER make triggers beside a log only where it is told to. */
const settings = { "log-bin-trust-function-creators": "1" };

/** The application on main and two shards, each with a replica, and two ticket servers: as many processes as are opened, on the same databases. */
export class ReplicatedSite {
  readonly servers: ReplicatedServers;
  readonly #databases: readonly ReplicatedDatabase[];
  readonly #sites: Site[] = [];

  private constructor(servers: ReplicatedServers, databases: readonly ReplicatedDatabase[]) {
    this.servers = servers;
    this.#databases = databases;
  }

  static async start(): Promise<ReplicatedSite> {
    const servers = await startReplicated("mysql", { settings });
    const databases: ReplicatedDatabase[] = [];
    for (let made = 0; made < 5; made++) databases.push(await servers.freshDatabase());
    return new ReplicatedSite(servers, databases);
  }

  /** One more process, as it were. It is told of the servers as operators do it. */
  async open(options: SiteOptions = {}): Promise<Site> {
    const [main, one, two, odd, even] = this.#databases.map(({ urls: [primary, replica] }) => ({
      primary,
      replicas: [replica],
    })) as unknown as { primary: string; replicas: string[] }[];
    const federation = {
      main: main?.primary,
      replicas: main?.replicas,
      shards: { 1: one, 2: two },
      tickets: [odd?.primary, even?.primary],
      // A replica that stands still is read from all the same: what is tested is who must not.
      replication: { maxLagMs: 60_000, freshnessWaitMs: 50 },
    };
    const databases = readDatabases({ DOTSPOTTING_FEDERATION: JSON.stringify(federation) }, "");
    const site = await openSite(databases, options);
    this.#sites.push(site);
    return { ...site, settle: () => this.servers.waitUntilCaughtUp() };
  }

  /** The replicas stand still while `body` runs. */
  async whileReplicasStandStill<T>(body: () => Promise<T>): Promise<T> {
    await Promise.all(this.servers.replicas.map((replica) => replica.stopReplication()));
    try {
      return await body();
    } finally {
      await Promise.all(this.servers.replicas.map((replica) => replica.startReplication()));
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sites.map((site) => site.close()));
    await this.servers.stop();
  }
}
