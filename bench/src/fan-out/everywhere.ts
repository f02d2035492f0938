/** The library: one query, built as an application builds it, each time it is asked. */

import { createdOf, type Shards } from "./dots.ts";
import type { Contestant } from "./questions.ts";
import { filterOf } from "./questions.ts";

export const EVERYWHERE = "fed.everywhere" as const;

export function everywhere({ fed, shape }: Shards): Contestant {
  const asks: Contestant["asks"] = {
    groups: () =>
      fed.everywhere
        .selectFrom("dots")
        .select(({ fn }) => [
          "category",
          fn.countAll().as("n"),
          fn.sum("score").as("s"),
          fn.avg("score").as("a"),
        ])
        .groupBy("category")
        .orderBy("category")
        .execute(),
    topUsers: () =>
      fed.everywhere
        .selectFrom("dots")
        .select(({ fn }) => ["user_id", fn.countAll().as("n")])
        .groupBy("user_id")
        .orderBy("n", "desc")
        .orderBy("user_id")
        .limit(20)
        .execute(),
    newest: () =>
      fed.everywhere
        .selectFrom("dots")
        .select(["id", "user_id", "category", "score", "created", "label"])
        .orderBy("created", "desc")
        .limit(20)
        .execute(),
    filtered: (number) => {
      const { category, score } = filterOf(number);
      return fed.everywhere
        .selectFrom("dots")
        .select(({ fn }) => fn.countAll().as("n"))
        .where("category", "=", category)
        .where("score", ">=", score)
        .execute();
    },
    average: () =>
      fed.everywhere
        .selectFrom("dots")
        .select(({ fn }) => fn.avg("score").as("a"))
        .execute(),
    distinct: () =>
      fed.everywhere.selectFrom("dots").select("category").distinct().orderBy("category").execute(),
    point: (number) =>
      fed.everywhere
        .selectFrom("dots")
        .select(["id", "user_id", "label"])
        .where("created", "=", createdOf(shape, number))
        .execute(),
  };
  return { name: EVERYWHERE, asks };
}
