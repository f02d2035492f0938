/**
 * Decimals as text, compared and computed exactly, whatever number of fraction digits they have. What is computed is `units` of 10^−`scale`; the text that comes of it is in
 * the form that the engines' codecs give: no leading zeros, as many fraction digits as asked for, no "-0".
 */

export interface Decimal {
  readonly units: bigint;
  /** Fraction digits. */
  readonly scale: number;
}

const MINUS = 45;
const POINT = 46;
const ZERO = 48;

/** Digits that a number holds exactly, whatever they are. */
const SAFE_DIGITS = 15;

export function compareDecimals(a: string, b: string): number {
  if (a === b) return 0;
  const negative = a.charCodeAt(0) === MINUS;
  if (negative === (b.charCodeAt(0) === MINUS))
    return negative ? compareMagnitudes(b, a, 1) : compareMagnitudes(a, b, 0);
  // "-0.0" is a zero that somebody else wrote.
  if (toDecimal(a).units === 0n && toDecimal(b).units === 0n) return 0;
  return negative ? -1 : 1;
}

/** Of two texts whose digits begin at `start`. */
function compareMagnitudes(a: string, b: string, start: number): number {
  const endOfA = wholeEnd(a);
  const endOfB = wholeEnd(b);
  const startOfA = skipZeros(a, start, endOfA);
  const startOfB = skipZeros(b, start, endOfB);
  const longer = endOfA - startOfA - (endOfB - startOfB);
  if (longer !== 0) return longer;
  const shift = startOfB - startOfA;
  const end = Math.max(a.length, b.length - shift);
  for (let at = startOfA; at < end; at++) {
    const digitOfA = at < a.length ? a.charCodeAt(at) : ZERO;
    const digitOfB = at + shift < b.length ? b.charCodeAt(at + shift) : ZERO;
    if (digitOfA === digitOfB) continue;
    // A point stands where the other has one, or where the other has ended.
    const difference = (digitOfA === POINT ? ZERO : digitOfA) - (digitOfB === POINT ? ZERO : digitOfB);
    if (difference !== 0) return difference;
  }
  return 0;
}

function wholeEnd(text: string): number {
  const point = text.indexOf(".");
  return point === -1 ? text.length : point;
}

function skipZeros(text: string, start: number, end: number): number {
  while (start < end && text.charCodeAt(start) === ZERO) start += 1;
  return start;
}

export function toDecimal(text: string): Decimal {
  const point = text.indexOf(".");
  if (point === -1) return { units: BigInt(text), scale: 0 };
  return {
    units: BigInt(text.slice(0, point) + text.slice(point + 1)),
    scale: text.length - point - 1,
  };
}

/** With exactly `scale` fraction digits; half is rounded away from zero. */
export function decimalText(value: Decimal, scale: number): string {
  const units = unitsAt(value, scale);
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0");
  const sign = units < 0n ? "-" : "";
  if (scale === 0) return sign + digits;
  const end = digits.length - scale;
  return `${sign}${digits.slice(0, end)}.${digits.slice(end)}`;
}

/** The value in units of 10^−scale; half is rounded away from zero. */
export function unitsAt(value: Decimal, scale: number): bigint {
  if (scale === value.scale) return value.units;
  if (scale > value.scale) return value.units * powerOfTen(scale - value.scale);
  return roundedQuotient(value.units, powerOfTen(value.scale - scale));
}

/** The quotient of a decimal by a number above 0, with `scale` fraction digits; half is rounded away from zero. */
export function divideDecimal(value: Decimal, divisor: bigint, scale: number): Decimal {
  const units = roundedQuotient(value.units * powerOfTen(scale), divisor * powerOfTen(value.scale));
  return { units, scale };
}

function roundedQuotient(dividend: bigint, divisor: bigint): bigint {
  const magnitude = dividend < 0n ? -dividend : dividend;
  const rounded = (2n * magnitude + divisor) / (2n * divisor);
  return dividend < 0n ? -rounded : rounded;
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale);
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale };
}

export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  return { units: a.units * b.units, scale: a.scale + b.scale };
}

const POWERS = Array.from({ length: 65 }, (_, exponent) => 10n ** BigInt(exponent));
const powerOfTen = (exponent: number): bigint => POWERS[exponent] ?? 10n ** BigInt(exponent);

/** A sum of many decimals: those of few digits are added as numbers, which is ten times as fast as by way of `bigint`. */
export class DecimalSum {
  #small = 0;
  #large = 0n;
  #scale = 0;

  add(text: string): void {
    const point = text.indexOf(".");
    const scale = point === -1 ? 0 : text.length - point - 1;
    if (scale > this.#scale) this.#raiseScale(scale);
    if (scale === this.#scale && text.length <= SAFE_DIGITS) this.#addSmall(smallUnits(text));
    else this.#large += unitsAt(toDecimal(text), this.#scale);
  }

  addWhole(value: bigint): void {
    this.#large += unitsAt({ units: value, scale: 0 }, this.#scale);
  }

  #addSmall(units: number): void {
    const next = this.#small + units;
    if (Number.isSafeInteger(next)) {
      this.#small = next;
    } else {
      this.#large += BigInt(this.#small) + BigInt(units);
      this.#small = 0;
    }
  }

  #raiseScale(scale: number): void {
    this.#large = unitsAt(this.value, scale);
    this.#small = 0;
    this.#scale = scale;
  }

  get value(): Decimal {
    return { units: this.#large + BigInt(this.#small), scale: this.#scale };
  }

  clear(): void {
    this.#small = 0;
    this.#large = 0n;
  }
}

function smallUnits(text: string): number {
  const negative = text.charCodeAt(0) === MINUS;
  let units = 0;
  for (let at = negative ? 1 : 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== POINT) units = units * 10 + (code - ZERO);
  }
  return negative ? -units : units;
}
