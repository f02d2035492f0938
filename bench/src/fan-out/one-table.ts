/** The questions as statements over one table that stands for all shards. */
import type { Bare } from "../bare.ts";
import { createdOf, type DotsShape } from "./dots.ts";
import { type Contestant, filterOf, type Row } from "./questions.ts";

export function askOneTable(bare: Bare, shape: DotsShape): Contestant["asks"] {
  const prepare = preparer(bare);
  const top = prepare(
    "top_users",
    "select user_id, count(*) as n from dots group by user_id order by n desc, user_id limit 20",
  );
  const newest = prepare(
    "newest",
    "select id, user_id, category, score, created, label from dots order by created desc limit 20",
  );
  const filtered = prepare("filtered", "select count(*) as n from dots where category = ? and score >= ?");
  const distinct = prepare("distinct_categories", "select distinct category from dots order by category");
  const point = prepare("point", "select id, user_id, label from dots where created = ?");
  return {
    ...askAverages(bare, "avg(score)"),
    topUsers: () => top([]),
    newest: () => newest([]),
    filtered: (number) => {
      const { category, score } = filterOf(number);
      return filtered([category, score]);
    },
    distinct: () => distinct([]),
    point: (number) => point([createdOf(shape, number)]),
  };
}

/** The two questions that have an average in them, with the average written in this way. */
export function askAverages(bare: Bare, average: string): Contestant["asks"] {
  const prepare = preparer(bare);
  const groups = prepare(
    "groups",
    `select category, count(*) as n, sum(score) as s, ${average} as a from dots group by category order by category`,
  );
  const all = prepare("average", `select ${average} as a from dots`);
  return { groups: () => groups([]), average: () => all([]) };
}

export function preparer(bare: Bare) {
  return (name: string, sql: string) =>
    bare.prepare(name, sql) as (values: readonly unknown[]) => Promise<Row[]>;
}
