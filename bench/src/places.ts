/** A federation of places on one database, filled alike on every engine, with the bare driver beside it. */
import {
  bigint,
  decimal,
  defineSchema,
  type Federation,
  federate,
  federated,
  text,
  timestamp,
} from "tesserae";
import { type Bare, type BenchEngine, openBare, POOL_SIZE } from "./bare.ts";
import type { BenchContext } from "./harness.ts";

export const placesSchema = defineSchema({
  key: bigint(),
  tables: {
    places: federated("user_id", {
      id: bigint().ticket(),
      user_id: bigint(),
      lat: decimal(9, 6),
      lon: decimal(9, 6),
      label: text(100),
      created: timestamp(),
    }),
  },
});

export const TENANTS = 50;
export const ROWS_PER_TENANT = 200;

export interface PlacesBench {
  readonly engine: BenchEngine;
  readonly fed: Federation<typeof placesSchema>;
  readonly bare: Bare;
  /** A number in JavaScript for the bare drivers, which take no bigint everywhere. */
  key(number: number): number;
  /** An id that no row has yet. */
  freshId(): number;
}

/** `shipped`: the server flushes at each commit; `relaxed`: about once a second. SQLite has the first only. */
export type Durability = "shipped" | "relaxed";

/** Main is the one shard, in poor man's mode; the bare driver uses the same database and tables. */
export async function openPlaces(
  context: BenchContext,
  engine: BenchEngine,
  durability: Durability,
): Promise<PlacesBench> {
  const [url] = (await context.databases(engine, 1, { speed: durability === "relaxed" })) as [string];
  const fed = await federate({ schema: placesSchema, main: url, pool: { connectionsMax: POOL_SIZE } });
  context.onEnd(() => fed.close());
  await fed.schema.apply();
  for (let user = 1; user <= TENANTS; user += 1) {
    const key = BigInt(user);
    await fed.tenants.add(key);
    const rows = Array.from({ length: ROWS_PER_TENANT }, (_, index) => ({
      ...placeRow(user * 1000 + index),
      id: BigInt(user * 1000 + index),
    }));
    await fed.at(key).insertInto("places").values(rows).execute();
  }
  const bare = openBare(engine, url);
  context.onEnd(() => bare.close());
  let fresh = 10_000_000;
  return { engine, fed, bare, key: (number) => 1 + (number % TENANTS), freshId: () => ++fresh };
}

/** What a place holds besides its ids: the same for the same number. */
export function placeRow(number: number) {
  return {
    lat: ((number % 170) - 85 + 0.123456).toFixed(6),
    lon: ((number % 350) - 175 + 0.654321).toFixed(6),
    label: `place number ${number}`,
    created: new Date(1_700_000_000_000 + number * 1000),
  };
}
