/**
 * Which keys' rows on a shard may not be its own, by the moves that were under way while the shard was read. Main gave no key to another shard in that time (whoever read looks
 * for that), so that each key had one owner, and a shard's residences say who it is:
 *
 * | phase of the move | source's residence | target's residence |
 * |---|---|---|
 * | `source` | here, leaving or frozen | none, arriving or gone |
 * | `cutOver` | frozen or gone | arriving or here |
 * | `settled` | gone, or whatever came later | here, or whatever came later |
 *
 * So both are asked, in the snapshot of the rows themselves; but of a move that was in `cutOver` when the reading began they say nothing yet, and main has said it.
 */
import type { DoubtfulKeys, KeyMember } from "./key-conditions.ts";
import type { MovesSeen, SeenMove } from "./moves-seen.ts";

/** By shard; a shard that no move concerns is not in it. `before`: the look from before the shards were read, `after`: any later one. */
export function doubtfulKeys(
  federation: string,
  before: MovesSeen,
  after: MovesSeen = before,
): ReadonlyMap<number, DoubtfulKeys> {
  const moves = new Map<bigint, SeenMove>();
  for (const move of [...after.moves, ...before.moves]) moves.set(move.id, move);
  const shards = new Map<number, { asked: KeyMember[]; owned: KeyMember[]; foreign: KeyMember[] }>();
  const of = (shard: number) => {
    const known = shards.get(shard) ?? { asked: [], owned: [], foreign: [] };
    shards.set(shard, known);
    return known;
  };
  for (const { source, target, phase, members } of moves.values()) {
    const isCutOver = phase === "cutOver";
    of(source)[isCutOver ? "foreign" : "asked"].push(...members);
    of(target)[isCutOver ? "owned" : "asked"].push(...members);
  }
  return new Map([...shards].map(([shard, keys]) => [shard, { federation, ...keys }]));
}
