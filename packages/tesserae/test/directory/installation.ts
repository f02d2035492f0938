/** Main's control database and shards on one engine, with a directory and a registry: what the suites of this folder stand on. */

import { ChangeFeed } from "../../src/directory/change-feed.ts";
import { leastLoaded, type ShardChooser } from "../../src/directory/choosers.ts";
import { mainControlTables } from "../../src/directory/control-tables.ts";
import { upgradeControlTables } from "../../src/directory/control-version.ts";
import { Directory } from "../../src/directory/directory.ts";
import type { MachinePoint } from "../../src/directory/tenant-machine.ts";
import { TenantRegistry } from "../../src/directory/tenants.ts";
import type { Database, EngineResult } from "../../src/engine/contract.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { ControlStore } from "../../src/engine/control-store.ts";
import { shardControlTables } from "../../src/engine/control-tables.ts";
import { bigint, type Column, text } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import { DEFAULT_FEDERATION, type FederationModel, type SchemaModel } from "../../src/schema/model.ts";
import { federated } from "../../src/schema/table.ts";
import { engineAt } from "../engine/open-database.ts";

/** Notes, tags of notes, and folders in folders: a reference between tables, and one of a table to itself. */
export function notesSchema(key: Column<KeyValue> = bigint() as unknown as Column<KeyValue>): SchemaModel {
  const definition = defineSchema({
    key,
    tables: {
      notes: federated("owner", { id: bigint(), owner: key, body: text(200) }),
      tags: federated("owner", {
        id: bigint(),
        owner: key,
        note_id: bigint().references("notes"),
        label: text(20),
      }),
      folders: federated("owner", {
        id: bigint(),
        owner: key,
        parent_id: bigint().nullable().references("folders"),
      }),
    },
  });
  return definition.model;
}

export interface InstallationOptions {
  readonly schema?: SchemaModel;
  readonly chooser?: ShardChooser;
  readonly leaseMs?: number;
  readonly now?: () => number;
  readonly directoryCacheEntries?: number;
  readonly takeOverMs?: number;
  readonly waitMs?: number;
  readonly purgeBatchRows?: number;
  readonly at?: (point: MachinePoint) => void | Promise<void>;
}

export class Installation implements AsyncDisposable {
  readonly schema: SchemaModel;
  readonly federation: FederationModel;
  readonly main: Database;
  readonly shards: ReadonlyMap<number, Database>;
  readonly control: ControlStore;
  readonly feed: ChangeFeed;
  readonly directory: Directory;
  readonly tenants: TenantRegistry;

  private constructor(main: Database, shards: ReadonlyMap<number, Database>, options: InstallationOptions) {
    this.schema = options.schema ?? notesSchema();
    this.federation = this.schema.federations.get(DEFAULT_FEDERATION) as FederationModel;
    this.main = main;
    this.shards = shards;
    this.control = new ControlStore(main, { cluster: "main" });
    this.feed = new ChangeFeed({ control: this.control, leaseMs: options.leaseMs, now: options.now });
    this.directory = new Directory({
      control: this.control,
      federation: this.federation,
      feed: this.feed,
      directoryCacheEntries: options.directoryCacheEntries,
    });
    this.tenants = new TenantRegistry({
      control: this.control,
      federation: this.federation,
      directory: this.directory,
      feed: this.feed,
      tables: [...this.schema.tables.values()].filter((table) => table.kind === "federated"),
      shards: [...shards.keys()],
      shardDatabase: (shard) => shards.get(shard) as Database,
      chooser: options.chooser ?? leastLoaded(),
      purgeBatchRows: options.purgeBatchRows,
      takeOverMs: options.takeOverMs,
      waitMs: options.waitMs,
      at: options.at,
    });
  }

  /** The first URL is main's, the others are the shards', from 1. Nothing is created. */
  static async at(urls: readonly string[], options: InstallationOptions = {}): Promise<Installation> {
    const [main, ...rest] = await Promise.all(
      urls.map(async (url) => (await engineAt(url)).open({ ...POOL_DEFAULTS, connectionsMax: 6 })),
    );
    return new Installation(
      main as Database,
      new Map(rest.map((database, index) => [index + 1, database])),
      options,
    );
  }

  /** Creates all tables, with the guard. */
  async create(): Promise<this> {
    await upgradeControlTables(this.main, mainControlTables([this.federation]));
    for (const database of this.shards.values()) {
      await upgradeControlTables(database, shardControlTables([this.federation]));
      const { dialect } = database.engine;
      for (const table of this.schema.tables.values()) {
        for (const sql of [...dialect.createTable(table), ...dialect.createGuard(table, this.federation)]) {
          await database.run({ sql, parameters: [], prepare: false });
        }
      }
    }
    return this;
  }

  /** On a shard, with bigint keys. */
  addNote(shard: number, key: bigint, id: number): Promise<EngineResult> {
    return this.onShard(shard, "insert into notes (owner, id, body) values (?, ?, ?)", [
      key,
      BigInt(id),
      "text",
    ]);
  }

  onShard(shard: number, sql: string, parameters: readonly unknown[] = []): Promise<EngineResult> {
    const database = this.shards.get(shard) as Database;
    const { dialect } = database.engine;
    const bigints = dialect.codec({ kind: "bigint" });
    return database.run({
      sql: dialect.placeholders(sql),
      parameters: parameters.map((value) => (typeof value === "bigint" ? bigints.encode(value) : value)),
    });
  }

  async count(shard: number, table: string): Promise<number> {
    return Number((await this.onShard(shard, `select count(*) as n from ${table}`)).rows[0]?.["n"]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.main, ...this.shards.values()].map((database) => database.close()));
  }
}
