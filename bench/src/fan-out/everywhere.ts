/** The library: one query, built as an application builds it, each time it is asked. */

import { createdOf, type DotsFederation, type Shards } from "./dots.ts";
import type { Contestant } from "./questions.ts";
import { filterOf } from "./questions.ts";

export const EVERYWHERE = "fed.everywhere" as const;

/** The session over all shards. Undefined as long as the library has none. */
export function sessionOf(fed: DotsFederation): ReturnType<DotsFederation["at"]> | undefined {
  return (fed as { readonly everywhere?: ReturnType<DotsFederation["at"]> }).everywhere;
}

export function everywhere({ fed, shape }: Shards): Contestant {
  const all = () => sessionOf(fed) as ReturnType<DotsFederation["at"]>;
  const asks: Contestant["asks"] = {
    groups: () =>
      all()
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
      all()
        .selectFrom("dots")
        .select(({ fn }) => ["user_id", fn.countAll().as("n")])
        .groupBy("user_id")
        .orderBy("n", "desc")
        .orderBy("user_id")
        .limit(20)
        .execute(),
    newest: () =>
      all()
        .selectFrom("dots")
        .select(["id", "user_id", "category", "score", "created", "label"])
        .orderBy("created", "desc")
        .limit(20)
        .execute(),
    filtered: (number) => {
      const { category, score } = filterOf(number);
      return all()
        .selectFrom("dots")
        .select(({ fn }) => fn.countAll().as("n"))
        .where("category", "=", category)
        .where("score", ">=", score)
        .execute();
    },
    average: () =>
      all()
        .selectFrom("dots")
        .select(({ fn }) => fn.avg("score").as("a"))
        .execute(),
    distinct: () => all().selectFrom("dots").select("category").distinct().orderBy("category").execute(),
    point: (number) =>
      all()
        .selectFrom("dots")
        .select(["id", "user_id", "label"])
        .where("created", "=", createdOf(shape, number))
        .execute(),
  };
  return { name: EVERYWHERE, asks };
}
