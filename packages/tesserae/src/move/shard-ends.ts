/** The shards of a federation as moves use them: each with its residences, behind its gate. */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import { ResidenceRows } from "../directory/residence-rows.ts";
import type { Connection, Database } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { FederationModel } from "../schema/model.ts";
import type { ShardEnd } from "./move-work.ts";
import { MoverResidences } from "./mover-residences.ts";

/** A connection for a while; the driver's errors in the library's words. */
export async function withConnection<T>(
  database: Database,
  place: ErrorPlace,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  let connection: Connection | undefined;
  let broken = true;
  try {
    connection = await database.acquire();
    const result = await work(connection);
    broken = false;
    return result;
  } catch (error) {
    throw toEngineError(error, database.engine.dialect, place);
  } finally {
    connection?.release(broken);
  }
}

export interface ShardEndsOptions {
  readonly federation: FederationModel;
  readonly keys: KeyCodec;
  readonly shards: readonly number[];
  shardDatabase(shard: number): Database;
  /** Passed before the first statement on a shard. */
  shardGate(shard: number): Promise<void>;
}

export class ShardEnds {
  readonly #options: ShardEndsOptions;
  readonly #ends = new Map<number, ShardEnd>();
  /** Shards whose login may leave out the check of foreign keys. A refusal is asked again: somebody may grant it. */
  readonly #mayUncheck = new Set<number>();

  constructor(options: ShardEndsOptions) {
    this.#options = options;
  }

  /** SHARD_UNKNOWN. */
  check(shard: number): void {
    const { shards, federation } = this.#options;
    if (shards.includes(shard)) return;
    throw new TesseraeError(
      "SHARD_UNKNOWN",
      `There is no shard ${JSON.stringify(shard)}; the configuration has ${shards.join(", ")}, as numbers.`,
      { federation: federation.name, operation: "moves", shard },
    );
  }

  get(shard: number): ShardEnd {
    let end = this.#ends.get(shard);
    if (end === undefined) {
      this.check(shard);
      const { federation, keys } = this.#options;
      const database = this.#options.shardDatabase(shard);
      const place = { cluster: "shards", shard, federation: federation.name };
      const store = new ControlStore(database, place, () => this.#options.shardGate(shard));
      end = {
        shard,
        database,
        store,
        residences: new MoverResidences(shard, store, federation, keys),
        pointResidences: new ResidenceRows(shard, store, federation, keys),
      };
      this.#ends.set(shard, end);
    }
    return end;
  }

  async mayUncheckReferences({ shard, database }: ShardEnd): Promise<boolean> {
    if (this.#mayUncheck.has(shard)) return true;
    const { federation } = this.#options;
    const place = { cluster: "shards", shard, federation: federation.name, operation: "moves" };
    const may = await withConnection(database, place, (connection) =>
      database.engine.dialect.mayUncheckReferences(connection),
    );
    if (may) this.#mayUncheck.add(shard);
    return may;
  }
}
