/**
 * The first rows of many in an order, stable among equal ones: of rows that come in no order, only as many are held as there will be in the answer, in a heap whose top is the last of them.
 */
import type { Comparison } from "./compare.ts";

interface Held<Item> {
  readonly item: Item;
  readonly number: number;
}

export class FirstRows<Item> {
  readonly #order: Comparison<Held<Item>>;
  readonly #max: number;
  readonly #held: Held<Item>[] = [];
  #count = 0;

  /** `max`: how many to hold; `Infinity` for all. */
  constructor(order: Comparison<Item>, max: number) {
    this.#order = (a, b) => order(a.item, b.item) || a.number - b.number;
    this.#max = max;
  }

  get size(): number {
    return this.#held.length;
  }

  add(item: Item): void {
    const held = { item, number: this.#count++ };
    if (this.#max === Number.POSITIVE_INFINITY) this.#held.push(held);
    else if (this.#held.length < this.#max) this.#rise(held);
    else if (this.#max > 0 && this.#order(held, this.#held[0] as Held<Item>) < 0) this.#sink(held);
  }

  /** In their order. Nothing can be added after that. */
  sorted(): Item[] {
    return this.#held.sort(this.#order).map(({ item }) => item);
  }

  /** From the bottom, past those that come before it. */
  #rise(held: Held<Item>): void {
    let at = this.#held.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#held[parent] as Held<Item>;
      if (this.#order(above, held) > 0) break;
      this.#held[at] = above;
      at = parent;
    }
    this.#held[at] = held;
  }

  /** In the place of the top, which goes, below those that come after it. */
  #sink(held: Held<Item>): void {
    const { length } = this.#held;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      const right = child + 1;
      if (right < length && this.#order(this.#held[right] as Held<Item>, this.#held[child] as Held<Item>) > 0)
        child = right;
      const below = this.#held[child] as Held<Item>;
      if (this.#order(held, below) > 0) break;
      this.#held[at] = below;
      at = child;
    }
    this.#held[at] = held;
  }
}
