/**
 * Key → shard, as one process sees it: a bounded cache over the directory's rows in main, kept honest by the change feed's lease.
 *
 * A lookup that reads the database while the feed reports a change of the same key must not put its old answer into the cache after the
 * change was dealt with: it would stay there for as long as nobody changes the key again. So lookups under way are known by key, and a change marks them; a
 * marked lookup looks again.
 */
import { TesseraeError } from "../base/errors.ts";
import { GenerationCache } from "../base/generation-cache.ts";
import type { ControlStore } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";
import type { ChangeFeed } from "./change-feed.ts";
import { type DirectoryRow, DirectoryRows, isServed } from "./directory-rows.ts";
import { type CacheKey, KeyCodec } from "./key-codec.ts";

export const DIRECTORY_CACHE_ENTRIES_DEFAULT = 100_000;

/** A lookup whose answer changed under it looks again this often; then it is a caller's to try again. */
const LOOKUPS_MAX = 10;

/** Where a key lives. */
export interface Route {
  readonly shard: number;
  /** Rises whenever the key changes its shard. */
  readonly epoch: bigint;
  /** The key in its canonical form. */
  readonly key: KeyValue;
}

export interface DirectoryOptions {
  readonly control: ControlStore;
  readonly federation: FederationModel;
  readonly feed: ChangeFeed;
  /** Routes kept in memory, at most. */
  readonly directoryCacheEntries?: number | undefined;
}

interface LookupUnderWay {
  changed: boolean;
  readonly result: Promise<Route>;
}

export class Directory {
  readonly codec: KeyCodec;
  readonly #rows: DirectoryRows;
  readonly #feed: ChangeFeed;
  readonly #cache: GenerationCache<CacheKey, Route>;
  readonly #underWay = new Map<CacheKey, LookupUnderWay>();
  readonly #federation: string;
  #lookups = 0;

  constructor(options: DirectoryOptions) {
    this.codec = new KeyCodec(options.federation);
    this.#federation = options.federation.name;
    this.#rows = new DirectoryRows(options.control, options.federation);
    this.#feed = options.feed;
    this.#cache = new GenerationCache(options.directoryCacheEntries ?? DIRECTORY_CACHE_ENTRIES_DEFAULT);
    this.#feed.listen(this.#federation, {
      changed: ({ kind, low }) =>
        kind === "p" ? this.#forget(this.codec.cacheKey(this.codec.fromText(low))) : this.#forgetAll(),
      reset: () => this.#forgetAll(),
    });
  }

  /** Cached routes, and lookups that went to the database. */
  get stats(): { readonly entries: number; readonly lookups: number } {
    return { entries: this.#cache.size, lookups: this.#lookups };
  }

  /**
   * Where the key lives: at once from the cache while the lease is good, otherwise as a promise.
   * KEY_NULL and KEY_TYPE are thrown, KEY_UNKNOWN rejects.
   */
  locate(value: unknown): Route | Promise<Route> {
    const key = this.codec.check(value);
    const cached = this.#cache.get(this.codec.cacheKey(key));
    if (cached !== undefined && this.#feed.good()) return cached;
    return this.#locateSlowly(key);
  }

  /** Whether the route is still this process's answer, under a good lease: what a read asks again after its result has come. */
  isCurrent(route: Route): boolean {
    return this.#cache.get(this.codec.cacheKey(route.key)) === route && this.#feed.good();
  }

  /** Looks the key up in main, whatever the cache says: after a guard refused a write. */
  async refresh(value: unknown): Promise<Route> {
    const key = this.codec.check(value);
    this.#forget(this.codec.cacheKey(key));
    return this.#lookup(key);
  }

  /** Forgets what is cached of the key. */
  invalidate(value: unknown): void {
    this.#forget(this.codec.cacheKey(this.codec.check(value)));
  }

  /** Forgets what this process has cached of keys that were moved; of a range that is all. */
  forget(members: readonly { readonly kind: "p" | "r"; readonly low: KeyValue }[]): void {
    if (members.some(({ kind }) => kind === "r")) this.#forgetAll();
    else for (const { low } of members) this.#forget(this.codec.cacheKey(low));
  }

  async #locateSlowly(key: KeyValue): Promise<Route> {
    const cacheKey = this.codec.cacheKey(key);
    if (this.#cache.get(cacheKey) !== undefined) {
      await this.#feed.renew();
      const cached = this.#cache.get(cacheKey);
      if (cached !== undefined) return cached;
    }
    return this.#lookup(key);
  }

  #lookup(key: KeyValue): Promise<Route> {
    const cacheKey = this.codec.cacheKey(key);
    const other = this.#underWay.get(cacheKey);
    // A marked one reads again from now on, so that it may be joined too.
    if (other !== undefined) return other.result;
    const { promise, resolve } = Promise.withResolvers<Route>();
    const lookup: LookupUnderWay = { changed: false, result: promise };
    this.#underWay.set(cacheKey, lookup);
    resolve(this.#readUntilSteady(key, cacheKey, lookup));
    return promise;
  }

  async #readUntilSteady(key: KeyValue, cacheKey: CacheKey, lookup: LookupUnderWay): Promise<Route> {
    try {
      // What is read before the feed's position is known could change unseen in between.
      if (!this.#feed.started) await this.#feed.poll();
      for (let attempt = 1; attempt <= LOOKUPS_MAX; attempt++) {
        lookup.changed = false;
        this.#lookups++;
        const row = await this.#rows.lookup(key, this.codec.compare);
        if (lookup.changed) continue;
        const route = this.#routeOf(key, row);
        this.#cache.set(cacheKey, route);
        return route;
      }
      throw new TesseraeError(
        "KEY_UNKNOWN",
        `The place of key ${this.codec.show(key)} of federation "${this.#federation}" changed ${LOOKUPS_MAX} times while it was looked up. Try again.`,
        {
          federation: this.#federation,
          key: this.codec.toText(key),
          retryable: true,
        },
      );
    } finally {
      this.#underWay.delete(cacheKey);
    }
  }

  #routeOf(key: KeyValue, row: DirectoryRow | undefined): Route {
    if (row !== undefined && isServed(row)) return Object.freeze({ shard: row.shard, epoch: row.epoch, key });
    const what =
      row === undefined
        ? "has no shard: add it first, with fed.tenants.add(key)"
        : row.state === "admitting"
          ? "is being added; try again in a moment, or finish it with fed.tenants.add(key)"
          : row.state === "removed"
            ? "was removed; fed.tenants.add(key) brings it back, empty"
            : "is being removed";
    throw new TesseraeError(
      "KEY_UNKNOWN",
      `Key ${this.codec.show(key)} of federation "${this.#federation}" ${what}.`,
      {
        federation: this.#federation,
        key: this.codec.toText(key),
        retryable: row?.state === "admitting",
      },
    );
  }

  #forget(cacheKey: CacheKey): void {
    this.#cache.delete(cacheKey);
    const lookup = this.#underWay.get(cacheKey);
    if (lookup !== undefined) lookup.changed = true;
  }

  #forgetAll(): void {
    this.#cache.clear();
    for (const lookup of this.#underWay.values()) lookup.changed = true;
  }
}
