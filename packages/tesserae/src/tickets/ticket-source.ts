/** Where blocks of ticket ids come from. Poor man's mode: a table of main's control database. Ticket servers are another source of the same form. */
import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { ControlStore, type ControlTransaction, RowCodec } from "../engine/control-store.ts";
import { TICKETS_TABLE, ticketsTable } from "../engine/control-tables.ts";

/** Ids `first`, `first + step`, …: `count` of them, at least one. Nobody else gets any of them, ever. */
export interface TicketBlock {
  readonly first: bigint;
  readonly count: number;
  readonly step: bigint;
}

/** A named sequence with its bounds. */
export interface TicketSequence {
  readonly name: string;
  /** The first id of a sequence that has given none. */
  readonly start: bigint;
  /** The last id that may be given: a 32-bit column takes no more than 2^31 − 1. */
  readonly max: bigint;
}

export interface TicketSource {
  /** Leases `count` ids, or as many as are left; TICKET_SEQUENCE_EXHAUSTED when none is. */
  lease(sequence: TicketSequence, count: number): Promise<TicketBlock>;
}

/**
 * Counters in a table. A lease is a transaction of its own on the source's own connections: the rollback of a caller's
 * transaction gives no id out twice, and no caller waits for another's transaction.
 */
export class TableTicketSource implements TicketSource {
  readonly #control: ControlStore;
  readonly #codec: RowCodec;

  /** `gate`: see `ControlStore`. */
  constructor(control: Database, gate?: () => Promise<void>) {
    this.#control = new ControlStore(control, { cluster: "tickets", operation: "tickets.lease" }, gate);
    this.#codec = new RowCodec(this.#control.dialect, ticketsTable());
  }

  lease(sequence: TicketSequence, count: number): Promise<TicketBlock> {
    return this.#control.transaction(async (transaction) => {
      const first = (await this.#lock(transaction, sequence)) ?? (await this.#create(transaction, sequence));
      const left = sequence.max - first + 1n;
      if (left <= 0n) {
        throw new TesseraeError(
          "TICKET_SEQUENCE_EXHAUSTED",
          `The ticket sequence "${sequence.name}" has given its last id, ${sequence.max}. Ids are never given again: let new rows use a bigint column with a sequence of its own.`,
          {
            cluster: "tickets",
            operation: "tickets.lease",
          },
        );
      }
      const granted = left < BigInt(count) ? Number(left) : count;
      await transaction.run(`update ${TICKETS_TABLE} set next_id = ? where name = ?`, [
        this.#codec.encode("next_id", first + BigInt(granted)),
        this.#codec.encode("name", sequence.name),
      ]);
      return { first, count: granted, step: 1n };
    });
  }

  async #lock(transaction: ControlTransaction, sequence: TicketSequence): Promise<bigint | undefined> {
    const sql = `select next_id from ${TICKETS_TABLE} where name = ?${this.#control.capabilities.forUpdate}`;
    const { rows } = await transaction.run(sql, [this.#codec.encode("name", sequence.name)]);
    return rows[0] === undefined ? undefined : (this.#codec.decode("next_id", rows[0]["next_id"]) as bigint);
  }

  /** The first use of a sequence; another process may be faster. */
  async #create(transaction: ControlTransaction, sequence: TicketSequence): Promise<bigint> {
    const { verb, suffix } = this.#control.capabilities.insertIgnore;
    await transaction.run(`insert ${verb} into ${TICKETS_TABLE} (name, next_id) values (?, ?) ${suffix}`, [
      this.#codec.encode("name", sequence.name),
      this.#codec.encode("next_id", sequence.start),
    ]);
    const first = await this.#lock(transaction, sequence);
    if (first === undefined)
      throw new Error(`The row of the ticket sequence "${sequence.name}" vanished from ${TICKETS_TABLE}.`);
    return first;
  }
}
