/** Fragments of raw SQL, and what each shard would have for itself: clocks, random numbers, functions that are not known. */
import type { RawNode } from "kysely";
import { type Token, tokenize } from "../../session/raw-tokens.ts";
import { hasLooseOr } from "./conditions.ts";
import {
  argumentsMin,
  isAggregate,
  isClock,
  isWindowFunction,
  mayPrecedeParenthesis,
} from "./known-functions.ts";
import { GATHER, howToCall, unsupported } from "./refusal.ts";

/** Text such as 'now', of which functions and casts make the present moment. */
export const MOMENT = /^\s*(?:now|(?:today|tomorrow|yesterday)(?:\s+[\d:.]+)?)\s*$/i;

export function ownClock(what: string): Error {
  return unsupported(
    `${what} is the present moment, which each shard has for itself.`,
    "Give the moment as a parameter.",
  );
}

export function unknownFunction(name: string): Error {
  return unsupported(
    `The function ${name}() is not known to give the same value on every shard.`,
    `Compute the value in the application and give it as a parameter, or ${GATHER}.`,
  );
}

/** Words that begin another part of the query than the one in which the fragment stands: each shard would do that part for itself. */
const OTHER_PARTS: ReadonlySet<string> = new Set("limit offset fetch group having order window".split(" "));

/** Of text that is not parsed, only what is known to compute from the row alone passes. */
export function checkRaw(node: RawNode): void {
  const tokens = tokenize(node);
  let depth = 0;
  tokens.forEach((token, at) => {
    const { text, kind } = token;
    if (text === "(") depth++;
    else if (text === ")") depth--;
    else if (text === "," && depth === 0)
      throw unsupported(
        "A fragment of raw SQL holds a list.",
        "Give each of its values as a fragment of its own.",
      );
    // A name or a reference before a parenthesis is a call of that name.
    if (kind === "hole" && tokens[at + 1]?.text === "(") throw unknownFunction("…");
    if (kind !== "word" && kind !== "name") return;
    if (kind === "word" && isOtherPart(tokens, at))
      throw unsupported(
        `A fragment of raw SQL holds the word "${text}", a part of the query that is not seen there.`,
        "Build that part with Kysely: limit(…), offset(…), groupBy(…), having(…), orderBy(…), distinct().",
      );
    if (kind === "word" && isClock(text) && tokens[at - 1]?.text !== ".")
      throw unsupported(
        `A fragment of raw SQL holds ${text}, which each shard has for itself.`,
        "Give the value as a parameter.",
      );
    if (kind === "word" && text === "over")
      throw unsupported(
        "A fragment of raw SQL holds a window function.",
        'Build it with eb.fn.agg(…).over((ob) => ob.partitionBy("…")).',
      );
    if (kind === "word" && /^(?:rollup|cube|grouping)$/.test(text))
      throw unsupported(
        `A fragment of raw SQL holds ${text}, whose totals span several keys.`,
        `Ask for the totals in a query of their own, or ${GATHER}.`,
      );
    if (tokens[at + 1]?.text === "(") checkRawCall(tokens, at);
  });
  for (const { kind, text } of tokens)
    if (kind === "string" && MOMENT.test(text.slice(1, -1))) throw ownClock(text);
  // What is not complete in itself would take in what stands behind it.
  const count = (word: string) => tokens.filter(({ kind, text }) => kind === "word" && text === word).length;
  if (count("case") !== count("end") || count("between") > count("and"))
    throw unsupported(
      "A fragment of raw SQL is not complete in itself.",
      "Put the whole expression into one fragment.",
    );
  if (hasLooseOr(node))
    throw unsupported(
      "A fragment of raw SQL holds an or without parentheses.",
      "Put the fragment in parentheses.",
    );
}

function isOtherPart(tokens: readonly Token[], at: number): boolean {
  const { text } = tokens[at] as Token;
  if (tokens[at - 1]?.text === ".") return false;
  if (text !== "distinct") return OTHER_PARTS.has(text);
  const before = tokens[at - 1]?.text;
  const isDistinct = before === "is" || (before === "not" && tokens[at - 2]?.text === "is");
  return !(isDistinct && tokens[at + 1]?.text === "from");
}

function checkRawCall(tokens: readonly Token[], at: number): void {
  const { text: name, kind } = tokens[at] as Token;
  if (kind === "name" || tokens[at - 1]?.text === ".") throw unknownFunction(name);
  if (isAggregate(name) || isWindowFunction(name))
    throw unsupported(`A fragment of raw SQL holds the aggregate ${name}().`, howToCall(name));
  if (!mayPrecedeParenthesis(name)) throw unknownFunction(name);
  if (countArguments(tokens, at + 1) < argumentsMin(name)) throw ownClock(`${name}()`);
}

/** Of a call whose opening parenthesis stands at this place. */
function countArguments(tokens: readonly Token[], open: number): number {
  if (tokens[open + 1]?.text === ")") return 0;
  let [depth, count] = [0, 1];
  for (const { text } of tokens.slice(open)) {
    if (text === "(") depth++;
    else if (text === ")" && --depth === 0) break;
    else if (text === "," && depth === 1) count++;
  }
  return count;
}
