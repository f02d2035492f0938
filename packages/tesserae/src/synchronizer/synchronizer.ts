/**
 * The synchronizer: makes every database of the federation hold what the schema says belongs there. Main holds global and reference
 * tables, each shard its federated tables with their guards, copies of the reference tables and the shard's control tables. Where main plays a shard, it holds
 * both. Everything is looked at before anything is written.
 */
import type { ErrorPlace } from "../base/errors.ts";
import type { ShardIdentities } from "../directory/shard-identity.ts";
import type { Database } from "../engine/contract.ts";
import { shardControlTables } from "../engine/control-tables.ts";
import type { SchemaModel, TableModel } from "../schema/model.ts";
import {
  type CreatedPiece,
  createMissing,
  type DatabasePieces,
  missingPieces,
  unknownGuarded,
} from "./create-on-database.ts";
import { piecesFor } from "./create-plan.ts";

export interface SynchronizedShard {
  readonly id: number;
  readonly database: Database;
  readonly isMain: boolean;
}

export interface SynchronizerOptions {
  readonly schema: SchemaModel;
  readonly main: Database;
  /** The database that holds main's control state. */
  readonly control: Database;
  readonly shards: readonly SynchronizedShard[];
  /** Main's own control tables: the directory's, the tickets'. */
  readonly mainControlTables: readonly TableModel[];
  readonly identities: ShardIdentities;
}

/** What one run created, and where. */
export interface AppliedPiece extends CreatedPiece {
  readonly cluster: "main" | "shards";
  readonly shard: number | undefined;
}

export interface ApplyResult {
  /** Empty when everything was there. */
  readonly created: readonly AppliedPiece[];
}

export class Synchronizer {
  readonly #options: SynchronizerOptions;

  constructor(options: SynchronizerOptions) {
    this.#options = options;
  }

  /** Creates what is missing, and does nothing where everything is there. */
  async apply(): Promise<ApplyResult> {
    const places = this.#places();
    // Everything is looked at before anything is written: a refusal on one database leaves the others as they were.
    await Promise.all(places.map((entry) => missingPieces(entry)));
    const { shards, identities } = this.#options;
    await Promise.all(shards.map(({ id }) => identities.check(id)));
    const created: AppliedPiece[] = [];
    // Main first: a shard is of no use without its directory.
    for (const entry of places) {
      const { cluster, shard } = entry.place;
      for (const piece of await createMissing(entry))
        created.push({ ...piece, cluster: cluster as "main" | "shards", shard });
      if (shard !== undefined) await identities.claim(shard);
    }
    return { created };
  }

  /** What the schema says that a shard does not have yet. SCHEMA_CHANGED, SCHEMA_TABLE_EXISTS. */
  async missingOn(shard: number): Promise<CreatedPiece[]> {
    const place = this.#places().find((entry) => entry.place.shard === shard);
    return place === undefined
      ? []
      : (await missingPieces(place)).map(({ kind, table }) => ({ kind, table }));
  }

  /** Federated tables of a shard, by their guards, that this process's schema does not know: another process knows a newer one. */
  async unknownOn(shard: number): Promise<string[]> {
    const place = this.#places().find((entry) => entry.place.shard === shard);
    return place === undefined ? [] : unknownGuarded(place);
  }

  /** Whether `apply` would create nothing. */
  async isComplete(): Promise<boolean> {
    const missing = await Promise.all(this.#places().map((entry) => missingPieces(entry)));
    return missing.every((pieces) => pieces.length === 0);
  }

  #places(): DatabasePieces[] {
    const { schema, main, control, shards, mainControlTables } = this.#options;
    const tables = [...schema.tables.values()];
    const forMain = tables.filter((table) => table.kind !== "federated");
    const forShards = tables.filter((table) => table.kind !== "global");
    const entry = (
      database: Database,
      place: ErrorPlace,
      controlTables: readonly TableModel[],
      models: readonly TableModel[],
    ) => ({
      database,
      place,
      controlTables,
      pieces: piecesFor(database.engine.dialect, schema, models),
    });
    return [
      entry(control, { cluster: "main" }, mainControlTables, []),
      entry(main, { cluster: "main" }, [], forMain),
      ...shards.map(({ id, database, isMain }) =>
        // Where main plays the shard, its reference tables are main's own.
        entry(
          database,
          { cluster: "shards", shard: id },
          shardControlTables(schema.federations.values()),
          isMain ? tables.filter((table) => table.kind === "federated") : forShards,
        ),
      ),
    ];
  }
}
