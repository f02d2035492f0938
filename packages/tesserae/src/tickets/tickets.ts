/**
 * Ids from tickets. In mode `blocks` a process leases many ids in one round trip and gives them from memory (`BlockStock`); in mode `single` each call is
 * a round trip of its own (`DirectIds`). Both work on the same counters, beside each other. An id is given once or never.
 */
import { TesseraeError } from "../base/errors.ts";
import { BlockStock } from "./block-stock.ts";
import { DirectIds } from "./direct-ids.ts";
import { checkCount, type IdStock, isSafe, safeNumber, TAKE_MAX } from "./id-stock.ts";
import type { NamedSequence, TicketMode } from "./sequences.ts";
import type { TicketSource } from "./ticket-source.ts";

export const TICKET_BLOCK_IDS_DEFAULT = 1_000;
/** How many times `blockIds` a block grows to, where `blockIdsMax` does not say it. */
const BLOCK_GROWTH_DEFAULT = 100;

export interface TicketsOptions {
  readonly source: TicketSource;
  readonly sequences: ReadonlyMap<string, NamedSequence>;
  /** Of the sequences that name none. Default `blocks`. */
  readonly ticketMode?: TicketMode | undefined;
  /** Ids of the smallest block. Default 1 000. */
  readonly ticketBlockIds?: number | undefined;
  /** Ids of the largest block. Default 100 × the smallest. At most twice as many of a sequence are lost when a process ends. */
  readonly ticketBlockIdsMax?: number | undefined;
}

/** Gives ids that no one else gets, over all processes. */
export class Tickets {
  readonly #options: TicketsOptions;
  readonly #blockIds: number;
  readonly #blockIdsMax: number;
  readonly #stocks = new Map<string, IdStock>();
  #closed = false;

  constructor(options: TicketsOptions) {
    const { ticketBlockIds = TICKET_BLOCK_IDS_DEFAULT, ticketBlockIdsMax } = options;
    this.#options = options;
    this.#blockIds = ticketBlockIds;
    checkBlock("blockIds", ticketBlockIds, 1);
    this.#blockIdsMax = ticketBlockIdsMax ?? Math.min(TAKE_MAX, ticketBlockIds * BLOCK_GROWTH_DEFAULT);
    checkBlock("blockIdsMax", this.#blockIdsMax, ticketBlockIds);
  }

  /**
   * The next id of a sequence. Ids of one block rise, in the order of the calls; over processes they only differ. What a process has leased and not used is lost when it
   * ends: of each sequence at most two of the largest blocks (2 × `ticketing.blockIdsMax`), and of one that is used slowly at most one and a half of the
   * smallest. TICKET_SEQUENCE_UNKNOWN, TICKET_SEQUENCE_EXHAUSTED.
   */
  next(sequence: string): Promise<bigint> {
    const id = this.#stocks.get(sequence)?.pop();
    return id === undefined ? this.#next(sequence) : Promise.resolve(id);
  }

  /** As `next`, as a number. TICKET_UNSAFE for an id above 2^53 − 1: it is given to nobody. */
  nextNumber(sequence: string): Promise<number> {
    const id = this.#stocks.get(sequence)?.pop();
    if (id !== undefined && isSafe(id)) return Promise.resolve(Number(id));
    return (id === undefined ? this.#next(sequence) : Promise.resolve(id)).then((waited) =>
      safeNumber(sequence, waited),
    );
  }

  /** The next `count` ids, rising within a block but not always without gaps. A count above a block is leased as it is. */
  async take(sequence: string, count: number): Promise<bigint[]> {
    checkCount("tickets.take", sequence, count);
    return this.#stock(sequence).take(count);
  }

  /** As `take`, as numbers. TICKET_UNSAFE for an id above 2^53 − 1: then none is given, and all are lost. */
  async takeNumbers(sequence: string, count: number): Promise<number[]> {
    return (await this.take(sequence, count)).map((id) => safeNumber(sequence, id));
  }

  /** Takes no more calls and waits for leases under way. Ids in stock are lost. */
  async close(): Promise<void> {
    this.#closed = true;
    const stocks = [...this.#stocks.values()];
    this.#stocks.clear();
    await Promise.all(stocks.map((stock) => stock.close()));
  }

  async #next(sequence: string): Promise<bigint> {
    return this.#stock(sequence).next();
  }

  #stock(name: string): IdStock {
    if (this.#closed)
      throw new TesseraeError("CLOSED", "The federation was closed; it gives no more tickets.", {
        cluster: "tickets",
        operation: "tickets.take",
      });
    let stock = this.#stocks.get(name);
    if (stock === undefined) {
      stock = this.#open(name);
      this.#stocks.set(name, stock);
    }
    return stock;
  }

  #open(name: string): IdStock {
    const { source, sequences, ticketMode } = this.#options;
    const sequence = sequences.get(name);
    if (sequence === undefined) {
      const known = [...sequences.keys()].map((each) => `"${each}"`).join(", ") || "none";
      throw new TesseraeError(
        "TICKET_SEQUENCE_UNKNOWN",
        `There is no ticket sequence "${name}"; known: ${known}. Give a column .ticket("${name}") in the schema, or name the sequence in the options. The ids of a .table() column come from fed.ids.next(table).`,
        { cluster: "tickets", operation: "tickets.next" },
      );
    }
    return (sequence.mode ?? ticketMode) === "single"
      ? new DirectIds((count) => source.lease(sequence, count))
      : new BlockStock({ source, sequence, blockIds: this.#blockIds, blockIdsMax: this.#blockIdsMax });
  }
}

function checkBlock(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= TAKE_MAX) return;
  throw new TesseraeError(
    "CONFIG_INVALID",
    `ticketing.${name} is ${value}. Give a whole number from ${least} to ${TAKE_MAX}.`,
    { cluster: "tickets" },
  );
}
