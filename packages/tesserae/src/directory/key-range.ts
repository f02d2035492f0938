/** A range of keys as callers give it, checked. */
import { TesseraeError } from "../base/errors.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { KeyCodec } from "./key-codec.ts";

/** `low` inclusive, `high` exclusive; null or left out is unbounded. KEY_TYPE; RANGE_INVALID for one that holds no key. */
export function checkRange(
  keys: KeyCodec,
  range: { readonly low?: unknown; readonly high?: unknown },
  operation: string,
): { readonly low: KeyValue; readonly high: KeyValue | null } {
  const low = range.low === undefined || range.low === null ? keys.smallest : keys.check(range.low);
  const high = range.high === undefined || range.high === null ? null : keys.check(range.high);
  if (high === null || keys.compare(low, high) < 0) return { low, high };
  throw new TesseraeError(
    "RANGE_INVALID",
    `The range from ${keys.show(low)} to ${keys.show(high)} holds no key: \`high\` is the first key that is not in it, and must be above \`low\`.`,
    { federation: keys.federation.name, operation, key: keys.toText(low) },
  );
}
