/** `fed.ids`: the ids of a table's column, by whatever its schema says: tickets, UUIDs of version 7, or a table sequence. */
import { TesseraeError } from "../base/errors.ts";
import type { ColumnModel, SchemaModel, TableModel } from "../schema/model.ts";
import type { GeneratedColumn, IdOf, Tables, TableWithId, TableWithIds } from "../schema/row-types.ts";
import { DirectIds } from "./direct-ids.ts";
import { checkCount, safeNumber } from "./id-stock.ts";
import { type SequenceCounters, tableSequences } from "./table-sequences.ts";
import type { Tickets } from "./tickets.ts";
import { uuidv7 } from "./uuidv7.ts";

/** Which column, where the table has several with generated ids. */
export interface IdOptions<Column extends string = string> {
  readonly column: Column;
}

interface IdSource {
  next(): Promise<unknown>;
  take(count: number): Promise<unknown[]>;
}

/**
 * Ids for new rows. The type is the column's: `bigint`, `number` for an `int()` column, `string` for a UUID.
 *
 * @example
 * ```ts
 * import { bigint, defineSchema, federate, global, int, sqlite, text } from "tesserae";
 *
 * const schema = defineSchema({
 *   key: bigint(),
 *   tables: { bills: global({ id: int().table({ start: 1000 }), payer: text(64) }) },
 * });
 * await using fed = await federate({ schema, main: sqlite("bills.db") });
 * await fed.schema.apply();
 * const id: number = await fed.ids.next("bills");
 * await fed.main.insertInto("bills").values({ id, payer: "Ada" }).execute();
 * ```
 */
export class Ids<T extends Tables = Tables> {
  readonly #schema: SchemaModel;
  readonly #tickets: Tickets;
  readonly #counters: SequenceCounters;
  readonly #sources = new Map<string, IdSource>();
  readonly #sequences = new Map<string, DirectIds>();
  #closed = false;

  constructor(schema: SchemaModel, tickets: Tickets, counters: SequenceCounters) {
    this.#schema = schema;
    this.#tickets = tickets;
    this.#counters = counters;
  }

  /**
   * The next id of the table's generated column. ID_NATURAL where it has none, ID_COLUMN_AMBIGUOUS where it has several and `column` says none,
   * TICKET_SEQUENCE_EXHAUSTED, TICKET_UNSAFE.
   */
  next<N extends TableWithId<T>>(table: N): Promise<IdOf<T, N, GeneratedColumn<T, N>>>;
  next<N extends TableWithIds<T>, C extends GeneratedColumn<T, N>>(
    table: N,
    options: IdOptions<C>,
  ): Promise<IdOf<T, N, C>>;
  next(table: string, options?: IdOptions): Promise<unknown> {
    const known = options === undefined ? this.#sources.get(table) : undefined;
    return known === undefined ? this.#next(table, options) : known.next();
  }

  /** The next `count` ids, at most a million, in one call. */
  take<N extends TableWithId<T>>(table: N, count: number): Promise<IdOf<T, N, GeneratedColumn<T, N>>[]>;
  take<N extends TableWithIds<T>, C extends GeneratedColumn<T, N>>(
    table: N,
    count: number,
    options: IdOptions<C>,
  ): Promise<IdOf<T, N, C>[]>;
  async take(table: string, count: number, options?: IdOptions): Promise<unknown[]> {
    checkCount("ids.take", table, count);
    return this.#source(table, options?.column).take(count);
  }

