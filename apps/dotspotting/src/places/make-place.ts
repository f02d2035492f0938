import { readCoordinate } from "./coordinates.ts";
import { readMoment } from "./moment.ts";
import type { Reading, ReadingLimits } from "./place.ts";

/** The values of one row, named by what they mean. */
export interface RawPlace {
  readonly latitude: unknown;
  readonly longitude: unknown;
  readonly label: string;
  readonly happened: unknown;
  readonly details: Record<string, unknown>;
}

const labelCharactersMax = 200;

/** Makes a place of a row's values, or says everything that is wrong with them. */
export function makePlace(line: number, raw: RawPlace, limits: ReadingLimits): Reading {
  const latitude = readCoordinate("latitude", raw.latitude);
  const longitude = readCoordinate("longitude", raw.longitude);
  const problems = [latitude.problem, longitude.problem, textProblem(raw, limits)].filter(Boolean);
  if (latitude.problem !== undefined || longitude.problem !== undefined || problems.length > 0) {
    return { line, problem: problems.join("; ") };
  }
  const place = {
    latitude: latitude.value,
    longitude: longitude.value,
    label: shortened(raw.label.replace(/\s+/g, " ").trim()),
    happened: readMoment(raw.happened),
    details: raw.details,
  };
  return { line, place };
}

/** What no database could keep as text. */
function textProblem(raw: RawPlace, limits: ReadingLimits): string | undefined {
  const written = JSON.stringify(raw.details);
  if (written.length > limits.detailsCharactersMax) {
    return `the row is longer than ${limits.detailsCharactersMax.toLocaleString("en")} characters`;
  }
  // JSON.stringify writes NUL as \u0000 and a lone surrogate as \udXXX, so that one look at its text finds both anywhere inside.
  const escaped = /(?<!\\)(?:\\\\)*\\u(0000|d[89a-f][0-9a-f]{2})/.exec(written) ?? [];
  if (escaped[1] === "0000") return "a value contains a NUL character";
  if (escaped[1] || !raw.label.isWellFormed())
    return "a value contains half of a character (an unpaired surrogate)";
  return raw.label.includes("\0") ? "the name contains a NUL character" : undefined;
}

function shortened(label: string): string {
  const characters = Array.from(label);
  return characters.length <= labelCharactersMax
    ? label
    : `${characters.slice(0, labelCharactersMax - 1).join("")}…`;
}
