/**
 * What a context has written, as text that a cookie or a job can carry: the position of each primary by its name, and no address. It comes back from outside, so it is
 * read as something that anybody may have written: what it says can make a read wait, or go to the primary, and nothing else.
 */
import { TesseraeError } from "../base/errors.ts";
import type { PrimaryName } from "./primary.ts";

const PREFIX = "f1.";
const CHARACTERS_MAX = 16_384;
const NAME = /^(?:main|[1-9]\d{0,9})$/;
/** What positions are made of: digits, letters and separators. */
const POSITION = /^[0-9A-Za-z_:,/\s-]{1,8192}$/;

/** Something was written, and the primary did not tell where: whoever reads asks it then. */
export const UNKNOWN_POSITION = "?";

export function writeToken(positions: ReadonlyMap<PrimaryName, string>): string {
  return PREFIX + Buffer.from(JSON.stringify(Object.fromEntries(positions))).toString("base64url");
}

export function readToken(token: unknown): ReadonlyMap<string, string> {
  const parsed = parse(token);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw invalid();
  const positions = Object.entries(parsed as Record<string, unknown>);
  for (const [name, position] of positions)
    if (!NAME.test(name) || typeof position !== "string" || !isPosition(position)) throw invalid();
  return new Map(positions as [string, string][]);
}

const isPosition = (text: string): boolean => text === UNKNOWN_POSITION || POSITION.test(text);

function parse(token: unknown): unknown {
  if (token instanceof Promise) throw invalid(" It is a promise: await it.");
  if (typeof token !== "string" || token.length > CHARACTERS_MAX || !/^f1\.[\w-]+$/.test(token))
    throw invalid();
  try {
    return JSON.parse(Buffer.from(token.slice(PREFIX.length), "base64url").toString());
  } catch {
    throw invalid();
  }
}

function invalid(more = ""): TesseraeError {
  return new TesseraeError(
    "FRESHNESS_TOKEN_INVALID",
    "This is no freshness token: give what fed.freshness.token() returned, as it was. Where it comes from outside, such as a cookie, go on without it." +
      more,
    { operation: "freshness.run" },
  );
}
