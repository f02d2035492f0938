/** Many keys: what a lookup costs and what a process remembers do not grow with them. */
import { freshDatabases } from "@tesserae/test-support";
import { expect, test } from "vitest";
import { Installation } from "./installation.ts";

const CACHE_ENTRIES = 5_000;

async function fill(here: Installation, from: number, to: number): Promise<void> {
  await here.control.run(
    `insert into tesserae_directory_default (kind, low, high, shard, epoch, state, token, updated)
     with recursive keys(i) as (select ${from} union all select i + 1 from keys where i < ${to})
     select 'p', i, null, 1, 1, 'active', 1, '2026-01-01T00:00:00.000Z' from keys`,
    [],
  );
}

/** The median time of a look-up in main, in milliseconds. */
async function medianLookup(here: Installation, keys: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 500; i++) {
    const key = BigInt(1 + Math.floor(Math.random() * keys));
    const start = performance.now();
    await here.directory.refresh(key);
    times.push(performance.now() - start);
  }
  return times.toSorted((a, b) => a - b)[250] as number;
}

test("a lookup among 400,000 keys costs about what it costs among 1,000, and the cache keeps to its limit", async () => {
  await using databases = await freshDatabases("sqlite", 2);
  await using here = await Installation.at(databases.urls, {
    directoryCacheEntries: CACHE_ENTRIES,
    leaseMs: 60_000,
  });
  await here.create();
  await fill(here, 1, 1_000);
  await medianLookup(here, 1_000);
  const few = await medianLookup(here, 1_000);
  await fill(here, 1_001, 400_000);
  const many = await medianLookup(here, 400_000);
  // A scan would take hundreds of times as long; a busy machine never that much.
  expect(many).toBeLessThan(few * 20);
  for (let key = 1; key <= 30_000; key++) await here.directory.locate(key);
  expect(here.directory.stats.entries).toBeLessThanOrEqual(CACHE_ENTRIES);
  expect((await here.tenants.count()).get(1)).toBe(400_000);
  const page = await here.tenants.page({ after: 399_990n, shard: 1 });
  expect(page.tenants.map(({ key }) => key)).toEqual([...Array(10).keys()].map((i) => BigInt(399_991 + i)));
});
