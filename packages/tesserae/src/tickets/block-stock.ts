/**
 * One sequence's ids in memory, leased in blocks.
 *
 * Most calls take an id from the block in use and do nothing else: `#untilMark` counts down to the next call that has to look around. That call fetches the
 * next block when the stock is low, and while a lease is under way it lets the event loop turn: a caller who awaits id after id in a loop would otherwise
 * keep the answer from being read until the last id is gone.
 *
 * At most one lease is under way, so that the ids of one counter rise within a process. Callers who find the stock empty queue; the lease asks
 * for what they all need together, or a block if that is more, and they are served in the order in which they came.
 *
 * A block is `blockIds` at first. When the next lease begins within `GROW_MS` of the last one, or a caller had to wait for it, it asks for twice as many, up to
 * `blockIdsMax`; for each `SHRINK_MS` that passed between two leases it asks for half. Blocks of the smallest size are fetched when half of one is
 * left, larger ones as soon as the one before is begun. So the stock never exceeds two blocks of the largest size: that is what a process can lose.
 */
import { type IdStock, TAKE_MAX } from "./id-stock.ts";
import type { TicketBlock, TicketSequence, TicketSource } from "./ticket-source.ts";

/** Blocks that last shorter than this grow. */
const GROW_MS = 100;
/** A block that lasts this long is followed by one of half its size. */
const SHRINK_MS = 1_000;
/** Ids between two turns of the event loop while a lease is under way: about half a millisecond of a loop that does nothing else. */
const TURN_IDS = 4_096;

export interface BlockStockOptions {
  readonly source: TicketSource;
  readonly sequence: TicketSequence;
  readonly blockIds: number;
  readonly blockIdsMax: number;
  /** Milliseconds that only rise. */
  readonly now?: (() => number) | undefined;
}

interface Waiter {
  readonly count: number;
  readonly ids: bigint[];
  readonly resolve: (ids: bigint[]) => void;
  readonly reject: (error: unknown) => void;
}

export class BlockStock implements IdStock {
  readonly #source: TicketSource;
  readonly #sequence: TicketSequence;
  readonly #blockIds: number;
  readonly #blockIdsMax: number;
  readonly #now: () => number;
  /** The block in use. */
  #next = 0n;
  #step = 1n;
  #left = 0;
  /** Ids that `pop` may hand out before `next` must look around; never more than are left of the block. */
  #untilMark = 0;
  /** Blocks after it, in the order of their leases. */
  readonly #reserve: TicketBlock[] = [];
  #reserved = 0;
  /** Ids that a call had got when the rest of what it asked for could not be leased. */
  readonly #returned: bigint[] = [];
  #waiters: Waiter[] = [];
  #lease: Promise<void> | undefined;
  /** What the next lease asks for, if nobody waits for more. */
  #size: number;
  #leasedAt = Number.NEGATIVE_INFINITY;
  #ranDry = false;
  #closed = false;

  constructor({ source, sequence, blockIds, blockIdsMax, now = () => performance.now() }: BlockStockOptions) {
    this.#source = source;
    this.#sequence = sequence;
    this.#blockIds = blockIds;
    this.#blockIdsMax = blockIdsMax;
    this.#size = blockIds;
    this.#now = now;
  }

  /** How many ids are in memory. */
  get stocked(): number {
    return this.#left + this.#reserved + this.#returned.length;
  }

  pop(): bigint | undefined {
    if (this.#untilMark === 0) return undefined;
    this.#untilMark--;
    this.#left--;
    const id = this.#next;
    this.#next = id + this.#step;
    return id;
  }

  next(): Promise<bigint> {
    const ids: bigint[] = [];
    this.#moveTo(ids, 1);
    const [id] = ids;
    if (id === undefined) return this.take(1).then(([waited]) => waited as bigint);
    this.#restock();
    if (this.#lease === undefined) return Promise.resolve(id);
    return new Promise((resolve) => setImmediate(() => resolve(id)));
  }

  take(count: number): Promise<bigint[]> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ count, ids: [], resolve, reject });
      // Those who came before are served first.
      if (this.#waiters.length === 1) this.#serve();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#lease !== undefined) await this.#lease;
  }

