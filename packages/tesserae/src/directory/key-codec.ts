/**
 * A federation's distribution key: checked, compared, shown, and turned into what a cache or a hash wants. Pure; the
 * engines' codecs turn the checked value into the driver's.
 */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import { smallestKey } from "../engine/control-tables.ts";
import { describeType, type KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";

/** A primitive that is equal for equal keys: what a `Map` is keyed by. */
export type CacheKey = number | bigint | string;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** Beyond it a bigint does not fit a JavaScript number exactly. */
const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const UUID_SHAPE = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

const encoder = new TextEncoder();

export class KeyCodec {
  readonly federation: FederationModel;
  readonly #kind: "bigint" | "text" | "uuid" | "bytes";
  readonly #length: number;

  constructor(federation: FederationModel) {
    this.federation = federation;
    const { kind } = federation.key;
    if (kind !== "bigint" && kind !== "text" && kind !== "uuid" && kind !== "bytes") {
      throw new TesseraeError(
        "SCHEMA_KEY_TYPE",
        `The key of federation "${federation.name}" is ${describeType(federation.key)}, which cannot be a key.`,
        this.#place(),
      );
    }
    this.#kind = kind;
    this.#length =
      (kind === "text" || kind === "bytes"
        ? (federation.key as { length: number | undefined }).length
        : undefined) ?? Number.POSITIVE_INFINITY;
  }

  /**
   * The canonical value of a key. A whole number is taken for a bigint key as long as it is exact; text is not, since "12" and " 12" would be
   * two tenants to one part of an application and one to another. KEY_NULL, KEY_TYPE.
   */
  check(value: unknown): KeyValue {
    if (this.#kind === "bigint") {
      if (typeof value === "bigint" && value >= INT64_MIN && value <= INT64_MAX) return value;
      if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
    } else if (this.#kind === "text") {
      if (typeof value === "string" && this.#fits(value)) return value;
    } else if (this.#kind === "uuid") {
      if (typeof value === "string" && UUID_SHAPE.test(value)) return value.toLowerCase();
    } else if (value instanceof Uint8Array && value.length <= this.#length) {
      // A copy: the caller may go on writing into its own array while the key is in a cache.
      return new Uint8Array(value);
    }
    throw this.#refusal(value);
  }

  /** The first key of all: where a range begins that is unbounded below. */
  get smallest(): KeyValue {
    return smallestKey(this.federation.key);
  }

  /** Of a checked key. */
  cacheKey(key: KeyValue): CacheKey {
    // A number hashes several times faster than a bigint, and the two never compare equal in a Map.
    if (typeof key === "bigint") return key <= SAFE_MAX && key >= -SAFE_MAX ? Number(key) : key;
    return typeof key === "string" ? key : toHex(key);
  }

  /** The key as text, from which `fromText` gives it back: for the change feed and the command line. */
  toText(key: KeyValue): string {
    return typeof key === "bigint" ? key.toString() : typeof key === "string" ? key : toHex(key);
  }

  fromText(text: string): KeyValue {
    if (this.#kind === "bigint" && /^-?\d+$/.test(text)) return this.check(BigInt(text));
    if (this.#kind === "bytes" && /^([0-9a-f]{2})*$/i.test(text))
      return this.check(Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)));
    if (this.#kind === "text" || this.#kind === "uuid") return this.check(text);
    throw this.#refusal(text);
  }

  /** The key in a message: `12`, `"ada"`, `0x00ff`. Long keys are cut. */
  show(key: KeyValue): string {
    return showValue(key);
  }

  /** The order of the databases: whole numbers by value, text by code point, UUIDs and bytes by bytes. */
  compare(a: KeyValue, b: KeyValue): number {
    if (typeof a === "string" && typeof b === "string") return compareCodePoints(a, b);
    if (a instanceof Uint8Array && b instanceof Uint8Array) return compareBytes(a, b);
    return a < b ? -1 : a > b ? 1 : 0;
  }

  /** Bytes that are the same for the same key in every process and version: what a hash of the key is made from. */
  toBytes(key: KeyValue): Uint8Array {
    if (key instanceof Uint8Array) return key;
    if (typeof key === "bigint") {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigInt64(0, key);
      return bytes;
    }
    if (this.#kind === "uuid")
      return Uint8Array.from(key.replaceAll("-", "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
    return encoder.encode(key);
  }

  #fits(text: string): boolean {
    if (text.length > this.#length && [...text].length > this.#length) return false;
    return !text.includes("\0") && text.isWellFormed();
  }

  #place(): ErrorPlace {
    return { federation: this.federation.name };
  }

  #refusal(value: unknown): TesseraeError {
    const { name, key } = this.federation;
    const type = describeType(key);
    if (value === null || value === undefined) {
      return new TesseraeError(
        "KEY_NULL",
        `The key of federation "${name}" is ${value}. A row without a key lives nowhere: give a value of type ${type}.`,
        this.#place(),
      );
    }
    const advice =
      this.#kind === "bigint"
        ? "a bigint of 64 bits (or a whole number up to 2^53 − 1)"
        : this.#kind === "uuid"
          ? "a UUID as text"
          : this.#kind === "text"
            ? `text of at most ${this.#length} code points, well-formed and without NUL`
            : `a Uint8Array of at most ${this.#length} bytes`;
    return new TesseraeError(
      "KEY_TYPE",
      `${showValue(value)} (${typeName(value)}) is no key of federation "${name}", whose keys are ${type}: give ${advice}.`,
      this.#place(),
    );
  }
}

function typeName(value: unknown): string {
  return typeof value === "object" ? (value?.constructor?.name ?? "object") : typeof value;
}

function showValue(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (value instanceof Uint8Array) return `0x${toHex(value.subarray(0, 40))}${value.length > 40 ? "…" : ""}`;
  return String(value);
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Math.sign(Buffer.compare(a, b));
}

/** JavaScript compares UTF-16 units, which puts what lies beyond the basic plane before U+E000. */
function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA === unitB) continue;
    const surrogateA = unitA >= 0xd800 && unitA <= 0xdfff;
    const surrogateB = unitB >= 0xd800 && unitB <= 0xdfff;
    // A surrogate stands for a code point above every other unit's.
    if (surrogateA !== surrogateB) return surrogateA ? 1 : -1;
    return unitA < unitB ? -1 : 1;
  }
  return Math.sign(a.length - b.length);
}
