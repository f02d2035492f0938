/**
 * Exact aggregates over decimal columns, since SQLite's own sum and avg work in binary floating point:
 *
 * - `tesserae_decimal_sum(x)`: also with DISTINCT, FILTER and OVER; null over no values;
 * - `tesserae_decimal_avg(x, scale)`: rounded half away from zero to `scale` fraction digits.
 *
 * `x` is a decimal column of any precision. Both give a wide decimal (see `wide-decimal.ts`): a raw value of the logical type
 * `decimal(38, s)`, so that its codec reads it and HAVING and ORDER BY compare it exactly. They exist on the library's connections, not at another prompt.
 */
import type { DatabaseSync, SQLOutputValue } from "node:sqlite";
import { fromWideDecimal, toWideDecimal } from "./wide-decimal.ts";

export const DECIMAL_SUM = "tesserae_decimal_sum";
export const DECIMAL_AVERAGE = "tesserae_decimal_avg";

const NOT_DECIMAL = "a decimal sum or average takes decimals only";

/** The most fraction digits that a decimal has. */
const SCALE_MAX = 30;
/** The most fraction digits of a decimal that is stored as REAL. */
const REAL_SCALE_MAX = 15;
const REAL_POWERS = Array.from({ length: REAL_SCALE_MAX + 1 }, (_, scale) => Number(`1e${scale}`));

/** A sum as whole units of 10^−scale: those of small values in `units`, what has grown beyond 2^53 in `large`. */
interface DecimalSum {
  units: number;
  large: bigint;
  scale: number;
  count: number;
  /** The second argument of the average. */
  resultScale: number;
  /** Raised at the end: node:sqlite loses what a step throws. */
  problem: string | undefined;
}

const startSum = (): DecimalSum => ({
  units: 0,
  large: 0n,
  scale: 0,
  count: 0,
  resultScale: 0,
  problem: undefined,
});

export function registerDecimalFunctions(database: DatabaseSync): void {
  // Averages of 64-bit integers come here too.
  const shared = { start: startSum as never, deterministic: true, useBigIntArguments: true };
  // How many arguments the function takes is read from the length of `step`.
  const oneArgument = {
    ...shared,
    step: ((sum: DecimalSum, value: SQLOutputValue) => add(sum, value, 1)) as never,
    inverse: ((sum: DecimalSum, value: SQLOutputValue) => add(sum, value, -1)) as never,
  };
  const twoArguments = {
    ...shared,
    step: ((sum: DecimalSum, value: SQLOutputValue, scale: SQLOutputValue) =>
      add(sum, value, 1, scale)) as never,
    inverse: ((sum: DecimalSum, value: SQLOutputValue, scale: SQLOutputValue) =>
      add(sum, value, -1, scale)) as never,
  };
  database.aggregate(DECIMAL_SUM, { ...oneArgument, result: total as never });
  database.aggregate(DECIMAL_AVERAGE, { ...twoArguments, result: average as never });
}

function add(sum: DecimalSum, value: SQLOutputValue, sign: 1 | -1, resultScale?: SQLOutputValue): DecimalSum {
  if (value === null) return sum;
  sum.count += sign;
  if (resultScale !== undefined) sum.resultScale = Number(resultScale);
  if (typeof value === "number") addReal(sum, value * sign);
  else if (typeof value === "bigint") addUnits(sum, value * BigInt(sign), 0);
  else if (typeof value === "string") addWide(sum, value, sign);
  else sum.problem = NOT_DECIMAL;
  return sum;
}

/** A REAL of at most fifteen digits is k / 10^s for a whole k below 10^15: an s that fits shows itself by dividing back exactly. */
function addReal(sum: DecimalSum, value: number): void {
  const units = sum.scale <= REAL_SCALE_MAX ? unitsOf(value, sum.scale) : undefined;
  if (units === undefined) {
    const scale = REAL_POWERS.findIndex((_, candidate) => unitsOf(value, candidate) !== undefined);
    if (scale === -1) {
      sum.problem = "a decimal sum or average met a number that is no decimal of at most 15 digits";
      return;
    }
    addUnits(sum, BigInt(unitsOf(value, scale) as number), scale);
    return;
  }
  const next = sum.units + units;
  if (Number.isSafeInteger(next)) {
    sum.units = next;
  } else {
    sum.large += BigInt(sum.units) + BigInt(units);
    sum.units = 0;
  }
}

function unitsOf(value: number, scale: number): number | undefined {
  const power = REAL_POWERS[scale] as number;
  const units = Math.round(value * power);
  return Number.isSafeInteger(units) && units / power === value ? units : undefined;
}

function addWide(sum: DecimalSum, text: string, sign: 1 | -1): void {
  const decimal = fromWideDecimal(text, SCALE_MAX);
  if (decimal === undefined) {
    sum.problem = NOT_DECIMAL;
    return;
  }
  const end = decimal.length - SCALE_MAX;
  // The fraction digits that are zeros in every value so far need not be carried along.
  let scale = SCALE_MAX;
  while (scale > sum.scale && decimal.charCodeAt(end + scale - 1) === 48) scale -= 1;
  const units = BigInt(decimal.slice(0, end - 1) + decimal.slice(end, end + scale));
  addUnits(sum, sign === 1 ? units : -units, scale);
}

function addUnits(sum: DecimalSum, units: bigint, scale: number): void {
  const target = Math.max(scale, sum.scale);
  sum.large =
    (sum.large + BigInt(sum.units)) * 10n ** BigInt(target - sum.scale) +
    units * 10n ** BigInt(target - scale);
  sum.units = 0;
  sum.scale = target;
}

function total(sum: DecimalSum): string | null {
  if (sum.problem !== undefined) throw new RangeError(sum.problem);
  return sum.count === 0 ? null : toWideDecimal(canonical(sum.large + BigInt(sum.units), sum.scale));
}

function average(sum: DecimalSum): string | null {
  if (sum.problem !== undefined) throw new RangeError(sum.problem);
  if (sum.count === 0) return null;
  const scale = Math.max(0, Math.min(SCALE_MAX, sum.resultScale));
  const units = sum.large + BigInt(sum.units);
  const numerator = (units < 0n ? -units : units) * 10n ** BigInt(scale);
  const denominator = BigInt(sum.count) * 10n ** BigInt(sum.scale);
  const rounded = (2n * numerator + denominator) / (2n * denominator);
  return toWideDecimal(canonical(units < 0n ? -rounded : rounded, scale));
}

function canonical(units: bigint, scale: number): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const end = digits.length - scale;
  return `${units < 0n ? "-" : ""}${digits.slice(0, end)}${scale === 0 ? "" : `.${digits.slice(end)}`}`;
}
