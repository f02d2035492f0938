/** What a search by words and fields compares: one normal form for what is searched and for what is searched for, so that every database finds the same. */
import { detail } from "../web/pages/text.ts";

/** The signs that LIKE takes for more than themselves, and what stands for them on both sides. */
const plainSigns: Readonly<Record<string, string>> = { "%": "％", _: "＿", "\\": "＼" };

/** Without regard to case, width and runs of white space. */
export function normalise(text: string): string {
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/\s+/g, " ")
    .trim()
    .replace(/[%_\\]/g, (sign) => plainSigns[sign]!);
}

/**
 * A dot's text: a line for its label and a line `name=value` for each of its details, between line ends.
 *
 * @example
 * dotText({ label: "Kiel", details: { Harbour: "Yes" } }); // "\nkiel\nharbour=yes\n"
 */
export function dotText(dot: { readonly label: string; readonly details: Record<string, unknown> }): string {
  const fields = Object.entries(dot.details)
    .map(([name, value]) => [normalise(name), normalise(detail(value))] as const)
    .filter(([, value]) => value !== "");
  return `\n${[normalise(dot.label), ...fields.map(([name, value]) => `${name}=${value}`)].join("\n")}\n`;
}

/** The LIKE pattern of a word that stands anywhere in the text. */
export function wordPattern(word: string): string {
  return `%${normalise(word)}%`;
}

/** The LIKE pattern of a detail with exactly this value. */
export function fieldPattern(name: string, value: string): string {
  return `%\n${normalise(name)}=${normalise(value)}\n%`;
}
