/** What a move asks of the replicas of its shards: how far they are behind, and whether they have what the shard itself has. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ReplicaMember } from "./member.ts";
import type { ReplicaSet } from "./replica-set.ts";
import { Wish } from "./wish.ts";

/** Between two questions to the members for a position that somebody waits for. */
const STEP_MS = 1;

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

  /** Has all of them judged, which takes as long as a question may where one hangs. Nobody waits for that afterwards. */
  async look(shard: number): Promise<void> {
    const set = this.#setOf(shard);
    if (set !== undefined) await lookAt(set);
  }

  /**
   * Whether all replicas that take reads have everything that the shard has committed before this call, waiting `timeoutMs` for it at most, with all that it takes. One that
   * is too far behind to take reads is waited for only where there is no other. True where no replica answers: nobody could be promoted that lacks it.
   */
  async reach(shard: number, timeoutMs: number): Promise<boolean> {
    const set = this.#setOf(shard);
    if (set === undefined) return true;
    const late = new AbortController();
    try {
      return await Promise.race([
        reach(set, late.signal),
        sleep(Math.max(0, timeoutMs), false, { signal: late.signal }),
      ]);
    } finally {
      late.abort();
    }
  }
}

/** The first look at a set does not wait for the slowest. */
async function lookAt(set: ReplicaSet): Promise<void> {
  await set.use();
  await Promise.all(set.members.filter(({ state }) => state === "unasked").map((member) => member.check()));
}

async function reach(set: ReplicaSet, late: AbortSignal): Promise<boolean> {
  await lookAt(set);
  if (answering(set).length === 0) return true;
  const { primary } = set;
  const position = await primary.askPosition();
  if (position === undefined) return true;
  const wish = new Wish(position, performance.now(), (reached, wanted) =>
    primary.replication.covers(reached, wanted),
  );
  while (!late.aborted) {
    await Promise.all(answering(set).map((member) => member.check()));
    const asked = answering(set);
    if (asked.length === 0) return true;
    const healthy = asked.filter(({ isHealthy }) => isHealthy);
    if (healthy.length > 0 && healthy.every(({ term }) => term !== undefined && wish.isGrantedBy(term)))
      return true;
    await sleep(STEP_MS);
  }
  return false;
}

function answering({ members }: ReplicaSet): ReplicaMember[] {
  return members.filter(({ state }) => state === "healthy" || state === "behind");
}
