/**
 * How work on a key or a range begins: one transaction in main that looks at everything that decides, under locks, and writes the first state with
 * the caller's token.
 *
 * A point and a range are different rows, and two transactions that each look for the other's row and find none would both go on. So
 * whoever adds or removes a point locks the federation's layout row shared with others, whoever adds a range locks it alone.
 */
import { TesseraeError } from "../base/errors.ts";
import type { ControlStore, ControlTransaction } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { type ChangeFeed, lockMeta } from "./change-feed.ts";
import { parseClosed } from "./closed-shards.ts";
import { layoutMeta } from "./control-tables.ts";
import type { DirectoryRow, DirectoryRows } from "./directory-rows.ts";
import type { KeyCodec } from "./key-codec.ts";
import { isUnderWay } from "./tenant-machine.ts";

export interface RegistryParts {
  readonly federation: string;
  readonly control: ControlStore;
  readonly directoryRows: DirectoryRows;
  readonly feed: ChangeFeed;
  readonly keys: KeyCodec;
}

export type Claim =
  | { readonly kind: "claimed"; readonly row: DirectoryRow }
  /** Something changed since the caller looked: look again. */
  | { readonly kind: "changed" }
  /** Another's work must come to rest first. */
  | { readonly kind: "blocked"; readonly by: DirectoryRow }
  /** The shard is being drained: choose another. */
  | { readonly kind: "closed" }
  /** The range around the key is being moved. */
  | { readonly kind: "moving"; readonly range: DirectoryRow }
  /** The range around the key is on another shard than the one demanded. */
  | { readonly kind: "elsewhere"; readonly shard: number };

/** Begins the admission of a key that has no place, or comes back from its removal: inside a range on the range's shard, else on `shard`. */
export function claimAdmission(
  parts: RegistryParts,
  key: KeyValue,
  shard: number,
  demanded: boolean,
): Promise<Claim> {
  const { control, directoryRows } = parts;
  return control.transaction(async (transaction): Promise<Claim> => {
    const layout = await lockMeta(transaction, control, layoutMeta(parts.federation), "", "shared");
    const point = await directoryRows.lock(transaction, "p", key);
    const range = await findRangeAround(parts, transaction, key);
    if (range === undefined && !demanded && parseClosed(layout).includes(shard)) return { kind: "closed" };
    if (range !== undefined && isUnderWay(range)) return { kind: "blocked", by: range };
    // What a move takes along was settled when it began.
    if (range?.state === "moving") return { kind: "moving", range };
    if (point === undefined) {
      if (range !== undefined) return { kind: "changed" };
      const row: DirectoryRow = {
        kind: "p",
        low: key,
        high: null,
        shard,
        epoch: 1n,
        state: "admitting",
        token: 1n,
        updated: new Date(),
      };
      return (await directoryRows.insert(transaction, row)) ? { kind: "claimed", row } : { kind: "changed" };
    }
    if (point.state !== "removed") return { kind: "changed" };
    if (demanded && range !== undefined && range.shard !== shard)
      return { kind: "elsewhere", shard: range.shard };
    // The epoch goes on from the tombstone: what was cached or written under an older one is never taken for the new.
    const row: DirectoryRow = {
      ...point,
      shard: range?.shard ?? shard,
      epoch: point.epoch + 1n,
      state: "admitting",
      token: point.token + 1n,
    };
    return (await directoryRows.update(transaction, row, point.token))
      ? { kind: "claimed", row }
      : { kind: "changed" };
  });
}

