/**
 * The registry of a federation's keys: add, where, list, count, remove. Each is safe against every other, in this process or another one, and
 * whoever finds work that somebody left half done finishes it: the state machine is in `tenant-machine.ts`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel, TableModel } from "../schema/model.ts";
import type { ChangeFeed } from "./change-feed.ts";
import type { ShardChooser } from "./choosers.ts";
import { pickShard } from "./choosers.ts";
import { claimAdmission, claimRangeAdmission, claimRemoval, type RegistryParts } from "./claims.ts";
import { readClosedShards } from "./closed-shards.ts";
import type { Directory } from "./directory.ts";
import { type DirectoryRow, DirectoryRows, isServed } from "./directory-rows.ts";
import type { CacheKey, KeyCodec } from "./key-codec.ts";
import { checkRange } from "./key-range.ts";
import { ResidenceRows } from "./residence-rows.ts";
import { ShardLoad } from "./shard-load.ts";
import { type ListOptions, TenantListing, type TenantPage } from "./tenant-listing.ts";
import { isUnderWay, type MachinePoint, type MachineShard, TenantMachine } from "./tenant-machine.ts";
import { type RangePlace, rangePlace, type TenantPlace, tenantPlace } from "./tenant-place.ts";
import { PURGE_BATCH_ROWS_DEFAULT, TenantRows } from "./tenant-rows.ts";

const TAKE_OVER_MS_DEFAULT = 2_000;
const WAIT_MS_DEFAULT = 30_000;
const POLL_MS_MAX = 50;
const RESUME_OLDER_THAN_MS_DEFAULT = 60_000;
const RESUME_PAGE = 100;
const CLOSED_AGE_MS_MAX = 5_000;

export interface TenantRegistryOptions {
  readonly control: ControlStore;
  readonly federation: FederationModel;
  readonly directory: Directory;
  readonly feed: ChangeFeed;
  /** The federated tables of this federation, those that are referred to first. */
  readonly tables: readonly TableModel[];
  /** All shards, in rising order. */
  readonly shards: readonly number[];
  shardDatabase(shard: number): Database;
  /** Passed before the first statement on a shard. */
  readonly shardGate?: ((shard: number) => Promise<void>) | undefined;
  /** Called before anything that adds or removes keys: refuses it where it cannot work. */
  readonly beforeChange?: ((operation: string) => void) | undefined;
  readonly chooser: ShardChooser;
  /** Rows deleted in one transaction of `remove(key, { rows: "delete" })`. Default 500. */
  readonly purgeBatchRows?: number | undefined;
  /** Work on a key by another process that shows no progress for so long is taken over, in milliseconds. Default 2 000. */
  readonly takeOverMs?: number | undefined;
  /** A call waits for other processes' work at most so long before TENANT_BUSY, in milliseconds. Default 30 000. */
  readonly waitMs?: number | undefined;
  /** Called at each step that has been made durable: for tests, which stop or kill the process there. */
  readonly at?: ((point: MachinePoint) => void | Promise<void>) | undefined;
}

export interface AddOptions {
  /** The shard to use; the chooser decides unless said. */
  readonly shard?: number;
}

export interface RemoveOptions {
  /** What happens to the key's rows: `refuse` (default) raises TENANT_NOT_EMPTY when there are any, `delete` deletes them. */
  readonly rows?: "refuse" | "delete";
}

export interface ResumeOptions {
  /** Only what nobody has touched for so long, in milliseconds. Default 60 000. */
  readonly olderThanMs?: number;
}

export class TenantRegistry<Key extends KeyValue = KeyValue> {
  readonly #options: TenantRegistryOptions;
  readonly #keys: KeyCodec;
  readonly #rows: DirectoryRows;
  readonly #machine: TenantMachine;
  readonly #parts: RegistryParts;
  readonly #load: ShardLoad;
  readonly #listing: TenantListing<Key>;
  readonly #shards = new Map<number, MachineShard>();
  #closed: readonly number[] = [];
  #closedAt = Number.NEGATIVE_INFINITY;
  /** Additions of this process under way, so that a burst of first requests for a key makes one. */
  readonly #adding = new Map<CacheKey, Promise<TenantPlace<Key>>>();

