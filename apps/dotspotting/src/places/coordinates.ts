import { quoted } from "./place.ts";

/** A coordinate as a decimal with six fraction digits, or the reason why the text is none. */
export type Coordinate =
  | { readonly value: string; readonly problem?: undefined }
  | { readonly problem: string };

const axes = {
  latitude: { limit: 90, positive: "N", negative: "S" },
  longitude: { limit: 180, positive: "E", negative: "W" },
} as const;

const decimalNumber = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?$/i;
const withHemisphere = /^(\d+(?:\.\d*)?)\s*°?\s*([NSEW])$/i;
const degreesMinutesSeconds =
  /^(\d{1,3})\s*°\s*(\d{1,2})\s*['′’]\s*(?:(\d{1,2}(?:\.\d+)?)\s*(?:["″”]|'')\s*)?([NSEW])$/i;

/**
 * Reads a latitude or longitude: "34.05", "-118.2", "+34", "34,05", "34.05 N", "34° 3′ 15″ N".
 *
 * A comma counts as the decimal point where nothing else is in the way ("34,05", but not "1,034.05").
 * Nothing is wrapped or clipped: a longitude of 181 is a mistake somewhere, and guessing would hide it.
 */
export function readCoordinate(axis: keyof typeof axes, source: unknown): Coordinate {
  if (typeof source === "number") return inRange(axis, source, String(source));
  if (source !== null && source !== undefined && typeof source !== "string") {
    return { problem: `${axis} is not a number` };
  }
  const text = (source ?? "").trim().replace(/^[−–]/, "-");
  if (text === "") return { problem: `${axis} is missing` };
  const plain = /^[+-]?\d+,\d+$/.test(text) ? text.replace(",", ".") : text;
  if (decimalNumber.test(plain)) return inRange(axis, Number(plain), text);
  return written(axis, plain, text) ?? { problem: `${axis} ${quoted(text)} is not a number` };
}

/** Degrees with a letter for the hemisphere, as decimals or with minutes and seconds. */
function written(axis: keyof typeof axes, plain: string, text: string): Coordinate | undefined {
  const simple = withHemisphere.exec(plain);
  const full = simple ? null : degreesMinutesSeconds.exec(plain);
  const letter = (simple?.[2] ?? full?.[4])?.toUpperCase();
  if (!letter) return undefined;
  const { positive, negative } = axes[axis];
  if (letter !== positive && letter !== negative) {
    return { problem: `${axis} ${quoted(text)} ends in ${letter}, which is no direction of a ${axis}` };
  }
  const minutes = Number(full?.[2] ?? 0);
  const seconds = Number(full?.[3] ?? 0);
  if (minutes >= 60 || seconds >= 60)
    return { problem: `${axis} ${quoted(text)} has 60 or more minutes or seconds` };
  const degrees = simple ? Number(simple[1]) : Number(full![1]) + minutes / 60 + seconds / 3600;
  return inRange(axis, letter === negative ? -degrees : degrees, text);
}

function inRange(axis: keyof typeof axes, degrees: number, text: string): Coordinate {
  const { limit } = axes[axis];
  if (!Number.isFinite(degrees)) return { problem: `${axis} ${quoted(text)} is not a number` };
  if (Math.abs(degrees) > limit) {
    return { problem: `${axis} ${quoted(text)} is outside −${limit} to ${limit}` };
  }
  const value = degrees.toFixed(6);
  return { value: value === "-0.000000" ? "0.000000" : value };
}
