/** PL/Proxy: functions on the head that run on all shards. */
import type { BenchContext } from "../harness.ts";
import { createdOf, type Shards } from "./dots.ts";
import { preparer } from "./one-table.ts";
import { openHead } from "./postgres-head.ts";
import { type Contestant, filterOf } from "./questions.ts";

export const PLPROXY_REMARK =
  "PL/Proxy: functions with RUN ON ALL on a fourth server that ask each shard for its part, and a statement there that puts the parts together.";

const DOT_COLUMNS =
  "id bigint, user_id bigint, category varchar, score numeric, created timestamptz, label varchar";

/** The functions of the head: a name, arguments, columns of the result, and what each shard is asked. */
const FUNCTIONS: readonly (readonly [string, string, string, string])[] = [
  [
    "groups",
    "",
    "category varchar, n bigint, s numeric",
    "select category, count(*) as n, sum(score) as s from dots group by category",
  ],
  [
    "top_users",
    "",
    "user_id bigint, n bigint",
    "select user_id, count(*) as n from dots group by user_id order by 2 desc, 1 limit 20",
  ],
  [
    "newest",
    "",
    DOT_COLUMNS,
    "select id, user_id, category, score, created, label from dots order by created desc limit 20",
  ],
  [
    "filtered",
    "wanted varchar, score_min numeric",
    "n bigint",
    "select count(*) as n from dots where category = wanted and score >= score_min",
  ],
  ["sums", "", "n bigint, s numeric", "select count(score) as n, sum(score) as s from dots"],
  ["categories", "", "category varchar", "select distinct category from dots"],
  [
    "point_of",
    "moment timestamptz",
    "id bigint, user_id bigint, label varchar",
    "select id, user_id, label from dots where created = moment",
  ],
];

export async function plproxy(context: BenchContext, shards: Shards): Promise<Contestant[]> {
  const { servers, urls, shape, head } = shards;
  const [{ user, password } = { user: "", password: "" }] = servers;
  const places = urls.map((url, index) => {
    const { host, port } = servers[index] as (typeof servers)[number];
    return `p${index} 'host=${host} port=${port} dbname=${new URL(url).pathname.slice(1)}'`;
  });
  const bare = await openHead(context, shards, "plproxy_head", [
    "create extension plproxy",
    // Without it the number of shards must be a power of two.
    `create server dots_cluster foreign data wrapper plproxy options (modular_mapping '1', ${places.join(", ")})`,
    `create user mapping for public server dots_cluster options (user '${user}', password '${password}')`,
    `grant usage on foreign server dots_cluster to "${head.user}"`,
    ...FUNCTIONS.map(
      ([name, args, columns, sql]) =>
        `create function ${name}(${args}) returns table (${columns}) language plproxy as $$ cluster 'dots_cluster'; run on all; ${sql}; $$`,
    ),
  ]);
  const prepare = preparer(bare);
  const groups = prepare(
    "groups",
    "select category, sum(n) as n, sum(s) as s, sum(s) / sum(n) as a from groups() group by category order by category",
  );
  const top = prepare("top_users", "select user_id, n from top_users() order by n desc, user_id limit 20");
  const newest = prepare("newest", "select * from newest() order by created desc limit 20");
  const filtered = prepare("filtered", "select sum(n) as n from filtered(?, ?)");
  const average = prepare("average", "select sum(s) / sum(n) as a from sums()");
  const distinct = prepare("distinct", "select distinct category from categories() order by category");
  const point = prepare("point", "select id, user_id, label from point_of(?)");
  return [
    {
      name: "PL/Proxy",
      asks: {
        groups: () => groups([]),
        topUsers: () => top([]),
        newest: () => newest([]),
        filtered: (number) => {
          const { category, score } = filterOf(number);
          return filtered([category, score]);
        },
        average: () => average([]),
        distinct: () => distinct([]),
        point: (number) => point([createdOf(shape, number)]),
      },
    },
  ];
}
