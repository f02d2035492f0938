/**
 * Asks the shard of a key whether it has a row with a value, or may still come to have one: before the value is given to another key, or forgotten.
 *
 * Whoever writes a value first writes the row, then claims the value in main, then commits. So whoever read a claim in main and then asks here finds each row whose
 * claim that was: committed; or not ended yet, and then it is waited for, by the row's own lock or by a lock that its transaction took before the claim. A writer that
 * comes later has a newer token. The answer holds where the shard has the key as its own after the rows were read, at the epoch of a directory's answer that is
 * younger than the claim: a shard that the key has left is never `here` at that epoch again.
 */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { untilAborted } from "../base/until-aborted.ts";
import type { Connection } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { LookupValue } from "../lookups/lookup-rows.ts";
import type { Lookup } from "../lookups/lookup-table.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Asker } from "./claims.ts";
import { type ResidenceReader, takesWrites } from "./residence-reader.ts";
import type { RouteAnswer, Target } from "./target.ts";

const LOOK_AGAIN_MS = 20;

/** Where a key's rows are, asked of main now. `removing`: it may come back with its rows. Undefined: it has none, and gets none without a new claim. */
export type HolderPlace = RouteAnswer | "removing" | undefined;

export interface HolderSource {
  readonly shards: ReadonlyMap<number, Target>;
  readonly residences: ResidenceReader;
  where(key: KeyValue): Promise<HolderPlace>;
  toText(key: KeyValue): string;
}

export class LookupHolders {
  readonly #source: HolderSource;

  constructor(source: HolderSource) {
    this.#source = source;
  }

