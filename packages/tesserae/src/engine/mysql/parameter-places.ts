/**
 * Where a statement's parameters stand, and how exact numbers travel there.
 *
 * The protocol has a type for each parameter. A bigint or decimal sent as text is compared and stored exactly, but an expression would count with it in
 * floating point (`balance + '1'` is wrong beyond 2^53) and give its result in another type. Sent by its own type it is exact everywhere, and the
 * driver takes 2 µs more for each. So text it is where a parameter is compared with a column or is a value of an insert, which a look at the statement tells (once, when
 * it is prepared), and the type everywhere else, also wherever the statement is not simple enough to be sure.
 */

/** Any expression: by type. */
export const ANYWHERE = 0;
/** `column = ?` and the like, alone between `where`, `and`, `or`, `on`, `set`, commas and brackets: integers as text. */
export const COMPARED = 1;
/** `values (?, …)`: everything as text. */
export const STORED = 2;

export type Place = typeof ANYWHERE | typeof COMPARED | typeof STORED;

const NAME = "(?:`[\\w$]+`|[\\w$]+)";
const COLUMN = `${NAME}(?:\\.${NAME}){0,2}`;
const VALUES = /\bvalues\s*(\((?:\s*(?:\?|null|default)\s*,?)+\)\s*,?\s*)+/gi;
const COMPARISONS = new RegExp(
  `(?:\\b(?:where|and|or|on|set)\\s|[,(])\\s*${COLUMN}\\s*(?:=|<=>|<>|!=|<=|>=|<|>)\\s*\\?(?=\\s*(?:$|[,)]|(?:and|or|order|group|limit|for|lock|where|returning|set|on)\\b))`,
  "gi",
);
const LISTS = new RegExp(
  `\\b(?:where|and|or|on)\\s+\\(*\\s*${COLUMN}\\s+(?:not\\s+)?in\\s*\\(\\s*\\?(?:\\s*,\\s*\\?)*\\s*\\)`,
  "gi",
);
/** Literals and comments may hold question marks, and what is selected elsewhere or grouped may be an expression under a column's name. */
const NOT_SIMPLE = /['"#]|--|\/\*|\bhaving\b|\bselect\b[\s\S]*\bselect\b|\bbetween\b/i;

/** A place for each parameter of the statement. */
export function parameterPlaces(sql: string): readonly Place[] {
  const positions: number[] = [];
  for (let at = sql.indexOf("?"); at >= 0; at = sql.indexOf("?", at + 1)) positions.push(at);
  const names = sql.match(/`[^`]*`/g)?.join("") ?? "";
  if (positions.length === 0 || NOT_SIMPLE.test(sql) || names.includes("?"))
    return positions.map(() => ANYWHERE);
  const places = new Map<number, Place>();
  const mark = (pattern: RegExp, place: Place) => {
    for (const match of sql.matchAll(pattern)) {
      const end = match.index + match[0].length;
      for (let at = sql.indexOf("?", match.index); at >= 0 && at < end; at = sql.indexOf("?", at + 1))
        places.set(at, place);
    }
  };
  mark(COMPARISONS, COMPARED);
  mark(LISTS, COMPARED);
  mark(VALUES, STORED);
  return positions.map((at) => places.get(at) ?? ANYWHERE);
}

/** A decimal on its way to the server: text that is a number wherever it stands. */
export class DecimalParameter {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  /** In a statement that is not prepared the driver writes it as it is, without quotes. */
  toSqlString(): string {
    return this.text;
  }
}
