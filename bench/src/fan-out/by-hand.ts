/** What a careful developer writes without the library: every shard asked at the same time for its part by a prepared statement, and the parts put together. */
import { type Bare, openBare } from "../bare.ts";
import type { BenchContext } from "../harness.ts";
import { createdOf, type Shards } from "./dots.ts";
import { type Contestant, filterOf, type Row } from "./questions.ts";

export const BY_HAND = "by hand" as const;

/** Asks all shards; gives the rows of each. */
type AskAll = (values?: readonly unknown[]) => Promise<readonly Row[][]>;

export function byHand(context: BenchContext, { engine, urls, shape }: Shards): Contestant {
  const shards: Bare[] = urls.map((url) => openBare(engine, url));
  for (const shard of shards) context.onEnd(() => shard.close());
  const prepare = (name: string, sql: string): AskAll => {
    const asks = shards.map((shard) => shard.prepare(name, sql));
    return (values = []) => Promise.all(asks.map((ask) => ask(values) as Promise<Row[]>));
  };
  const groups = prepare(
    "groups",
    "select category, count(*) as n, sum(score) as s from dots group by category",
  );
  // A user's rows are on one shard: the 20 of all are among the 20 of each.
  const top = prepare(
    "top_users",
    "select user_id, count(*) as n from dots group by user_id order by n desc, user_id limit 20",
  );
  const newest = prepare(
    "newest",
    "select id, user_id, category, score, created, label from dots order by created desc limit 20",
  );
  const filtered = prepare("filtered", "select count(*) as n from dots where category = ? and score >= ?");
  const sums = prepare("sums", "select count(score) as n, sum(score) as s from dots");
  const distinct = prepare("distinct_categories", "select distinct category from dots");
  const point = prepare("point", "select id, user_id, label from dots where created = ?");
  return {
    name: BY_HAND,
    asks: {
      groups: async () => mergeGroups(await groups()),
      topUsers: async () =>
        (await top())
          .flat()
          .map((row) => ({ user_id: Number(row["user_id"]), n: Number(row["n"]) }))
          .sort((a, b) => b.n - a.n || a.user_id - b.user_id)
          .slice(0, 20),
      newest: async () =>
        (await newest())
          .flat()
          .sort((a, b) => Number(b["created"]) - Number(a["created"]))
          .slice(0, 20),
      filtered: async (number) => {
        const { category, score } = filterOf(number);
        let n = 0;
        for (const [row] of await filtered([category, score])) n += Number(row?.["n"]);
        return [{ n }];
      },
      average: async () => {
        let n = 0;
        let cents = 0n;
        for (const [row] of await sums()) {
          n += Number(row?.["n"]);
          cents += centsOf(row?.["s"]);
        }
        return [{ a: averageOf(cents, n) }];
      },
      distinct: async () => {
        const found = new Set<string>();
        for (const rows of await distinct()) for (const row of rows) found.add(row["category"] as string);
        return [...found].sort().map((category) => ({ category }));
      },
      point: async (number) => (await point([createdOf(shape, number)])).flat(),
    },
  };
}

function mergeGroups(parts: readonly Row[][]): Row[] {
  const groups = new Map<string, { category: string; n: number; cents: bigint }>();
  for (const rows of parts)
    for (const row of rows) {
      const category = row["category"] as string;
      const group = groups.get(category);
      if (group === undefined)
        groups.set(category, { category, n: Number(row["n"]), cents: centsOf(row["s"]) });
      else {
        group.n += Number(row["n"]);
        group.cents += centsOf(row["s"]);
      }
    }
  return [...groups.values()]
    .sort((a, b) => (a.category < b.category ? -1 : 1))
    .map(({ category, n, cents }) => ({ category, n, s: textOf(cents, 2), a: averageOf(cents, n) }));
}

/** Both drivers give a decimal as text, so that it stays exact. */
const centsOf = (sum: unknown) => BigInt((sum as string).replace(".", ""));

/** Six digits behind the point, as MariaDB gives them, rounded half away from zero. */
function averageOf(cents: bigint, n: number): string {
  const scaled = cents * 10_000n;
  const half = BigInt(n) / 2n;
  return textOf((scaled + (scaled < 0n ? -half : half)) / BigInt(n), 6);
}

function textOf(scaled: bigint, digits: number): string {
  const text = (scaled < 0n ? -scaled : scaled).toString().padStart(digits + 1, "0");
  return `${scaled < 0n ? "-" : ""}${text.slice(0, -digits)}.${text.slice(-digits)}`;
}
