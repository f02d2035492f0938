/** Dots of many tenants on three shards, filled by the servers themselves: the same rows on every engine, and the federation over them. */
import type { PrivateServer, ServerEngine } from "@tesserae/test-support";
import {
  bigint,
  decimal,
  defineSchema,
  type Federation,
  type FederationConfig,
  federate,
  federated,
  text,
  timestamp,
} from "tesserae";
import { openBare, POOL_SIZE } from "../bare.ts";
import type { BenchContext } from "../harness.ts";

export const dotsSchema = defineSchema({
  key: bigint(),
  tables: {
    dots: federated(
      "user_id",
      {
        id: bigint(),
        user_id: bigint(),
        category: text(20),
        score: decimal(10, 2),
        created: timestamp(),
        label: text(60),
      },
      { indexes: [["created"]] },
    ),
  },
});

export type DotsFederation = Federation<typeof dotsSchema>;

export const SHARDS = 3;
export const CATEGORIES = 12;
/** One row for each second from here on, in no order of ids or users. */
const BEGIN_MS = Date.UTC(2026, 0, 1);

/** How the rows are spread. Shard `i` (from 0) has the users from `1 + i * usersOfShard` on. */
export interface DotsShape {
  readonly rows: number;
  readonly rowsOfShard: number;
  readonly usersOfShard: number;
}

/** About 100 rows a user, of which one in 50 has some 13 times as many. */
export function dotsShape(wanted: number): DotsShape {
  const rowsOfShard = Math.ceil(wanted / SHARDS);
  return {
    rows: rowsOfShard * SHARDS,
    rowsOfShard,
    usersOfShard: Math.max(50, Math.round(rowsOfShard / 5000) * 50),
  };
}

/** What the servers are asked, whoever asks them. */
export interface Shards {
  readonly engine: ServerEngine;
  readonly shape: DotsShape;
  /** A server of its own for what stands before the shards: the federation's main, Spider's tables, foreign tables. */
  readonly head: PrivateServer;
  readonly servers: readonly PrivateServer[];
  /** Of the shards' databases, by shard. */
  readonly urls: readonly string[];
  /** The federation's main, on the head. */
  readonly main: string;
  readonly fed: DotsFederation;
}

export async function openShards(
  context: BenchContext,
  engine: ServerEngine,
  shape: DotsShape,
): Promise<Shards> {
  const [head, ...servers] = (await context.servers(engine, 1 + SHARDS)) as [
    PrivateServer,
    ...PrivateServer[],
  ];
  const main = await head.createDatabase();
  const urls = await Promise.all(servers.map((server) => server.createDatabase()));
  const fed = await federate(configuration(main, urls));
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  for (const index of urls.keys()) {
    const low = BigInt(1 + index * shape.usersOfShard);
    await fed.tenants.addRange({ low, high: low + BigInt(shape.usersOfShard) }, { shard: index + 1 });
  }
  await Promise.all(urls.map((url, index) => fill(engine, url, index, shape)));
  return { engine, shape, head, servers, urls, main, fed };
}

export function configuration(main: string, urls: readonly string[]): FederationConfig<typeof dotsSchema> {
  return {
    schema: dotsSchema,
    main,
    shards: Object.fromEntries(urls.map((url, index) => [index + 1, url])),
    pool: { connectionsMax: POOL_SIZE },
  };
}

/** The moment of a row that exists, by any number. */
export function createdOf(shape: DotsShape, number: number): Date {
  return new Date(BEGIN_MS + (number % shape.rows) * 1000);
}

/** Rows come in the order of the primary key, as fast as the engine takes them. */
async function fill(engine: ServerEngine, url: string, shard: number, shape: DotsShape): Promise<void> {
  const { rows, rowsOfShard, usersOfShard } = shape;
  const postgres = engine === "postgres";
  const divided = (value: string, by: number) => (postgres ? `(${value}) / ${by}` : `(${value}) div ${by}`);
  const n = `(m * ${SHARDS} + ${shard})`;
  // Every fourth row is one of the few users that have many.
  const heavy = `mod(${divided("m", 4)} * 7, ${Math.max(1, usersOfShard / 50)}) * 50`;
  const user = `${1 + shard * usersOfShard} + case when mod(m, 4) = 0 then ${heavy} else mod(m * 7919, ${usersOfShard}) end`;
  const seconds = `mod(${n} * 7919, ${rows})`;
  const begin = new Date(BEGIN_MS).toISOString().replace("T", " ").replace("Z", "");
  const columns = [
    `${n} + 1 as id`,
    `${user} as user_id`,
    `concat('category ', mod(${divided(n, 7)}, ${CATEGORIES}))`,
    `mod(${n} * 104729, 100000) / 100.0`,
    postgres
      ? `timestamptz '${begin}+00' + ${seconds} * interval '1 second'`
      : `timestamp'${begin}' + interval ${seconds} second`,
    `concat('dot number ', ${n}, ' ', repeat('x', 10 + cast(mod(m, 20) as ${postgres ? "int" : "signed"})))`,
  ];
  const numbers = postgres
    ? `generate_series(0::bigint, ${rowsOfShard - 1}) as numbers (m)`
    : `(select cast(seq as signed) as m from seq_0_to_${rowsOfShard - 1}) as numbers`;
  const bare = openBare(engine, url);
  try {
    await bare.run(
      `insert into dots (id, user_id, category, score, created, label) select ${columns.join(", ")} from ${numbers} order by 2, 1`,
    );
    await bare.run(postgres ? "vacuum analyze dots" : "analyze table dots");
  } finally {
    await bare.close();
  }
}
