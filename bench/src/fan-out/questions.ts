/** The questions that all contestants are asked, and what makes their answers comparable. */

export type Row = Readonly<Record<string, unknown>>;

/** How a column's values are compared: drivers and engines give them in different forms. */
type Form = "whole" | "decimal" | "average" | "text" | "moment";

export interface Question {
  readonly title: string;
  /** The answer's columns, in any order. */
  readonly columns: Readonly<Record<string, Form>>;
}

const DOT = {
  id: "whole",
  user_id: "whole",
  category: "text",
  score: "decimal",
  created: "moment",
  label: "text",
} as const;

export const QUESTIONS = {
  groups: {
    title: "count, sum and average by category",
    columns: { category: "text", n: "whole", s: "decimal", a: "average" },
  },
  topUsers: { title: "the 20 users with the most rows", columns: { user_id: "whole", n: "whole" } },
  newest: { title: "the newest 20 rows", columns: DOT },
  filtered: { title: "a count with conditions", columns: { n: "whole" } },
  average: { title: "the average of all rows", columns: { a: "average" } },
  distinct: { title: "the distinct categories", columns: { category: "text" } },
  point: { title: "one row by an indexed column, not the key", columns: { id: "whole", label: "text" } },
} as const satisfies Record<string, Question>;

export type QuestionName = keyof typeof QUESTIONS;
export const QUESTION_NAMES = Object.keys(QUESTIONS) as QuestionName[];

/** The condition of the filtered count; the number tells which. */
export const filterOf = (number: number) =>
  ({ category: `category ${number % 12}`, score: `${400 + (number % 3) * 100}.00` }) as const;

/** Asks one question; the number makes the parameters, where there are any. */
export type Ask = (number: number) => Promise<readonly Row[]>;

/** Who answers. What a contestant cannot answer is missing. */
export interface Contestant {
  readonly name: string;
  readonly asks: Readonly<Partial<Record<QuestionName, Ask>>>;
}

/** Raises when an answer is not the one of the first contestant. Digits of an average behind the fourth may differ: engines give more or fewer. */
export function compareAnswers(name: QuestionName, answers: ReadonlyMap<string, readonly Row[]>): void {
  const [[first, expected] = ["", []], ...others] = [...answers];
  const reference = canonical(name, expected);
  if (reference.length === 0) throw new Error(`"${QUESTIONS[name].title}": ${first} has no rows.`);
  for (const [who, rows] of others) {
    const found = canonical(name, rows);
    if (JSON.stringify(found) !== JSON.stringify(reference))
      throw new Error(
        `"${QUESTIONS[name].title}": ${who} answers ${JSON.stringify(found).slice(0, 1000)}, and ${first} ${JSON.stringify(reference).slice(0, 1000)}.`,
      );
  }
}

export function canonical(name: QuestionName, rows: readonly Row[]): string[][] {
  return rows.map((row) =>
    Object.entries(QUESTIONS[name].columns).map(([column, form]) => inForm(row[column], form)),
  );
}

function inForm(value: unknown, form: Form): string {
  switch (form) {
    case "whole":
      return String(BigInt(value as string));
    case "decimal":
      return String(value)
        .replace(/(\.\d*?)0+$/, "$1")
        .replace(/\.$/, "");
    case "average":
      return Number(value).toFixed(4);
    case "moment":
      return (value as Date).toISOString();
    case "text":
      return String(value);
  }
}
