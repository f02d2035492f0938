import type { TicketBlock, TicketSequence, TicketSource } from "../../src/tickets/ticket-source.ts";

/** Counts in memory, answers a turn later, and can be made to fail. */
export class MemorySource implements TicketSource {
  /** What each lease asked for. */
  readonly leases: number[] = [];
  readonly step: bigint;
  error: Error | undefined;
  /** The first id of the next lease. */
  next: bigint;

  constructor(step = 1n, next = 1n) {
    this.step = step;
    this.next = next;
  }

  async lease(_sequence: TicketSequence, count: number): Promise<TicketBlock> {
    this.leases.push(count);
    const first = this.next;
    this.next += BigInt(count) * this.step;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.error !== undefined) throw this.error;
    return { first, count, step: this.step };
  }
}
