/** All replicas of a federation: a set for main, and one for each shard that has some, with the primaries that they follow. */
import type {
  Database,
  Engine,
  EngineReplication,
  FailoverOptions,
  PoolOptions,
} from "../engine/contract.ts";
import type { ShardTopology, Topology } from "../topology/topology.ts";
import { Freshness } from "./freshness.ts";
import { NotingDatabase } from "./noting-database.ts";
import { REPLICATION_DEFAULTS, type ReplicationOptions } from "./options.ts";
import { WriteContexts } from "./own-writes.ts";
import { Primary, type PrimaryName } from "./primary.ts";
import { ReplicaDatabase } from "./replica-database.ts";
import { ReplicaSet, type ReplicaStatus } from "./replica-set.ts";
import { ShardReplicas } from "./shard-replicas.ts";

export interface ReplicasOptions {
  readonly topology: Topology<Engine>;
  readonly pool: PoolOptions;
  readonly failover: FailoverOptions;
  readonly replication: ReplicationOptions | undefined;
}

export class Replicas {
  readonly freshness: Freshness;
  readonly #options: ReplicasOptions;
  readonly #replication: Required<ReplicationOptions>;
  readonly #contexts = new WriteContexts();
  readonly #primaries = new Map<PrimaryName, Primary>();
  readonly #sets = new Set<ReplicaSet>();
  readonly #ofMain: ReplicaSet | undefined;
  readonly #ofShards = new Map<number, ReplicaSet>();

  constructor(options: ReplicasOptions) {
    const { topology } = options;
    this.#options = options;
    this.#replication = { ...REPLICATION_DEFAULTS, ...options.replication };
    this.#ofMain = this.#open("main", topology.main, topology.replicas, undefined);
    for (const shard of topology.shards.values()) {
      const set = this.#openShard(shard);
      if (set !== undefined) this.#ofShards.set(shard.id, set);
    }
    this.freshness = new Freshness(this.#contexts, this.#seesOwnWrites ? this.#primaries : new Map());
  }

  /** Main's database, or a shard's, whose writes are noted where it has replicas: also where main has them only as the shard that it is. */
  noting(shard: number | undefined, database: Database): Database {
    const primary = this.#primaries.get(this.#nameOf(shard));
    if (primary === undefined || !this.#seesOwnWrites) return database;
    return new NotingDatabase(database, primary, this.#contexts);
  }

  /** What takes the reads of main's replicas, or a shard's. */
  reading(shard: number | undefined, primary: Database): ReplicaDatabase {
    const contexts = this.#seesOwnWrites ? this.#contexts : undefined;
    return new ReplicaDatabase({ primary, set: this.#setOf(shard), contexts });
  }

  /** The shards' replicas, as moves have to do with them. */
  get ofShards(): ShardReplicas {
    return new ShardReplicas((shard) => this.#setOf(shard));
  }

  status(): ReplicaStatus[] {
    return [...this.#sets].flatMap((set) => set.status());
  }

  /** Asks all of them and their primaries, so that `status` tells how they are now. `error` says why one does not answer. */
  async probe(): Promise<{ name: string; address: string; error: string | undefined }[]> {
    await Promise.all([...this.#sets].map((set) => set.look()));
    return [...this.#sets].flatMap(({ members }) =>
      members.map(({ name, engine, state, reason }) => ({
        name,
        address: engine.address.display,
        error: state === "down" ? reason : undefined,
      })),
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sets].map((set) => set.close()));
    await Promise.all([...this.#primaries.values()].map((primary) => primary.close()));
  }

  get #seesOwnWrites(): boolean {
    return this.#replication.freshness === "ownWrites";
  }

  #nameOf(shard: number | undefined): PrimaryName {
    return shard === undefined || this.#options.topology.shards.get(shard)?.isMain === true
      ? "main"
      : `${shard}`;
  }

  #setOf(shard: number | undefined): ReplicaSet | undefined {
    return shard === undefined ? this.#ofMain : this.#ofShards.get(shard);
  }

  #openShard({ id, primary, replicas, isMain }: ShardTopology<Engine>): ReplicaSet | undefined {
    // Main's replicas have its shard too.
    if (isMain && replicas === this.#options.topology.replicas) return this.#ofMain;
    return this.#open(this.#nameOf(id), primary, replicas, id);
  }

  #open(
    name: PrimaryName,
    engine: Engine,
    replicas: readonly Engine[],
    shard: number | undefined,
  ): ReplicaSet | undefined {
    if (replicas.length === 0) return undefined;
    const { pool, failover } = this.#options;
    // Checked with the configuration.
    const replication = engine.dialect.replication as EngineReplication;
    const primary =
      this.#primaries.get(name) ??
      new Primary(name, replication, engine.dialect, engine.address.display, () =>
        engine.open({ ...pool, connectionsMax: 1 }, failover),
      );
    this.#primaries.set(name, primary);
    const set = new ReplicaSet({
      of: shard === undefined ? "main" : `shard ${shard}`,
      shard,
      engines: replicas,
      primary,
      pool,
      replication: this.#replication,
    });
    this.#sets.add(set);
    return set;
  }
}
