/**
 * `federate()`: configuration in, a running federation out. This file wires the floors together and decides nothing itself: which
 * database plays which cluster is the topology's, where a key lives the directory's, what a statement may say the session's.
 */
import type { Kysely } from "kysely";
import { isTesseraeError, TesseraeError } from "./base/errors.ts";
import { engineFromUrl, type FederationConfig, failoverOptions, poolOptions } from "./configuration.ts";
import { checkConfig } from "./configuration-checks.ts";
import { mainControlTables } from "./directory/control-tables.ts";
import { checkControlVersion } from "./directory/control-version.ts";
import { markSchemaChange } from "./directory/schema-change.ts";
import { ShardIdentities } from "./directory/shard-identity.ts";
import type { TenantRegistry } from "./directory/tenants.ts";
import type { Database, Engine, PoolStats } from "./engine/contract.ts";
import { ControlStore } from "./engine/control-store.ts";
import { toEngineError } from "./engine/engine-error.ts";
import { type Gather, openGather } from "./fan-out/gather/gatherer.ts";
import type { Everywhere } from "./fan-out/run/everywhere-session.ts";
import { FanOutGates } from "./fan-out/run/fan-out-gates.ts";
import type { FederationHandle } from "./federation-handle.ts";
import { FederationLookups, type FindBy } from "./federation-lookups.ts";
import { markComplete, readRow } from "./lookup-reads.ts";
import { LookupMarks } from "./lookups/lookup-marks.ts";
import { lookupsOf } from "./lookups/lookup-table.ts";
import type { MoveOptions, MoveStatus } from "./move/move-status.ts";
import type { Moves } from "./move/moves.ts";
import { type Databases, Kits, openDatabases } from "./open-databases.ts";
import { openHandles } from "./open-handles.ts";
import type { OpenedLookups } from "./open-lookups.ts";
import { openTickets } from "./open-tickets.ts";
import { References } from "./references.ts";
import type { Freshness } from "./replicas/freshness.ts";
import type { ReplicaStatus } from "./replicas/replica-set.ts";
import { Replicas } from "./replicas/replicas.ts";
import type { Schema } from "./schema/define-schema.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import { DEFAULT_FEDERATION, type TableModel } from "./schema/model.ts";
import type { FederatedTables, KeyOf, MainDatabase, RowOf, ShardDatabase } from "./schema/row-types.ts";
import { refuseInTransaction, refuseWhileMoving } from "./schema-and-moves.ts";
import { checkEngines, checkReplicas } from "./schema-on-engines.ts";
import { MainBinding } from "./session/bindings.ts";
import type { SessionOptions } from "./session/following.ts";
import { openSession } from "./session/sessions.ts";
import type { Readiness, Target } from "./session/target.ts";
import type { FederationMember } from "./shard-manager/members.ts";
import type { ShardManager, ShardManagerOptions } from "./shard-manager.ts";
import { type ApplyResult, Synchronizer } from "./synchronizer/synchronizer.ts";
import type { FederationTickets } from "./tickets/federation-tickets.ts";
import { Ids } from "./tickets/ids.ts";
import { SequenceCounters } from "./tickets/table-sequences.ts";
import { connectionBudget, type ServerBudget } from "./topology/budget.ts";
import { parseTopology, type Topology } from "./topology/topology.ts";

const CONTROL_CONNECTIONS_DEFAULT = 4;
const STATEMENT_PLANS_DEFAULT = 2_000;
const ALWAYS_READY: Readiness = { ready: true, wait: async () => {} };

type NameOf<S extends Schema> = keyof S["$federations"] & string;
type ShardsOf<S extends Schema, Name extends string> = ShardDatabase<S["$tables"], Name>;
type KeyIn<S extends Schema, Name extends NameOf<S>> = KeyOf<S["$federations"][Name]>;
/** The short form's key; never where the schema names its federations. */
type DefaultKey<S extends Schema> = "default" extends NameOf<S> ? KeyIn<S, "default" & NameOf<S>> : never;

/** A database that is written to. */
export interface PrimaryStatus {
  readonly address: string;
  /** The host that takes writes (`db-2:3306`), where the address names several: the one that was found last, undefined before the first use and after a long pause. */
  readonly primary: string | undefined;
  readonly pool: PoolStats;
}

