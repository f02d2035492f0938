/** Many keys on their way: which of them share a move. Small ones do, and with it its round trips; a large one has its own. */
import type { KeyValue } from "../schema/logical-type.ts";
import type { MoveParts, ShardEnd } from "./move-work.ts";

export interface BatchLimits {
  readonly batchKeys: number;
  readonly batchRows: number;
}

/** Keys counted by one statement. */
const COUNT_KEYS = 500;

/** Cuts keys of one shard, in their order, into batches; a page of keys is counted at a time. */
export async function* batchesOf(
  parts: MoveParts,
  source: ShardEnd,
  keys: readonly KeyValue[],
  { batchKeys, batchRows }: BatchLimits,
): AsyncGenerator<readonly KeyValue[], void, undefined> {
  let batch: KeyValue[] = [];
  let rows = 0;
  for (let start = 0; start < keys.length; start += COUNT_KEYS) {
    const page = keys.slice(start, start + COUNT_KEYS);
    const counts = page.length === 1 ? new Map() : await countRows(parts, source, page);
    for (const key of page) {
      const own = counts.get(parts.keys.cacheKey(key)) ?? 0;
      if (batch.length > 0 && (batch.length >= batchKeys || rows + own > batchRows)) {
        yield batch;
        batch = [];
        rows = 0;
      }
      batch.push(key);
      rows += own;
    }
  }
  if (batch.length > 0) yield batch;
}

async function countRows(
  parts: MoveParts,
  source: ShardEnd,
  keys: readonly KeyValue[],
): Promise<ReadonlyMap<unknown, number>> {
  const { dialect } = source.store;
  const codec = dialect.codec(parts.federation.key);
  const counts = new Map<unknown, number>();
  for (const table of parts.tables) {
    const column = dialect.quote(table.keyColumn as string);
    const { rows } = await source.store.run(
      `select ${column} as of_key, count(*) as n from ${dialect.quote(table.name)} where ${column} in (${keys.map(() => "?").join(", ")}) group by ${column}`,
      keys.map((key) => codec.encode(key)),
    );
    for (const row of rows) {
      const key = parts.keys.cacheKey(codec.decode(row["of_key"]) as KeyValue);
      counts.set(key, (counts.get(key) ?? 0) + Number(row["n"]));
    }
  }
  return counts;
}