  constructor(options: TenantRegistryOptions) {
    this.#options = options;
    this.#keys = options.directory.codec;
    this.#rows = new DirectoryRows(options.control, options.federation);
    this.#load = new ShardLoad(this.#rows, options.shards);
    this.#listing = new TenantListing(this.#rows, this.#keys, options.shards);
    this.#parts = {
      federation: options.federation.name,
      control: options.control,
      directoryRows: this.#rows,
      feed: options.feed,
      keys: this.#keys,
    };
    this.#machine = new TenantMachine({
      control: options.control,
      directoryRows: this.#rows,
      purgeBatchRows: options.purgeBatchRows ?? PURGE_BATCH_ROWS_DEFAULT,
      shard: (id) => this.#shard(id),
      at: options.at ?? (() => {}),
    });
  }

  /**
   * Gives the key a shard. A key that has one keeps it, and the answer is the same for all who add it at once; a removed key comes back, empty.
   * KEY_NULL, KEY_TYPE, SHARD_UNKNOWN, TENANT_ELSEWHERE (with `shard`, when it lives on another), TENANT_BUSY.
   */
  async add(key: Key, options: AddOptions = {}): Promise<TenantPlace<Key>> {
    this.#options.beforeChange?.("tenants.add");
    const checked = this.#keys.check(key);
    const { shard } = options;
    if (shard !== undefined) this.#checkShard(shard, checked);
    const cacheKey = this.#keys.cacheKey(checked);
    let adding = this.#adding.get(cacheKey);
    if (adding === undefined) {
      adding = this.#add(checked, shard).finally(() => this.#adding.delete(cacheKey));
      this.#adding.set(cacheKey, adding);
    }
    const place = await adding;
    if (shard !== undefined && place.shard !== shard) throw this.#elsewhere(place, shard);
    return place;
  }

  /**
   * Gives a range of keys a shard: `low` inclusive, `high` exclusive; null or left out is unbounded. Every key in it is served from then on. Keys that
   * were removed before stay removed until they are added again. RANGE_INVALID; RANGE_OVERLAP with another range, or with keys that have a place of their own.
   */
  async addRange(
    range: { readonly low?: Key | null; readonly high?: Key | null },
    options: { readonly shard: number },
  ): Promise<RangePlace<Key>> {
    this.#options.beforeChange?.("tenants.addRange");
    const { low, high } = checkRange(this.#keys, range, "tenants.addRange");
    this.#checkShard(options.shard, undefined);
    await this.#options.shardGate?.(options.shard);
    const deadline = this.#deadline();
    for (;;) {
      const claim = await claimRangeAdmission(this.#parts, low, high, options.shard);
      if (claim.kind === "rests") return rangePlace<Key>(claim.row);
      if (claim.kind === "blocked") {
        await this.#awaitRest(claim.by, deadline);
        continue;
      }
      const row = await this.#machine.run(claim.row, false);
      if (row !== undefined) return rangePlace<Key>(row);
    }
  }

  /** Where the key lives, from main; `state` says whether it is served. KEY_UNKNOWN for a key that was never added. */
  async where(key: Key): Promise<TenantPlace<Key>> {
    const checked = this.#keys.check(key);
    const row = await this.#rows.lookup(checked, this.#keys.compare);
    if (row === undefined) throw this.#unknown(checked, "tenants.where");
    return tenantPlace<Key>(checked, row);
  }

  /** Keys that have a place of their own, in key order, fetched page by page; removed ones are left out. */
  list(options: ListOptions<Key> = {}): AsyncGenerator<TenantPlace<Key>, void, undefined> {
    return this.#listing.each(options);
  }

  /** One page of `list`, for callers that come back with `after`. */
  page(options: ListOptions<Key> = {}): Promise<TenantPage<Key>> {
    return this.#listing.page(options);
  }

  /** All ranges, in key order. */
  ranges(): Promise<RangePlace<Key>[]> {
    return this.#listing.ranges();
  }

  /** Keys with a place of their own on each shard, counted now. */
  count(): Promise<ReadonlyMap<number, number>> {
    return this.#load.count();
  }

  /**
   * Takes the key out. Its writers are waited for and no new one gets through; then, with `rows: "delete"`, its rows are deleted in bounded batches. Without,
   * TENANT_NOT_EMPTY when there are any, and nothing has changed. Removing a removed key does nothing. KEY_UNKNOWN, TENANT_BUSY.
   */
  async remove(key: Key, options: RemoveOptions = {}): Promise<void> {
    this.#options.beforeChange?.("tenants.remove");
    const checked = this.#keys.check(key);
    const deleteRows = options.rows === "delete";
    const deadline = this.#deadline();
    /** The life of the key that is to end: a higher epoch is another one, and not for this call to end, however long it slept. */
    let epoch: bigint | undefined;
    for (;;) {
      const row = await this.#rows.lookup(checked, this.#keys.compare);
      if (row === undefined) throw this.#unknown(checked, "tenants.remove");
      if (row.state === "removed" || (row.kind === "p" && epoch !== undefined && row.epoch > epoch)) return;
      if (row.kind === "p") epoch = row.epoch;
      if (row.state === "moving") throw await this.#moving(checked, row, "tenants.remove");
      if (isUnderWay(row)) {
        await this.#awaitRest(row, deadline);
        continue;
      }
      // Asked before anything changes: the usual refusals stop nobody.
      await this.#options.shardGate?.(row.shard);
      if (!deleteRows) await this.#refuseRows(checked, row.shard);
      const claimed = await claimRemoval(this.#parts, checked, row);
      if (claimed === undefined) continue;
      epoch = claimed.epoch;
      this.#options.directory.invalidate(checked);
      const rest = await this.#machine.run(claimed, deleteRows);
      if (rest?.state === "removed") return this.#load.removed(rest.shard);
      if (rest?.state === "active") await this.#refuseRows(checked, rest.shard);
    }
  }

  /** Finishes additions and removals that somebody began and left. Gives how many were brought to rest. */
  async resume(options: ResumeOptions = {}): Promise<number> {
    const before = new Date(Date.now() - (options.olderThanMs ?? RESUME_OLDER_THAN_MS_DEFAULT));
    let finished = 0;
    for (const shard of this.#options.shards) {
      for (const state of ["admitting", "removing", "purging"] as const) {
        for (
          let rows = await this.#rows.stale(shard, state, before, RESUME_PAGE);
          rows.length > 0;
          rows = await this.#rows.stale(shard, state, before, RESUME_PAGE)
        ) {
          for (const row of rows) {
            const claimed = await this.#machine.claim(row);
            if (claimed !== undefined && (await this.#machine.run(claimed, false)) !== undefined) finished++;
          }
        }
      }
    }
    return finished;
  }

  async #add(key: KeyValue, demanded: number | undefined): Promise<TenantPlace<Key>> {
    const deadline = this.#deadline();
    let chosen = demanded;
    /** The life of the key that this call began, if another process has finished it since. */
    let epoch: bigint | undefined;
    for (;;) {
      const row = await this.#rows.lookup(key, this.#keys.compare);
      if (row !== undefined && isServed(row)) return tenantPlace<Key>(key, row);
      // It was added by this call and removed by another since, while this process slept: nothing to bring back.
      if (row?.state === "removed" && row.epoch === epoch) return tenantPlace<Key>(key, row);
      if (row !== undefined && isUnderWay(row)) {
        await this.#awaitRest(row, deadline);
        continue;
      }
      chosen ??= await this.#choose(key);
      await this.#options.shardGate?.(chosen);
      const claim = await claimAdmission(this.#parts, key, chosen, demanded !== undefined);
      if (claim.kind === "blocked") await this.#awaitRest(claim.by, deadline);
      if (claim.kind === "elsewhere")
        throw this.#elsewhere({ key: key as Key, shard: claim.shard }, demanded as number);
      if (claim.kind === "closed") {
        this.#closedAt = Number.NEGATIVE_INFINITY;
        chosen = undefined;
      }
      if (claim.kind === "moving") throw await this.#moving(key, claim.range, "tenants.add");
      if (claim.kind !== "claimed") continue;
      epoch = claim.row.epoch;
      this.#load.added(claim.row.shard);
      const rest = await this.#machine.run(claim.row, false);
      if (rest?.state === "active") return tenantPlace<Key>(key, rest);
    }
  }

  async #choose(key: KeyValue): Promise<number> {
    const { chooser, federation } = this.#options;
    const context = {
      shards: await this.#openShards(key),
      federation: federation.name,
      load: () => this.#load.recent(),
      compareKeys: (a: KeyValue, b: KeyValue) => this.#keys.compare(a, b),
      keyBytes: (value: KeyValue) => this.#keys.toBytes(value),
    };
    return pickShard(chooser, key, context, this.#keys);
  }

  /** Without those that are being drained; what this process knows of them may be a few seconds old, and the claim looks again. */
  async #openShards(key: KeyValue): Promise<readonly number[]> {
    const { control, federation, shards } = this.#options;
    if (performance.now() - this.#closedAt > CLOSED_AGE_MS_MAX) {
      const askedAt = performance.now();
      this.#closed = await readClosedShards(control, federation.name);
      this.#closedAt = askedAt;
    }
    const open = shards.filter((shard) => !this.#closed.includes(shard));
    if (open.length > 0) return open;
    throw new TesseraeError(
      "SHARD_UNKNOWN",
      `No shard takes new keys: ${shards.join(", ")} were drained. Open one with fed.reopen(shard), or add a shard to the configuration.`,
      this.#place("tenants.add", key),
    );
  }

  /**
   * Waits until the row is no longer as it was seen. When it shows no sign of life for `takeOverMs`, by this process's own clock, the work is taken over.
   */
  async #awaitRest(seen: DirectoryRow, deadline: number): Promise<void> {
    const takeOverAt = performance.now() + (this.#options.takeOverMs ?? TAKE_OVER_MS_DEFAULT);
    for (let pauseMs = 2; ; pauseMs = Math.min(POLL_MS_MAX, pauseMs * 2)) {
      await sleep(pauseMs * (0.5 + Math.random()));
      const row = await this.#rows.find(this.#options.control, seen.kind, seen.low);
      if (
        row === undefined ||
        row.state !== seen.state ||
        row.token !== seen.token ||
        row.updated.getTime() !== seen.updated.getTime()
      )
        return;
      const now = performance.now();
      if (now >= takeOverAt) {
        const claimed = await this.#machine.claim(row);
        if (claimed !== undefined) await this.#machine.run(claimed, false);
        return;
      }
      if (now >= deadline) {
        throw new TesseraeError(
          "TENANT_BUSY",
          `${seen.kind === "p" ? "Key" : "The range from"} ${this.#keys.show(seen.low)} is ${seen.state} by another process, which did not finish in time. Try again.`,
          this.#place("tenants", seen.low),
        );
      }
    }
  }

  async #refuseRows(key: KeyValue, shard: number): Promise<void> {
    const table = await this.#shard(shard).rows.firstTableWithRows(key);
    if (table === undefined) return;
    throw new TesseraeError(
      "TENANT_NOT_EMPTY",
      `Key ${this.#keys.show(key)} of federation "${this.#options.federation.name}" has rows in table "${table}" on shard ${shard}. Delete them first, or remove the key with { rows: "delete" }.`,
      { ...this.#place("tenants.remove", key), shard, table },
    );
  }

  #shard(id: number): MachineShard {
    let shard = this.#shards.get(id);
    if (shard === undefined) {
      const { federation, tables, shards } = this.#options;
      if (!shards.includes(id)) throw this.#unknownShard(id, undefined);
      const place = { cluster: "shards", shard: id, federation: federation.name };
      const { shardGate } = this.#options;
      const gate = shardGate === undefined ? undefined : () => shardGate(id);
      const store = new ControlStore(this.#options.shardDatabase(id), place, gate);
      shard = {
        residences: new ResidenceRows(id, store, federation, this.#keys),
        rows: new TenantRows(store, tables),
      };
      this.#shards.set(id, shard);
    }
    return shard;
  }

  #checkShard(shard: number, key: KeyValue | undefined): number {
    if (!this.#options.shards.includes(shard)) throw this.#unknownShard(shard, key);
    return shard;
  }

  #deadline(): number {
    return performance.now() + (this.#options.waitMs ?? WAIT_MS_DEFAULT);
  }

  #place(operation: string, key?: KeyValue) {
    return {
      federation: this.#options.federation.name,
      operation,
      key: key === undefined ? undefined : this.#keys.toText(key),
    };
  }

  #unknown(key: KeyValue, operation: string): TesseraeError {
    return new TesseraeError(
      "KEY_UNKNOWN",
      `Key ${this.#keys.show(key)} of federation "${this.#options.federation.name}" has no shard: it was never added.`,
      this.#place(operation, key),
    );
  }

  async #moving(key: KeyValue, row: DirectoryRow, operation: string): Promise<TesseraeError> {
    const what =
      row.kind === "p" ? `Key ${this.#keys.show(key)}` : `The range around key ${this.#keys.show(key)}`;
    const move = await this.#rows.moveOf(row);
    return new TesseraeError(
      "MOVE_UNDER_WAY",
      `${what} of federation "${this.#options.federation.name}" is being moved from shard ${row.shard}${move === undefined ? "" : `, by move ${move}`}. Wait for it, or abort it.`,
      { ...this.#place(operation, key), shard: row.shard },
    );
  }

  #unknownShard(shard: number, key: KeyValue | undefined): TesseraeError {
    return new TesseraeError(
      "SHARD_UNKNOWN",
      `There is no shard ${shard}; the configuration has ${this.#options.shards.join(", ")}.`,
      { ...this.#place("tenants", key), shard },
    );
  }

  #elsewhere(place: { readonly key: Key; readonly shard: number }, demanded: number): TesseraeError {
    return new TesseraeError(
      "TENANT_ELSEWHERE",
      `Key ${this.#keys.show(place.key)} of federation "${this.#options.federation.name}" is to be added to shard ${demanded} but lives on shard ${place.shard}. Leave the shard out to use it where it is; moving it is another thing.`,
      { ...this.#place("tenants.add", place.key), shard: place.shard },
    );
  }
}
