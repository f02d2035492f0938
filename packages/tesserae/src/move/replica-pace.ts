/**
 * A move and the replicas of its two shards. Rows wait while readers are about to lose a replica; and what the move has done must survive the promotion of one: a
 * source that came back without the freeze would take writes of keys that live elsewhere, and a target that came back without the rows would have lost them.
 */
import { type MoveWork, type ShardEnd, TOUCH_MS } from "./move-work.ts";

/** Waits until the replicas of a shard are near enough to bear more rows. At once in the usual case. */
export async function heedReplicas(work: MoveWork, { shard }: ShardEnd): Promise<void> {
  const { replicas } = work.parts;
  const limitMs = work.record.progress.settings.replicaLagMs ?? replicas.lagLimitMs(shard);
  for (;;) {
    const lagMs = await replicas.lagMs(shard);
    if (lagMs === undefined || lagMs <= limitMs) return;
    const behind = Number.isFinite(lagMs)
      ? `${Math.ceil(lagMs / 1000)} s behind`
      : "too far behind to take reads";
    const until = performance.now() + TOUCH_MS;
    await work.waitFor(`replicas of shard ${shard}, which are ${behind}`, () => until - performance.now());
  }
}

/** Whether replicas of both shards have what these have committed by now; waits for them so long at most. */
export async function replicasHave(work: MoveWork, timeoutMs: number): Promise<boolean> {
  if (work.record.progress.settings.awaitReplicas === false) return true;
  const { replicas } = work.parts;
  const reached = await Promise.all(
    [work.source, work.target].map(({ shard }) => replicas.reach(shard, timeoutMs)),
  );
  return reached.every(Boolean);
}

/** Waits until a replica of the target has what the source is about to delete. */
export async function targetIsReplicated(work: MoveWork): Promise<void> {
  if (work.record.progress.settings.awaitReplicas === false) return;
  const { shard } = work.target;
  while (!(await work.parts.replicas.reach(shard, TOUCH_MS))) {
    work.note({ waitsFor: `a replica of shard ${shard} to have the rows` });
    await work.between();
  }
  if (work.record.progress.waitsFor !== undefined) work.note({ waitsFor: undefined });
}
