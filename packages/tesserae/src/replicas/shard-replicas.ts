/** What a move asks of the replicas of its shards: how far they are behind, and whether one of them has what the shard itself has. */
import type { ReplicaSet } from "./replica-set.ts";
import { Wish } from "./wish.ts";

export class ShardReplicas {
  readonly #setOf: (shard: number) => ReplicaSet | undefined;

  constructor(setOf: (shard: number) => ReplicaSet | undefined) {
    this.#setOf = setOf;
  }

  /** A lag from which on readers are about to lose a replica, in milliseconds. */
  lagLimitMs(shard: number): number {
    return (this.#setOf(shard)?.replication.maxLagMs ?? 0) / 2;
  }

  /**
   * How far behind the last of those is that take reads, in milliseconds; infinite where all that answer are too far behind to take any. Undefined where nobody is
   * there to wait for.
   */
  async lagMs(shard: number): Promise<number | undefined> {
    const set = this.#setOf(shard);
    if (set === undefined) return undefined;
    await set.use();
    const healthy = set.members.filter(({ isHealthy }) => isHealthy);
    if (healthy.length > 0) return Math.max(...healthy.map(({ lagMs }) => lagMs ?? 0));
    return set.members.some(({ state }) => state === "behind") ? Number.POSITIVE_INFINITY : undefined;
  }

  /**
   * Whether a replica has everything that the shard has committed before this call, waiting `timeoutMs` for it at most. True also where no replica answers: nobody could be
   * promoted that lacks it.
   */
  async reach(shard: number, timeoutMs: number): Promise<boolean> {
    const set = this.#setOf(shard);
    if (set === undefined) return true;
    await set.use();
    if (!set.members.some(({ state }) => state === "healthy" || state === "behind")) return true;
    const { primary } = set;
    const position = await primary.askPosition();
    if (position === undefined) return true;
    const wish = new Wish(position, performance.now(), (reached, wanted) =>
      primary.replication.covers(reached, wanted),
    );
    return set.waitFor(wish, Math.max(0, timeoutMs));
  }
}
