/** Wires each federation of the schema: its directory, tenants, moves and the routes of its sessions. */
import { isTesseraeError } from "./base/errors.ts";
import type { FederationConfig } from "./configuration.ts";
import { ChangeFeed } from "./directory/change-feed.ts";
import { leastLoaded, resolveChooser, type ShardChooser } from "./directory/choosers.ts";
import { Directory } from "./directory/directory.ts";
import { DirectoryRows } from "./directory/directory-rows.ts";
import type { ShardIdentities } from "./directory/shard-identity.ts";
import { TenantRegistry } from "./directory/tenants.ts";
import type { Database } from "./engine/contract.ts";
import type { ControlStore } from "./engine/control-store.ts";
import { combineShards } from "./fan-out/merge/combine-shards.ts";
import { planFanOut } from "./fan-out/plan/plan-fan-out.ts";
import type { FanOutContext, FanOutKeys } from "./fan-out/run/fan-out-context.ts";
import type { FanOutGates } from "./fan-out/run/fan-out-gates.ts";
import { STEADY_INTERNALS, type SteadyInternals } from "./fan-out/steady/steady-points.ts";
import { SteadyQuestions } from "./fan-out/steady/steady-questions.ts";
import { WRITE_INTERNALS, type WriteInternals } from "./fan-out/write/write-internals.ts";
import { FederationHandle, type HandleParts } from "./federation-handle.ts";
import { MOVE_INTERNALS, type MoveInternals } from "./move/move-internals.ts";
import { Moves } from "./move/moves.ts";
import { MovesInMain } from "./move/moves-under-way.ts";
import type { Databases, Kits } from "./open-databases.ts";
import { LOOKUP_INTERNALS, type LookupInternals, openLookups } from "./open-lookups.ts";
import type { Replicas } from "./replicas/replicas.ts";
import type { Schema } from "./schema/define-schema.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import type { FederationModel, SchemaModel } from "./schema/model.ts";
import { refuseIncomplete, refuseInTransaction, refuseWhileChanging } from "./schema-and-moves.ts";
import { Following } from "./session/following.ts";
import type { FederationRoutes, RouteAnswer, RouteSource } from "./session/key-routes.ts";
import type { ReplicaTarget } from "./session/replica-routes.ts";
import type { Readiness, Target } from "./session/target.ts";
import type { Synchronizer } from "./synchronizer/synchronizer.ts";

export interface HandleSources {
  readonly synchronizer: Synchronizer;
  readonly schema: SchemaModel;
  readonly databases: Databases;
  readonly replicas: Replicas;
  readonly kits: Kits;
  readonly control: ControlStore;
  readonly isOnlyShard: boolean;
  readonly identities: ShardIdentities;
  readonly gates: FanOutGates;
  /** The session of the global tables. */
  readonly main: HandleParts["main"];
}

