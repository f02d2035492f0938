/**
 * The logical types: what a value means, whichever engine keeps it. The engines' codecs turn them into the driver's values
 * and back, so that the same value read from any engine is the same JavaScript value.
 */

export type LogicalType =
  /** 32-bit integer; `number`. */
  | { readonly kind: "int" }
  /** 64-bit integer; `bigint`. */
  | { readonly kind: "bigint" }
  /** Exact decimal of up to 38 digits; `string` with `scale` fraction digits. */
  | { readonly kind: "decimal"; readonly precision: number; readonly scale: number }
  /** 64-bit binary floating point; `number`, never NaN or infinite. */
  | { readonly kind: "double" }
  | { readonly kind: "boolean" }
  /** `string`; `length` in code points, undefined for unbounded. Compares by code point unless `caseInsensitive`. */
  | { readonly kind: "text"; readonly length: number | undefined; readonly caseInsensitive: boolean }
  /** Any JSON value; whole numbers beyond 2^53 are `bigint`. */
  | { readonly kind: "json" }
  /** A moment in UTC. Precision 3: `Date`. Precision 6: ISO string with microseconds. */
  | { readonly kind: "timestamp"; readonly precision: 3 | 6 }
  /** A calendar day; `string` "YYYY-MM-DD". */
  | { readonly kind: "date" }
  /** `string`, lower case, hyphenated; ordered by bytes. */
  | { readonly kind: "uuid" }
  /** `Uint8Array`; `length` in bytes, undefined for unbounded. */
  | { readonly kind: "bytes"; readonly length: number | undefined };

export type LogicalKind = LogicalType["kind"];

/** A distribution key's value: of bigint, text, uuid (as text) or bytes. */
export type KeyValue = bigint | string | Uint8Array;

/** The types a distribution key may have. `text` and `bytes` must have a length: a key is indexed on every engine. */
export const KEY_KINDS: ReadonlySet<LogicalKind> = new Set(["bigint", "text", "uuid", "bytes"]);

/** The longest key: 900 bytes, as SQL Azure's federations had it, and inside every engine's index limit. */
export const KEY_BYTES_MAX = 900;

/** The type as a person would write it in a schema: `decimal(9, 6)`, `text(64)`. */
export function describeType(type: LogicalType): string {
  switch (type.kind) {
    case "decimal":
      return `decimal(${type.precision}, ${type.scale})`;
    case "text":
      return `${type.length === undefined ? "text()" : `text(${type.length})`}${type.caseInsensitive ? ".caseInsensitive()" : ""}`;
    case "bytes":
      return type.length === undefined ? "bytes()" : `bytes(${type.length})`;
    case "timestamp":
      return type.precision === 3 ? "timestamp()" : "timestamp(6)";
    default:
      return `${type.kind}()`;
  }
}

export function sameType(a: LogicalType, b: LogicalType): boolean {
  return describeType(a) === describeType(b);
}
