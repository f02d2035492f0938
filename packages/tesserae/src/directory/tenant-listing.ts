/** Lists of keys and ranges, page by page: what is in memory is a page, however many there are. */
import { TesseraeError } from "../base/errors.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { DirectoryRow, DirectoryRows, PageOptions } from "./directory-rows.ts";
import type { KeyCodec } from "./key-codec.ts";
import { type RangePlace, rangePlace, type TenantPlace, tenantPlace } from "./tenant-place.ts";

const PAGE_PLACES_DEFAULT = 100;
const PAGE_PLACES_MAX = 10_000;
/** Rows fetched at a time where the caller asks for no page. */
const FETCH_ROWS = 1_000;

export interface ListOptions<Key extends KeyValue = KeyValue> {
  /** Keys above this one. */
  readonly after?: Key | undefined;
  /** So many at most: of `list` all unless said, of `page` 100 unless said and at most 10 000. */
  readonly limit?: number | undefined;
  /** Keys of this shard alone. */
  readonly shard?: number | undefined;
}

export interface TenantPage<Key extends KeyValue = KeyValue> {
  readonly tenants: readonly TenantPlace<Key>[];
  /** Give it as `after` to get the next page; undefined: this was the last. */
  readonly next: Key | undefined;
}

export class TenantListing<Key extends KeyValue> {
  readonly #rows: DirectoryRows;
  readonly #keys: KeyCodec;
  readonly #shards: readonly number[];

  constructor(rows: DirectoryRows, keys: KeyCodec, shards: readonly number[]) {
    this.#rows = rows;
    this.#keys = keys;
    this.#shards = shards;
  }

  async page(options: ListOptions<Key>): Promise<TenantPage<Key>> {
    const limit = this.#checkLimit(options.limit ?? PAGE_PLACES_DEFAULT, PAGE_PLACES_MAX);
    const rows = await this.#read(options, limit + 1);
    const tenants = rows.slice(0, limit).map((row) => tenantPlace<Key>(row.low, row));
    return { tenants, next: rows.length > limit ? tenants.at(-1)?.key : undefined };
  }

  async *each(options: ListOptions<Key>): AsyncGenerator<TenantPlace<Key>, void, undefined> {
    let left =
      options.limit === undefined
        ? Number.POSITIVE_INFINITY
        : this.#checkLimit(options.limit, Number.MAX_SAFE_INTEGER);
    let after = options.after;
    while (left > 0) {
      const wanted = Math.min(FETCH_ROWS, left);
      const rows = await this.#read({ ...options, after }, wanted);
      for (const row of rows) yield tenantPlace<Key>(row.low, row);
      if (rows.length < wanted) return;
      after = rows.at(-1)?.low as Key;
      left -= rows.length;
    }
  }

  async ranges(): Promise<RangePlace<Key>[]> {
    const ranges: RangePlace<Key>[] = [];
    let after: KeyValue | undefined;
    for (;;) {
      const rows: DirectoryRow[] = await this.#rows.page({ kind: "r", after, limit: FETCH_ROWS });
      ranges.push(...rows.map((row) => rangePlace<Key>(row)));
      if (rows.length < FETCH_ROWS) return ranges;
      after = rows.at(-1)?.low;
    }
  }

  #read(options: ListOptions<Key>, limit: number): Promise<DirectoryRow[]> {
    const after = options.after === undefined ? undefined : this.#keys.check(options.after);
    const page = { kind: "p" as const, after, limit };
    return options.shard === undefined ? this.#rows.page(page) : this.#readShard(options.shard, page);
  }

  /** A state at a time, as the index has them, merged. */
  async #readShard(shard: number, page: PageOptions): Promise<DirectoryRow[]> {
    if (!this.#shards.includes(shard)) {
      throw new TesseraeError(
        "SHARD_UNKNOWN",
        `There is no shard ${shard}; the configuration has ${this.#shards.join(", ")}.`,
        { shard, operation: "tenants.list" },
      );
    }
    const states = ["active", "moving", "admitting", "removing", "purging"] as const;
    const pages = await Promise.all(states.map((state) => this.#rows.pageOfShard({ ...page, shard, state })));
    return pages
      .flat()
      .sort((a, b) => this.#keys.compare(a.low, b.low))
      .slice(0, page.limit);
  }

  #checkLimit(limit: number, max: number): number {
    if (Number.isSafeInteger(limit) && limit >= 1 && limit <= max) return limit;
    throw new TesseraeError(
      "VALUE_INVALID",
      `tenants.list: the limit is ${limit}; give a whole number from 1 to ${max}.`,
      { operation: "tenants.list" },
    );
  }
}
