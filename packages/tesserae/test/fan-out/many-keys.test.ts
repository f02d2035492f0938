/** Questions about more keys of a shard than one statement takes: it is asked by several, each with a connection. */
import { freshDatabases } from "@tesserae/test-support";
import { expect, test } from "vitest";
import type { Database, Engine } from "../../src/engine/contract.ts";
import { FanOutGates } from "../../src/fan-out/run/fan-out-gates.ts";
import { bigint, defineSchema, federate, federated, sqlite, TesseraeError } from "../../src/index.ts";
import type { Target } from "../../src/session/target.ts";
import { engineAt } from "../engine/open-database.ts";

const schema = defineSchema({
  key: bigint(),
  tables: { dots: federated("user_id", { id: bigint(), user_id: bigint() }) },
});

async function withKeys(engines: readonly Engine[], connectionsMax: number) {
  const [main, ...shards] = engines as [Engine, ...Engine[]];
  const pool = { connectionsMax, acquireTimeoutMs: 2_000 };
  const fed = await federate({
    schema,
    main,
    shards: Object.fromEntries(shards.map((shard, at) => [at + 1, shard])),
    pool,
  });
  await fed.schema.apply();
  await fed.tenants.addRange({ low: 0n, high: 100_000n }, { shard: 1 });
  for (const id of [1n, 19_000n]) await fed.at(id).insertInto("dots").values({ id }).execute();
  return fed;
}

const KEYS = Array.from({ length: 20_000 }, (_, key) => BigInt(key));

test("is refused at once where there are fewer connections than statements", async () => {
  const fed = await withKeys([sqlite(":memory:"), sqlite(":memory:")], 10);
  const ids = fed.some(KEYS).selectFrom("dots").select("id").orderBy("id");
  await expect(ids.execute()).rejects.toMatchObject({
    code: "CONNECTION_LIMIT",
    shard: 1,
    retryable: false,
    message: expect.stringContaining("2 statements would be read at the same time"),
  });
  expect(await ids.limit(5).execute()).toEqual([{ id: 1n }, { id: 19_000n }]);
  await fed.close();
});

test("has all rows of a shard or none, though only one of its statements failed", async () => {
  let isDown = false;
  let acquired = 0;
  await using fresh = await freshDatabases("sqlite", 3);
  const [main, first, second] = await Promise.all(fresh.urls.map((url) => engineAt(url)));
  const failing = withDatabase(first as Engine, (database) => ({
    engine: database.engine,
    get stats() {
      return database.stats;
    },
    run: (statement) => database.run(statement),
    acquire: (options) =>
      isDown && ++acquired === 2
        ? Promise.reject(new TesseraeError("CONNECT_FAILED", "The shard is down."))
        : database.acquire(options),
    close: (timeoutMs) => database.close(timeoutMs),
  }));
  const fed = await withKeys([main as Engine, failing, second as Engine], 10);
  await fed.tenants.add(200_000n, { shard: 2 });
  await fed.at(200_000n).insertInto("dots").values({ id: 7n }).execute();
  isDown = true;
  const partial = fed.some([...KEYS, 200_000n]).using({ mode: "partial" });
  const { rows, missing } = await partial.run(partial.selectFrom("dots").select("id").orderBy("id"));
  expect(missing.map(({ shard }) => shard)).toEqual([1]);
  expect(rows).toEqual([{ id: 7n }]);
  expect(acquired).toBe(2);
  await fed.close();
});

/** An engine whose databases are seen through something. */
function withDatabase(engine: Engine, through: (database: Database) => Database): Engine {
  return {
    name: engine.name,
    dialect: engine.dialect,
    address: engine.address,
    control: () => engine.control(),
    open: (options, failover) => through(engine.open(options, failover)),
  };
}

test("takes all its places of a shard together", async () => {
  const gates = new FanOutGates({ connectionsMax: 4, acquireTimeoutMs: 5_000 });
  const target = { place: {}, database: { engine: {} } } as unknown as Target;
  const twice = [1, 1].map((shard) => ({ shard, target }));
  const { signal } = new AbortController();
  // Of three places two are free for each in turn; one by one each of the two would get one of the last two.
  const leaveOne = await gates.enter([{ shard: 1, target }], signal);
  const both = [gates.enter(twice, signal), gates.enter(twice, signal)];
  const leaveFirst = await Promise.race(both);
  leaveFirst();
  for (const leave of await Promise.all(both)) leave();
  leaveOne();
  const leaveAll = await gates.enter(
    [1, 1, 1].map((shard) => ({ shard, target })),
    signal,
  );
  const late = gates.enter([{ shard: 1, target }], AbortSignal.timeout(10));
  await expect(late).rejects.toMatchObject({ name: "TimeoutError" });
  leaveAll();
  (await gates.enter([{ shard: 1, target }], signal))();
});