  /** Takes no more calls and waits for those under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#sources.clear();
    await Promise.all([...this.#sequences.values()].map((sequence) => sequence.close()));
  }

  async #next(table: string, options: IdOptions | undefined): Promise<unknown> {
    return this.#source(table, options?.column).next();
  }

  #source(table: string, column: string | undefined): IdSource {
    if (this.#closed)
      throw new TesseraeError("CLOSED", "The federation was closed; it gives no more ids.", {
        operation: "ids.next",
      });
    const name = column === undefined ? table : `${table}.${column}`;
    let source = this.#sources.get(name);
    if (source === undefined) {
      source = this.#open(this.#column(table, column));
      this.#sources.set(name, source);
    }
    return source;
  }

  #column(name: string, column: string | undefined): ColumnModel {
    const table = this.#schema.tables.get(name);
    if (table === undefined)
      throw new TesseraeError(
        "VALUE_INVALID",
        `The schema defines no table "${name}". It has: ${[...this.#schema.tables.keys()].join(", ")}.`,
        { table: name, operation: "ids.next" },
      );
    return column === undefined ? onlyGenerated(table) : named(table, column);
  }

  #open({ type, id }: ColumnModel): IdSource {
    const asNumber = type.kind !== "bigint";
    const tickets = this.#tickets;
    if (id?.kind === "ticket") {
      const { sequence } = id;
      return asNumber
        ? {
            next: () => tickets.nextNumber(sequence),
            take: (count) => tickets.takeNumbers(sequence, count),
          }
        : { next: () => tickets.next(sequence), take: (count) => tickets.take(sequence, count) };
    }
    if (id?.kind === "table") {
      const ids = this.#sequence(id.sequence);
      const convert = (value: bigint) => (asNumber ? safeNumber(id.sequence, value) : value);
      return {
        next: async () => convert(await ids.next()),
        take: async (count) => (await ids.take(count)).map(convert),
      };
    }
    return {
      next: () => Promise.resolve(uuidv7()),
      take: async (count) => Array.from({ length: count }, uuidv7),
    };
  }

  #sequence(name: string): DirectIds {
    let ids = this.#sequences.get(name);
    if (ids === undefined) {
      const sequence = tableSequences(this.#schema).get(name);
      if (sequence === undefined) throw new Error(`The schema has no table sequence "${name}".`);
      ids = new DirectIds((count) => this.#counters.take(sequence, count));
      this.#sequences.set(name, ids);
    }
    return ids;
  }
}

const isGenerated = ({ id }: ColumnModel) => id !== undefined && id.kind !== "autoIncrement";

function onlyGenerated(table: TableModel): ColumnModel {
  const generated = table.columns.filter(isGenerated);
  const [only, another] = generated;
  if (another !== undefined) {
    const names = generated.map(({ name }) => `"${name}"`).join(", ");
    throw new TesseraeError(
      "ID_COLUMN_AMBIGUOUS",
      `Table "${table.name}" has several columns with generated ids: ${names}. Say which: fed.ids.next("${table.name}", { column: ${names.split(", ")[0]} }).`,
      { table: table.name, operation: "ids.next" },
    );
  }
  if (only !== undefined) return only;
  const given = table.columns.find(({ id }) => id?.kind === "autoIncrement") ?? table.columns[0];
  throw natural(table, given);
}

function named(table: TableModel, name: string): ColumnModel {
  const column = table.column.get(name);
  if (column === undefined)
    throw new TesseraeError(
      "VALUE_INVALID",
      `Table "${table.name}" has no column "${name}". It has: ${table.columns.map((each) => each.name).join(", ")}.`,
      { table: table.name, column: name, operation: "ids.next" },
    );
  if (!isGenerated(column)) throw natural(table, column);
  return column;
}

function natural(table: TableModel, column: ColumnModel | undefined): TesseraeError {
  const place = { table: table.name, column: column?.name, operation: "ids.next" };
  return new TesseraeError(
    "ID_NATURAL",
    column?.id?.kind === "autoIncrement"
      ? `Column "${column.name}" of table "${table.name}" is auto-incremented: the database gives its values. Leave it out of the insert.`
      : `The values of table "${table.name}" are natural: no column of it has ids that the library makes. Give them in the insert yourself, or say in the schema where they come from: .ticket(), .uuidv7() or .table().`,
    place,
  );
}
