/**
 * The highest ids in use, as the rows say: what a counter must be beyond. The question goes over connections of its own, which are closed with the answer: a
 * caller who holds all connections of a pool in transactions may be just who waits for an id.
 */
import type { Database, Engine, PoolOptions } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { SchemaModel, TableModel } from "../schema/model.ts";
import { DeadlineDatabase } from "./deadline-database.ts";

/** A database that cannot be reached, or is too busy, keeps nobody long from his first id. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Nor does one that has too many rows to be asked. */
const ANSWER_TIMEOUT_MS = 30_000;

export interface IdsInUseOptions {
  readonly schema: SchemaModel;
  readonly main: Engine;
  /** Main is not among them. */
  readonly shards: readonly { readonly id: number; readonly engine: Engine }[];
  /** Main plays a shard: federated tables are there, too. */
  readonly mainIsShard: boolean;
  readonly pool: PoolOptions;
}

/** Ids `from`, `from + step`, … up to `upTo`. */
export interface IdRange {
  readonly from: bigint;
  readonly upTo: bigint;
  readonly step: bigint;
}

export interface HighestId {
  /** Undefined when there is none. */
  readonly id: bigint | undefined;
  /** Databases that did not answer, with their reasons. */
  readonly unread: readonly string[];
}

interface Place {
  readonly name: string;
  readonly engine: Engine;
  readonly columns: readonly { readonly table: string; readonly column: string }[];
}

export class IdsInUse {
  readonly #options: IdsInUseOptions;

  constructor(options: IdsInUseOptions) {
    this.#options = options;
  }

  /** The highest id of a sequence in any of its columns; with `range`, of those in it alone. A table that is not there yet has none. */
  async highest(sequence: string, range?: IdRange): Promise<HighestId> {
    const unread: string[] = [];
    let id: bigint | undefined;
    const answers = this.#places(sequence).map(async (place) => {
      try {
        return await this.#highestAt(place, range);
      } catch (error) {
        unread.push(`${place.name}: ${error instanceof Error ? error.message : String(error)}`);
        return undefined;
      }
    });
    for (const found of await Promise.all(answers))
      if (found !== undefined && (id === undefined || found > id)) id = found;
    return { id, unread };
  }

  #places(sequence: string): Place[] {
    const { schema, main, shards, mainIsShard } = this.#options;
    const columnsOf = (wanted: (table: TableModel) => boolean) =>
      [...schema.tables.values()]
        .filter(wanted)
        .flatMap((table) =>
          table.columns
            .filter(({ id }) => id?.kind === "ticket" && id.sequence === sequence)
            .map((column) => ({ table: table.name, column: column.name })),
        );
    const federated = columnsOf(({ kind }) => kind === "federated");
    const others = columnsOf(({ kind }) => kind !== "federated");
    const places = [
      { name: "main", engine: main, columns: mainIsShard ? [...others, ...federated] : others },
      ...shards.map(({ id, engine }) => ({ name: `shard ${id}`, engine, columns: federated })),
    ];
    // What is in memory began with this process, and its one connection may be the caller's own transaction's.
    return places.filter(({ columns, engine }) => columns.length > 0 && engine.inMemory !== true);
  }

  /** One connection, once the server serves it: a pooler may have given all of the server's to transactions that wait for the very id. */
  async #open(engine: Engine): Promise<Database> {
    const { pool } = this.#options;
    const acquireTimeoutMs = Math.min(pool.acquireTimeoutMs, CONNECT_TIMEOUT_MS);
    const connectTimeoutMs = Math.min(pool.connectTimeoutMs, CONNECT_TIMEOUT_MS);
    const own = engine.open({ ...pool, connectionsMax: 1, acquireTimeoutMs, connectTimeoutMs });
    const limited = (timeoutMs: number) =>
      new DeadlineDatabase(own, { timeoutMs, connectionsMax: 1, acquireTimeoutMs });
    try {
      await limited(CONNECT_TIMEOUT_MS).run({ sql: "select 1 as answer", parameters: [], readOnly: true });
      return limited(ANSWER_TIMEOUT_MS);
    } catch (error) {
      await own.close();
      throw error;
    }
  }

  async #highestAt({ engine, columns }: Place, range: IdRange | undefined): Promise<bigint | undefined> {
    const { dialect } = engine;
    const codec = dialect.codec({ kind: "bigint" });
    const database = await this.#open(engine);
    let highest: bigint | undefined;
    try {
      for (const { table, column } of columns) {
        const name = dialect.quote(column);
        // Digits in the text: a parameter would take the column's type, which may be too narrow for it.
        const condition =
          range === undefined
            ? ""
            : ` where ${name} >= ${range.from} and ${name} <= ${range.upTo} and (${name} - ${range.from}) % ${range.step} = 0`;
        const sql = `select ${name} as id from ${dialect.quote(table)}${condition} order by ${name} desc limit 1`;
        try {
          const { rows } = await database.run({ sql, parameters: [], prepare: false, readOnly: true });
          const raw = rows[0]?.["id"];
          const id = raw === null || raw === undefined ? undefined : BigInt(codec.decode(raw) as bigint);
          if (id !== undefined && (highest === undefined || id > highest)) highest = id;
        } catch (error) {
          // Before `schema.apply()`.
          const { code, message } = toEngineError(error, dialect, {});
          if (code !== "QUERY_FAILED" || !/fed\.schema\.apply/.test(message)) throw error;
        }
      }
      return highest;
    } finally {
      await database.close();
    }
  }
}