export function openHandles<S extends Schema>(
  config: FederationConfig<S>,
  {
    synchronizer,
    schema,
    databases,
    replicas,
    kits,
    control,
    isOnlyShard,
    identities,
    gates,
    main,
  }: HandleSources,
): Map<string, FederationHandle<unknown, KeyValue>> {
  const feed = new ChangeFeed({ control, leaseMs: config.directory?.leaseMs });
  const shards = new Map<number, Target>(
    [...databases.shards].map(([id, database]) => [
      id,
      {
        name: `shard ${id}` as const,
        isOnlyShard,
        isReplica: false,
        database: replicas.noting(id, database),
        kit: kits.of(database),
        place: { cluster: "shards", shard: id },
        readiness: new ShardReadiness(() => identities.verify(id)),
      },
    ]),
  );
  const readTargets = new Map<Target, ReplicaTarget>(
    [...shards].map(([id, target]) => [
      target,
      { ...target, isReplica: true, database: replicas.reading(id, databases.shards.get(id) as Database) },
    ]),
  );
  const open = (federation: FederationModel) => {
    const directory = new Directory({
      control,
      federation,
      feed,
      directoryCacheEntries: config.directory?.cacheEntries,
    });
    const tables = [...schema.tables.values()].filter((table) => table.federation === federation.name);
    const moves = new Moves({
      resumeTenants: () => tenants.resume(),
      control,
      federation,
      directoryRows: new DirectoryRows(control, federation),
      feed,
      keys: directory.codec,
      tables,
      replicas: replicas.ofShards,
      shards: [...databases.shards.keys()],
      shardDatabase: (id) => databases.shards.get(id) as Database,
      shardGate: (id) => identities.verify(id),
      checkSchema: async (...ids) => {
        await refuseWhileChanging(control);
        for (const id of ids) await refuseIncomplete(synchronizer, id);
      },
      beforeChange: refuseInTransaction,
      forgetRoutes: (members) => directory.forget(members),
      leaseMs: feed.leaseMs,
      internals: (config as { readonly [MOVE_INTERNALS]?: MoveInternals })[MOVE_INTERNALS],
    });
    const tenants = new TenantRegistry({
      control,
      federation,
      directory,
      feed,
      tables,
      shards: [...databases.shards.keys()],
      shardDatabase: (id) => databases.shards.get(id) as Database,
      shardGate: (id) => identities.verify(id),
      beforeChange: refuseInTransaction,
      chooser: chooserFor(config.chooser, federation.name),
    });
    const following = new Following({
      federation,
      compare: directory.codec.compare,
      consistency: config.consistency,
      ...config.moves,
    });
    const lookups = openLookups({
      schema,
      federation,
      control,
      keys: directory.codec,
      tenants,
      shards,
      residences: following.residences,
      internals: (config as { readonly [LOOKUP_INTERNALS]?: LookupInternals })[LOOKUP_INTERNALS],
    });
    const routes: FederationRoutes = {
      federation: federation.name,
      source: config.placement === "onFirstUse" ? placingOnFirstUse(directory, tenants) : directory,
      show: (key) => directory.codec.show(key),
      toText: (key) => directory.codec.toText(key),
      shards,
      replicas: readTargets,
      kit: ([...shards.values()][0] as Target).kit,
      following,
      lookups: lookups?.writer,
    };
    const keys: FanOutKeys = {
      toText: (key) => directory.codec.toText(key),
      // A key is not placed because somebody asks for its rows.
      locate: (key) => directory.locate(key),
      refresh: (key) => directory.refresh(key),
    };
    const fanOut: FanOutContext = {
      schema,
      federation,
      shards: new Map([...shards].sort(([a], [b]) => a - b)),
      replicas: readTargets,
      kit: routes.kit,
      keys,
      gates,
      defaults: config.fanOut ?? {},
      steady: new SteadyQuestions({
        schema,
        federation,
        shards,
        keys,
        following,
        moves: new MovesInMain(control, federation, directory.codec),
        internals: (config as { readonly [STEADY_INTERNALS]?: SteadyInternals })[STEADY_INTERNALS],
      }),
      writes: {
        keys: directory.codec,
        control,
        waitMs: config.moves?.writeWaitMs,
        at: (config as { readonly [WRITE_INTERNALS]?: WriteInternals })[WRITE_INTERNALS]?.at,
      },
      plan: (node, { dialect }) => planFanOut(node, { schema, federation: federation.name, dialect }),
      combine: combineShards,
    };
    return new FederationHandle<unknown, KeyValue>({
      schema,
      federation,
      directory,
      tenants,
      moves,
      routes,
      lookups,
      fanOut,
      control,
      main,
    });
  };
  return new Map([...schema.federations.values()].map((federation) => [federation.name, open(federation)]));
}

class ShardReadiness implements Readiness {
  ready = false;
  readonly #verify: () => Promise<void>;

  constructor(verify: () => Promise<void>) {
    this.#verify = verify;
  }

  async wait(): Promise<void> {
    await this.#verify();
    this.ready = true;
  }
}

function chooserFor(input: FederationConfig["chooser"], federation: string): ShardChooser {
  if (input === undefined) return leastLoaded();
  // A record by federation holds choosers; a chooser itself has pickShard, and a class is a function.
  const isOne = typeof input === "function" || "pickShard" in input;
  const chosen = isOne ? input : input[federation];
  return chosen === undefined ? leastLoaded() : resolveChooser(chosen);
}

/** Adds a key when it is first used: `placement: "onFirstUse"`. */
function placingOnFirstUse(directory: Directory, tenants: TenantRegistry): RouteSource {
  const place = async (key: KeyValue, answer: Promise<RouteAnswer>): Promise<RouteAnswer> => {
    try {
      return await answer;
    } catch (error) {
      if (!isTesseraeError(error, "KEY_UNKNOWN") || (await wasRemoved(tenants, key))) throw error;
      await tenants.add(key);
      return directory.refresh(key);
    }
  };
  return {
    locate(key) {
      const answer = directory.locate(key);
      return answer instanceof Promise ? place(key, answer) : answer;
    },
    refresh: (key) => place(key, directory.refresh(key)),
  };
}

/** A key that was taken out stays out until somebody adds it by name: a late request must not bring it back. */
async function wasRemoved(tenants: TenantRegistry, key: KeyValue): Promise<boolean> {
  try {
    const { state } = await tenants.where(key);
    return state === "removing" || state === "purging" || state === "removed";
  } catch (error) {
    if (isTesseraeError(error, "KEY_UNKNOWN")) return false;
    throw error;
  }
}
