/** A federation on two shards whose residences and directory a test changes by hand, as a move would. */
import type { TestEngine } from "@tesserae/test-support";
import { ChangeFeed } from "../../src/directory/change-feed.ts";
import { DirectoryRows } from "../../src/directory/directory-rows.ts";
import { KeyCodec } from "../../src/directory/key-codec.ts";
import { ResidenceRows } from "../../src/directory/residence-rows.ts";
import { type Database, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import type { ResidenceState } from "../../src/engine/control-tables.ts";
import { type FederationConfig, federate } from "../../src/index.ts";
import type { FederationModel } from "../../src/schema/model.ts";
import { engineAt } from "../engine/open-database.ts";
import { type DotsFederation, dotsSchema } from "./dots-federation.ts";
import { Observer, observedEngine, sentTo } from "./observed-engine.ts";

const federation = dotsSchema.model.federations.get("default") as FederationModel;

/** The points that tests wait for. */
export const DIRECTORY_LOOKUP = sentTo("control", /tesserae_directory_default/);
export const residenceLookup = (shard: number) => sentTo(`shard ${shard}`, /tesserae_residence_default/);
export const sheetInsert = (shard: number) => sentTo(`shard ${shard}`, /^insert into .sheets/);

export class MovingFederation implements AsyncDisposable {
  readonly fed: DotsFederation;
  readonly observer: Observer;
  readonly #control: ControlStore;
  readonly #shards: ReadonlyMap<number, Database>;
  readonly #databases: readonly Database[];
  readonly #cleanUp: () => Promise<void>;
  readonly #keys = new KeyCodec(federation);

  private constructor(
    fed: DotsFederation,
    observer: Observer,
    opened: { control: Database; shards: readonly Database[] },
    cleanUp: () => Promise<void>,
  ) {
    this.fed = fed;
    this.observer = observer;
    this.#control = new ControlStore(opened.control);
    this.#shards = new Map(opened.shards.map((database, index) => [index + 1, database]));
    this.#databases = [opened.control, ...opened.shards];
    this.#cleanUp = cleanUp;
  }

  static async open(
    engine: TestEngine,
    options: Partial<FederationConfig<typeof dotsSchema>> = {},
  ): Promise<MovingFederation> {
    const databases = await engine.databases(3, { servers: 2 });
    const observer = new Observer();
    const [main, one, two] = (await Promise.all(databases.urls.map(engineAt))) as [never, never, never];
    const fed = await federate({
      schema: dotsSchema,
      main: observedEngine(main, "main", observer),
      shards: { 1: observedEngine(one, "shard 1", observer), 2: observedEngine(two, "shard 2", observer) },
      // A route that is cached stays so: what is stale in these tests is stale for as long as they run.
      directory: { leaseMs: 600_000 },
      ...options,
    });
    await fed.schema.apply();
    // The test's own pools: what it does by hand is not observed.
    const own = await Promise.all(databases.urls.map(engineAt));
    const pool = { ...POOL_DEFAULTS, connectionsMax: 2 };
    const [control, ...shards] = own.map((each, index) => (index === 0 ? each.control() : each).open(pool));
    const opened = { control: control as Database, shards };
    return new MovingFederation(fed, observer, opened, () => databases.cleanUp());
  }

  /** A key on shard 1 whose route is cached. */
  async addKey(key: bigint): Promise<bigint> {
    await this.fed.tenants.add(key, { shard: 1 });
    await this.fed.at(key).selectFrom("sheets").select("id").execute();
    return key;
  }

  /** Takes the residence's lock alone, as a mover does, and so waits for the key's open writers. */
  async setResidence(shard: number, key: bigint, state: ResidenceState, epoch = 1n): Promise<void> {
    const store = new ControlStore(this.#shards.get(shard) as Database);
    const rows = new ResidenceRows(shard, store, federation, this.#keys);
    const settled = await rows.settle({ kind: "p", low: key, high: null, epoch, state, token: 1_000n });
    if (!settled.settled) throw new Error("the residence has a larger token");
  }

  async deleteResidence(shard: number, key: bigint): Promise<void> {
    await this.onShard(shard, `delete from tesserae_residence_default where kind = 'p' and low = ${key}`);
  }

  /** The commit of a cut-over, without an entry in the feed: processes find out when they are refused. */
  async setDirectory(key: bigint, shard: number, epoch: bigint): Promise<void> {
    const rows = new DirectoryRows(this.#control, federation);
    await this.#control.transaction(async (transaction) => {
      const row = await rows.lock(transaction, "p", key);
      if (row === undefined) throw new Error("the key has no row");
      await rows.update(transaction, { ...row, shard, epoch }, row.token);
    });
  }

  async announce(key: bigint): Promise<void> {
    const feed = new ChangeFeed({ control: this.#control });
    await this.#control.transaction((transaction) =>
      feed.append(transaction, { federation: "default", kind: "p", low: this.#keys.toText(key) }),
    );
  }

  /** From shard 1, frozen, to shard 2: everything between the freeze and the purge. */
  async cutOver(key: bigint): Promise<void> {
    await this.setResidence(2, key, "arriving");
    await this.setDirectory(key, 2, 2n);
    await this.setResidence(2, key, "here", 2n);
    await this.setResidence(1, key, "gone");
  }

  async move(key: bigint): Promise<void> {
    await this.setResidence(1, key, "frozen");
    await this.cutOver(key);
  }

  /** Plain SQL without parameters, past every session. */
  async onShard(shard: number, sql: string): Promise<Record<string, unknown>[]> {
    const database = this.#shards.get(shard) as Database;
    return (await database.run({ sql, parameters: [], prepare: false })).rows;
  }

  /** The labels of a key's sheets on a shard, whoever lives there. */
  async labels(shard: number, key: bigint): Promise<unknown[]> {
    const rows = await this.onShard(shard, `select label from sheets where user_id = ${key} order by id`);
    return rows.map(({ label }) => label);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fed.close();
    await Promise.all(this.#databases.map((database) => database.close()));
    await this.#cleanUp();
  }
}
