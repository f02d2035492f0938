/** Moves that come as they like: keys and ranges, split, merged, isolated, aborted, and taken up where somebody died. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { isTesseraeError } from "../../src/index.ts";
import { type AlbumsFederation, QUICK } from "../move/albums.ts";
import { SeededRandom } from "../move/chaos/seeded-random.ts";

export interface MovedThings {
  readonly shards: number;
  /** Keys with a place of their own. */
  readonly keys: readonly bigint[];
  readonly range: { readonly low: bigint; readonly high: bigint };
  /** Keys of the range, which may get a place of their own. */
  readonly ranged: readonly bigint[];
}

/** Errors of other kinds than these are for the caller to hear of. */
const MAY_MEET =
  /^(?:MOVE_|RANGE_UNKNOWN|SHARD_UNKNOWN|TENANT_BUSY|SERIALIZATION|LOCK_TIMEOUT|DEADLOCK|CLOSED)/;

export class RandomMoves {
  readonly #fed: AlbumsFederation;
  readonly #things: MovedThings;
  readonly #random: SeededRandom;
  #stopped = false;
  ended = 0;
  /** Nothing of it goes on. */
  over = false;

  constructor(fed: AlbumsFederation, things: MovedThings, seed: number) {
    this.#fed = fed;
    this.#things = things;
    this.#random = new SeededRandom(seed);
  }

  /** One move after the other, until it is stopped. */
  async run(): Promise<void> {
    try {
      while (!this.#stopped) {
        await this.#try();
        await nextTurn();
      }
    } finally {
      this.over = true;
    }
  }

  async #try(): Promise<void> {
    try {
      await this.#one();
      this.ended += 1;
    } catch (error) {
      if (!isTesseraeError(error) || !MAY_MEET.test(error.code)) throw error;
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #one(): Promise<unknown> {
    const { moves } = this.#fed;
    const random = this.#random;
    const { keys, range, ranged, shards } = this.#things;
    const to = random.int(1, shards);
    const inside = range.low + BigInt(random.int(1, Number(range.high - range.low) - 1));
    switch (random.int(0, 8)) {
      case 0:
        return moves.move(random.some(keys, 3), { to, ...QUICK });
      case 1:
        return moves.split({ at: inside, to }, QUICK);
      case 2:
        return this.#merge();
      case 3:
        return moves.move(random.pick(ranged), { to, ...QUICK });
      case 4:
        return this.#abort(random.pick(keys), to);
      case 5:
        return moves.resume();
      case 6:
        return this.#moveRange(to);
      default:
        return moves.move(random.pick(keys), { to, ...QUICK });
    }
  }

  async #ranges() {
    const { low, high } = this.#things.range;
    const ranges = await this.#fed.tenants.ranges();
    return ranges.filter((range) => range.low >= low && (range.high ?? high) <= high);
  }

  async #merge(): Promise<unknown> {
    const { low } = this.#things.range;
    const ends = (await this.#ranges()).map((range) => range.low).filter((end) => end > low);
    return ends.length === 0 ? undefined : this.#fed.moves.merge({ at: this.#random.pick(ends) }, QUICK);
  }

  async #moveRange(to: number): Promise<unknown> {
    const { low, high } = this.#random.pick(await this.#ranges());
    return this.#fed.moves.move({ low, high }, { to, ...QUICK });
  }

  async #abort(key: bigint, to: number): Promise<void> {
    const moving = this.#fed.moves.move(key, { to, ...QUICK });
    moving.catch(() => undefined);
    for (const move of await this.#fed.moves.list())
      if (move.key === `${key}`) await this.#fed.moves.abort(move.id).catch(() => undefined);
    await moving;
  }
}
