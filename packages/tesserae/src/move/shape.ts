/**
 * Residences that change their ends: a key gets a point of its own out of a range, a range is cut out of a larger one, two ranges become one. On the shard
 * the successors are written and the old row goes in one transaction, whose lock waits for the range's writers; the directory comes last. No key changes its
 * shard by it, so that epochs stay, and both ways of looking at it are right while it lasts.
 */
import { lockMeta } from "../directory/change-feed.ts";
import { layoutMeta } from "../directory/control-tables.ts";
import type { DirectoryRow } from "../directory/directory-rows.ts";
import type { ResidenceRow } from "../directory/residence-rows.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Member } from "./move-record.ts";
import { takenOver } from "./move-rows.ts";
import type { MoveStep } from "./move-status.ts";
import { LOCK_WAIT_MS, type MoveWork, patiently } from "./move-work.ts";
import { LargerToken } from "./mover-residences.ts";
import { sameEnd } from "./range-overlaps.ts";

/** Gives the move's keys residences of their own. */
export async function shape(work: MoveWork): Promise<void> {
  const { record, parts } = work;
  const [member] = record.members as [Member];
  const cutOut = record.progress.shape;
  if (cutOut?.kind === "isolate") await isolateOnShard(work, member);
  else if (cutOut?.kind === "carve") await carveOnShard(work, parts.keys.fromText(cutOut.low), member);
  await work.at("shape:residence");
  const staysHere = record.source === record.target;
  const next: MoveStep = staysHere ? "done" : "claim";
  await inDirectory(work, next, async (transaction) => {
    if (cutOut?.kind === "carve")
      await carveInDirectory(work, transaction, parts.keys.fromText(cutOut.low), member);
    if (staysHere) await parts.moves.release(transaction, record);
    return member;
  });
  await work.at("shape:directory");
}

/**
 * For the way back, where it began in the middle of `shape`: shard and directory must have the same residences before anything is moved again. A point that is in the
 * directory comes to the shard, and a range that was cut there is cut in the directory.
 */
export async function finishShape(work: MoveWork): Promise<void> {
  const { record, parts, source } = work;
  const [member] = record.members as [Member];
  const { shape: cutOut, shaped } = record.progress;
  if (shaped === true) return;
  if (cutOut?.kind === "isolate") {
    if ((await source.residences.find([member])).length === 0) await isolateOnShard(work, member);
  }
  if (cutOut?.kind !== "carve") return;
  const low = parts.keys.fromText(cutOut.low);
  // Before it is looked at: a mover that wakes up must not cut the range afterwards.
  await source.store.transaction((transaction) => source.residences.fenceRanges(transaction, record.token));
  const [first] = await source.residences.find([{ kind: "r", low, high: null, epoch: 0n }]);
  if (first === undefined || !sameEnd(work.parts.keys, first.high, endOfFirst(work, low, member))) return;
  await inDirectory(work, record.step, async (transaction) => {
    await carveInDirectory(work, transaction, low, member);
    return member;
  });
}

async function isolateOnShard(work: MoveWork, member: Member): Promise<void> {
  const { source, record } = work;
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        // First the range's row, then the point: the other way round leaves locks on the gap where the point would be (MariaDB).
        await source.residences.lockRangeAround(transaction, member.low, LOCK_WAIT_MS);
        const [row] = await source.residences.lock(transaction, [member], { how: "alone" });
        if (row !== undefined && row.token > record.token) throw new LargerToken(row.token);
        if (row !== undefined) return;
        await source.residences.insert(transaction, [here(member, record.token)]);
      },
      { once: true },
    ),
  );
}

/** `[low, high)` becomes up to three ranges, of which the member is one. */
async function carveOnShard(work: MoveWork, low: KeyValue, member: Member): Promise<void> {
  const { source, record } = work;
  await patiently(work, source, () =>
    source.store.transaction(
      async (transaction) => {
        await source.residences.fenceRanges(transaction, record.token);
        const whole: Member = { kind: "r", low, high: null, epoch: 0n };
        const [row] = await source.residences.lock(transaction, [whole], {
          how: "alone",
          lockWaitMs: LOCK_WAIT_MS,
        });
        if (row === undefined || sameEnd(work.parts.keys, row.high, endOfFirst(work, low, member))) return;
        if (row.token > record.token) throw new LargerToken(row.token);
        for (const piece of pieces(work, { low, high: row.high, epoch: row.epoch }, member))
          await source.residences.put(transaction, { ...here(piece, record.token), state: row.state });
      },
      { once: true },
    ),
  );
}

