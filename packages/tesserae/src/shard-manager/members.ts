/** The members of a federation: its ranges with their shards, the shards of keys that have a place of their own, and what is under way on each. */
import type { DirectoryState } from "../directory/directory-rows.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import type { TenantRegistry } from "../directory/tenants.ts";
import type { MoveState, MoveStatus, MoveStep } from "../move/move-status.ts";
import type { Moves } from "../move/moves.ts";
import type { KeyValue } from "../schema/logical-type.ts";

/** A move that takes keys from or to a member. */
export interface MemberOperation {
  readonly move: bigint;
  /** In words: `key 12`, `the range from 0 to 100`. */
  readonly what: string;
  readonly from: number;
  readonly to: number;
  readonly step: MoveStep;
  readonly state: MoveState;
  /** Rows that were copied and verified, of those that are to be; 100 from the freeze on. A whole number. */
  readonly percent: number;
}

/** A part of a federation: one of its ranges, or the keys with a place of their own on one shard. */
export interface FederationMember<Key extends KeyValue = KeyValue> {
  readonly shard: number;
  /** `range`: the keys from `low` to `high`. `points`: keys that have a place of their own, one by one; `low` and `high` say nothing. */
  readonly kind: "range" | "points";
  /** The first key of the range; null: it has no beginning. */
  readonly low: Key | null;
  /** The first key that is not in the range any more; null: it has no end. */
  readonly high: Key | null;
  /** Of a range, as the directory has it; `active` of points. */
  readonly state: DirectoryState;
  /** Keys with a place of their own on the shard; undefined of a range, whose keys nobody counts. */
  readonly keys: number | undefined;
  readonly operations: readonly MemberOperation[];
}

export interface MemberSources {
  readonly codec: KeyCodec;
  readonly tenants: TenantRegistry;
  readonly moves: Moves;
}

/** Ranges in the order of keys, and then the shards with keys of their own in rising order. */
export async function listMembers<Key extends KeyValue>(
  sources: MemberSources,
): Promise<FederationMember<Key>[]> {
  const { codec, tenants, moves } = sources;
  const [ranges, counts, underWay] = await Promise.all([tenants.ranges(), tenants.count(), moves.list()]);
  const members: FederationMember<Key>[] = ranges.map(({ low, high, shard, state }) => ({
    shard,
    kind: "range",
    low: codec.compare(low, codec.smallest) === 0 ? null : (low as Key),
    high: high as Key | null,
    state,
    keys: undefined,
    operations: operationsOf(underWay, shard, ({ keys }) => keys === 0),
  }));
  const arriving = underWay.filter(({ keys }) => keys > 0).map(({ to }) => to);
  const shards = new Set([...counts].filter(([, count]) => count > 0).map(([shard]) => shard));
  for (const shard of [...new Set([...shards, ...arriving])].sort((a, b) => a - b))
    members.push({
      shard,
      kind: "points",
      low: null,
      high: null,
      state: "active",
      keys: counts.get(shard) ?? 0,
      operations: operationsOf(underWay, shard, ({ keys }) => keys > 0),
    });
  return members;
}

function operationsOf(
  moves: readonly MoveStatus[],
  shard: number,
  concerns: (move: MoveStatus) => boolean,
): MemberOperation[] {
  return moves
    .filter((move) => (move.from === shard || move.to === shard) && concerns(move))
    .map(({ id, what, from, to, step, state, ...progress }) => ({
      move: id,
      what,
      from,
      to,
      step,
      state,
      percent: percentOf(step, progress),
    }));
}

const BEFORE_COPY: ReadonlySet<MoveStep> = new Set(["shape", "claim", "leave"]);
const TRANSFER: ReadonlySet<MoveStep> = new Set(["copy", "catchUp", "verify"]);

function percentOf(
  step: MoveStep,
  { rowsTotal, rowsCopied, rowsVerified }: Pick<MoveStatus, "rowsTotal" | "rowsCopied" | "rowsVerified">,
): number {
  if (BEFORE_COPY.has(step) || step === "abort") return 0;
  if (!TRANSFER.has(step)) return 100;
  if (rowsTotal === 0) return step === "copy" ? 0 : 99;
  // Rows that were added since the beginning are copied as well, and are no more than the whole.
  const done = Math.min(rowsCopied, rowsTotal) + Math.min(rowsVerified, rowsTotal);
  return Math.min(99, Math.floor((50 * done) / rowsTotal));
}
