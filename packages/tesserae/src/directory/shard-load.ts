/** Keys by shard, as a chooser sees them: counted in the directory now and then, with this process's own additions since. */
import type { DirectoryRows } from "./directory-rows.ts";

/** A count older than this is made again. */
const COUNT_AGE_MS_MAX = 5_000;

export class ShardLoad {
  readonly #rows: DirectoryRows;
  readonly #shards: readonly number[];
  #counts = new Map<number, number>();
  #countedAt = Number.NEGATIVE_INFINITY;
  #counting: Promise<ReadonlyMap<number, number>> | undefined;

  constructor(rows: DirectoryRows, shards: readonly number[]) {
    this.#rows = rows;
    this.#shards = shards;
  }

  /** Counts now. */
  async count(): Promise<ReadonlyMap<number, number>> {
    const counts = await Promise.all(
      this.#shards.map(
        async (shard) => [shard, await this.#rows.count(shard, ["active", "admitting", "moving"])] as const,
      ),
    );
    return new Map(counts);
  }

  /** A few seconds old at most. */
  recent(): Promise<ReadonlyMap<number, number>> {
    if (performance.now() - this.#countedAt < COUNT_AGE_MS_MAX) return Promise.resolve(this.#counts);
    this.#counting ??= this.#recount().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  added(shard: number): void {
    this.#counts.set(shard, (this.#counts.get(shard) ?? 0) + 1);
  }

  removed(shard: number): void {
    this.#counts.set(shard, Math.max(0, (this.#counts.get(shard) ?? 0) - 1));
  }

  async #recount(): Promise<ReadonlyMap<number, number>> {
    const countedAt = performance.now();
    this.#counts = new Map(await this.count());
    this.#countedAt = countedAt;
    return this.#counts;
  }
}
