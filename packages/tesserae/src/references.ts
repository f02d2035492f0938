/**
 * Reference tables: main holds the authoritative copy, which `fed.main` writes; every shard holds a copy to join with. `publish` replaces the shards' copies, each
 * in one transaction, so that a reader sees the old rows or the new ones.
 */
import type { ErrorPlace } from "./base/errors.ts";
import { TesseraeError } from "./base/errors.ts";
import type { Codec, Connection, Database, EngineDialect } from "./engine/contract.ts";
import { toEngineError } from "./engine/engine-error.ts";
import type { SchemaModel, TableModel } from "./schema/model.ts";

export interface ReferenceShard {
  readonly id: number;
  readonly database: Database;
  readonly isMain: boolean;
}

export interface PublishedTable {
  readonly table: string;
  readonly rows: number;
  /** The shards whose copy was replaced; main's own copy is the original. */
  readonly shards: readonly number[];
}

export class References {
  readonly #schema: SchemaModel;
  readonly #main: Database;
  readonly #shards: readonly ReferenceShard[];
  readonly #beforePublish: (operation: string) => void;

  /** `beforePublish` refuses the call where it cannot work. */
  constructor(
    schema: SchemaModel,
    main: Database,
    shards: readonly ReferenceShard[],
    beforePublish: (operation: string) => void,
  ) {
    this.#beforePublish = beforePublish;
    this.#schema = schema;
    this.#main = main;
    this.#shards = shards;
  }

  /** Copies reference tables from main to every shard: all of them, or those named. The rows of one table are held in memory. */
  async publish(...names: string[]): Promise<PublishedTable[]> {
    this.#beforePublish("references.publish");
    const published: PublishedTable[] = [];
    for (const table of this.#tables(names)) {
      const rows = await this.#read(table);
      const shards = this.#shards.filter((shard) => !shard.isMain);
      for (const shard of shards) await this.#replace(shard, table, rows);
      published.push({ table: table.name, rows: rows.length, shards: shards.map((shard) => shard.id) });
    }
    return published;
  }

  #tables(names: readonly string[]): TableModel[] {
    const all = [...this.#schema.tables.values()].filter((table) => table.kind === "reference");
    for (const name of names) {
      if (all.some((table) => table.name === name)) continue;
      throw new TesseraeError(
        "TABLE_NOT_HERE",
        `"${name}" is no reference table of the schema. Reference tables: ${all.map((table) => table.name).join(", ") || "none"}.`,
        { table: name, operation: "references.publish" },
      );
    }
    return names.length === 0 ? all : all.filter((table) => names.includes(table.name));
  }

  async #read(table: TableModel): Promise<unknown[][]> {
    const { dialect } = this.#main.engine;
    const codecs = table.columns.map((column) => dialect.codec(column.type));
    const columns = table.columns.map((column) => dialect.quote(column.name)).join(", ");
    try {
      const { rows } = await this.#main.run({
        sql: `select ${columns} from ${dialect.quote(table.name)}`,
        parameters: [],
        readOnly: true,
      });
      return rows.map((row) =>
        table.columns.map(({ name }, index) =>
          row[name] === null || row[name] === undefined ? null : codecs[index]?.decode(row[name]),
        ),
      );
    } catch (error) {
      throw toEngineError(error, dialect, {
        cluster: "main",
        table: table.name,
        operation: "references.publish",
      });
    }
  }

  async #replace(shard: ReferenceShard, table: TableModel, rows: readonly unknown[][]): Promise<void> {
    const { dialect } = shard.database.engine;
    const place: ErrorPlace = {
      cluster: "shards",
      shard: shard.id,
      table: table.name,
      operation: "references.publish",
    };
    let connection: Connection | undefined;
    try {
      connection = await shard.database.acquire();
      await connection.begin();
      await this.#upsert(connection, dialect, table, rows);
      await connection.commit();
    } catch (error) {
      throw toEngineError(error, dialect, place);
    } finally {
      connection?.release();
    }
  }

  /** Row by row and in place: federated rows may refer to these, so a row that stays is never deleted in between. */
  async #upsert(
    connection: Connection,
    dialect: EngineDialect,
    table: TableModel,
    rows: readonly unknown[][],
  ): Promise<void> {
    const writer = new RowWriter(connection, table, dialect);
    const gone = await writer.existingKeys();
    for (const row of rows) {
      if (gone.delete(writer.keyText(row))) await writer.update(row);
      else await writer.insert(row);
    }
    for (const key of gone.values()) await writer.delete(key);
  }
}

