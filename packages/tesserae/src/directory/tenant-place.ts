/** Where keys and ranges live, as the registry tells it. */
import type { KeyValue } from "../schema/logical-type.ts";
import type { DirectoryRow, DirectoryState } from "./directory-rows.ts";

/** Where a key lives, or lived. */
export interface TenantPlace<Key extends KeyValue = KeyValue> {
  readonly key: Key;
  readonly shard: number;
  readonly epoch: bigint;
  readonly state: DirectoryState;
  /** `point`: the key has a place of its own. `range`: it is served by the range around it. */
  readonly by: "point" | "range";
}

export interface RangePlace<Key extends KeyValue = KeyValue> {
  readonly low: Key;
  /** The first key that is not in the range; null: it has no end. */
  readonly high: Key | null;
  readonly shard: number;
  readonly epoch: bigint;
  readonly state: DirectoryState;
}

export function tenantPlace<Key extends KeyValue>(key: KeyValue, row: DirectoryRow): TenantPlace<Key> {
  return {
    key: key as Key,
    shard: row.shard,
    epoch: row.epoch,
    state: row.state,
    by: row.kind === "p" ? "point" : "range",
  };
}

export function rangePlace<Key extends KeyValue>(row: DirectoryRow): RangePlace<Key> {
  return {
    low: row.low as Key,
    high: row.high as Key | null,
    shard: row.shard,
    epoch: row.epoch,
    state: row.state,
  };
}
