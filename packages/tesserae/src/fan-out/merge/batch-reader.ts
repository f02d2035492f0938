/**
 * Reads the shards' batches, one ahead of each: all shards are asked at the beginning, and a shard is asked again when its last batch was taken. So a shard's next rows are on their way while
 * the last ones are merged, and of each shard at most two batches are held. The first shard that fails fails the reading, whatever the others have brought.
 */
import type { ShardBatch, ShardRows } from "./shard-rows.ts";

type Place =
  | { readonly kind: "asked" }
  | { readonly kind: "arrived"; readonly batch: ShardBatch }
  | { readonly kind: "ended" };

const ASKED: Place = { kind: "asked" };
const ENDED: Place = { kind: "ended" };

export class BatchReader {
  readonly #sources: readonly ShardRows[];
  readonly #places: Place[];
  #failure: { readonly error: unknown } | undefined;
  /** Whoever waits for something to arrive: there is one reader. */
  #wake: (() => void) | undefined;
  #lastTaken = -1;
  #closing: Promise<void> | undefined;

  constructor(sources: readonly ShardRows[]) {
    this.#sources = sources;
    this.#places = sources.map(() => ASKED);
  }

  /** Asks all sources at once. */
  start(): void {
    for (let source = 0; source < this.#sources.length; source++) this.#ask(source);
  }

  /** The next batch of a source, which is not empty; undefined when it has ended. */
  async take(source: number): Promise<ShardBatch | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const place = this.#places[source] as Place;
      if (place.kind === "ended") return undefined;
      if (place.kind === "arrived") return this.#hand(source, place.batch);
      await this.#arrival();
    }
  }

  /** The next batch of whichever source has one: in turn, so that a fast one does not keep the others waiting. Undefined when all have ended. */
  async takeAny(): Promise<ShardBatch | undefined> {
    const { length } = this.#places;
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      let ended = 0;
      for (let step = 1; step <= length; step++) {
        const source = (this.#lastTaken + step) % length;
        const place = this.#places[source] as Place;
        if (place.kind === "arrived") return this.#hand(source, place.batch);
        if (place.kind === "ended") ended += 1;
      }
      if (ended === length) return undefined;
      await this.#arrival();
    }
  }

  /**
   * Returns every source that has not ended, and waits for them. What one says about its closing is for whoever opened it: the rows that were taken are right, or there is an error that
   * matters more.
   */
  close(): Promise<void> {
    this.#closing ??= this.#returnAll();
    return this.#closing;
  }

  async #returnAll(): Promise<void> {
    const open = this.#sources.filter((_, source) => this.#places[source] !== ENDED);
    this.#places.fill(ENDED);
    await Promise.allSettled(open.map(async (source) => source.return?.()));
  }

  #hand(source: number, batch: ShardBatch): ShardBatch {
    this.#lastTaken = source;
    this.#ask(source);
    return batch;
  }

  #ask(source: number): void {
    this.#places[source] = ASKED;
    void this.#answer(source);
  }

  async #answer(source: number): Promise<void> {
    try {
      const place = await this.#nextOf(source);
      if (this.#closing === undefined) this.#places[source] = place;
    } catch (error) {
      this.#places[source] = ENDED;
      this.#failure ??= { error };
    }
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  async #nextOf(source: number): Promise<Place> {
    for (;;) {
      const result = await (this.#sources[source] as ShardRows).next();
      if (result.done === true) return ENDED;
      if (result.value.length > 0) return { kind: "arrived", batch: result.value };
      if (this.#closing !== undefined) return ENDED;
    }
  }

  #arrival(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
