/** Shards without a federation around them, and queries that were taken apart by hand: what the runner is tested with. */
import type { TestEngine } from "@tesserae/test-support";
import type { SelectQueryNode } from "kysely";
import { type Database, POOL_DEFAULTS, type PoolOptions } from "../../src/engine/contract.ts";
import type { FanOutPlan } from "../../src/fan-out/fan-out-plan.ts";
import { combineShards } from "../../src/fan-out/merge/combine-shards.ts";
import { Everywhere } from "../../src/fan-out/run/everywhere-session.ts";
import type { FanOutContext } from "../../src/fan-out/run/fan-out-context.ts";
import { FanOutGates } from "../../src/fan-out/run/fan-out-gates.ts";
import { bigint, defineSchema, federated, text } from "../../src/index.ts";
import type { FederationModel, TableModel } from "../../src/schema/model.ts";
import { DialectKit } from "../../src/session/dialect-kit.ts";
import type { Target } from "../../src/session/target.ts";
import { engineAt } from "../engine/open-database.ts";

const schema = defineSchema({
  key: bigint(),
  tables: { notes: federated("user_id", { id: bigint(), user_id: bigint(), body: text(100) }) },
}).model;

const table = schema.tables.get("notes") as TableModel;
const federation = schema.federations.get("default") as FederationModel;

interface Notes {
  notes: { id: bigint; user_id: bigint; body: string };
}

export interface AskedByHand extends AsyncDisposable {
  readonly everywhere: Everywhere<Notes>;
  readonly databases: readonly Database[];
  /** Of their own pools: what a test does beside the queries. */
  readonly besides: readonly Database[];
  readonly urls: readonly string[];
}

export interface ByHandOptions {
  /** Rows on each shard: shard s of n has the ids s, s + n, s + 2n, … */
  readonly rows: number;
  readonly shards?: number;
  readonly pool?: Partial<PoolOptions>;
  /** What the shards are reached by, where it is not their own address. */
  readonly through?: (url: string, shard: number) => string | Promise<string>;
  readonly wrap?: (database: Database, shard: number) => Database;
}

/** `select id, body from notes`, in the order of the ids where the query says so. */
function handPlan(statement: SelectQueryNode): FanOutPlan {
  const type = { kind: "bigint" } as const;
  const columns = [
    { name: "id", type },
    { name: "body", type: { kind: "text", length: 100 } as never },
  ];
  const limit = (statement.limit?.limit as { value?: number } | undefined)?.value;
  return {
    statement,
    columns,
    sorted: statement.orderBy === undefined ? [] : [{ column: 0, type, descending: false, nullsFirst: true }],
    combine: { kind: "rows" },
    having: undefined,
    output: columns.map((column, index) => ({
      name: column.name,
      value: { kind: "column", column: index, type: column.type },
    })),
    order: [],
    offset: 0,
    limit,
    keys: undefined,
    shards: "all",
  };
}

export async function askedByHand(engine: TestEngine, options: ByHandOptions): Promise<AskedByHand> {
  const count = options.shards ?? 3;
  const fresh = await engine.databases(count, { servers: 2 });
  const { through = (url) => url, wrap = (database) => database } = options;
  const pool = { ...POOL_DEFAULTS, ...options.pool };
  const opened = await Promise.all(
    fresh.urls.map(async (url, at) => (await engineAt(await through(url, at + 1))).open(pool)),
  );
  const besides = await Promise.all(fresh.urls.map(async (url) => (await engineAt(url)).open(POOL_DEFAULTS)));
  await Promise.all(besides.map((database, at) => fill(database, at + 1, count, options.rows)));
  const kits = new Map<string, DialectKit>();
  const shards = new Map<number, Target>(
    opened.map((database, at) => {
      const { dialect } = database.engine;
      const kit = kits.get(dialect.name) ?? new DialectKit(dialect, schema, 100);
      kits.set(dialect.name, kit);
      const shard = at + 1;
      const target: Target = {
        name: `shard ${shard}`,
        isOnlyShard: false,
        isReplica: false,
        database: wrap(database, shard),
        kit,
        place: { cluster: "shards", shard },
        readiness: { ready: true, wait: async () => {} },
      };
      return [shard, target];
    }),
  );
  const context: FanOutContext = {
    schema,
    federation,
    shards,
    replicas: new Map(),
    kit: (shards.get(1) as Target).kit,
    keys: {
      toText: String,
      locate: () => ({ shard: 1, epoch: 1n }),
      refresh: async () => ({ shard: 1, epoch: 1n }),
    },
    gates: new FanOutGates(pool),
    defaults: {},
    steady: undefined,
    plan: handPlan,
    combine: combineShards,
    writes: undefined as never,
  };
  return {
    everywhere: new Everywhere<Notes>({ context, keys: undefined }, {}),
    databases: opened,
    besides,
    urls: fresh.urls,
    async [Symbol.asyncDispose]() {
      await Promise.all([...opened, ...besides].map((database) => database.close(1_000)));
      await fresh.cleanUp();
    },
  };
}

const INSERT_ROWS = 500;

async function fill(database: Database, shard: number, shards: number, rows: number): Promise<void> {
  const { dialect } = database.engine;
  for (const sql of dialect.createTable(table)) await database.run({ sql, parameters: [], prepare: false });
  for (let at = 0; at < rows; at += INSERT_ROWS) {
    const values = Array.from({ length: Math.min(INSERT_ROWS, rows - at) }, (_, index) => {
      const id = shard + (at + index) * shards;
      return `(${id}, ${shard}, 'note ${id}')`;
    });
    const sql = `insert into notes (id, user_id, body) values ${values.join(", ")}`;
    await database.run({ sql, parameters: [], prepare: false });
  }
}
