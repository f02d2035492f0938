/** Random queries over random rows on random shards: planned, merged, and held against one database with all rows. */
import { forEachEngine } from "@tesserae/test-support";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { offline } from "../session/offline-kysely.ts";
import { QUERY_FEATURES, RandomFanOutQuery, randomNumbers } from "./random-queries.ts";
import { OWNERS, randomData, randomSchema } from "./random-schema.ts";
import { WholeAndShards } from "./whole-and-shards.ts";

const RUNS = Number(process.env["FAN_OUT_RUNS"] ?? 5);
const SEED = process.env["FAN_OUT_SEED"] === undefined ? undefined : Number(process.env["FAN_OUT_SEED"]);
const SHARDS = 3;

forEachEngine((engine) => {
  let databases: WholeAndShards;

  beforeAll(async () => {
    databases = await WholeAndShards.of(engine, randomSchema.model, SHARDS);
  });
  afterAll(() => databases[Symbol.asyncDispose]());

  test("a merged answer is the one of a single database", async () => {
    const placement = fc.array(fc.nat({ max: SHARDS - 1 }), {
      minLength: OWNERS.length,
      maxLength: OWNERS.length,
    });
    const queries = fc.array(randomNumbers, { minLength: 25, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(randomData, placement, queries, async (data, shards, drawn) => {
        await databases.fill(data, (key) => shards[OWNERS.indexOf(key as bigint)] ?? 0);
        for (const numbers of drawn) await compare(databases, numbers);
      }),
      { numRuns: RUNS, endOnFailure: SEED !== undefined, ...(SEED === undefined ? {} : { seed: SEED }) },
    );
  }, 600_000);

  async function compare(asked: WholeAndShards, numbers: readonly number[]): Promise<void> {
    const { query, ordered } = new RandomFanOutQuery(offline, numbers, QUERY_FEATURES[engine.name]).build();
    const node = query.toOperationNode();
    const text = () => asked.kit.compile(node, {} as never).sql;
    const whole = await asked.whole(node).catch((error: Error) => {
      throw new Error(`${text()}: ${error.message}`);
    });
    const merged = await asked.merged(node).catch((error: Error) => {
      throw new Error(`${text()}: ${error.stack}`);
    });
    const [left, right] = ordered ? [merged, whole] : [inOrder(merged), inOrder(whole)];
    expect(left.map(written), text()).toEqual(right.map(written));
  }
});

const written = (row: Record<string, unknown>): string =>
  JSON.stringify(row, (_, value) =>
    typeof value === "bigint" ? `${value}n` : value instanceof Uint8Array ? [...value] : value,
  );

const inOrder = (rows: readonly Record<string, unknown>[]) =>
  rows
    .map((row) => [written(row), row] as const)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row);
