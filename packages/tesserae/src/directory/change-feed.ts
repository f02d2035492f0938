/**
 * The directory's change feed, and the lease on cached routes that it carries.
 *
 * Whoever changes where a key lives appends an entry in the same transaction. Its number is drawn under the lock of one row, held to the
 * commit: numbers come without gaps and in the order of the commits, so that a reader who has seen n can never find a smaller one later.
 *
 * A process may use what it has cached for `leaseMs`, counted from the start of its last poll that succeeded. Nothing runs by a timer: the first
 * caller past half the lease starts a poll and does not wait for it; past the whole lease callers wait. A poll reads again the entry it saw
 * last: when that is gone (pruned, or main was restored from an older state), what was missed is unknown, and all caches are cleared.
 */
import type { ControlStore, ControlTransaction } from "../engine/control-store.ts";
import { RowCodec } from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import { FEED_META, FEED_TABLE, feedTable } from "./control-tables.ts";

export const LEASE_MS_DEFAULT = 2_000;

/** Entries read in one poll; whoever is further behind clears its caches and goes on from the newest. */
const ENTRIES_MAX = 1_000;
/** Entries are kept this long: a process that polled within it loses nothing. */
const RETENTION_MS = 600_000;
/** Entries written by one statement. */
const INSERT_ENTRIES = 200;
/** Pruning comes with every so many entries. */
const PRUNE_EVERY = 64n;

export interface FeedEntry {
  readonly federation: string;
  readonly kind: "p" | "r";
  /** The key as text (`KeyCodec.toText`); of a range its lower end. */
  readonly low: string;
}

export interface FeedListener {
  /** Called for each change of a key or range of the listener's federation. */
  changed(entry: FeedEntry): void;
  /** Everything may have changed. */
  reset(): void;
}

export interface ChangeFeedOptions {
  readonly control: ControlStore;
  /** How long a cached route may be used after the start of the last good poll, in milliseconds. */
  readonly leaseMs?: number | undefined;
  /** Milliseconds on a clock that never goes back; for tests. */
  readonly now?: (() => number) | undefined;
}

export class ChangeFeed {
  readonly leaseMs: number;
  readonly #control: ControlStore;
  readonly #codec: RowCodec;
  readonly #now: () => number;
  readonly #wallNow: () => number;
  readonly #listeners = new Map<string, Set<FeedListener>>();
  /** The newest number seen; undefined before the first poll. */
  #position: bigint | undefined;
  #leaseStart = Number.NEGATIVE_INFINITY;
  #leaseStartWall = 0;
  #retryAt = Number.NEGATIVE_INFINITY;
  #polling: Promise<void> | undefined;
  #polls = 0;

  constructor(options: ChangeFeedOptions) {
    this.leaseMs = options.leaseMs ?? LEASE_MS_DEFAULT;
    this.#control = options.control;
    this.#codec = new RowCodec(options.control.dialect, feedTable());
    this.#now = options.now ?? (() => performance.now());
    this.#wallNow = options.now ?? Date.now;
  }

  /** Polls that succeeded. */
  get polls(): number {
    return this.#polls;
  }

  /** True once a position is known: what is read from the directory from then on may be cached. */
  get started(): boolean {
    return this.#position !== undefined;
  }

  listen(federation: string, listener: FeedListener): () => void {
    const listeners = this.#listeners.get(federation) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(federation, listeners);
    return () => listeners.delete(listener);
  }

  /** Whether cached routes may be used now. Past half the lease it starts a poll by the way. */
  good(): boolean {
    const age = this.#age();
    if (age <= this.leaseMs / 2) return true;
    if (age > this.leaseMs) return false;
    this.#pollInBackground();
    return true;
  }

