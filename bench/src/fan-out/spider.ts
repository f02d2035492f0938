/** MariaDB's Spider engine: a table on the head whose partitions are the shards' tables. */
import { runAsAdmin } from "@tesserae/test-support";
import { openBare } from "../bare.ts";
import type { BenchContext } from "../harness.ts";
import type { Shards } from "./dots.ts";
import { askAverages, askOneTable } from "./one-table.ts";
import type { Contestant } from "./questions.ts";

/**
 * Connections are kept, the partitions are asked at the same time and read to their end at once, and no session settings or transactions are sent along.
 * Aggregates, orders and limits are pushed down by default (spider_direct_aggregate, spider_direct_order_limit).
 */
const SETTINGS = {
  spider_conn_recycle_mode: 1,
  spider_bgs_mode: 2,
  spider_quick_mode: 0,
  spider_semi_trx: 0,
  spider_sync_autocommit: 0,
  spider_sync_trx_isolation: 0,
};

export const SPIDER_REMARK = `Spider: one table on a fourth server, partitioned by ranges of the key; ${Object.entries(
  SETTINGS,
)
  .map(([name, value]) => `${name}=${value}`)
  .join(
    ", ",
  )} (the best of what was tried), spider_direct_aggregate as it comes. It pushes count and sum down but no avg, so that it is asked both ways where there is one.`;

const DATABASE = "spider_head";

export async function spider(context: BenchContext, shards: Shards): Promise<Contestant[]> {
  const { head, servers, urls, shape } = shards;
  await runAsAdmin(head, ["install soname 'ha_spider'"]);
  const url = await head.createDatabase(DATABASE);
  const nodes = urls.map((text, index) => {
    const { pathname } = new URL(text);
    const { host, port, user, password } = servers[index] as (typeof servers)[number];
    return `create server shard_${index + 1} foreign data wrapper mysql options (host '${host}', port ${port}, database '${pathname.slice(1)}', user '${user}', password '${password}')`;
  });
  const partitions = urls.map(
    (_, index) =>
      `partition p${index + 1} values less than (${1 + (index + 1) * shape.usersOfShard}) comment = 'srv "shard_${index + 1}"'`,
  );
  const text = "character set utf8mb4 collate utf8mb4_nopad_bin not null";
  await runAsAdmin(
    head,
    [
      ...nodes,
      `create table dots (id bigint not null, user_id bigint not null, category varchar(20) ${text}, score decimal(10,2) not null, created datetime(3) not null, label varchar(60) ${text}, primary key (user_id, id), key (created)) engine = spider comment = 'wrapper "mysql", table "dots"' partition by range (user_id) (${partitions.join(", ")})`,
      ...Object.entries(SETTINGS).map(([name, value]) => `set global ${name} = ${value}`),
    ],
    DATABASE,
  );
  // Opened now: the settings hold for new connections.
  const bare = openBare("mysql", url);
  context.onEnd(() => bare.close());
  return [
    { name: "Spider", asks: askOneTable(bare, shape) },
    { name: "Spider, sum / count for avg", asks: askAverages(bare, "sum(score) / count(*)") },
  ];
}
