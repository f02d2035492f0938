/**
 * Ids from tickets, leased in blocks. Most calls take an id from the block in memory and wait for nothing; when half of a block is
 * used the next one is fetched beside the callers. What a process has leased and not used is lost when it ends: an id is given once or never.
 *
 * For each sequence there is at most one lease under way. Callers who find the stock empty queue; the lease asks for what they all need together, or
 * a block if that is more, and they are served in the order in which they came.
 */
import { TesseraeError } from "../base/errors.ts";
import type { TicketBlock, TicketSequence, TicketSource } from "./ticket-source.ts";

export const TICKET_BLOCK_IDS_DEFAULT = 1_000;
/** What one `take` may ask for: the ids are handed over as one array. */
const TAKE_MAX = 1_000_000;

export interface TicketsOptions {
  readonly source: TicketSource;
  readonly sequences: ReadonlyMap<string, TicketSequence>;
  /** Ids leased at a time: at most about two blocks are lost when a process ends. */
  readonly ticketBlockIds?: number | undefined;
}

/** Gives ids that no one else gets, over all processes. */
export class Tickets {
  readonly #options: TicketsOptions;
  readonly #blockIds: number;
  readonly #stocks = new Map<string, Stock>();
  #closed = false;

  constructor(options: TicketsOptions) {
    this.#options = options;
    this.#blockIds = options.ticketBlockIds ?? TICKET_BLOCK_IDS_DEFAULT;
    if (!Number.isSafeInteger(this.#blockIds) || this.#blockIds < 1 || this.#blockIds > TAKE_MAX) {
      throw new TesseraeError(
        "CONFIG_INVALID",
        `ticketBlockIds is ${this.#blockIds}. Give a whole number from 1 to ${TAKE_MAX}.`,
        { cluster: "tickets" },
      );
    }
  }

  /** The next id of a sequence. Ids of one process rise; over processes they only differ. TICKET_SEQUENCE_UNKNOWN, TICKET_SEQUENCE_EXHAUSTED. */
  next(sequence: string): Promise<bigint> {
    const stock = this.#stocks.get(sequence);
    const id = stock?.take();
    if (id !== undefined) return Promise.resolve(id);
    return this.#wait(sequence, 1).then((ids) => ids[0] as bigint);
  }

  /** The next `count` ids, rising but not always without gaps. A count above a block is leased as it is. */
  take(sequence: string, count: number): Promise<bigint[]> {
    return this.#wait(sequence, count);
  }

  /** Takes no more calls and waits for leases under way. Ids in stock are lost. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#stocks.values()].map((stock) => stock.close()));
    this.#stocks.clear();
  }

  async #wait(sequence: string, count: number): Promise<bigint[]> {
    if (this.#closed)
      throw new TesseraeError("CLOSED", "The federation was closed; it gives no more tickets.", {
        cluster: "tickets",
        operation: "tickets.take",
      });
    if (!Number.isSafeInteger(count) || count < 1 || count > TAKE_MAX) {
      throw new TesseraeError(
        "VALUE_INVALID",
        `tickets.take("${sequence}", ${count}): the count is a whole number from 1 to ${TAKE_MAX}.`,
        { cluster: "tickets", operation: "tickets.take" },
      );
    }
    return this.#stock(sequence).wait(count);
  }

  #stock(name: string): Stock {
    let stock = this.#stocks.get(name);
    if (stock === undefined) {
      const sequence = this.#options.sequences.get(name);
      if (sequence === undefined) {
        const known = [...this.#options.sequences.keys()].map((each) => `"${each}"`).join(", ") || "none";
        throw new TesseraeError(
          "TICKET_SEQUENCE_UNKNOWN",
          `There is no ticket sequence "${name}"; known: ${known}. Give a column .ticket("${name}") in the schema, or name the sequence in the options.`,
          { cluster: "tickets", operation: "tickets.next" },
        );
      }
      stock = new Stock(this.#options.source, sequence, this.#blockIds);
      this.#stocks.set(name, stock);
    }
    return stock;
  }
}

interface Waiter {
  readonly count: number;
  readonly ids: bigint[];
  readonly resolve: (ids: bigint[]) => void;
  readonly reject: (error: unknown) => void;
}

/** One sequence's ids in memory. */
class Stock {
  readonly #source: TicketSource;
  readonly #sequence: TicketSequence;
  readonly #blockIds: number;
  /** The block in use. */
  #next = 0n;
  #step = 1n;
  #left = 0;
  /** Blocks after it, in the order of their leases. */
  readonly #reserve: TicketBlock[] = [];
  #reserved = 0;
  /** Ids that a call had got when the rest of what it asked for could not be leased. */
  readonly #returned: bigint[] = [];
  readonly #waiters: Waiter[] = [];
  #lease: Promise<void> | undefined;

  constructor(source: TicketSource, sequence: TicketSequence, blockIds: number) {
    this.#source = source;
    this.#sequence = sequence;
    this.#blockIds = blockIds;
  }

  /** An id from the stock; undefined when it is empty. Fetches the next block when half of one is left. */
  take(): bigint | undefined {
    const id = this.#pop();
    if (this.#left + this.#reserved === this.#blockIds >> 1) this.#startLease();
    return id;
  }

  #pop(): bigint | undefined {
    if (this.#left === 0) {
      const returned = this.#returned.shift();
      if (returned !== undefined) return returned;
      const block = this.#reserve.shift();
      if (block === undefined) return undefined;
      this.#reserved -= block.count;
      this.#next = block.first;
      this.#step = block.step;
      this.#left = block.count;
    }
    const id = this.#next;
    this.#next += this.#step;
    this.#left--;
    return id;
  }

  wait(count: number): Promise<bigint[]> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ count, ids: [], resolve, reject });
      this.#serve();
    });
  }

  async close(): Promise<void> {
    await this.#lease;
  }

  /** Serves the queue from the stock, and leases for what is left of it. */
  #serve(): void {
    for (let waiter = this.#waiters[0]; waiter !== undefined; waiter = this.#waiters[0]) {
      while (waiter.ids.length < waiter.count) {
        const id = this.#pop();
        if (id === undefined) {
          this.#startLease();
          return;
        }
        waiter.ids.push(id);
      }
      this.#waiters.shift();
      waiter.resolve(waiter.ids);
    }
    if (this.#left + this.#reserved <= this.#blockIds >> 1) this.#startLease();
  }

  #startLease(): void {
    this.#lease ??= this.#leaseBlock();
  }

  async #leaseBlock(): Promise<void> {
    const wanted = this.#waiters.reduce((sum, waiter) => sum + waiter.count - waiter.ids.length, 0);
    try {
      const block = await this.#source.lease(
        this.#sequence,
        Math.min(TAKE_MAX, Math.max(this.#blockIds, wanted)),
      );
      this.#lease = undefined;
      this.#reserve.push(block);
      this.#reserved += block.count;
      this.#serve();
    } catch (error) {
      this.#lease = undefined;
      // Those who wait hear of it. A failure of a lease that nobody waits for shows when the stock is empty.
      for (const waiter of this.#waiters.splice(0)) {
        for (const id of waiter.ids) this.#returned.push(id);
        waiter.reject(error);
      }
    }
  }
}
