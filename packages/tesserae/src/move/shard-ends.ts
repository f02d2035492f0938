/** The shards of a federation as moves use them: each with its residences, behind its gate. */
import { TesseraeError } from "../base/errors.ts";
import type { KeyCodec } from "../directory/key-codec.ts";
import { ResidenceRows } from "../directory/residence-rows.ts";
import type { Database } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import type { FederationModel } from "../schema/model.ts";
import type { ShardEnd } from "./move-work.ts";
import { MoverResidences } from "./mover-residences.ts";

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
    const connection = await database.acquire();
    try {
      const may = await database.engine.dialect.mayUncheckReferences(connection);
      if (may) this.#mayUncheck.add(shard);
      return may;
    } finally {
      connection.release();
    }
  }
}
