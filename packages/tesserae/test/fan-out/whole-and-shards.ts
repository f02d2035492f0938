/** One database with all rows, and shards that hold them key by key: what a plan's answer is held against the whole's with. */
import type { TestEngine } from "@tesserae/test-support";
import type { OperationNode, QueryId, RootOperationNode } from "kysely";
import { type Database, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import type { FanOutPlan } from "../../src/fan-out/fan-out-plan.ts";
import { combineShards } from "../../src/fan-out/merge/combine-shards.ts";
import type { AnswerRow, ShardRows } from "../../src/fan-out/merge/shard-rows.ts";
import { planFanOut } from "../../src/fan-out/plan/plan-fan-out.ts";
import { rowDecoder } from "../../src/fan-out/run/row-decoder.ts";
import type { SchemaModel } from "../../src/schema/model.ts";
import { DialectKit } from "../../src/session/dialect-kit.ts";
import { engineAt } from "../engine/open-database.ts";
import { offline } from "../session/offline-kysely.ts";

const QUERY_ID = {} as QueryId;

export type Rows = Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;

export class WholeAndShards implements AsyncDisposable {
  readonly kit: DialectKit;
  readonly #schema: SchemaModel;
  readonly #whole: Database;
  readonly #shards: readonly Database[];
  readonly #cleanUp: () => Promise<void>;

  private constructor(schema: SchemaModel, databases: readonly Database[], cleanUp: () => Promise<void>) {
    const [whole, ...shards] = databases;
    this.#whole = whole as Database;
    this.#shards = shards;
    this.#schema = schema;
    this.#cleanUp = cleanUp;
    this.kit = new DialectKit(this.#whole.engine.dialect, schema, 1_000);
  }

  static async of(engine: TestEngine, schema: SchemaModel, shards: number): Promise<WholeAndShards> {
    const fresh = await engine.databases(shards + 1);
    const databases = await Promise.all(
      fresh.urls.map(async (url) => (await engineAt(url)).open(POOL_DEFAULTS)),
    );
    for (const database of databases)
      for (const table of schema.tables.values())
        for (const sql of database.engine.dialect.createTable(table))
          await database.run({ sql, parameters: [], prepare: false });
    return new WholeAndShards(schema, databases, fresh.cleanUp);
  }

  get shards(): readonly Database[] {
    return this.#shards;
  }

  /** Replaces all rows. A reference table's go to every shard, a federated one's to the shard of their key. */
  async fill(rows: Rows, shardOf: (key: unknown) => number): Promise<void> {
    await this.#fillOne(this.#whole, rows, () => true);
    for (const [index, shard] of this.#shards.entries())
      await this.#fillOne(shard, rows, (key) => shardOf(key) % this.#shards.length === index);
  }

  async #fillOne(database: Database, rows: Rows, holds: (key: unknown) => boolean): Promise<void> {
    for (const [name, all] of Object.entries(rows)) {
      const key = this.#schema.tables.get(name)?.keyColumn;
      const own = key === undefined ? all : all.filter((row) => holds(row[key]));
      await this.#run(database, offline.deleteFrom(name).toOperationNode());
      if (own.length > 0)
        await this.#run(
          database,
          offline
            .insertInto(name)
            .values([...own])
            .toOperationNode(),
        );
    }
  }

  /** The answer of one database with all rows. */
  async whole(node: OperationNode): Promise<AnswerRow[]> {
    return this.#run(this.#whole, node);
  }

  async #run(database: Database, node: OperationNode): Promise<AnswerRow[]> {
    const { sql, parameters, plan } = this.kit.compile(node as RootOperationNode, QUERY_ID);
    const { rows } = await database.run(plan.statement(sql, parameters));
    return plan.decode(rows);
  }

  plan(node: OperationNode): FanOutPlan {
    const { dialect } = this.kit;
    return planFanOut(node as RootOperationNode, { schema: this.#schema, federation: "default", dialect });
  }

  /** The same by way of a plan. */
  async merged(node: OperationNode): Promise<AnswerRow[]> {
    const plan = this.plan(node);
    const asked = plan.shards === "one" ? this.#shards.slice(0, 1) : this.#shards;
    const sources = await Promise.all(asked.map((shard) => this.#rows(shard, plan)));
    const answer: AnswerRow[] = [];
    for await (const batch of combineShards(plan, sources, { groupsMax: 100_000 })) answer.push(...batch);
    return answer;
  }

  async #rows(shard: Database, plan: FanOutPlan): Promise<ShardRows> {
    const { sql, parameters, plan: statement } = this.kit.compile(plan.statement, QUERY_ID);
    const { rows } = await shard.run(statement.statement(sql, parameters));
    const batch = rowDecoder(plan.columns, statement, this.kit.dialect, undefined)(rows);
    const batches = batch.length > 1 ? [batch.slice(0, 1), batch.slice(1)] : batch.length > 0 ? [batch] : [];
    return {
      next: async () => {
        const value = batches.shift();
        return value === undefined ? { done: true, value: undefined } : { done: false, value };
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#whole, ...this.#shards].map((database) => database.close(1_000)));
    await this.#cleanUp();
  }
}
