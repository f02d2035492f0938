/**
 * Fills a lookup from the rows that are there: rows of before the lookup, and those that were written past the library. It reads each shard's table page by page, while
 * writers go on: those claim by themselves. Nothing is taken from a key that has a row; where two keys have the same value both are named, and the lookup stays as it is.
 * What a move carries from a shard that was not read yet to one that was would be missed, so that a pass counts only if nothing moved meanwhile.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { toEngineError } from "../engine/engine-error.ts";
import {
  LOOKUP_BATCH_MAX,
  type LookupRow,
  type LookupRows,
  type LookupValue,
  newToken,
} from "../lookups/lookup-rows.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { LookupHolders } from "./lookup-holders.ts";
import type { Target } from "./target.ts";

const PASSES_MAX = 10;
const WAIT_FOR_MOVES_MS = 1_000;
/** How long a value is waited for that somebody is writing. */
const WAIT_MS = 5_000;
const DOUBLES_MAX = 1_000;

/** A value that two keys have. */
export interface DoubleValue {
  readonly value: LookupValue;
  readonly keys: readonly [KeyValue, KeyValue];
}

export interface RebuildResult {
  readonly table: string;
  readonly column: string;
  /** Values that were read on the shards, in the last pass. */
  readonly rows: number;
  /** Values that main did not know. */
  readonly added: number;
  /** At most 1 000. */
  readonly doubles: readonly DoubleValue[];
  /** Whether the lookup knows every row now: nothing moved while it was read, and no value is there twice. */
  readonly complete: boolean;
}

export interface RebuildSources {
  readonly rows: LookupRows;
  readonly holders: LookupHolders;
  readonly shards: readonly Target[];
  readonly compareKeys: (one: KeyValue, other: KeyValue) => number;
  /** Something that is another one after a move began or ended; undefined while one is under way. */
  moves(): Promise<string | undefined>;
}

interface ShardRow {
  readonly key: KeyValue;
  readonly value: LookupValue;
}

export async function rebuildLookup(sources: RebuildSources): Promise<RebuildResult> {
  const { table, column } = sources.rows.lookup;
  let added = 0;
  for (let pass = 1; ; pass++) {
    const before = await sources.moves();
    const doubles: DoubleValue[] = [];
    let rows = 0;
    for (const shard of sources.shards) {
      for await (const page of pagesOf(sources.rows, shard)) {
        rows += page.length;
        added += await addMissing(sources, page, doubles);
      }
    }
    const steady = before !== undefined && (await sources.moves()) === before;
    if (steady || pass === PASSES_MAX)
      return {
        table: table.name,
        column: column.name,
        rows,
        added,
        doubles,
        complete: steady && doubles.length === 0,
      };
    await sleep(WAIT_FOR_MOVES_MS);
  }
}

/** A shard's values with their keys, in the order of the unique key that each lookup's column has. */
async function* pagesOf({ lookup }: LookupRows, target: Target): AsyncGenerator<ShardRow[], void, undefined> {
  if (!target.readiness.ready) await target.readiness.wait();
  const { dialect } = target.kit;
  const [keyCodec, codec] = [dialect.codec(lookup.federation.key), dialect.codec(lookup.column.type)];
  const [table, key, value] = [lookup.table.name, lookup.table.keyColumn as string, lookup.column.name].map(
    (name) => dialect.quote(name),
  ) as [string, string, string];
  let after: ShardRow | undefined;
  for (;;) {
    const behind = after === undefined ? "" : ` and (${key} > ? or (${key} = ? and ${value} > ?))`;
    const sql = dialect.placeholders(
      `select ${key} as key_value, ${value} as value from ${table} where ${value} is not null${behind} order by ${key}, ${value} limit ${LOOKUP_BATCH_MAX}`,
    );
    const parameters: unknown[] = [];
    if (after !== undefined) {
      const low = keyCodec.encode(after.key);
      parameters.push(low, low, codec.encode(after.value));
    }
    const { rows } = await target.database
      .run({ sql, parameters, readOnly: true })
      .catch((error: unknown) => {
        throw toEngineError(error, dialect, { ...target.place, operation: "lookups.rebuild", sql });
      });
    if (rows.length === 0) return;
    const page = rows.map((row) => ({
      key: keyCodec.decode(row["key_value"]) as KeyValue,
      value: codec.decode(row["value"]) as LookupValue,
    }));
    after = page.at(-1);
    yield page;
  }
}

async function addMissing(
  sources: RebuildSources,
  page: readonly ShardRow[],
  doubles: DoubleValue[],
): Promise<number> {
  const { rows, compareKeys } = sources;
  const known = new Map(
    (await rows.read(page.map(({ value }) => value))).map((row) => [nameOf(row.value), row]),
  );
  let added = 0;
  for (const row of page) {
    const claim = known.get(nameOf(row.value));
    if (claim !== undefined && compareKeys(claim.key, row.key) === 0) continue;
    const outcome = await settle(sources, row, claim);
    if (outcome === "added") added++;
    else if (outcome !== undefined && doubles.length < DOUBLES_MAX && !isListed(doubles, outcome))
      doubles.push(outcome);
  }
  return added;
}

/** A row whose value main does not know, or knows as another key's. */
async function settle(
  { rows, holders, compareKeys }: RebuildSources,
  { key, value }: ShardRow,
  known: LookupRow | undefined,
): Promise<"added" | DoubleValue | undefined> {
  for (let claim = known; ; ) {
    if (claim === undefined) {
      const token = newToken();
      [claim] = await rows.claim([value], key, token);
      if (claim === undefined) return "added";
    }
    if (compareKeys(claim.key, key) === 0) return undefined;
    const has = async (holder: KeyValue) =>
      (await holders.found(rows.lookup, holder, [value], WAIT_MS)).length > 0;
    // The row may be gone since it was read; on the shard that a key has left, rows stay for a while.
    if (!(await has(key))) return undefined;
    if (await has(claim.key)) return { value, keys: [claim.key, key] };
    if (await rows.take(value, claim.token, key, newToken())) return "added";
    claim = undefined;
  }
}

/** The same two keys, found on the one's shard and on the other's. */
function isListed(doubles: readonly DoubleValue[], { value }: DoubleValue): boolean {
  return doubles.some((other) => nameOf(other.value) === nameOf(value));
}

function nameOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value);
}
