/**
 * The counters of one server: leasing from them, and the states they are in.
 *
 * A row of `tesserae_tickets` gives ids to one *generation* of servers alone: the set that is in force. Each lease says for which generation and in which
 * steps it counts, and finds no row when the counter was closed meanwhile; so nobody who knows only an older set is given an id, however long he slept.
 * `tesserae_meta` says the same of the server as a whole, and is locked to make a row, to close and to open: a row cannot come into being behind a fence.
 *
 * | row | `generation` | `next_id` | `closed_id` |
 * |---|---|---|---|
 * | open | the set's | the next id | null |
 * | closed | −1 − the set's | 2^63 − 1, which also a library that knows no generations cannot lease | what `next_id` was |
 * | stopped | −1 − the set's | what somebody has had from it at least | null |
 *
 * A row is stopped when a process sees that it is behind what it gave before: the server was restored from an older state. `raise` opens it again.
 */
import { TesseraeError } from "../base/errors.ts";
import { type ControlStore, type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { TICKETS_TABLE, ticketsTable } from "../engine/control-tables.ts";
import { MetaRows } from "./meta-rows.ts";
import type { TicketBlock, TicketSequence } from "./ticket-source.ts";

/** The row of `tesserae_meta` with the state of a server's counters. */
export const TICKETS_META = "tickets";
export const BIGINT_TOP = 2n ** 63n - 1n;

/** What a server counts for: ids that leave `offset` when divided by `step`, in the set with the number `generation`. */
export interface CounterPlace {
  readonly generation: number;
  readonly offset: number;
  readonly step: number;
}

/** What a server says of itself. */
export interface CounterState extends CounterPlace {
  readonly state: "open" | "closed";
  /** No growth with this number or a lower one may close the counters any more: it was turned back. */
  readonly barred: number;
}

/** Main's counters, as long as nobody has said anything else of them. */
export const COUNTERS_OF_MAIN: CounterState = { generation: 0, offset: 1, step: 1, state: "open", barred: 0 };
/** A ticket server's, before it counts for anybody. */
export const COUNTERS_OF_NOBODY: CounterState = {
  generation: 0,
  offset: 0,
  step: 1,
  state: "closed",
  barred: 0,
};

export interface CounterRow {
  readonly name: string;
  readonly nextId: bigint;
  readonly step: bigint;
  readonly generation: bigint;
  readonly closedId: bigint | null;
}

/** Why nothing was leased: the server counts for another set now, or the sequence has no id left here. */
export type NoLease = "moved" | "exhausted";

/** The number that a closed or stopped row has for a generation. */
export const closedFor = (generation: number): bigint => -1n - BigInt(generation);

/** The first id from `low` on that the place gives. Beyond the last number that a counter can hold there is none: it stays there, and is exhausted. */
export function firstFrom(low: bigint, { offset, step }: CounterPlace): bigint {
  const from = low < 1n ? 1n : low;
  const ahead = (BigInt(offset) - from) % BigInt(step);
  const first = from + (ahead < 0n ? ahead + BigInt(step) : ahead);
  return first < BIGINT_TOP ? first : BIGINT_TOP;
}

/** The last id that may be given: the counter holds the id after it, which must fit its column. */
export function lastOf(sequence: TicketSequence, { step }: CounterPlace): bigint {
  const top = BIGINT_TOP - BigInt(step);
  return sequence.max < top ? sequence.max : top;
}

export function parseCounterState(text: string | undefined, unless: CounterState): CounterState {
  return text === undefined || text === "" ? unless : { ...unless, ...(JSON.parse(text) as CounterState) };
}

export class CounterTable {
  readonly store: ControlStore;
  readonly meta: MetaRows;
  readonly #codec: RowCodec;
  readonly #initial: CounterState;

  /** `initial`: what the server is while its `tesserae_meta` says nothing. */
  constructor(store: ControlStore, initial: CounterState) {
    this.store = store;
    this.meta = new MetaRows(store);
    this.#codec = new RowCodec(store.dialect, ticketsTable());
    this.#initial = initial;
  }

  /** Leases `count` ids by one statement, if the row is there, open, and has so many; otherwise `leaseSlowly` finds out why not. */
  async lease(
    sequence: TicketSequence,
    count: number,
    place: CounterPlace,
  ): Promise<TicketBlock | NoLease | undefined> {
    const step = BigInt(place.step);
    const length = BigInt(count) * step;
    const highest = lastOf(sequence, place) - length + step;
    const raise =
      this.store.capabilities.raisedNumber === "returning"
        ? ["next_id + ?", " returning next_id"]
        : ["last_insert_id(next_id) + ?", ""];
    const { rows, affectedRows, insertId } = await this.store.run(
      `update ${TICKETS_TABLE} set next_id = ${raise[0]} where name = ? and generation = ? and step = ? and next_id <= ?${raise[1]}`,
      [
        this.#encode("next_id", length),
        this.#encode("name", sequence.name),
        this.#encode("generation", BigInt(place.generation)),
        this.#encode("step", step),
        this.#encode("next_id", highest < 0n ? 0n : highest),
      ],
    );
    const raised = rows[0]?.["next_id"];
    if (raised !== undefined)
      return { first: (this.#codec.decode("next_id", raised) as bigint) - length, count, step };
    return affectedRows === 1n && insertId !== undefined ? { first: insertId, count, step } : undefined;
  }

  /** As `lease`, by a transaction that knows why: it makes a row that is missing, and gives what is left of a sequence. */
  leaseSlowly(
    sequence: TicketSequence,
    count: number,
    place: CounterPlace,
    once = false,
  ): Promise<TicketBlock | NoLease> {
    return this.store.transaction(
      async (transaction) => {
        const state = await this.lockState(transaction);
        if (state.state !== "open" || state.generation !== place.generation || state.step !== place.step)
          return "moved";
        const row = await this.lockRow(transaction, sequence.name);
        if (row !== undefined && row.generation !== BigInt(place.generation)) throw stopped(sequence.name);
        const first = row?.nextId ?? firstFrom(sequence.start, place);
        const step = BigInt(place.step);
        const left = (lastOf(sequence, place) - first + step) / step;
        if (left <= 0n) return "exhausted";
        const granted = left < BigInt(count) ? Number(left) : count;
        const nextId = first + BigInt(granted) * step;
        if (row === undefined) await this.insertRow(transaction, sequence.name, nextId, place);
        else await this.writeRow(transaction, sequence.name, nextId, place);
        return { first, count: granted, step };
      },
      { once },
    );
  }

  /** Lets nobody lease from a row that is behind what it has given, and notes what it has given at least. */
  async stop(name: string, place: CounterPlace, given: bigint): Promise<void> {
    await this.store.transaction(async (transaction) => {
      const row = await this.lockRow(transaction, name);
      if (row?.generation !== BigInt(place.generation)) return;
      await this.stopRow(transaction, name, row.nextId < given ? given : row.nextId, place);
    });
  }

  /** Makes a row a stopped one. */
  async stopRow(
    transaction: ControlTransaction,
    name: string,
    nextId: bigint,
    { generation, step }: CounterPlace,
  ): Promise<void> {
    await transaction.run(
      `update ${TICKETS_TABLE} set next_id = ?, step = ?, generation = ?, closed_id = null where name = ?`,
      [
        this.#encode("next_id", nextId),
        this.#encode("step", BigInt(step)),
        this.#encode("generation", closedFor(generation)),
        this.#encode("name", name),
      ],
    );
  }

  /** Whether the server takes writes: changes a row into what it is. */
  async probe(name: string): Promise<void> {
    await this.store.run(`update ${TICKETS_TABLE} set next_id = next_id where name = ?`, [
      this.#encode("name", name),
    ]);
  }

  /** What the server says of itself. The lock of `tesserae_meta` is held until the transaction ends. */
  async lockState(transaction: ControlTransaction): Promise<CounterState> {
    return parseCounterState(await this.meta.lock(transaction, TICKETS_META), this.#initial);
  }

  async writeState(transaction: ControlTransaction, state: CounterState): Promise<void> {
    await this.meta.write(transaction, TICKETS_META, JSON.stringify(state));
  }

  async readState(): Promise<CounterState> {
    const rows = await this.meta.read(this.store, [TICKETS_META]);
    return parseCounterState(rows.get(TICKETS_META), this.#initial);
  }

  async lockRow(transaction: ControlTransaction, name: string): Promise<CounterRow | undefined> {
    const { rows } = await transaction.run(
      `select * from ${TICKETS_TABLE} where name = ?${this.store.capabilities.forUpdate}`,
      [this.#encode("name", name)],
    );
    return rows[0] === undefined ? undefined : this.#row(rows[0]);
  }

  /** In a transaction the rows as they are locked; outside of one as they are. */
  async readRows(transaction?: ControlTransaction): Promise<CounterRow[]> {
    const lock = transaction === undefined ? "" : this.store.capabilities.forUpdate;
    const { rows } = await (transaction ?? this.store).run(
      `select * from ${TICKETS_TABLE} order by name${lock}`,
      [],
    );
    return rows.map((row) => this.#row(row));
  }

  async readRow(name: string): Promise<CounterRow | undefined> {
    const { rows } = await this.store.run(`select * from ${TICKETS_TABLE} where name = ?`, [
      this.#encode("name", name),
    ]);
    return rows[0] === undefined ? undefined : this.#row(rows[0]);
  }

  /** An open row. */
  async insertRow(
    transaction: ControlTransaction,
    name: string,
    nextId: bigint,
    { generation, step }: CounterPlace,
  ): Promise<void> {
    await transaction.run(
      `insert into ${TICKETS_TABLE} (name, next_id, step, generation) values (?, ?, ?, ?)`,
      [
        this.#encode("name", name),
        this.#encode("next_id", nextId),
        this.#encode("step", BigInt(step)),
        this.#encode("generation", BigInt(generation)),
      ],
    );
  }

  /** Makes a row an open one. */
  async writeRow(
    transaction: ControlTransaction,
    name: string,
    nextId: bigint,
    { generation, step }: CounterPlace,
  ): Promise<void> {
    await transaction.run(
      `update ${TICKETS_TABLE} set next_id = ?, step = ?, generation = ?, closed_id = null where name = ?`,
      [
        this.#encode("next_id", nextId),
        this.#encode("step", BigInt(step)),
        this.#encode("generation", BigInt(generation)),
        this.#encode("name", name),
      ],
    );
  }

  /** Makes a row a closed one of `generation`; one that is not there comes into being. */
  async closeRow(
    transaction: ControlTransaction,
    name: string,
    closedId: bigint,
    generation: number,
  ): Promise<void> {
    const values = [
      this.#encode("next_id", BIGINT_TOP),
      this.#encode("generation", closedFor(generation)),
      this.#encode("closed_id", closedId),
      this.#encode("name", name),
    ];
    const { affectedRows } = await transaction.run(
      `update ${TICKETS_TABLE} set next_id = ?, generation = ?, closed_id = ? where name = ?`,
      values,
    );
    if (affectedRows === 0n)
      await transaction.run(
        `insert into ${TICKETS_TABLE} (next_id, generation, closed_id, name, step) values (?, ?, ?, ?, 1)`,
        values,
      );
  }

  #encode(column: string, value: unknown): unknown {
    return this.#codec.encode(column, value);
  }

  #row(raw: Record<string, unknown>): CounterRow {
    const { name, next_id, step, generation, closed_id } = this.#codec.decodeRow(raw);
    return {
      name: name as string,
      nextId: next_id as bigint,
      step: step as bigint,
      generation: generation as bigint,
      closedId: closed_id as bigint | null,
    };
  }
}

/** Whether a row was stopped; see above. */
export const isStopped = (row: CounterRow): boolean => row.generation < 0n && row.closedId === null;

function stopped(name: string): TesseraeError {
  return new TesseraeError(
    "TICKET_COUNTER_BEHIND",
    `The counter of the ticket sequence "${name}" was stopped, because it was behind ids that it had given: the server was restored from an older state. Raise it above every id that was ever given: "tesserae tickets raise ${name}", or fed.tickets.raise("${name}", { above }).`,
    { cluster: "tickets", operation: "tickets.lease" },
  );
}
