/**
 * Where a new key goes. A chooser is asked once, when the key is added; from then on the directory knows, and a chooser may be
 * changed at any time.
 */
import type { ErrorCode } from "../base/error-codes.ts";
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { KeyCodec } from "./key-codec.ts";

/** What a chooser may know besides the key. */
export interface ChooserContext {
  /** The shards that take new keys, in rising order; at least one. */
  readonly shards: readonly number[];
  /** The federation's name. */
  readonly federation: string;
  /** Keys on each shard: a count from the directory, a few seconds old at most, with this process's own additions since. */
  load(): Promise<ReadonlyMap<number, number>>;
  /** The order of keys, the database's. */
  compareKeys(a: KeyValue, b: KeyValue): number;
  /** The same bytes for the same key, in every process and version. */
  keyBytes(key: KeyValue): Uint8Array;
}

/**
 * Chooses the shard of a new key. An object or a class (without constructor arguments) will do.
 *
 * @example
 * ```ts
 * import type { ShardChooser } from "tesserae";
 *
 * class BigCustomersApart implements ShardChooser {
 *   pickShard(key: bigint | string | Uint8Array): number {
 *     return typeof key === "bigint" && key < 100n ? 1 : 2;
 *   }
 * }
 * ```
 */
export interface ShardChooser {
  /** For messages; the class's name unless said. */
  readonly name?: string;
  pickShard(key: KeyValue, context: ChooserContext): number | Promise<number>;
}

export type ShardChooserClass = new () => ShardChooser;

/** The key is the shard's number: one tenant a shard. Keys are bigint, or text of digits. */
export function tenantIsShard(): ShardChooser {
  return {
    name: "tenantIsShard()",
    pickShard(key) {
      const text = typeof key === "bigint" ? key.toString() : key;
      return typeof text === "string" && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
    },
  };
}

/** `tenantIsShard()` as a class. */
export class MultiTenantShardChooser implements ShardChooser {
  readonly name = "MultiTenantShardChooser";

  pickShard(key: KeyValue, context: ChooserContext): number | Promise<number> {
    return tenantIsShard().pickShard(key, context);
  }
}

/** At random, in proportion to the weights by shard; a shard without a weight gets no new keys. Without weights: evenly. */
export function weightedRandom(weights?: Readonly<Record<number, number>>): ShardChooser {
  const entries = Object.entries(weights ?? {}).map(([shard, weight]) => ({ shard: Number(shard), weight }));
  const bad = entries.find(({ weight }) => !Number.isFinite(weight) || weight < 0);
  if (bad !== undefined)
    throw invalid(
      `weightedRandom() gives shard ${bad.shard} the weight ${bad.weight}. A weight is a number of 0 or more.`,
    );
  if (weights !== undefined && !entries.some(({ weight }) => weight > 0))
    throw invalid("weightedRandom() gives no shard a weight above 0. Give at least one shard a weight.");
  return {
    name: "weightedRandom()",
    pickShard(_key, { shards }) {
      if (weights === undefined) return shards[Math.floor(Math.random() * shards.length)] as number;
      const total = entries.reduce((sum, { weight }) => sum + weight, 0);
      let left = Math.random() * total;
      for (const { shard, weight } of entries) {
        left -= weight;
        if (left < 0) return shard;
      }
      // Rounding can leave a hair's breadth: the last shard with a weight has it.
      return entries.findLast(({ weight }) => weight > 0)?.shard ?? Number.NaN;
    },
  };
}

/** The shard with the fewest keys; of equal ones the lowest number. */
export function leastLoaded(): ShardChooser {
  return {
    name: "leastLoaded()",
    async pickShard(_key, { shards, load }) {
      const counts = await load();
      let best = shards[0] as number;
      for (const shard of shards) if ((counts.get(shard) ?? 0) < (counts.get(best) ?? 0)) best = shard;
      return best;
    },
  };
}

export interface ChooserRange {
  /** The first key that is not in the range; left out, the range has no end. Ranges are given in rising order. */
  readonly below?: KeyValue;
  readonly shard: number;
}

/**
 * By range: the first range whose `below` is above the key.
 *
 * @example
 * ```ts
 * import { rangeChooser } from "tesserae";
 *
 * const chooser = rangeChooser([{ below: 1000n, shard: 1 }, { shard: 2 }]);
 * ```
 */