/** What is configured and what is open. Addresses hold no passwords. */
export interface FederationStatus {
  readonly main: PrimaryStatus;
  /** Connections reserved for the directory and tickets. */
  readonly control: PrimaryStatus;
  readonly shards: readonly (PrimaryStatus & { readonly id: number; readonly isMain: boolean })[];
  /** Main's, and then the shards'. As they were when they were asked last: while nobody reads from them, nobody asks. */
  readonly replicas: readonly ReplicaStatus[];
  /** The ticket servers of the configuration; what each gives is `fed.tickets.status()`'s to say. */
  readonly ticketServers: readonly { readonly address: string; readonly pool: PoolStats }[];
  /** Which clusters main plays. */
  readonly poorMans: Readonly<Record<"replicas" | "federation" | "tickets", boolean>>;
  /** Connections each server may see from all processes together. */
  readonly budget: readonly ServerBudget[];
  readonly federations: readonly string[];
}

/** Whether a database answers. */
export interface DatabaseProbe {
  /** `main`, `control`, `shard 1`, `ticket server 1`, … */
  readonly name: string;
  readonly address: string;
  /** Active keys on the shard, of all federations; undefined where it is no shard or could not be asked. */
  readonly tenants: number | undefined;
  /** Why it does not answer. */
  readonly error: string | undefined;
}

/** A running federation; `federate()` makes one. */
export class Federation<S extends Schema = Schema> {
  /** Global and reference tables, in main. */
  readonly main: Kysely<MainDatabase<S["$tables"]>>;
  /** The replicas of main, for plain selects that may lag behind. Without replicas in the configuration main plays them, with the same rules. */
  readonly replica: Kysely<MainDatabase<S["$tables"]>>;
  /** Ids that no other process is ever given. */
  readonly tickets: FederationTickets;
  /** The ids of a table's column, by whatever its schema says. */
  readonly ids: Ids<S["$tables"]>;
  /** `apply()` creates what the schema says, everywhere it belongs. */
  readonly schema: { apply(): Promise<ApplyResult> };
  /** What a request or a job has written, so that its reads on replicas see it. */
  readonly freshness: Freshness;
  /** Brings rows of all shards and of main together in an embedded engine, and runs any SQL over them. See `Gather`. */
  readonly gather: Gather;
  /** What main knows of rows by their values alone: status, sweep, rebuild. */
  readonly lookups: FederationLookups;
  /** `publish()` copies reference tables from main to the shards. */
  readonly references: References;
  readonly #topology: Topology<Engine>;
  readonly #databases: Databases;
  readonly #replicas: Replicas;
  readonly #ticketServers: readonly Database[];
  readonly #budget: readonly ServerBudget[];
  readonly #identities: ShardIdentities;
  // biome-ignore lint/suspicious/noExplicitAny: `in` gives each its own types.
  readonly #handles: ReadonlyMap<string, FederationHandle<any, any>>;

