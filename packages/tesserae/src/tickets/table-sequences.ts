/**
 * The named counters of columns with `.table()`, in `tesserae_sequences` of main's control database. They stay there when tickets go to servers of their
 * own. The ids of all processes rise in the order in which they were asked for, and none is left out but those that a caller took and did not use.
 *
 * A counter holds the next id that nobody has. Taking ids is one statement in a transaction of its own, on the connections that are reserved for control tables:
 * it takes from the counter exactly what it hands over, `count × step`, so that any step is right, and a caller's rollback gives nothing back.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { ControlStore, type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { SEQUENCES_TABLE, sequencesTable } from "../engine/control-tables.ts";
import { idMax, type SchemaModel } from "../schema/model.ts";
import type { TicketBlock } from "./ticket-source.ts";

/** One more than the last id there can be. */
const COUNTER_MAX = 2n ** 63n - 1n;

export interface TableSequence {
  readonly name: string;
  readonly start: bigint;
  readonly step: bigint;
  /** The last id that the narrowest of its columns takes. */
  readonly max: bigint;
}

/** The schema's table sequences by name. Columns that share one agree on start and step: the schema was checked. */
export function tableSequences(schema: SchemaModel): ReadonlyMap<string, TableSequence> {
  const sequences = new Map<string, TableSequence>();
  for (const table of schema.tables.values()) {
    for (const { type, id } of table.columns) {
      if (id?.kind !== "table") continue;
      const max = idMax(type);
      const known = sequences.get(id.sequence)?.max ?? max;
      const { sequence: name, start, step } = id;
      sequences.set(name, { name, start, step, max: max < known ? max : known });
    }
  }
  return sequences;
}

export class SequenceCounters {
  readonly #control: ControlStore;
  readonly #codec: RowCodec;

  /** `gate`: see `ControlStore`. */
  constructor(control: Database, gate?: () => Promise<void>) {
    this.#control = new ControlStore(control, { cluster: "main", operation: "ids.take" }, gate);
    this.#codec = new RowCodec(this.#control.dialect, sequencesTable());
  }

  /** Takes `count` ids, or as many as are left; TICKET_SEQUENCE_EXHAUSTED when none is. */
  async take(sequence: TableSequence, count: number): Promise<TicketBlock> {
    const block = await this.#raise(sequence, count).catch((error: unknown) => {
      // A transaction is tried again until it passes.
      if (error instanceof TesseraeError && error.retryable) return undefined;
      throw error;
    });
    return (
      block ?? this.#control.transaction((transaction) => this.#takeLocked(transaction, sequence, count))
    );
  }

  /** One statement, where the counter is there and has so many ids. */
  async #raise({ name, step, max }: TableSequence, count: number): Promise<TicketBlock | undefined> {
    const length = BigInt(count) * step;
    const highest = max - (length - step);
    if (highest < 1n || highest > COUNTER_MAX - length) return undefined;
    const returning = this.#control.capabilities.raisedNumber === "returning";
    const { rows, affectedRows, insertId } = await this.#control.run(
      `update ${SEQUENCES_TABLE} set next_id = ${returning ? "next_id" : "last_insert_id(next_id)"} + ? where name = ? and next_id <= ?${returning ? " returning next_id" : ""}`,
      [
        this.#codec.encode("next_id", length),
        this.#codec.encode("name", name),
        this.#codec.encode("next_id", highest),
      ],
    );
    const raised = rows[0]?.["next_id"];
    if (raised !== undefined)
      return { first: (this.#codec.decode("next_id", raised) as bigint) - length, count, step };
    return affectedRows === 1n && insertId !== undefined ? { first: insertId, count, step } : undefined;
  }

  /** With the counter locked: makes it where it is missing, and gives what is left of it. */
  async #takeLocked(
    transaction: ControlTransaction,
    sequence: TableSequence,
    count: number,
  ): Promise<TicketBlock> {
    const { name, step, max } = sequence;
    const first = (await this.#lock(transaction, name)) ?? (await this.#create(transaction, sequence));
    if (first > max)
      throw new TesseraeError(
        "TICKET_SEQUENCE_EXHAUSTED",
        `The table sequence "${name}" has given its last id up to ${max}. Ids are never given again: let new rows use a bigint column with a sequence of its own.`,
        { cluster: "main", operation: "ids.take" },
      );
    const left = (max - first) / step + 1n;
    const granted = left < BigInt(count) ? Number(left) : count;
    const next = first + BigInt(granted) * step;
    await transaction.run(`update ${SEQUENCES_TABLE} set next_id = ? where name = ?`, [
      this.#codec.encode("next_id", next < COUNTER_MAX ? next : COUNTER_MAX),
      this.#codec.encode("name", name),
    ]);
    return { first, count: granted, step };
  }

  async #lock(transaction: ControlTransaction, name: string): Promise<bigint | undefined> {
    const sql = `select next_id from ${SEQUENCES_TABLE} where name = ?${this.#control.capabilities.forUpdate}`;
    const { rows } = await transaction.run(sql, [this.#codec.encode("name", name)]);
    return rows[0] === undefined ? undefined : (this.#codec.decode("next_id", rows[0]["next_id"]) as bigint);
  }

  /** The first use of a sequence; another process may be faster. */
  async #create(transaction: ControlTransaction, { name, start }: TableSequence): Promise<bigint> {
    const { verb, suffix } = this.#control.capabilities.insertIgnore;
    await transaction.run(`insert ${verb} into ${SEQUENCES_TABLE} (name, next_id) values (?, ?) ${suffix}`, [
      this.#codec.encode("name", name),
      this.#codec.encode("next_id", start),
    ]);
    const first = await this.#lock(transaction, name);
    if (first === undefined)
      throw new Error(`The row of the table sequence "${name}" vanished from ${SEQUENCES_TABLE}.`);
    return first;
  }
}