export function rangeChooser(ranges: readonly ChooserRange[]): ShardChooser {
  if (ranges.length === 0)
    throw invalid("rangeChooser() has no range. Give at least one: rangeChooser([{ shard: 1 }]).");
  const early = ranges.slice(0, -1).findIndex((range) => range.below === undefined);
  if (early >= 0)
    throw invalid(
      `rangeChooser(): range ${early + 1} has no end, so that those after it can never be reached. Only the last may leave out \`below\`.`,
    );
  return {
    name: "rangeChooser()",
    pickShard(key, { compareKeys }) {
      const range = ranges.find(({ below }) => below === undefined || compareKeys(key, below) < 0);
      return range?.shard ?? Number.NaN;
    },
  };
}

/**
 * By a hash of the key (rendezvous hashing): every process chooses the same, keys spread evenly, and of a new shard's keys each would have
 * gone elsewhere before: nothing else changes.
 */
export function hashChooser(): ShardChooser {
  return {
    name: "hashChooser()",
    pickShard(key, { shards, keyBytes }) {
      const bytes = keyBytes(key);
      let best = Number.NaN;
      let bestScore = -1;
      for (const shard of shards) {
        const score = rendezvousScore(bytes, shard);
        if (score > bestScore) {
          best = shard;
          bestScore = score;
        }
      }
      return best;
    },
  };
}

/** 53 bits from two FNV-1a passes over the key and the shard's number, each finished by MurmurHash3's mixer. Part of the data: never change it. */
export function rendezvousScore(bytes: Uint8Array, shard: number): number {
  const high = mix(fnv1a(bytes, 0x811c9dc5) ^ mix(shard));
  const low = mix(fnv1a(bytes, 0x9747b28c) ^ mix(shard ^ 0x5bd1e995));
  return (high & 0x1fffff) * 2 ** 32 + low;
}

function fnv1a(bytes: Uint8Array, seed: number): number {
  let hash = seed;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0;
}

function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A chooser from what the configuration gives: an object with `pickShard`, or a class of them. CHOOSER_INVALID. */
export function resolveChooser(given: unknown): ShardChooser {
  let candidate = given;
  if (
    typeof given === "function" &&
    typeof (given.prototype as { pickShard?: unknown } | undefined)?.pickShard === "function"
  ) {
    candidate = new (given as ShardChooserClass)();
  }
  if (
    typeof candidate === "object" &&
    candidate !== null &&
    typeof (candidate as ShardChooser).pickShard === "function"
  )
    return candidate as ShardChooser;
  throw invalid(
    `The shard chooser is ${describe(given)}. Give an object with pickShard(key, context), or a class of such objects: hashChooser(), leastLoaded(), your own.`,
  );
}

/** Asks the chooser, and holds it to the shards that exist. SHARD_UNKNOWN names the chooser. */
export async function pickShard(
  chooser: ShardChooser,
  key: KeyValue,
  context: ChooserContext,
  codec: KeyCodec,
): Promise<number> {
  const shard: unknown = await chooser.pickShard(key, context);
  if (typeof shard === "number" && context.shards.includes(shard)) return shard;
  const known = context.shards.join(", ");
  throw failure(
    "SHARD_UNKNOWN",
    `${chooserName(chooser)} chose ${typeof shard === "number" || typeof shard === "bigint" ? `shard ${shard}` : describe(shard)} for key ${codec.show(key)}, which is none of the shards that take new keys (${known}). Correct the chooser, add the shard, or open one that was drained with fed.reopen(shard).`,
    { federation: context.federation, key: codec.toText(key), operation: "pickShard" },
  );
}

function chooserName(chooser: ShardChooser): string {
  return `The chooser ${chooser.name ?? chooser.constructor.name}`;
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  return typeof value === "object"
    ? `an object of ${value.constructor?.name ?? "no class"}`
    : `a ${typeof value}`;
}

function invalid(message: string): TesseraeError {
  return failure("CHOOSER_INVALID", message, {});
}

function failure(code: ErrorCode, message: string, place: ErrorPlace): TesseraeError {
  return new TesseraeError(code, message, place);
}
