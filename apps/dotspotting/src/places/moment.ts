const isoLike =
  /^(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T\s]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?)?$/i;
const monthFirst = /^(\d{1,2})\/(\d{1,2})\/(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(AM|PM)?)?$/i;
const dayFirst = /^(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?)?$/;

/**
 * Reads a date or time; null if the value is none. A time without a zone is taken as UTC.
 *
 * Understood are ISO 8601, "1992/04/30 17:05", "4/30/1992 5:05 PM" (month first unless that is no month),
 * "30.4.1992", and whole numbers of seconds or milliseconds since 1970 with at least nine digits.
 */
export function readMoment(source: unknown): Date | null {
  if (typeof source === "number") return fromEpoch(source);
  if (typeof source !== "string") return null;
  const text = source.trim();
  if (/^-?\d{9,14}$/.test(text)) return fromEpoch(Number(text));
  const iso = isoLike.exec(text);
  if (iso) {
    const [, year, month, day, hour, minute, second, fraction, zone] = iso;
    const milliseconds = Number((fraction ?? "").padEnd(3, "0").slice(0, 3));
    const moment = civil(year, month, day, hour, minute, second, milliseconds);
    return moment && shifted(moment, zone);
  }
  const slashed = monthFirst.exec(text);
  if (slashed) {
    const [, first, second, year, hour, minute, seconds, half] = slashed;
    const swap = Number(first) > 12;
    return civil(year, swap ? second : first, swap ? first : second, twentyFour(hour, half), minute, seconds);
  }
  const dotted = dayFirst.exec(text);
  if (dotted) return civil(dotted[3], dotted[2], dotted[1], dotted[4], dotted[5], dotted[6]);
  return null;
}

function fromEpoch(value: number): Date | null {
  if (!Number.isSafeInteger(value) || Math.abs(value) < 1e8) return null;
  return withinYears(new Date(Math.abs(value) < 1e11 ? value * 1000 : value));
}

function twentyFour(hour: string | undefined, half: string | undefined): string | undefined {
  if (!hour || !half) return hour;
  const of12 = Number(hour) % 12;
  return String(half.toUpperCase() === "PM" ? of12 + 12 : of12);
}

type Digits = string | undefined;

/** A moment of the calendar in UTC; null where the calendar has no such day or the clock no such time. */
function civil(
  year: Digits,
  month: Digits,
  day: Digits,
  hour: Digits,
  minute: Digits,
  second: Digits,
  milliseconds = 0,
): Date | null {
  const [h, m, s] = [Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0)];
  if (h > 23 || m > 59 || s > 59) return null;
  const moment = new Date(0);
  moment.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (moment.getUTCMonth() !== Number(month) - 1 || moment.getUTCDate() !== Number(day)) return null;
  moment.setUTCHours(h, m, s, milliseconds);
  return withinYears(moment);
}

function shifted(moment: Date, zone: string | undefined): Date | null {
  const parts = /^([+-])(\d{2}):?(\d{2})$/.exec(zone ?? "");
  if (!parts) return moment;
  const minutes = Number(parts[2]) * 60 + Number(parts[3]);
  return withinYears(new Date(moment.getTime() - (parts[1] === "-" ? -1 : 1) * minutes * 60_000));
}

/** Databases agree on the years 1 to 9999 only. */
function withinYears(moment: Date): Date | null {
  const year = moment.getUTCFullYear();
  return year >= 1 && year <= 9999 ? moment : null;
}
