/** Range rows of an earlier move that a shard still has. A range row decides about its keys, so that no other may come over the same ones. */
import { TesseraeError } from "../base/errors.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import type { ControlStore, ControlTransaction } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Member } from "./move-record.ts";
import type { MoveParts, ShardEnd } from "./move-work.ts";

/** MOVE_UNDER_WAY unless the target has none over the range's keys but the range's own: of an earlier try, or left to be purged when it went. */
export async function refuseOverlaps(
  { keys, federation }: Pick<MoveParts, "keys" | "federation">,
  target: ShardEnd,
  runner: ControlTransaction | ControlStore,
  { low, high }: Pick<Member, "low" | "high">,
): Promise<void> {
  for (const row of await target.residences.overlapping(runner, low, high)) {
    if (sameEnd(keys, row.high, high) && keys.compare(row.low, low) === 0) continue;
    throw new TesseraeError(
      "MOVE_UNDER_WAY",
      `Shard ${target.shard} still has the range from ${keys.show(row.low)} to ${row.high === null ? "the end" : keys.show(row.high)}, which is ${row.state}: an earlier move of it is not finished. Wait for it, or finish it with fed.moves.resume().`,
      { cluster: "shards", shard: target.shard, federation: federation.name },
    );
  }
}

/** Whether two ranges end alike; null: without end. */
export function sameEnd(keys: KeyCodec, a: KeyValue | null, b: KeyValue | null): boolean {
  return a === null || b === null ? a === b : keys.compare(a, b) === 0;
}
