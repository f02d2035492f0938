/**
 * Random queries over random rows, placed at random on one to seven shards, through the whole of `fed.everywhere` and `fed.some`: planned, asked in batches of whatever size, merged, and held against
 * one database with all rows. `FAN_OUT_RUNS` and `FAN_OUT_SEED` draw more, or the same again.
 */
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import type { Kysely, SelectQueryNode } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TesseraeError } from "../../src/base/errors.ts";
import { type Database, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { combineShards } from "../../src/fan-out/merge/combine-shards.ts";
import { planFanOut } from "../../src/fan-out/plan/plan-fan-out.ts";
import { Everywhere } from "../../src/fan-out/run/everywhere-session.ts";
import type { FanOutContext } from "../../src/fan-out/run/fan-out-context.ts";
import { FanOutGates } from "../../src/fan-out/run/fan-out-gates.ts";
import { inKeys } from "../../src/fan-out/steady/key-conditions.ts";
import { keyedSources } from "../../src/fan-out/steady/keyed-sources.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import type { FederationModel } from "../../src/schema/model.ts";
import type { Target } from "../../src/session/target.ts";
import { QUERY_FEATURES, RandomFanOutQuery, randomNumbers } from "./random-queries.ts";
import { OWNERS, randomData, randomSchema } from "./random-schema.ts";
import { WholeAndShards } from "./whole-and-shards.ts";

const RUNS = Number(process.env["FAN_OUT_RUNS"] ?? 5);
const SEED = process.env["FAN_OUT_SEED"] === undefined ? undefined : Number(process.env["FAN_OUT_SEED"]);
const SHARDS_MAX = 7;
const QUERIES = 20;

const { model } = randomSchema;
const federation = model.federations.get("default") as FederationModel;

/** How a query is asked. */
const asking = fc.record({
  numbers: randomNumbers,
  rowsInFlight: fc.constantFrom(1, 7, 40, 10_000),
  concurrency: fc.integer({ min: 1, max: 4 }),
  way: fc.constantFrom("execute", "stream"),
  /** Of all keys, or of some, one of which nobody added. */
  keys: fc.option(fc.array(fc.constantFrom(...OWNERS, 77n), { maxLength: 8 }), { nil: undefined, freq: 3 }),
});

type Asking = typeof asking extends fc.Arbitrary<infer A> ? A : never;

forEachEngine((engine) => {
  let databases: WholeAndShards;

  beforeAll(async () => {
    databases = await WholeAndShards.of(engine, model, SHARDS_MAX);
  }, 60_000);
  afterAll(() => databases[Symbol.asyncDispose]());

  test("an answer of shards is the one of a single database", async () => {
    const placement = fc.array(fc.nat({ max: 1_000 }), {
      minLength: OWNERS.length,
      maxLength: OWNERS.length,
    });
    const shards = fc.integer({ min: 1, max: SHARDS_MAX });
    const askings = fc.array(asking, { minLength: QUERIES, maxLength: QUERIES });
    await fc.assert(
      fc.asyncProperty(randomData, shards, placement, askings, async (data, count, places, all) => {
        const indexOf = (key: unknown) => (places[OWNERS.indexOf(key as bigint)] ?? 0) % count;
        await databases.fill(data, indexOf);
        const context = contextOf(databases, count, (key) => indexOf(key) + 1);
        for (const each of all) await compare(context, each);
      }),
      // A failure names its query; shrinking would ask thousands of others first.
      { numRuns: RUNS, endOnFailure: true, ...(SEED === undefined ? {} : { seed: SEED }) },
    );
  }, 3_600_000);

  async function compare(context: FanOutContext, { numbers, way, keys, ...options }: Asking): Promise<void> {
    const distinct = keys === undefined ? undefined : [...new Set(keys)];
    const session = new Everywhere<never>({ context, keys: distinct }, options);
    const features = QUERY_FEATURES[engine.name];
    const { query, ordered } = new RandomFanOutQuery(
      session as unknown as Kysely<never>,
      numbers,
      features,
    ).build();
    const node = query.toOperationNode() as SelectQueryNode;
    const of = keys === undefined ? "" : ` of keys ${distinct?.join()}`;
    const text = () => `${databases.kit.compile(node, {} as never).sql}${of}, ${JSON.stringify(options)}`;
    const asked = distinct === undefined ? node : keyedSources(node, context, inKeys(distinct));
    try {
      const whole = await databases.whole(asked);
      const merged: Record<string, unknown>[] = [];
      if (way === "execute") merged.push(...(await query.execute()));
      else for await (const row of query.stream()) merged.push(row);
      const [left, right] = ordered ? [merged, whole] : [inOrder(merged), inOrder(whole)];
      expect(left.map(written)).toEqual(right.map(written));
    } catch (error) {
      throw new Error(`${text()}: ${(error as Error).stack}`, { cause: error });
    }
  }
});

/** A federation's context on the first shards, without main: a key is where the draw has put it, and nothing moves. */
function contextOf(
  databases: WholeAndShards,
  count: number,
  shardOf: (key: KeyValue) => number,
): FanOutContext {
  const { kit } = databases;
  const shards = databases.shards.slice(0, count).map((database, at) => targetOf(database, at + 1));
  const locate = (key: KeyValue) => {
    if (!OWNERS.includes(key as bigint)) throw new TesseraeError("KEY_UNKNOWN", `Nobody added ${key}.`);
    return { shard: shardOf(key), epoch: 1n };
  };
  function targetOf(database: Database, shard: number): [number, Target] {
    const place = { cluster: "shards", shard };
    const readiness = { ready: true, wait: async () => {} };
    return [
      shard,
      { name: `shard ${shard}`, isOnlyShard: false, isReplica: false, database, kit, place, readiness },
    ];
  }
  return {
    schema: model,
    federation,
    shards: new Map(shards),
    replicas: new Map(),
    kit,
    // As a directory that has to look each key up.
    keys: { toText: String, locate: async (key) => locate(key), refresh: async (key) => locate(key) },
    gates: new FanOutGates(POOL_DEFAULTS),
    defaults: {},
    steady: undefined,
    writes: undefined as never,
    plan: (node, { dialect }) => planFanOut(node, { schema: model, federation: "default", dialect }),
    combine: combineShards,
  };
}

const written = (row: Record<string, unknown>): string =>
  JSON.stringify(row, (_, value) =>
    typeof value === "bigint" ? `${value}n` : value instanceof Uint8Array ? [...value] : value,
  );

const inOrder = (rows: readonly Record<string, unknown>[]) =>
  rows
    .map((row) => [written(row), row] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row);