  /** What a writer runs in its transaction before it claims, where the engine needs it. */
  async hold(lookup: Lookup, key: KeyValue, { target, connection }: Asker): Promise<void> {
    const { holdSql } = target.kit.dialect.claims;
    if (holdSql === undefined) return;
    await connection.run({ sql: holdSql, parameters: [this.#number(lookup, key)] });
  }

  /** Those of the values that the key has rows with. Waits for those who write them; LOOKUP_BUSY when they have not ended by then. */
  async found(
    lookup: Lookup,
    key: KeyValue,
    values: readonly LookupValue[],
    waitMs: number,
    asker?: Asker | undefined,
  ): Promise<LookupValue[]> {
    const deadline = performance.now() + waitMs;
    for (;;) {
      const place = await this.#source.where(key);
      if (place === undefined) return [];
      const target = place === "removing" ? undefined : this.#source.shards.get(place.shard);
      if (place !== "removing" && target === undefined)
        throw new TesseraeError(
          "SHARD_UNKNOWN",
          `A key of federation "${lookup.federation.name}" lives on shard ${place.shard}, which this configuration does not have. Add the shard to the configuration.`,
          { federation: lookup.federation.name, shard: place.shard },
        );
      if (target !== undefined) {
        const found = await this.#ask(
          lookup,
          key,
          values,
          { target, epoch: (place as RouteAnswer).epoch },
          deadline,
          asker,
        );
        if (found !== undefined) return found;
      }
      if (performance.now() > deadline) throw busy(lookup);
      await sleep(LOOK_AGAIN_MS);
    }
  }

  /** Which of the key's claims have a row, as a plain read tells now. One that is not among them may have one all the same. */
  async seen<Row extends { readonly value: LookupValue }>(
    { table, column, federation }: Lookup,
    key: KeyValue,
    rows: readonly Row[],
  ): Promise<Set<Row>> {
    const place = await this.#source.where(key);
    const target =
      place === undefined || place === "removing" ? undefined : this.#source.shards.get(place.shard);
    if (target === undefined) return new Set();
    if (!target.readiness.ready) await target.readiness.wait();
    const { dialect } = target.kit;
    const codec = dialect.codec(column.type);
    const sql = dialect.placeholders(
      `select ${dialect.quote(column.name)} as value from ${dialect.quote(table.name)} where ${dialect.quote(table.keyColumn as string)} = ? and ${dialect.quote(column.name)} in (${rows.map(() => "?").join(", ")})`,
    );
    const parameters = [
      dialect.codec(federation.key).encode(key),
      ...rows.map(({ value }) => codec.encode(value)),
    ];
    const found = await target.database.run({ sql, parameters, readOnly: true }).catch((error: unknown) => {
      throw toEngineError(error, dialect, { ...target.place, operation: "lookup", sql });
    });
    const values = new Set(found.rows.map((row) => nameOf(codec.decode(row["value"]))));
    return new Set(rows.filter(({ value }) => values.has(nameOf(value))));
  }

  /** Undefined where the key is on its way. */
  async #ask(
    lookup: Lookup,
    key: KeyValue,
    values: readonly LookupValue[],
    { target, epoch }: { readonly target: Target; readonly epoch: bigint },
    deadline: number,
    asker: Asker | undefined,
  ): Promise<LookupValue[] | undefined> {
    if (!target.readiness.ready) await target.readiness.wait();
    const look = async (connection: Connection) => {
      // The transaction that asks is not waited for: it has the shared lock itself, and its own values were compared before.
      const waiter = asker?.claimsFor?.(key) ? asker.connection : connection;
      const found = await this.#read(lookup, key, values, target, { connection, waiter }, deadline);
      const residence = await this.#source.residences.read(target, connection, key);
      return takesWrites(residence) && residence?.epoch === epoch ? found : undefined;
    };
    try {
      const { concurrentWriters } = target.kit.dialect.capabilities;
      if (!concurrentWriters && asker?.target.database === target.database)
        return await look(asker.connection);
      return await inWriteTransaction(target, deadline, look);
    } catch (error) {
      const failure = toEngineError(error, target.kit.dialect, { ...target.place, operation: "lookup" });
      const waited =
        failure.code === "LOCK_TIMEOUT" || failure.code === "DEADLOCK" || failure.code === "CONNECTION_LIMIT";
      throw waited ? busy(lookup, failure) : failure;
    }
  }

  async #read(
    { table, column, federation, model }: Lookup,
    key: KeyValue,
    values: readonly LookupValue[],
    { kit: { dialect } }: Target,
    { connection, waiter }: { readonly connection: Connection; readonly waiter: Connection },
    deadline: number,
  ): Promise<LookupValue[]> {
    const { waitSql, waitSuffix } = dialect.claims;
    const left = () => Math.max(1, deadline - performance.now());
    if (waitSql !== undefined)
      await waiter.run({
        sql: waitSql,
        parameters: [this.#number({ table, column, federation, model }, key)],
        lockWaitMs: left(),
      });
    // One value at a time: by both columns of a unique key the engine locks that row alone.
    const sql = dialect.placeholders(
      `select 1 as found from ${dialect.quote(table.name)} where ${dialect.quote(table.keyColumn as string)} = ? and ${dialect.quote(column.name)} = ?${waitSuffix}`,
    );
    const low = dialect.codec(federation.key).encode(key);
    const codec = dialect.codec(column.type);
    const found: LookupValue[] = [];
    for (const value of values) {
      const parameters = [low, codec.encode(value)];
      const lock = waitSuffix === "" ? {} : { lockWaitMs: left() };
      if ((await connection.run({ sql, parameters, ...lock })).rows.length > 0) found.push(value);
    }
    return found;
  }

  /** Stands for the lookup and the key, as the engine's lock takes it. */
  #number({ model }: Lookup, key: KeyValue): bigint {
    return createHash("sha256")
      .update(`${model.name} ${this.#source.toText(key)}`)
      .digest()
      .readBigInt64BE();
  }
}

/** A transaction that writes nothing. On an engine with one writer it waits for all others. */
async function inWriteTransaction<T>(
  { database }: Target,
  deadline: number,
  look: (connection: Connection) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(Math.max(1, Math.ceil(deadline - performance.now())));
  const connection = await orTimeout(database.acquire({ signal }), signal);
  const begun = connection.begin({ isolation: "read committed" });
  const end = () =>
    begun
      .then(() => connection.rollback())
      .then(
        () => connection.release(),
        () => connection.release(true),
      );
  try {
    await orTimeout(untilAborted(begun, signal), signal);
  } catch (error) {
    // Nobody waits for it any more, and it may still come to pass.
    void end();
    throw error;
  }
  try {
    return await look(connection);
  } finally {
    await end();
  }
}

async function orTimeout<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!signal.aborted || isTesseraeError(error)) throw error;
    throw new TesseraeError("LOCK_TIMEOUT", "The writers of a database did not end in time.", {
      cause: error,
    });
  }
}

function busy({ table, column, federation }: Lookup, cause?: unknown): TesseraeError {
  return new TesseraeError(
    "LOOKUP_BUSY",
    `A value of "${column.name}" in table "${table.name}" is being written, or its row deleted, by a transaction that has not ended. Run the whole transaction again.`,
    { federation: federation.name, table: table.name, column: column.name, operation: "lookup", cause },
  );
}

function nameOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value);
}
