/**
 * The synchronizer: makes every database of the federation hold what the schema says belongs there. Main holds global and reference
 * tables, each shard its federated tables with their guards, copies of the reference tables and the shard's control tables. Where main plays a shard, it holds
 * both. Everything is looked at before anything is written.
 */
import type { ErrorPlace } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { META_TABLE, shardControlTables } from "../engine/control-tables.ts";
import type { SchemaModel, TableModel } from "../schema/model.ts";
import { type CreatedPiece, createPieces, type DatabasePieces, missingPieces } from "./create-on-database.ts";
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
    const missing = await Promise.all(places.map((entry) => missingPieces(entry)));
    const created: AppliedPiece[] = [];
    // Main first: a shard is of no use without its directory.
    for (const [index, entry] of places.entries()) {
      const pieces = await createPieces(entry, missing[index] ?? []);
      created.push(
        ...pieces.map((piece) => ({
          ...piece,
          cluster: entry.place.cluster as "main" | "shards",
          shard: entry.place.shard,
        })),
      );
    }
    return { created };
  }

  #places(): DatabasePieces[] {
    const { schema, main, control, shards, mainControlTables } = this.#options;
    const tables = [...schema.tables.values()];
    const global = tables.filter((table) => table.kind === "global" || table.kind === "reference");
    const federated = [
      ...shardControlTables(schema.federations.values()),
      ...tables.filter((table) => table.kind === "federated" || table.kind === "reference"),
    ];
    const entry = (database: Database, place: ErrorPlace, models: readonly TableModel[]): DatabasePieces => ({
      database,
      place,
      pieces: piecesFor(
        database.engine.dialect,
        schema,
        models.filter((table) => table.name !== META_TABLE),
      ),
    });
    return [
      entry(control, { cluster: "main" }, mainControlTables),
      entry(main, { cluster: "main" }, global),
      ...shards.map(({ id, database, isMain }) =>
        entry(
          database,
          { cluster: "shards", shard: id },
          isMain ? federated.filter((table) => table.kind !== "reference") : federated,
        ),
      ),
    ];
  }
}