  constructor(config: FederationConfig<S>) {
    checkConfig(config);
    const model = config.schema.model;
    const pool = poolOptions(config.pool);
    const failover = failoverOptions(config.failover);
    this.#topology = parseTopology<Engine>(config, engineFromUrl);
    checkReplicas(this.#topology);
    checkEngines(model, this.#topology);
    const controlConnectionsMax = config.controlConnectionsMax ?? CONTROL_CONNECTIONS_DEFAULT;
    this.#budget = connectionBudget(this.#topology, {
      processes: config.budget?.processes ?? 1,
      poolMax: pool.connectionsMax,
      controlPoolMax: controlConnectionsMax,
      control: this.#topology.main.control(),
      besidePool: ({ name }) => (name === "sqlite" ? 0 : 1),
      serverMax: config.budget?.serverConnectionsMax,
    });
    this.#databases = openDatabases(this.#topology, pool, controlConnectionsMax, failover);
    const { control, shards } = this.#databases;
    const { replication } = config;
    const replicas = new Replicas({ topology: this.#topology, pool, failover, replication });
    this.#replicas = replicas;
    this.freshness = replicas.freshness;
    // What an application writes is noted for its reads on replicas; what a move writes is nobody's in particular.
    const main = replicas.noting(undefined, this.#databases.main);
    const kits = new Kits(model, config.statementPlansMax ?? STATEMENT_PLANS_DEFAULT);
    const mainTarget: Target = {
      name: "main",
      isOnlyShard: false,
      isReplica: false,
      database: main,
      kit: kits.of(main),
      place: { cluster: "main" },
      readiness: ALWAYS_READY,
    };
    this.main = openSession(new MainBinding(mainTarget, model, "main"));
    const readTarget = {
      ...mainTarget,
      isReplica: true,
      database: replicas.reading(undefined, this.#databases.main),
    };
    this.replica = openSession(new MainBinding(readTarget, model, "replicas"));
    // A newer library may have laid the control tables out anew: nothing reads them before that is known.
    const gate = async () => void (await checkControlVersion(control));
    const store = new ControlStore(control, { cluster: "main" }, gate);
    const {
      tickets,
      growth,
      databases: ticketServers,
    } = openTickets({
      config,
      topology: this.#topology,
      control,
      gate,
      pool,
      connectionsMax: controlConnectionsMax,
      beforeChange: refuseInTransaction,
    });
    this.tickets = tickets;
    this.#ticketServers = ticketServers;
    this.ids = new Ids(model, this.tickets, new SequenceCounters(control, gate));
    const listed = [...this.#topology.shards.values()].map(({ id, isMain }) => ({
      id,
      isMain,
      database: replicas.noting(id, shards.get(id) as Database),
    }));
    this.references = new References(model, main, listed, refuseInTransaction);
    const identities = new ShardIdentities({
      control,
      federations: [...model.federations.values()],
      shardDatabase: (id) => shards.get(id) as Database,
    });
    const synchronizer = new Synchronizer({
      schema: model,
      main,
      control,
      shards: listed,
      mainControlTables: [
        ...mainControlTables(model.federations.values()),
        ...lookupsOf(model).map((lookup) => lookup.model),
      ],
      identities,
    });
    const marks = new LookupMarks(store);
    const applyTables = async () => {
      if (await synchronizer.isComplete()) return synchronizer.apply();
      await markSchemaChange(store, true);
      try {
        await refuseWhileMoving(handles.values());
        return await synchronizer.apply();
      } finally {
        await markSchemaChange(store, false);
      }
    };
    this.schema = {
      async apply() {
        refuseInTransaction("schema.apply");
        await growth.refuseOthers();
        const applied = await applyTables();
        await markComplete(model, marks, listed, applied);
        await growth.setUp();
        return applied;
      },
    };
    this.#identities = identities;
    const handles = openHandles(config, {
      synchronizer,
      schema: model,
      databases: this.#databases,
      replicas,
      kits,
      control: store,
      isOnlyShard: this.#topology.poorMans.federation,
      identities,
      gates: new FanOutGates(pool),
      main: { session: this.main, kit: mainTarget.kit },
    });
    this.#handles = handles;
    const opened = [...handles.values()].filter((handle) => handle.openedLookups !== undefined);
    this.lookups = new FederationLookups(
      model,
      marks,
      opened.map((handle) => ({
        opened: handle.openedLookups as OpenedLookups,
        read: (key, table, column, value) => readRow(handle.at(key), table, column, value),
      })),
    );
    this.gather = openGather(model, (table) => this.#sessionOver(table));
  }

  /** A Kysely instance for one key of the schema's one federation. See `FederationHandle.at`. */
  at(key: DefaultKey<S>, options?: SessionOptions) {
    return this.#default.at(key, options);
  }

  /** Selects over all shards, of the schema's one federation. See `FederationHandle.everywhere`. */
  get everywhere(): Everywhere<ShardsOf<S, "default">> {
    return this.#default.everywhere;
  }

  /** Selects over some keys of the schema's one federation. See `FederationHandle.some`. */
  some(keys: readonly DefaultKey<S>[]): Everywhere<ShardsOf<S, "default">> {
    return this.#default.some(keys);
  }

  /**
   * A row of a federated table without its key: by its id, or by a column and its value, where the table is looked up by it (`lookup: ["id"]`, `.unique()`). Undefined where
   * no such row is committed.
   *
   * @example
   * ```ts
   * const dot = await fed.find("dots", 7n);
   * const sheet = await fed.find("sheets", { id: 3n });
   * ```
   */
  async find<N extends FederatedTables<S["$tables"]>>(
    table: N,
    by: FindBy<RowOf<S["$tables"], N>>,
  ): Promise<RowOf<S["$tables"], N> | undefined> {
    return (await this.lookups.find(table, by)) as RowOf<S["$tables"], N> | undefined;
  }

  /** The keys of the schema's one federation: add, where, list, remove. */
  get tenants(): TenantRegistry<DefaultKey<S>> {
    return this.#default.tenants;
  }

  /** Keys and ranges of the schema's one federation on their way from shard to shard: move, list, watch, pause, resume, abort. */
  get moves(): Moves<DefaultKey<S>> {
    return this.#default.moves;
  }

  /** Cuts a range of keys in two. See `Moves.split`. */
  split(...parameters: Parameters<Moves<DefaultKey<S>>["split"]>): Promise<MoveStatus> {
    return this.#default.split(...parameters);
  }

  /** Makes one of two ranges that meet. See `Moves.merge`. */
  merge(...parameters: Parameters<Moves<DefaultKey<S>>["merge"]>): Promise<MoveStatus> {
    return this.#default.merge(...parameters);
  }

  /** Gives a key a place of its own out of a range. See `Moves.isolate`. */
  isolate(...parameters: Parameters<Moves<DefaultKey<S>>["isolate"]>): Promise<MoveStatus | undefined> {
    return this.#default.isolate(...parameters);
  }

  /** Moves every key of every federation off a shard. See `Moves.drain`. */
  async drain(shard: number, options: MoveOptions & { readonly to?: number } = {}): Promise<MoveStatus[]> {
    const statuses: MoveStatus[] = [];
    for (const handle of this.#handles.values()) statuses.push(...(await handle.drain(shard, options)));
    return statuses;
  }

  /** Lets a shard that was drained take new keys again. */
  async reopen(shard: number): Promise<void> {
    for (const handle of this.#handles.values()) await handle.reopen(shard);
  }

  /** Builds a query once for the schema's one federation. See `FederationHandle.prepare`. */
  get prepare(): FederationHandle<ShardsOf<S, "default">, DefaultKey<S>>["prepare"] {
    const handle = this.#default;
    return handle.prepare.bind(handle) as FederationHandle<ShardsOf<S, "default">, DefaultKey<S>>["prepare"];
  }

  /** A shard manager of the schema's one federation, for one request. See `ShardManager`. */
  shardManager(
    options?: ShardManagerOptions,
  ): ShardManager<MainDatabase<S["$tables"]> & ShardsOf<S, "default">, DefaultKey<S>> {
    return this.#default.shardManager<MainDatabase<S["$tables"]>>(options);
  }

  /** The parts of the schema's one federation, and what is under way on each. See `FederationHandle.members`. */
  members(): Promise<FederationMember<DefaultKey<S>>[]> {
    return this.#default.members();
  }

  /** One of several federations, by name: `fed.in("blogs").at(id)`. */
  in<Name extends NameOf<S>>(name: Name): FederationHandle<ShardsOf<S, Name>, KeyIn<S, Name>> {
    const handle = this.#handles.get(name);
    if (handle !== undefined) return handle;
    const known = [...this.#handles.keys()].join(", ");
    throw new TesseraeError(
      "FEDERATION_UNKNOWN",
      `The schema defines no federation "${name}". It has: ${known}.`,
      { federation: name },
    );
  }

  /** What is configured, what is open, and the connection budget. */
  status(): FederationStatus {
    const { main, control, shards } = this.#databases;
    return {
      main: statusOf(main),
      control: statusOf(control),
      shards: [...this.#topology.shards.values()].map(({ id, primary, isMain }) => ({
        ...statusOf(shards.get(id) as Database),
        id,
        address: primary.address.display,
        isMain,
      })),
      replicas: this.#replicas.status(),
      ticketServers: this.#ticketServers.map(({ engine, stats }) => ({
        address: engine.address.display,
        pool: stats,
      })),
      poorMans: this.#topology.poorMans,
      budget: this.#budget,
      federations: [...this.#handles.keys()],
    };
  }

  /** Asks every database for an answer. Never rejects for one that is down: its probe says why. */
  async probe(): Promise<DatabaseProbe[]> {
    const { main, control, shards } = this.#databases;
    const [onMain, onControl, onReplicas, onTickets, ...onShards] = await Promise.all([
      probeDatabase("main", main),
      probeDatabase("control", control),
      this.#replicas.probe(),
      Promise.all(
        this.#ticketServers.map((server, index) => probeDatabase(`ticket server ${index + 1}`, server)),
      ),
      ...[...shards].map(([id, database]) => this.#probeShard(id, database)),
    ]);
    const counts = onControl.error === undefined ? await this.#countTenants() : undefined;
    const ids = [...shards.keys()];
    const countOf = (probe: DatabaseProbe, id: number) =>
      probe.error !== undefined || counts === undefined ? undefined : (counts.get(id) ?? 0);
    return [
      onMain,
      onControl,
      ...onShards.map((probe, index) => ({ ...probe, tenants: countOf(probe, ids[index] as number) })),
      ...onReplicas.map((probe) => ({ ...probe, tenants: undefined })),
      ...onTickets,
    ];
  }

  /** A database that answers may still be another shard's. */
  async #probeShard(id: number, database: Database): Promise<DatabaseProbe> {
    const probe = await probeDatabase(`shard ${id}`, database);
    if (probe.error !== undefined) return probe;
    const error = await this.#identities.verify(id).catch((failure: unknown) => failure);
    return isTesseraeError(error, "SHARD_IDENTITY")
      ? { ...probe, error: `${error.code}: ${error.message}` }
      : probe;
  }

  /** Waits for work under way, then closes every connection. Idempotent; afterwards every call is refused with CLOSED. */
  async close(): Promise<void> {
    await Promise.all([...this.#handles.values()].map(({ moves }) => moves.close()));
    await this.ids.close();
    await this.tickets.close();
    await this.#replicas.close();
    const { main, control, shards } = this.#databases;
    await Promise.all([...new Set([main, ...shards.values()])].map((database) => database.close()));
    await control.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Active keys by shard; undefined before the schema was applied. */
  async #countTenants(): Promise<Map<number, number> | undefined> {
    const counts = new Map<number, number>();
    try {
      for (const handle of this.#handles.values()) {
        for (const [shard, count] of await handle.tenants.count())
          counts.set(shard, (counts.get(shard) ?? 0) + count);
      }
    } catch (error) {
      if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return undefined;
      throw error;
    }
    return counts;
  }

  /** Where all rows of a table can be selected. */
  #sessionOver({ federation }: TableModel): Kysely<unknown> {
    if (federation === undefined) return this.main as Kysely<unknown>;
    return (this.#handles.get(federation) as FederationHandle<unknown, KeyValue>).everywhere;
  }

  get #default(): FederationHandle<ShardsOf<S, "default">, DefaultKey<S>> {
    const handle = this.#handles.get(DEFAULT_FEDERATION);
    if (handle !== undefined) return handle;
    const [first] = this.#handles.keys();
    throw new TesseraeError(
      "FEDERATION_UNKNOWN",
      `The schema defines its federations by name: say which one, as in fed.in("${first}").at(key).`,
      {},
    );
  }
}

/**
 * Checks a configuration and gives the federation it describes. Nothing is connected yet: connections open on first use. Raises a `CONFIG_…` error for the first
 * thing that is wrong.
 *
 * @example
 * ```ts
 * import { bigint, defineSchema, federate, federated, sqlite, text } from "tesserae";
 *
 * const schema = defineSchema({
 *   key: bigint(),
 *   tables: { notes: federated("user_id", { id: bigint().ticket(), user_id: bigint(), body: text(200) }) },
 * });
 * await using fed = await federate({ schema, main: sqlite("notes.db") });
 * await fed.schema.apply();
 * await fed.tenants.add(1n);
 * await fed.at(1n).insertInto("notes").values({ id: await fed.tickets.next("notes"), body: "first" }).execute();
 * ```
 */
export async function federate<S extends Schema>(config: FederationConfig<S>): Promise<Federation<S>> {
  return new Federation(config);
}

function statusOf({ engine, primary, stats }: Database): PrimaryStatus {
  return { address: engine.address.display, primary, pool: stats };
}

async function probeDatabase(name: string, database: Database): Promise<DatabaseProbe> {
  const { dialect, address } = database.engine;
  try {
    await database.run({ sql: "select 1 as answer", parameters: [], readOnly: true });
    return { name, address: address.display, tenants: undefined, error: undefined };
  } catch (error) {
    const { code, message } = toEngineError(error, dialect, {});
    return { name, address: address.display, tenants: undefined, error: `${code}: ${message}` };
  }
}