  /** Serves the queue from the stock, and leases for what is left of it. */
  #serve(): void {
    let served = 0;
    for (const waiter of this.#waiters) {
      this.#moveTo(waiter.ids, waiter.count);
      if (waiter.ids.length < waiter.count) break;
      waiter.resolve(waiter.ids);
      served++;
    }
    this.#waiters.splice(0, served);
    this.#restock();
  }

  /** Moves ids from the stock to the array until it holds `count`, or the stock is empty. */
  #moveTo(ids: bigint[], count: number): void {
    while (ids.length < count) {
      if (this.#left > 0) {
        const moved = Math.min(this.#left, count - ids.length);
        let id = this.#next;
        for (let i = 0; i < moved; i++, id += this.#step) ids.push(id);
        this.#next = id;
        this.#left -= moved;
        continue;
      }
      const returned = this.#returned.shift();
      if (returned !== undefined) {
        ids.push(returned);
        continue;
      }
      const block = this.#reserve.shift();
      if (block === undefined) return;
      this.#reserved -= block.count;
      this.#next = block.first;
      this.#step = block.step;
      this.#left = block.count;
    }
  }

  /** Begins a lease if the stock is low, and says when to look again. */
  #restock(): void {
    if (this.#lease === undefined && (this.#waiters.length > 0 || (!this.#closed && this.#isLow))) {
      this.#lease = this.#leaseBlock();
    } else if (this.#lease !== undefined && this.#waiters.length > 0) {
      this.#ranDry = true;
    }
    this.#setMark();
  }

  get #lowIds(): number {
    return this.#size > this.#blockIds ? this.#size : this.#blockIds >> 1;
  }

  get #isLow(): boolean {
    return this.stocked <= this.#lowIds;
  }

  #setMark(): void {
    const untilLow = this.#lease === undefined ? this.stocked - this.#lowIds - 1 : TURN_IDS;
    this.#untilMark = Math.max(0, Math.min(this.#left, untilLow));
  }

  async #leaseBlock(): Promise<void> {
    // A moment later: what several callers at once need is asked for together.
    await undefined;
    this.#resize();
    const wanted = this.#waiters.reduce((sum, waiter) => sum + waiter.count - waiter.ids.length, 0);
    try {
      const block = await this.#source.lease(
        this.#sequence,
        Math.min(TAKE_MAX, Math.max(this.#size, wanted)),
      );
      this.#lease = undefined;
      this.#reserve.push(block);
      this.#reserved += block.count;
      this.#serve();
    } catch (error) {
      this.#lease = undefined;
      this.#refuseWaiters(error);
      // A failure that nobody waits for is nobody's error while there is stock. The next try is when half of it is used.
      this.#untilMark = this.#left >> 1;
    }
  }

  #resize(): void {
    const now = this.#now();
    const lasted_ms = now - this.#leasedAt;
    if (lasted_ms >= SHRINK_MS) {
      const halvings = Math.min(30, Math.floor(lasted_ms / SHRINK_MS));
      this.#size = Math.max(this.#blockIds, Math.floor(this.#size / 2 ** halvings));
    } else if (lasted_ms < GROW_MS || this.#ranDry) {
      this.#size = Math.min(this.#blockIdsMax, this.#size * 2);
    }
    this.#leasedAt = now;
    this.#ranDry = false;
  }

  /** Those who wait hear of it, but for those whom the ids of the others suffice. */
  #refuseWaiters(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) for (const id of waiter.ids.splice(0)) this.#returned.push(id);
    for (const waiter of waiters) {
      if (waiter.count <= this.#returned.length) waiter.resolve(this.#returned.splice(0, waiter.count));
      else waiter.reject(error);
    }
  }
}
