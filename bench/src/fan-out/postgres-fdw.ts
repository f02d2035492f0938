/** PostgreSQL's postgres_fdw: a partitioned table on the head whose partitions are the shards' tables. */
import type { BenchContext } from "../harness.ts";
import type { Shards } from "./dots.ts";
import { askOneTable } from "./one-table.ts";
import { openHead } from "./postgres-head.ts";
import type { Contestant } from "./questions.ts";

const FDW_OPTIONS = { async_capable: "true", use_remote_estimate: "true", fetch_size: "1000" };

export const FDW_REMARK = `postgres_fdw: foreign tables on a fourth server as partitions by ranges of the key, analyzed; ${Object.entries(
  FDW_OPTIONS,
)
  .map(([name, value]) => `${name} ${value}`)
  .join(
    ", ",
  )}, enable_partitionwise_aggregate on; prepared statements, so that a plan is made once. A larger fetch_size takes a tenth off long scans and makes the newest rows five times slower.`;

export async function postgresFdw(context: BenchContext, shards: Shards): Promise<Contestant[]> {
  const { urls, servers, shape, head } = shards;
  const { usersOfShard } = shape;
  const options = Object.entries(FDW_OPTIONS)
    .map(([name, value]) => `${name} '${value}'`)
    .join(", ");
  const perShard = urls.flatMap((url, index) => {
    const server = servers[index] as (typeof servers)[number];
    const [low, high] = [1 + index * usersOfShard, 1 + (index + 1) * usersOfShard];
    return [
      `create server shard_${index + 1} foreign data wrapper postgres_fdw options (host '${server.host}', port '${server.port}', dbname '${new URL(url).pathname.slice(1)}', ${options})`,
      `create user mapping for public server shard_${index + 1} options (user '${server.user}', password '${server.password}')`,
      `create foreign table dots_${index + 1} partition of dots for values from (${low}) to (${high}) server shard_${index + 1} options (schema_name 'public', table_name 'dots')`,
      `grant select on dots_${index + 1} to "${head.user}"`,
    ];
  });
  const bare = await openHead(context, shards, "fdw_head", [
    "create extension postgres_fdw",
    'create table dots (id bigint not null, user_id bigint not null, category varchar(20) collate "C" not null, score numeric(10,2) not null, created timestamptz(3) not null, label varchar(60) collate "C" not null) partition by range (user_id)',
    ...perShard,
    `grant select on dots to "${head.user}"`,
    "analyze dots",
    ...urls.map((_, index) => `analyze dots_${index + 1}`),
    "alter database fdw_head set enable_partitionwise_aggregate = on",
  ]);
  return [{ name: "postgres_fdw", asks: askOneTable(bare, shape) }];
}
