/**
 * Shards that take no new keys, because they are being drained. The list is the value of the federation's layout row, which every admission locks shared
 * and whoever closes a shard alone: from the commit on, no admission that has not looked yet puts a key there.
 */
import { type ControlStore, RowCodec } from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import { lockMeta } from "./change-feed.ts";
import { layoutMeta } from "./control-tables.ts";

const meta = metaTable();

export function parseClosed(value: string): readonly number[] {
  return value === "" ? [] : value.split(",").map(Number);
}

export async function readClosedShards(
  control: ControlStore,
  federation: string,
): Promise<readonly number[]> {
  const codec = new RowCodec(control.dialect, meta);
  const { rows } = await control.read(`select value from ${META_TABLE} where name = ?`, [
    codec.encode("name", layoutMeta(federation)),
  ]);
  return rows[0] === undefined ? [] : parseClosed(codec.decode("value", rows[0]["value"]) as string);
}

/** Closes a shard to new keys of a federation, or opens it again. */
export async function setShardClosed(
  control: ControlStore,
  federation: string,
  shard: number,
  closed: boolean,
): Promise<void> {
  const codec = new RowCodec(control.dialect, meta);
  const name = layoutMeta(federation);
  await control.transaction(async (transaction) => {
    const others = parseClosed(await lockMeta(transaction, control, name, "", "alone")).filter(
      (other) => other !== shard,
    );
    const now = closed ? [...others, shard].sort((a, b) => a - b) : others;
    await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [
      codec.encode("value", now.join(",")),
      codec.encode("name", name),
    ]);
  });
}