  /** Waits for a poll that began now or within the lease; joins the one that is under way. Its error is the caller's. */
  async renew(): Promise<void> {
    while (this.#age() > this.leaseMs) await this.poll();
  }

  /** Polls now, or joins the poll under way. */
  poll(): Promise<void> {
    this.#polling ??= this.#poll().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  /** Appends entries. The caller's transaction holds the feed's lock from here to its end, so let this come last. */
  async append(transaction: ControlTransaction, ...entries: readonly FeedEntry[]): Promise<void> {
    if (entries.length > 0)
      await appendToFeed(transaction, this.#control, this.#codec, entries, this.#wallNow());
  }

  #age(): number {
    const age = this.#now() - this.#leaseStart;
    // The steady clock stands still while the machine sleeps, the wall clock may be set back: neither alone tells how old the poll is.
    const ageWall = this.#wallNow() - this.#leaseStartWall;
    return ageWall < 0 ? Number.POSITIVE_INFINITY : Math.max(age, ageWall);
  }

  #pollInBackground(): void {
    if (this.#polling !== undefined || this.#now() < this.#retryAt) return;
    // A failure is no one's yet: the lease runs on, and the first caller past its end hears of it.
    this.poll().catch(() => {
      this.#retryAt = this.#now() + this.leaseMs / 10;
    });
  }

  async #poll(): Promise<void> {
    const start = this.#now();
    const startWall = this.#wallNow();
    const from = this.#position;
    if (from === undefined) {
      this.#position = await this.#newest();
    } else {
      await this.#readFrom(from);
    }
    this.#leaseStart = start;
    this.#leaseStartWall = startWall;
    this.#polls++;
  }

  async #readFrom(from: bigint): Promise<void> {
    const { rows } = await this.#control.read(
      `select number, federation, kind, low from ${FEED_TABLE} where number >= ? order by number limit ${ENTRIES_MAX}`,
      [this.#codec.encode("number", from)],
    );
    const entries = rows.map(
      (row) => this.#codec.decodeRow(row) as unknown as FeedEntry & { number: bigint },
    );
    // Before the first entry ever there is none to see again: the first is number 1.
    const expected = from === 0n ? 1n : from;
    const missed = entries.length === 0 ? from !== 0n : entries[0]?.number !== expected;
    if (missed || entries.length === ENTRIES_MAX) {
      this.#position = await this.#newest();
      for (const listeners of this.#listeners.values()) for (const listener of listeners) listener.reset();
      return;
    }
    for (const entry of entries) {
      if (entry.number === from) continue;
      for (const listener of this.#listeners.get(entry.federation) ?? []) listener.changed(entry);
    }
    this.#position = entries.at(-1)?.number ?? from;
  }

  async #newest(): Promise<bigint> {
    const { rows } = await this.#control.read(
      `select number from ${FEED_TABLE} order by number desc limit 1`,
      [],
    );
    return rows[0] === undefined ? 0n : (this.#codec.decode("number", rows[0]["number"]) as bigint);
  }
}

const meta = metaTable();

async function appendToFeed(
  transaction: ControlTransaction,
  control: ControlStore,
  codec: RowCodec,
  entries: readonly FeedEntry[],
  nowMs: number,
): Promise<void> {
  const metaCodec = new RowCodec(control.dialect, meta);
  const name = metaCodec.encode("name", FEED_META);
  const value = await lockMeta(transaction, control, FEED_META, "0", "alone");
  const before = BigInt(value);
  const number = before + BigInt(entries.length);
  await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [
    metaCodec.encode("value", number.toString()),
    name,
  ]);
  for (let start = 0; start < entries.length; start += INSERT_ENTRIES) {
    const batch = entries.slice(start, start + INSERT_ENTRIES);
    await transaction.run(
      `insert into ${FEED_TABLE} (number, federation, kind, low, at) values ${batch.map(() => "(?, ?, ?, ?, ?)").join(", ")}`,
      batch.flatMap((entry, index) => [
        codec.encode("number", before + BigInt(start + index + 1)),
        codec.encode("federation", entry.federation),
        codec.encode("kind", entry.kind),
        codec.encode("low", entry.low),
        codec.encode("at", new Date(nowMs)),
      ]),
    );
  }
  if (number / PRUNE_EVERY === before / PRUNE_EVERY) return;
  // The newest entry stays whatever its age: readers find their place by it.
  await transaction.run(`delete from ${FEED_TABLE} where number < ? and at < ?`, [
    codec.encode("number", number),
    codec.encode("at", new Date(nowMs - RETENTION_MS)),
  ]);
}

/** Locks a row of `tesserae_meta` to the end of the transaction, alone or shared with others, and gives its value; makes it first where it is missing. */
export async function lockMeta(
  transaction: ControlTransaction,
  control: ControlStore,
  name: string,
  initial: string,
  how: "alone" | "shared",
): Promise<string> {
  const { forUpdate, forShare, insertIgnore } = control.capabilities;
  const codec = new RowCodec(control.dialect, meta);
  const encoded = codec.encode("name", name);
  const select = `select value from ${META_TABLE} where name = ?${how === "alone" ? forUpdate : forShare}`;
  const readValue = (rows: readonly Record<string, unknown>[]) =>
    codec.decode("value", rows[0]?.["value"]) as string;
  const { rows } = await transaction.run(select, [encoded]);
  if (rows.length > 0) return readValue(rows);
  await transaction.run(
    `insert ${insertIgnore.verb} into ${META_TABLE} (name, value) values (?, ?) ${insertIgnore.suffix}`,
    [encoded, codec.encode("value", initial)],
  );
  return readValue((await transaction.run(select, [encoded])).rows);
}