/** Statements over one table by primary key, in logical values. */
class RowWriter {
  readonly #connection: Connection;
  readonly #dialect: EngineDialect;
  readonly #table: TableModel;
  readonly #codecs: ReadonlyMap<string, Codec>;
  readonly #rest: readonly string[];

  constructor(connection: Connection, table: TableModel, dialect: EngineDialect) {
    this.#connection = connection;
    this.#dialect = dialect;
    this.#table = table;
    this.#codecs = new Map(table.columns.map((column) => [column.name, dialect.codec(column.type)]));
    this.#rest = table.columns
      .map((column) => column.name)
      .filter((name) => !table.primaryKey.includes(name));
  }

  /** The primary keys that are there, by their text. */
  async existingKeys(): Promise<Map<string, unknown[]>> {
    const { primaryKey, name } = this.#table;
    const { rows } = await this.#connection.run({
      sql: `select ${this.#list(primaryKey)} from ${this.#dialect.quote(name)}`,
      parameters: [],
    });
    const keys = rows.map((row) => primaryKey.map((column) => this.#codecs.get(column)?.decode(row[column])));
    return new Map(keys.map((key) => [textOf(key), key]));
  }

  /** Of a whole row, in the order of the table's columns. */
  keyText(row: readonly unknown[]): string {
    return textOf(this.#table.primaryKey.map((name) => this.#value(row, name)));
  }

  async insert(row: readonly unknown[]): Promise<void> {
    const names = this.#table.columns.map((column) => column.name);
    await this.#run(
      `insert into ${this.#dialect.quote(this.#table.name)} (${this.#list(names)}) values (${names.map(() => "?").join(", ")})`,
      names,
      row,
    );
  }

  async update(row: readonly unknown[]): Promise<void> {
    if (this.#rest.length === 0) return;
    const set = this.#rest.map((name) => `${this.#dialect.quote(name)} = ?`).join(", ");
    await this.#run(
      `update ${this.#dialect.quote(this.#table.name)} set ${set} where ${this.#byKey()}`,
      [...this.#rest, ...this.#table.primaryKey],
      row,
    );
  }

  async delete(key: readonly unknown[]): Promise<void> {
    const { primaryKey, name } = this.#table;
    const parameters = primaryKey.map((column, index) => this.#codecs.get(column)?.encode(key[index]));
    await this.#connection.run({
      sql: this.#dialect.placeholders(`delete from ${this.#dialect.quote(name)} where ${this.#byKey()}`),
      parameters,
    });
  }

  async #run(sql: string, names: readonly string[], row: readonly unknown[]): Promise<void> {
    const parameters = names.map((name) => {
      const value = this.#value(row, name);
      return value === null || value === undefined ? null : this.#codecs.get(name)?.encode(value);
    });
    await this.#connection.run({ sql: this.#dialect.placeholders(sql), parameters });
  }

  #value(row: readonly unknown[], name: string): unknown {
    return row[this.#table.columns.findIndex((column) => column.name === name)];
  }

  #byKey(): string {
    return this.#table.primaryKey.map((name) => `${this.#dialect.quote(name)} = ?`).join(" and ");
  }

  #list(names: readonly string[]): string {
    return names.map((name) => this.#dialect.quote(name)).join(", ");
  }
}

/** Equal for equal keys: every type a primary key can have has one text for each value. */
function textOf(key: readonly unknown[]): string {
  return JSON.stringify(
    key.map((value) =>
      value instanceof Uint8Array
        ? Buffer.from(value).toString("hex")
        : value instanceof Date
          ? value.toISOString()
          : String(value),
    ),
  );
}