/** Begins the removal of an active key, seen as `seen`; a key that is served by a range gets a point of its own for it. Undefined: look again. */
export function claimRemoval(
  parts: RegistryParts,
  key: KeyValue,
  seen: DirectoryRow,
): Promise<DirectoryRow | undefined> {
  const { control, directoryRows, feed, federation, keys } = parts;
  return control.transaction(async (transaction) => {
    await lockMeta(transaction, control, layoutMeta(federation), "", "shared");
    const point = await directoryRows.lock(transaction, "p", key);
    let claimed: DirectoryRow;
    if (point !== undefined) {
      if (point.state !== "active" || point.token !== seen.token || seen.kind !== "p") return undefined;
      claimed = { ...point, state: "removing", token: point.token + 1n };
      if (!(await directoryRows.update(transaction, claimed, point.token))) return undefined;
    } else {
      const range = await findRangeAround(parts, transaction, key);
      if (range?.state !== "active") return undefined;
      claimed = {
        kind: "p",
        low: key,
        high: null,
        shard: range.shard,
        epoch: range.epoch + 1n,
        state: "removing",
        token: 1n,
        updated: new Date(),
      };
      if (!(await directoryRows.insert(transaction, claimed))) return undefined;
    }
    // Last, since from here on the feed's lock is held.
    await feed.append(transaction, { federation, kind: "p", low: keys.toText(key) });
    return claimed;
  });
}

export type RangeClaim =
  | { readonly kind: "claimed" | "rests"; readonly row: DirectoryRow }
  | { readonly kind: "blocked"; readonly by: DirectoryRow };

/** Begins the admission of a range, after whatever it would overlap has been looked for. RANGE_OVERLAP. */
export function claimRangeAdmission(
  parts: RegistryParts,
  low: KeyValue,
  high: KeyValue | null,
  shard: number,
): Promise<RangeClaim> {
  const { control, directoryRows } = parts;
  return control.transaction(async (transaction): Promise<RangeClaim> => {
    await lockMeta(transaction, control, layoutMeta(parts.federation), "", "alone");
    const other =
      (await findRangeAround(parts, transaction, low)) ??
      (await directoryRows.firstWithin(transaction, "r", low, high, "removed"));
    if (other !== undefined) {
      if (!isSameRange(parts.keys, other, low, high) || other.shard !== shard)
        throw overlap(parts, low, high, other);
      return isUnderWay(other) ? { kind: "blocked", by: other } : { kind: "rests", row: other };
    }
    const point = await directoryRows.firstWithin(transaction, "p", low, high, "removed");
    if (point !== undefined) {
      // A key that is being removed will soon be in nobody's way.
      if (point.state === "removing" || point.state === "purging") return { kind: "blocked", by: point };
      throw overlap(parts, low, high, point);
    }
    const row: DirectoryRow = {
      kind: "r",
      low,
      high,
      shard,
      epoch: 1n,
      state: "admitting",
      token: 1n,
      updated: new Date(),
    };
    if (!(await directoryRows.insert(transaction, row))) {
      throw new TesseraeError("SERIALIZATION", "A range appeared while it was added.", {
        federation: parts.federation,
      });
    }
    return { kind: "claimed", row };
  });
}

async function findRangeAround(
  parts: RegistryParts,
  transaction: ControlTransaction,
  key: KeyValue,
): Promise<DirectoryRow | undefined> {
  const range = await parts.directoryRows.rangeAtOrBelow(transaction, key);
  if (range === undefined || range.state === "removed") return undefined;
  return range.high === null || parts.keys.compare(key, range.high) < 0 ? range : undefined;
}

function isSameRange(keys: KeyCodec, row: DirectoryRow, low: KeyValue, high: KeyValue | null): boolean {
  if (keys.compare(row.low, low) !== 0) return false;
  return row.high === null || high === null ? row.high === high : keys.compare(row.high, high) === 0;
}

function overlap(
  parts: RegistryParts,
  low: KeyValue,
  high: KeyValue | null,
  other: DirectoryRow,
): TesseraeError {
  const { keys } = parts;
  const text = (from: KeyValue, to: KeyValue | null) =>
    `from ${keys.show(from)} to ${to === null ? "the end" : keys.show(to)}`;
  const what =
    other.kind === "r"
      ? `the range ${text(other.low, other.high)}`
      : `key ${keys.show(other.low)}, which has a place of its own`;
  return new TesseraeError(
    "RANGE_OVERLAP",
    `The range ${text(low, high)} would overlap ${what} on shard ${other.shard}.`,
    {
      federation: parts.federation,
      operation: "tenants.addRange",
      key: keys.toText(other.low),
      shard: other.shard,
    },
  );
}
