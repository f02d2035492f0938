/**
 * A move and the replicas of its two shards. Rows wait while readers are about to lose a replica; and what the move has done must survive the promotion of one: a
 * source that came back without the freeze would take writes of keys that live elsewhere, and a target that came back without the rows would have lost them.
 */
import { type MoveWork, type ShardEnd, TOUCH_MS } from "./move-work.ts";

/** For whoever sees a move wait for a replica that will not catch up by itself. */
export const IF_ONE_HAS_STOPPED =
  "where one has stopped applying, repair it, or take it out of the configuration, or pause the move and resume it with awaitReplicas: false";

/** Waits until the replicas of a shard are near enough to bear more rows. At once in the usual case. */
export async function heedReplicas(work: MoveWork, { shard }: ShardEnd): Promise<void> {
  const { awaitReplicas, replicaLagMs } = work.record.progress.settings;
  if (awaitReplicas === false) return;
  const { replicas } = work.parts;
  const limitMs = replicaLagMs ?? replicas.lagLimitMs(shard);
  for (;;) {
    const lagMs = await replicas.lagMs(shard);
    if (lagMs === undefined || lagMs <= limitMs) return;
    const behind = Number.isFinite(lagMs)
      ? `${Math.ceil(lagMs / 1000)} s behind`
      : `too far behind to take reads; ${IF_ONE_HAS_STOPPED}`;
    const until = performance.now() + TOUCH_MS;
    await work.waitFor(`replicas of shard ${shard}, which are ${behind}`, () => until - performance.now());
  }
}

/** Whether the replicas of both shards have what these have committed by now; waits for them so long at most. */
export async function replicasHave(work: MoveWork, timeoutMs: number): Promise<boolean> {
  if (work.record.progress.settings.awaitReplicas === false) return true;
  const { replicas } = work.parts;
  const reached = await Promise.all(
    [work.source, work.target].map(({ shard }) => replicas.reach(shard, timeoutMs)),
  );
  return reached.every(Boolean);
}

/**
 * Whether the replicas of both shards keep up so well that the freeze is worth trying: no writer waits meanwhile. What is found out here, about one that hangs too, need not be
 * found out in the pause.
 */
export async function replicasKeepUp(work: MoveWork): Promise<boolean> {
  const { awaitReplicas, pauseBudgetMs } = work.record.progress.settings;
  if (awaitReplicas === false) return true;
  await Promise.all([work.source, work.target].map(({ shard }) => work.parts.replicas.look(shard)));
  return replicasHave(work, pauseBudgetMs);
}

/** Waits until the replicas of the target have what the source is about to delete. */
export async function targetIsReplicated(work: MoveWork): Promise<void> {
  if (work.record.progress.settings.awaitReplicas === false) return;
  const { shard } = work.target;
  while (!(await work.parts.replicas.reach(shard, TOUCH_MS))) {
    work.note({ waitsFor: `the replicas of shard ${shard} to have the rows; ${IF_ONE_HAS_STOPPED}` });
    await work.between();
  }
  if (work.record.progress.waitsFor !== undefined) work.note({ waitsFor: undefined });
}