async function carveInDirectory(
  work: MoveWork,
  transaction: ControlTransaction,
  low: KeyValue,
  member: Member,
): Promise<void> {
  const { record, parts } = work;
  const row = await parts.directoryRows.lock(transaction, "r", low);
  if (row !== undefined && sameEnd(work.parts.keys, row.high, endOfFirst(work, low, member))) return;
  if (row === undefined || row.state !== "moving" || row.token !== record.token) throw takenOver(record.id);
  for (const piece of pieces(work, row, member)) {
    const isFirst = parts.keys.compare(piece.low, low) === 0;
    const isMember = parts.keys.compare(piece.low, member.low) === 0;
    if (isFirst) await parts.directoryRows.reshape(transaction, low, { high: piece.high, epoch: row.epoch });
    else {
      const { shard, epoch, token } = row;
      const state = isMember ? "moving" : "active";
      await parts.directoryRows.insert(transaction, { ...piece, shard, epoch, state, token });
    }
    if (isFirst && !isMember)
      await parts.directoryRows.update(transaction, { ...row, state: "active" }, record.token);
  }
}

/** Two ranges on the target become one. */
export async function merge(work: MoveWork): Promise<void> {
  const { target, record, parts } = work;
  const { shape: join } = record.progress;
  if (join?.kind !== "merge") throw new Error("only a merge has this step");
  const low = parts.keys.fromText(join.low);
  const at = parts.keys.fromText(join.at);
  await patiently(work, target, () =>
    target.store.transaction(
      async (transaction) => {
        await target.residences.fenceRanges(transaction, record.token);
        const members = [low, at].map((from): Member => ({ kind: "r", low: from, high: null, epoch: 0n }));
        const rows = await target.residences.lock(transaction, members, {
          how: "alone",
          lockWaitMs: LOCK_WAIT_MS,
        });
        const [lower, upper] = rows as [ResidenceRow, ResidenceRow | undefined];
        if (upper === undefined) return;
        await target.residences.remove(transaction, [upper]);
        await target.residences.put(transaction, {
          ...lower,
          high: upper.high,
          epoch: larger(lower.epoch, upper.epoch),
          token: record.token,
        });
      },
      { once: true },
    ),
  );
  await work.at("merge:residence");
  const next: MoveStep = record.source === record.target ? "done" : "purge";
  await inDirectory(work, next, async (transaction) => {
    const lower = (await parts.directoryRows.lock(transaction, "r", low)) as DirectoryRow;
    const upper = await parts.directoryRows.lock(transaction, "r", at);
    if (lower.token !== record.token) throw takenOver(record.id);
    if (upper !== undefined) {
      await parts.directoryRows.removeRange(transaction, at);
      await parts.directoryRows.reshape(transaction, low, {
        high: upper.high,
        epoch: larger(lower.epoch, upper.epoch),
      });
    }
    await parts.moves.release(transaction, record);
    return { kind: "r", low };
  });
  await work.at("merge:directory");
}

/** The transaction in main that ends a change of residences: the layout is the mover's alone, and every process hears of it. */
async function inDirectory(
  work: MoveWork,
  next: MoveStep,
  body: (transaction: ControlTransaction) => Promise<Pick<Member, "kind" | "low">>,
): Promise<void> {
  const { control, moves, feed, federation, keys } = work.parts;
  const changed = await control.transaction(async (transaction) => {
    await lockMeta(transaction, control, layoutMeta(federation.name), "", "alone");
    const progress = { ...work.record.progress, shaped: true };
    const saved = await moves.saveIn(transaction, work.record, {
      step: next,
      progress,
      finished: next === "done",
    });
    const { kind, low } = await body(transaction);
    await feed.append(transaction, { federation: federation.name, kind, low: keys.toText(low) });
    return saved;
  });
  work.changed(changed);
}

function pieces(
  work: MoveWork,
  whole: { readonly low: KeyValue; readonly high: KeyValue | null; readonly epoch: bigint },
  member: Member,
): Member[] {
  const { keys } = work.parts;
  const range = (low: KeyValue, high: KeyValue | null): Member => ({
    kind: "r",
    low,
    high,
    epoch: whole.epoch,
  });
  return [
    ...(keys.compare(whole.low, member.low) < 0 ? [range(whole.low, member.low)] : []),
    range(member.low, member.high),
    ...(member.high !== null && !sameEnd(work.parts.keys, member.high, whole.high)
      ? [range(member.high, whole.high)]
      : []),
  ];
}

/** Where the piece that begins with the whole range ends: by it one sees whether the range was cut already. */
function endOfFirst(work: MoveWork, low: KeyValue, member: Member): KeyValue | null {
  return work.parts.keys.compare(low, member.low) < 0 ? member.low : member.high;
}

const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

const here = ({ kind, low, high, epoch }: Member, token: bigint): ResidenceRow => ({
  kind,
  low,
  high,
  epoch,
  token,
  state: "here",
});
