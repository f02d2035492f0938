/** Wires the lookups of one federation: their rows in main, who asks the shards, and what claims the values that its sessions write. */

import { isTesseraeError } from "./base/errors.ts";
import { MOVES_TABLE, movesTable } from "./directory/control-tables.ts";
import type { KeyCodec } from "./directory/key-codec.ts";
import type { TenantRegistry } from "./directory/tenants.ts";
import { type ControlStore, RowCodec } from "./engine/control-store.ts";
import { LookupRows } from "./lookups/lookup-rows.ts";
import { lookupsOf } from "./lookups/lookup-table.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import type { FederationModel, SchemaModel } from "./schema/model.ts";
import { type HolderPlace, LookupHolders } from "./session/lookup-holders.ts";
import { type LookupPoint, LookupWriter } from "./session/lookup-writer.ts";
import type { ResidenceReader } from "./session/residence-reader.ts";
import type { Target } from "./session/target.ts";

/** What tests reach into the lookups of a federation with: `federate({ …, [LOOKUP_INTERNALS]: { at } })`. No part of the public interface. */
export const LOOKUP_INTERNALS = Symbol.for("tesserae.lookup-internals");

export interface LookupInternals {
  readonly at?: ((point: LookupPoint) => void | Promise<void>) | undefined;
  /** How long a writer waits for another key's writers, in milliseconds. */
  readonly waitMs?: number | undefined;
}

export interface LookupSources {
  readonly schema: SchemaModel;
  readonly federation: FederationModel;
  readonly control: ControlStore;
  readonly keys: KeyCodec;
  readonly tenants: TenantRegistry;
  readonly shards: ReadonlyMap<number, Target>;
  readonly residences: ResidenceReader;
  readonly internals: LookupInternals | undefined;
}

export interface OpenedLookups {
  readonly rows: readonly LookupRows[];
  readonly holders: LookupHolders;
  readonly writer: LookupWriter;
  readonly shards: readonly Target[];
  readonly compareKeys: KeyCodec["compare"];
  /** See `RebuildSources`. */
  moves(): Promise<string | undefined>;
}

/** Undefined where no table of the federation has a lookup. */
export function openLookups(sources: LookupSources): OpenedLookups | undefined {
  const { schema, federation, control, keys, tenants, shards, residences, internals } = sources;
  const rows = lookupsOf(schema)
    .filter((lookup) => lookup.federation.name === federation.name)
    .map((lookup) => new LookupRows(control, lookup, keys.compare));
  if (rows.length === 0) return undefined;
  const holders = new LookupHolders({
    shards,
    residences,
    where: (key) => placeOf(tenants, key),
    toText: (key) => keys.toText(key),
  });
  const writer = new LookupWriter({ schema, rows, holders, compareKeys: keys.compare, ...internals });
  return {
    rows,
    holders,
    writer,
    shards: [...shards.values()],
    compareKeys: keys.compare,
    moves: () => movesSeen(control, federation),
  };
}

/** Undefined while a move of the federation is under way. */
async function movesSeen(control: ControlStore, { name }: FederationModel): Promise<string | undefined> {
  const codec = new RowCodec(control.dialect, movesTable());
  const { rows } = await control.run(
    `select count(*) as n, max(id) as last, sum(case when finished is null then 1 else 0 end) as open from ${MOVES_TABLE} where federation = ?`,
    [codec.encode("federation", name)],
  );
  const { n, last, open } = rows[0] as Record<string, unknown>;
  return Number(open ?? 0) > 0 ? undefined : `${String(n)} ${String(last)}`;
}

/** A key that is removed has no rows, and gets none before somebody adds it and claims anew. */
async function placeOf(tenants: TenantRegistry, key: KeyValue): Promise<HolderPlace> {
  try {
    const { state, shard, epoch } = await tenants.where(key);
    if (state === "active" || state === "moving") return { shard, epoch };
    return state === "removing" ? "removing" : undefined;
  } catch (error) {
    if (isTesseraeError(error, "KEY_UNKNOWN")) return undefined;
    throw error;
  }
}
