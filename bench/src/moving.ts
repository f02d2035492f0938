/** A federation of places on two servers, for the benches of moves: large and small tenants, and writers that note how long each write took. */
import { type Federation, federate } from "tesserae";
import { type Bare, openBare, POOL_SIZE } from "./bare.ts";
import type { BenchContext } from "./harness.ts";
import type { PipeEngine } from "./pipes.ts";
import { placesSchema } from "./places.ts";

export const LEASE_MS = 200;
export const GRACE_MS = 250;

export interface Moving {
  readonly engine: PipeEngine;
  readonly fed: Federation<typeof placesSchema>;
  /** Shards 1 and 2, each on a server of its own. */
  readonly urls: readonly [string, string];
  readonly bare: readonly [Bare, Bare];
  /** Adds tenants to shard 1, each with so many rows, and gives their keys. */
  addTenants(count: number, rows: number): Promise<bigint[]>;
}

export async function openMoving(context: BenchContext, engine: PipeEngine): Promise<Moving> {
  const [main, first, second] = (await context.databases(engine, 3, { servers: 2 })) as [
    string,
    string,
    string,
  ];
  // Main is with shard 2; shard 1 has the other server for itself.
  const urls = [first, second] as const;
  const fed = await federate({
    schema: placesSchema,
    main,
    shards: { 1: first, 2: second },
    pool: { connectionsMax: POOL_SIZE },
    directory: { leaseMs: LEASE_MS },
  });
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  const bare = [openBare(engine, first), openBare(engine, second)] as const;
  for (const each of bare) context.onEnd(() => each.close());
  let keys = 0n;
  return {
    engine,
    fed,
    urls,
    bare,
    async addTenants(count, rows) {
      const begin = keys + 1n;
      const added = Array.from({ length: count }, (_, index) => begin + BigInt(index));
      keys += BigInt(count);
      for (let start = 0; start < count; start += 20)
        await Promise.all(added.slice(start, start + 20).map((key) => fed.tenants.add(key, { shard: 1 })));
      await fillTenants(bare[0], engine, { begin, count, rows });
      await bare[0].run(engine === "postgres" ? "analyze places" : "analyze table places");
      return added;
    },
  };
}

/** Rows of about 100 bytes, made by the server itself. */
async function fillTenants(
  bare: Bare,
  engine: PipeEngine,
  { begin, count, rows }: { readonly begin: bigint; readonly count: number; readonly rows: number },
): Promise<void> {
  const label = "concat('place number ', n, ' ', repeat('x', 40 + mod(n, 20)))";
  const values = `mod(n, 170) - 85 + 0.123456, mod(n, 350) - 175 + 0.654321, ${label}, '2026-01-02 03:04:05.678'`;
  const numbers =
    engine === "postgres"
      ? (from: number, to: number) => `(select generate_series(${from}, ${to}) as n) numbers`
      : (from: number, to: number) => `(select cast(seq as signed) as n from seq_${from}_to_${to}) numbers`;
  const created =
    engine === "postgres"
      ? values.replace(/'2026[^']+'/, "timestamptz '2026-01-02 03:04:05.678+00'")
      : values;
  const total = count * rows;
  const atOnce = 200_000;
  for (let from = 0; from < total; from += atOnce) {
    const to = Math.min(total, from + atOnce) - 1;
    const key = engine === "postgres" ? `${begin} + n / ${rows}` : `${begin} + n div ${rows}`;
    await bare.run(
      `insert into places (user_id, id, lat, lon, label, created) select ${key}, mod(n, ${rows}) + 1, ${created} from ${numbers(from, to)}`,
    );
  }
}

export interface Writing {
  /** How long each write took, in milliseconds. */
  readonly latencies: number[];
  stop(): Promise<void>;
}

/** Updates rows of a key one after the other, as fast as they go, or so many a second. */
export function writeTo(moving: Moving, key: bigint, rows: number, perSecond?: number): Writing {
  const latencies: number[] = [];
  let stopped = false;
  const run = async () => {
    const begun = performance.now();
    for (let n = 0; !stopped; n += 1) {
      if (perSecond !== undefined) {
        const due = begun + (n * 1000) / perSecond - performance.now();
        if (due > 1) await new Promise((resolve) => setTimeout(resolve, due));
      }
      const started = performance.now();
      const { numUpdatedRows } = await moving.fed
        .at(key)
        .updateTable("places")
        .set({ label: `changed ${n}` })
        .where("id", "=", BigInt(1 + (n % rows)))
        .executeTakeFirstOrThrow();
      if (numUpdatedRows !== 1n) throw new Error(`A write met ${numUpdatedRows} rows.`);
      latencies.push(performance.now() - started);
    }
  };
  const ended = run();
  return {
    latencies,
    async stop() {
      stopped = true;
      await ended;
    },
  };
}
