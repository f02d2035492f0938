/**
 * What the contexts of this process have written. A context is what `fed.freshness.run` opens, a web request or a job; outside of any, the process is one. A
 * write notes no more than that there was one: where it is in the primary's log is asked once, by the first read on a replica that comes after it, and any position
 * that is asked after the write will do.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Primary } from "./primary.ts";
import { Wish } from "./wish.ts";

/** The writes of one context on one primary. */
export class OwnWrites {
  readonly #primary: Primary;
  #noted = 0;
  #notedMs = 0;
  /** How many of those noted the wish stands for. */
  #asked = 0;
  #wish: Wish | undefined;

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  /** A statement that may have written has ended, whatever its end. */
  note(): void {
    this.#noted += 1;
    this.#notedMs = performance.now();
  }

  /** Something was written elsewhere, and its position has come along. */
  carry(position: string): void {
    this.#wish = this.#wishFor(position, performance.now());
  }

  /** Where the last write is, is not known yet. */
  get isUnasked(): boolean {
    return this.#asked < this.#noted;
  }

  /** What a read must see; as of the position that was asked last. */
  get wish(): Wish | undefined {
    return this.#wish;
  }

  /** When the last write was noted, or carried here. */
  get sinceMs(): number {
    return this.isUnasked ? this.#notedMs : (this.#wish?.sinceMs ?? 0);
  }

  /** Asks the primary; false where it keeps no position. A position that was carried here is in what it says, or no position of its. */
  async ask(): Promise<boolean> {
    const noted = this.#noted;
    const position = await this.#primary.askPosition();
    if (position === undefined) return false;
    if (noted > this.#asked) {
      this.#asked = noted;
      this.#wish = this.#wishFor(position, this.#notedMs);
    }
    return true;
  }

  /**
   * Asks the primary whether it has itself what is wished for, and takes the wish back where not: it was of another installation, or of a primary that was lost
   * with it.
   */
  async verify(): Promise<void> {
    const wish = this.#wish;
    const end = await this.#primary.askEnd();
    if (wish === undefined || wish !== this.#wish) return;
    if (end === undefined || !wish.isWithin(end)) this.#wish = undefined;
  }

  #wishFor(position: string, sinceMs: number): Wish {
    const { replication } = this.#primary;
    return new Wish(position, sinceMs, (reached, wanted) => replication.covers(reached, wanted));
  }
}

export class WriteContext {
  readonly #writes = new Map<Primary, OwnWrites>();

  find(primary: Primary): OwnWrites | undefined {
    return this.#writes.get(primary);
  }

  of(primary: Primary): OwnWrites {
    let writes = this.#writes.get(primary);
    if (writes === undefined) {
      writes = new OwnWrites(primary);
      this.#writes.set(primary, writes);
    }
    return writes;
  }

  get written(): Iterable<readonly [Primary, OwnWrites]> {
    return this.#writes;
  }
}

export class WriteContexts {
  readonly #storage = new AsyncLocalStorage<WriteContext>();
  readonly #process = new WriteContext();

  get current(): WriteContext {
    return this.#storage.getStore() ?? this.#process;
  }

  run<T>(context: WriteContext, body: () => T): T {
    return this.#storage.run(context, body);
  }
}
