/**
 * Which database is which shard. Main's control database keeps the installation's id, and each shard's `tesserae_meta` says of which installation it is which
 * shard. So a configuration that exchanges two shards, names another database for a number in use, or brings main together with another
 * installation's shards is refused, and does not quietly serve tenants without their rows.
 *
 * `schema.apply()` writes both; every process compares them once for each shard, before its first statement there.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { type ControlRunner, ControlStore, RowCodec } from "../engine/control-store.ts";
import { INSTALLATION_META, META_TABLE, metaTable, SHARD_META } from "../engine/control-tables.ts";
import type { FederationModel } from "../schema/model.ts";
import { directoryTableName } from "./control-tables.ts";

const meta = metaTable();

/** What a shard's database says of itself. */
const identityOf = (installation: string, shard: number): string => `shard ${shard} of ${installation}`;

export interface ShardIdentityOptions {
  /** Main's control database. */
  readonly control: Database;
  readonly federations: readonly FederationModel[];
  shardDatabase(shard: number): Database;
}

export class ShardIdentities {
  readonly #options: ShardIdentityOptions;
  readonly #verified = new Map<number, Promise<void>>();

  constructor(options: ShardIdentityOptions) {
    this.#options = options;
  }

  /** Before the first statement on a shard: SHARD_IDENTITY when the database is not the shard it is configured as, SCHEMA_NOT_APPLIED when it is none. */
  verify(shard: number): Promise<void> {
    let verified = this.#verified.get(shard);
    if (verified === undefined) {
      verified = this.#verify(shard);
      this.#verified.set(shard, verified);
      // A server that was down is asked again.
      verified.catch(() => this.#verified.delete(shard));
    }
    return verified;
  }

  /** Before anything is written by `schema.apply()`: refuses what `verify` would, and a new database for a number that has keys already. */
  async check(shard: number): Promise<void> {
    const installation = await readTolerantly(this.#options.control, INSTALLATION_META);
    const identity = await readTolerantly(this.#options.shardDatabase(shard), SHARD_META);
    if (identity !== undefined) {
      if (installation === undefined || identity !== identityOf(installation, shard))
        throw this.#mismatch(shard, identity);
      return;
    }
    if (installation !== undefined && (await this.#hasKeys(shard))) throw this.#mismatch(shard, undefined);
  }

  /** Writes what is missing of both, at the end of `schema.apply()` for this shard. */
  async claim(shard: number): Promise<void> {
    const control = this.#store(this.#options.control);
    const installation = await writeOnce(control, INSTALLATION_META, crypto.randomUUID());
    const identity = await writeOnce(this.#shardStore(shard), SHARD_META, identityOf(installation, shard));
    if (identity !== identityOf(installation, shard)) throw this.#mismatch(shard, identity);
  }

  async #verify(shard: number): Promise<void> {
    const installation = await read(this.#store(this.#options.control), INSTALLATION_META);
    const identity = await read(this.#shardStore(shard), SHARD_META);
    if (identity !== undefined && installation !== undefined && identity === identityOf(installation, shard))
      return;
    if (identity !== undefined) throw this.#mismatch(shard, identity);
    throw new TesseraeError(
      "SCHEMA_NOT_APPLIED",
      `${this.#address(shard)}, configured as shard ${shard}, holds nothing yet. Create what the schema says first: await fed.schema.apply(), or "tesserae schema apply".`,
      { cluster: "shards", shard },
    );
  }

  #mismatch(shard: number, identity: string | undefined): TesseraeError {
    const what =
      identity === undefined
        ? `is empty, but main's directory has keys on shard ${shard}`
        : `says that it is ${identity}, which is not what main says`;
    return new TesseraeError(
      "SHARD_IDENTITY",
      `${this.#address(shard)}, configured as shard ${shard}, ${what}. A number, once in use, keeps its database: correct the configuration. Where main played shard 1 before, write shards: { 1: "main", 2: … }.`,
      { cluster: "shards", shard },
    );
  }

  async #hasKeys(shard: number): Promise<boolean> {
    const control = this.#store(this.#options.control);
    for (const { name } of this.#options.federations) {
      const table = control.dialect.quote(directoryTableName(name));
      const found = await control
        .read(`select 1 as found from ${table} where shard = ? and state <> 'removed' limit 1`, [shard])
        .catch(absent);
      if (found !== undefined && found.rows.length > 0) return true;
    }
    return false;
  }

  #address(shard: number): string {
    return this.#options.shardDatabase(shard).engine.address.display;
  }

  #store(database: Database): ControlStore {
    return new ControlStore(database, { cluster: "main" });
  }

  #shardStore(shard: number): ControlStore {
    return new ControlStore(this.#options.shardDatabase(shard), { cluster: "shards", shard });
  }
}

async function read(
  store: ControlRunner & { readonly dialect: ControlStore["dialect"] },
  name: string,
): Promise<string | undefined> {
  const codec = new RowCodec(store.dialect, meta);
  const { rows } = await store.run(`select value from ${META_TABLE} where name = ?`, [
    codec.encode("name", name),
  ]);
  return rows[0] === undefined ? undefined : (codec.decode("value", rows[0]["value"]) as string);
}

/** Undefined also where there are no control tables yet. */
function readTolerantly(database: Database, name: string): Promise<string | undefined> {
  return read(new ControlStore(database), name).catch(absent);
}

function absent(error: unknown): undefined {
  if (error instanceof TesseraeError && error.code === "SCHEMA_NOT_APPLIED") return undefined;
  throw error;
}

/** The value that is there; `value` if there was none. Two processes that write at once agree on the first one's. */
async function writeOnce(store: ControlStore, name: string, value: string): Promise<string> {
  const codec = new RowCodec(store.dialect, meta);
  const { verb, suffix } = store.capabilities.insertIgnore;
  const known = await read(store, name);
  if (known !== undefined) return known;
  await store.run(`insert ${verb} into ${META_TABLE} (name, value) values (?, ?) ${suffix}`, [
    codec.encode("name", name),
    codec.encode("value", value),
  ]);
  return (await read(store, name)) ?? value;
}
