/** Ids without a stock: each call is a round trip, and asks for as many ids as it hands over. Calls do not wait for each other. */
import type { IdStock } from "./id-stock.ts";
import type { TicketBlock } from "./ticket-source.ts";

export class DirectIds implements IdStock {
  readonly #lease: (count: number) => Promise<TicketBlock>;
  /** What calls had got when the rest of what they asked for could not be leased. */
  readonly #returned: bigint[] = [];
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(lease: (count: number) => Promise<TicketBlock>) {
    this.#lease = lease;
  }

  pop(): undefined {
    return undefined;
  }

  async next(): Promise<bigint> {
    const [id] = await this.take(1);
    return id as bigint;
  }

  take(count: number): Promise<bigint[]> {
    const work = this.#take(count).finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
    return work;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #take(count: number): Promise<bigint[]> {
    const ids = this.#returned.splice(0, count);
    try {
      while (ids.length < count) {
        const block = await this.#lease(count - ids.length);
        for (let i = 0, id = block.first; i < block.count; i++, id += block.step) ids.push(id);
      }
      return ids;
    } catch (error) {
      for (const id of ids) this.#returned.push(id);
      throw error;
    }
  }
}
