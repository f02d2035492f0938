/**
 * The checks of logical values that are the same on every engine: type, range and shape, and the canonical form that goes on
 * to the engine's own codec. A database would round, cut, pad or reinterpret some of these values, each in its own way; refused here, the same
 * value means the same everywhere. Every refusal is VALUE_INVALID and says what was expected.
 */
import { TesseraeError } from "../base/errors.ts";

const INT_MAX = 2 ** 31 - 1;
const BIGINT_MAX = 2n ** 63n - 1n;

/** What was given, short enough for a message. Only kinds of values that are no text of the user's are quoted. */
export function describeGiven(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (typeof value === "bigint") return `the bigint ${value}n`;
  if (typeof value === "number") return `the number ${Object.is(value, -0) ? "-0" : value}`;
  if (typeof value === "boolean") return `the boolean ${value}`;
  if (value instanceof Date)
    return Number.isNaN(value.getTime()) ? "an invalid Date" : `the Date ${value.toISOString()}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "string") return "a string";
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}

export function refuseValue(expected: string, given: string): TesseraeError {
  return new TesseraeError("VALUE_INVALID", `Expected ${expected}; got ${given}.`);
}

/** A short quotation of a value whose form (number, date, uuid) is what is wrong with it. */
const quoted = (value: unknown): string =>
  typeof value === "string" && value.length <= 60 ? JSON.stringify(value) : describeGiven(value);

/** A 32-bit integer. −0 becomes 0. */
export function checkInt(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value <= INT_MAX && value >= -INT_MAX - 1)
    return value + 0;
  throw refuseValue("a whole number from -2147483648 to 2147483647", describeGiven(value));
}

/** A 64-bit integer. A `number` is refused, however small: above 2^53 it would have been wrong already. */
export function checkBigint(value: unknown): bigint {
  if (typeof value === "bigint" && value <= BIGINT_MAX && value >= -BIGINT_MAX - 1n) return value;
  const hint = typeof value === "number" && Number.isInteger(value) ? `; write ${value}n` : "";
  throw refuseValue(
    `a bigint from -9223372036854775808n to 9223372036854775807n`,
    `${describeGiven(value)}${hint}`,
  );
}

const DECIMAL_SHAPE = /^([+-]?)0*(\d*)(?:\.(\d*?)0*)?$/;

/**
 * An exact decimal as text, in its canonical form: no leading zeros, exactly `scale` fraction digits, no "-0". More digits than the
 * column has are refused, never rounded.
 */
export function checkDecimal(value: unknown, precision: number, scale: number): string {
  const match =
    typeof value === "string" && value.length < 100 && /\d/.test(value) ? DECIMAL_SHAPE.exec(value) : null;
  const whole = match?.[2] ?? "";
  const fraction = match?.[3] ?? "";
  if (match === null || whole.length > precision - scale || fraction.length > scale) {
    throw refuseValue(
      `a decimal as a string, with at most ${precision - scale} digits before the point and ${scale} after it`,
      quoted(value),
    );
  }
  const sign = match[1] === "-" && (whole !== "" || fraction !== "") ? "-" : "";
  return scale === 0 ? `${sign}${whole || "0"}` : `${sign}${whole || "0"}.${fraction.padEnd(scale, "0")}`;
}

/** A decimal of a database with exactly `scale` fraction digits: an average comes with as many as the engine thinks right. Half is rounded away from zero. */
export function decodeDecimal(text: string, scale: number): string {
  const point = text.indexOf(".");
  const digits = point < 0 ? 0 : text.length - point - 1;
  if (digits === scale) return text;
  if (digits < scale) return `${text}${point < 0 ? "." : ""}${"0".repeat(scale - digits)}`;
  const negative = text.startsWith("-");
  const kept = text.slice(negative ? 1 : 0, text.length - digits + scale).replace(".", "");
  const units = BigInt(kept) + (text.charCodeAt(text.length - digits + scale) >= 53 ? 1n : 0n);
  const padded = units.toString().padStart(scale + 1, "0");
  const whole = padded.slice(0, padded.length - scale);
  return `${negative && units !== 0n ? "-" : ""}${whole}${scale === 0 ? "" : `.${padded.slice(-scale)}`}`;
}

/** A finite number. −0 becomes 0, since not every engine keeps it. */
export function checkDouble(value: unknown): number {
  if (typeof value === "number" && Number.isFinite(value)) return value + 0;
  throw refuseValue("a finite number", describeGiven(value));
}

export function checkBoolean(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw refuseValue("true or false", describeGiven(value));
}

/** Text without NUL (PostgreSQL keeps none) and without lone surrogates (which UTF-8 cannot write), of at most `length` code points. */
export function checkText(value: unknown, length?: number): string {
  if (typeof value !== "string") throw refuseValue("a string", describeGiven(value));
  if (value.includes("\0"))
    throw refuseValue("text without the character U+0000", `it at position ${value.indexOf("\0")}`);
  if (!value.isWellFormed()) throw refuseValue("text that is well-formed Unicode", "a lone surrogate");
  if (length !== undefined && value.length > length) {
    const points = countCodePoints(value);
    if (points > length) throw refuseValue(`at most ${length} characters`, `${points}`);
  }
  return value;
}

function countCodePoints(value: string): number {
  let points = value.length;
  for (let i = 0; i < value.length; i++) {
    // The second half of a pair: text here is well-formed, so each has its first half.
    if ((value.charCodeAt(i) & 0xfc00) === 0xdc00) points -= 1;
  }
  return points;
}

const TIMESTAMP_SHAPE = /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?Z$/;

/**
 * A moment in UTC from the year 0001 to 9999, as ISO text with exactly `precision` fraction digits and Z. Precision 3 takes a
 * `Date`, precision 6 an ISO string in UTC with up to six fraction digits.
 */
export function checkTimestamp(value: unknown, precision: 3 | 6): string {
  if (precision === 3) {
    const time = value instanceof Date ? value.getTime() : Number.NaN;
    if (time >= TIME_MIN && time <= TIME_MAX) return (value as Date).toISOString();
    throw refuseValue("a Date from the year 0001 to 9999", quoted(value));
  }
  const match = typeof value === "string" ? TIMESTAMP_SHAPE.exec(value) : null;
  if (match === null || !isCalendarDay(match[1] as string)) {
    throw refuseValue(
      `a moment in UTC as "YYYY-MM-DDTHH:MM:SS.ffffffZ", from the year 0001 to 9999`,
      quoted(value),
    );
  }
  const text = value as string;
  return text.length === 27 ? text : `${text.slice(0, 19)}.${(match[5] ?? "").padEnd(6, "0")}Z`;
}

const TIME_MIN = Date.parse("0001-01-01T00:00:00.000Z");
const TIME_MAX = Date.parse("9999-12-31T23:59:59.999Z");

/**
 * The logical value of a timestamp's text: "YYYY-MM-DD", one character, "HH:MM:SS", any number of fraction digits up to six, and whatever
 * says UTC. All three engines' forms are of this shape.
 */
export function decodeTimestamp(text: string, precision: 3 | 6): Date | string {
  let end = 19;
  if (text.charCodeAt(19) === 46) {
    end = 20;
    while (end < text.length && text.charCodeAt(end) >= 48 && text.charCodeAt(end) <= 57) end += 1;
  }
  if (precision === 3) return new Date(epochMs(text, end));
  if (end <= 20) return `${text.slice(0, 10)}T${text.slice(11, 19)}.000000Z`;
  return `${text.slice(0, 10)}T${text.slice(11, end).padEnd(15, "0")}Z`;
}

/** By its digits: a third of what `Date` takes to read the same text, and streams read one for each row. The fraction ends before `end`; digits behind the third are cut. */
function epochMs(text: string, end: number): number {
  // Years of more digits, and whatever else is of another shape.
  if (text.charCodeAt(4) !== 45) return Number.NaN;
  const month = twoDigits(text, 5);
  const day = twoDigits(text, 8);
  const hour = twoDigits(text, 11);
  // As `Date` does: MariaDB's zero date is no moment.
  if (!(month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour <= 24)) return Number.NaN;
  const days = epochDays(twoDigits(text, 0) * 100 + twoDigits(text, 2), month, day);
  const seconds = (hour * 60 + twoDigits(text, 14)) * 60 + twoDigits(text, 17);
  let ms = 0;
  for (let at = 20, weight = 100; at < Math.min(end, 23); at += 1, weight /= 10)
    ms += (text.charCodeAt(at) - 48) * weight;
  return (days * 86_400 + seconds) * 1000 + ms;
}

const twoDigits = (text: string, at: number): number =>
  (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;

/** Days since 1970-01-01 in the Gregorian calendar. Years are taken to begin in March, so that the day that some of them lack is their last. */
function epochDays(year: number, month: number, day: number): number {
  const years = month > 2 ? year : year - 1;
  const months = month > 2 ? month - 3 : month + 9;
  const leapDays = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400);
  return 365 * years + leapDays + Math.floor((153 * months + 2) / 5) + day - 719_469;
}

const DATE_SHAPE = /^\d{4}-\d\d-\d\d$/;

/** A calendar day "YYYY-MM-DD" from the year 0001 to 9999 (Gregorian, also before 1582). */
export function checkDate(value: unknown): string {
  if (typeof value === "string" && DATE_SHAPE.test(value) && isCalendarDay(value)) return value;
  throw refuseValue(`a calendar day as "YYYY-MM-DD", from the year 0001 to 9999`, quoted(value));
}

const MONTH_DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** The text has the shape already. */
function isCalendarDay(text: string): boolean {
  const year = Number(text.slice(0, 4));
  const month = Number(text.slice(5, 7));
  const day = Number(text.slice(8, 10));
  if (year === 0 || day === 0 || day > (MONTH_DAYS[month - 1] ?? 0)) return false;
  return month !== 2 || day < 29 || (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0));
}

const UUID_SHAPE = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A UUID of any version, in lower case with hyphens. */
export function checkUuid(value: unknown): string {
  if (typeof value === "string") {
    if (UUID_SHAPE.test(value)) return value;
    const lower = value.toLowerCase();
    if (UUID_SHAPE.test(lower)) return lower;
  }
  throw refuseValue(`a UUID as "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"`, quoted(value));
}

/** The sixteen bytes of a UUID in its canonical form. */
export function uuidToBytes(uuid: string): Uint8Array {
  return Buffer.from(uuid.replaceAll("-", ""), "hex");
}

export function bytesToUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A `Uint8Array` (a `Buffer` is one) of at most `length` bytes. */
export function checkBytes(value: unknown, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw refuseValue("a Uint8Array", describeGiven(value));
  if (length !== undefined && value.length > length)
    throw refuseValue(`at most ${length} bytes`, `${value.length}`);
  return value;
}

/** Newer than the standard library's declarations. */
interface RawJson {
  rawJSON(text: string): unknown;
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
}
const rawJson = JSON as unknown as RawJson;

/**
 * JSON text of a value. A bigint is written as a JSON number, and a whole number outside ±(2^53−1) is read as a bigint: `JSON.stringify` and
 * `JSON.parse` alone raise for the one and round the other. VALUE_INVALID for what JSON cannot say: undefined, functions, NaN, infinities, circles, lone surrogates.
 */
export function stringifyJson(value: unknown): string {
  let text: string | undefined;
  try {
    const hasBigint = findBigint(value);
    text = hasBigint ? JSON.stringify(value, writeBigint) : JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError)
      throw refuseValue("a value that JSON can say", `one that it cannot: ${error.message}`);
    throw error;
  }
  if (text === undefined) throw refuseValue("a value that JSON can say", describeGiven(value));
  // `JSON.stringify` escapes nothing in the range of surrogates but lone ones.
  if (text.includes("\\ud") && hasLoneSurrogate(text))
    throw refuseValue("text that is well-formed Unicode", "a lone surrogate");
  return text;
}

function writeBigint(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? rawJson.rawJSON(value.toString()) : value;
}

/** Looks for a bigint and refuses numbers that JSON would turn into null. What a `toJSON` will return is not looked at. */
function findBigint(value: unknown): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw refuseValue("a finite number in JSON", describeGiven(value));
    return false;
  }
  if (typeof value !== "object" || value === null) return false;
  let found = false;
  if (Array.isArray(value)) {
    for (const item of value) if (findBigint(item)) found = true;
  } else {
    if (typeof (value as { toJSON?: unknown }).toJSON === "function") return true;
    for (const key in value) if (findBigint((value as Record<string, unknown>)[key])) found = true;
  }
  return found;
}

/** A `\ud…` after an even number of backslashes is an escape; after an odd number it is text about one. */
function hasLoneSurrogate(text: string): boolean {
  return /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text);
}

/** Only a run of sixteen digits can be a whole number beyond 2^53. */
const LONG_NUMBER = /\d{16}/;
const WHOLE = /^-?\d+$/;

/** The value of JSON text that a database has checked. */
export function parseJson(text: string): unknown {
  return LONG_NUMBER.test(text) ? rawJson.parse(text, readNumber) : JSON.parse(text);
}

function readNumber(_key: string, value: unknown, context: { readonly source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value) || context.source === undefined) return value;
  return WHOLE.test(context.source) ? BigInt(context.source) : value;
}
