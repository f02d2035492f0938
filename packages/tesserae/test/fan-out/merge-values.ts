/** Values of each type that has an order, for tests of the merge. */
import fc from "fast-check";
import { isComparable } from "../../src/fan-out/merge/compare.ts";
import { VALUE_KINDS, type ValueKind } from "../engine/value-kinds.ts";

export const ORDERED_KINDS = VALUE_KINDS.filter(({ type }) => isComparable(type));

/** Values as the codecs give them: canonical. Few different ones, so that there are ties, with extremes among them. */
export function valuesOfKind({ arbitrary, extremes, normalize }: ValueKind): fc.Arbitrary<unknown> {
  const short = extremes.filter((value) => !(typeof value === "string" && value.length > 1_000));
  const value = fc.oneof(arbitrary, fc.constantFrom(...short)).map((given) => normalize?.(given) ?? given);
  return fc.option(value, { freq: 6 });
}
