/** One federation's face: its tenants, sessions and prepared queries. */
import type { Kysely } from "kysely";
import { TesseraeError } from "./base/errors.ts";
import { LruMap } from "./base/lru.ts";
import { checkConsistency } from "./configuration-checks.ts";
import type { Directory } from "./directory/directory.ts";
import type { CacheKey, KeyCodec } from "./directory/key-codec.ts";
import type { TenantRegistry } from "./directory/tenants.ts";
import type { ControlStore } from "./engine/control-store.ts";
import { Everywhere } from "./fan-out/run/everywhere-session.ts";
import type { FanOutContext } from "./fan-out/run/fan-out-context.ts";
import type { Moves } from "./move/moves.ts";
import type { OpenedLookups } from "./open-lookups.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import type { FederationModel, SchemaModel } from "./schema/model.ts";
import type { SessionOptions } from "./session/following.ts";
import { type FederationRoutes, KeyRoutes } from "./session/key-routes.ts";
import {
  type Buildable,
  type PreparedContext,
  type PreparedExpressions,
  type PreparedParameters,
  PreparedQuery,
} from "./session/prepared.ts";
import { ReplicaRoutes } from "./session/replica-routes.ts";
import { TenantSession } from "./session/sessions.ts";
import type { TenantScope } from "./session/tenant-filter.ts";
import { type FederationMember, listMembers } from "./shard-manager/members.ts";
import { ShardManager, type ShardManagerOptions, type ShardManagerParts } from "./shard-manager.ts";

/** Sessions kept for keys in use: making one costs more than finding it. */
const SESSIONS_MAX = 10_000;

export interface HandleParts {
  readonly schema: SchemaModel;
  readonly federation: FederationModel;
  readonly directory: Directory;
  readonly tenants: TenantRegistry;
  readonly moves: Moves;
  readonly routes: FederationRoutes;
  readonly lookups: OpenedLookups | undefined;
  readonly fanOut: FanOutContext;
  readonly control: ControlStore;
  readonly main: ShardManagerParts["main"];
}

/** A federation by name, as `fed.in(name)` gives it; `fed` itself is the one called `default`. */
export class FederationHandle<DB, Key extends KeyValue> {
  /** The registry of keys: add, where, list, remove. */
  readonly tenants: TenantRegistry<Key>;
  /** Keys and ranges on their way from shard to shard: move, list, watch, pause, resume, abort. */
  readonly moves: Moves<Key>;
  /**
   * A Kysely instance for selects over all shards: federated and reference tables. The answer is the one that a single database with all rows would give, or the query is refused
   * with FAN_OUT_UNSUPPORTED. `using({ … })` gives another session with other options, `run(query)` the rows together with the shards they came from.
   *
   * @example
   * ```ts
   * const newest = await fed.everywhere.selectFrom("dots").selectAll().orderBy("id", "desc").limit(20).execute();
   * ```
   */
  readonly everywhere: Everywhere<DB>;
  readonly #parts: HandleParts;
  readonly #codec: KeyCodec;
  readonly #context: PreparedContext;
  readonly #sessions = {
    lease: new LruMap<CacheKey, TenantSession<DB>>(SESSIONS_MAX),
    strict: new LruMap<CacheKey, TenantSession<DB>>(SESSIONS_MAX),
  };

  constructor(parts: HandleParts) {
    this.#parts = parts;
    this.#codec = parts.directory.codec;
    this.tenants = parts.tenants as unknown as TenantRegistry<Key>;
    this.moves = parts.moves as unknown as Moves<Key>;
    this.everywhere = new Everywhere<DB>({ context: parts.fanOut, keys: undefined }, {});
    this.#context = {
      routes: parts.routes,
      keyType: parts.federation.key,
      scopeOf: (key) => this.#scopeOf(key, (value) => value === key),
      checkKey: (key) => this.#codec.check(key),
    };
  }

  /**
   * A Kysely instance for one key. Every statement sees and touches only that key's rows, on the shard where they live. KEY_NULL and KEY_TYPE are raised at once,
   * KEY_UNKNOWN when a statement runs.
   *
   * @example
   * ```ts
   * const dots = await fed.at(12n, { consistency: "strict" }).selectFrom("dots").select("lat").execute();
   * ```
   */
  at(key: Key, options?: SessionOptions): TenantSession<DB> {
    const canonical = this.#codec.check(key);
    const cacheKey = this.#codec.cacheKey(canonical);
    if (options !== undefined) checkConsistency(options.consistency);
    const consistency = options?.consistency ?? this.#parts.routes.following.consistency;
    const sessions = this.#sessions[consistency];
    const known = sessions.get(cacheKey);
    if (known !== undefined) return known;
    const scope = this.#scopeOf(canonical, (value) => this.#isSameKey(value, cacheKey));
    const { routes } = this.#parts;
    const session = new TenantSession<DB>(
      new KeyRoutes(routes, canonical, consistency),
      scope,
      () => new ReplicaRoutes(routes, canonical, consistency),
    );
    sessions.set(cacheKey, session);
    return session;
  }

  /**
   * As `everywhere`, over the rows of these keys only, and only their shards are asked. A key that is named twice counts once, and one that nobody added has no rows. KEY_NULL and
   * KEY_TYPE are raised at once.
   *
   * @example
   * ```ts
   * const theirs = await fed.some([1n, 2n]).selectFrom("dots").select(["id", "lat"]).execute();
   * ```
   */
  some(keys: readonly Key[]): Everywhere<DB> {
    if (!Array.isArray(keys))
      throw new TesseraeError("KEY_TYPE", "fed.some takes a list of keys: fed.some([key]).", {
        operation: "some",
      });
    const distinct = new Map<CacheKey, KeyValue>();
    for (const key of keys) {
      const canonical = this.#codec.check(key);
      distinct.set(this.#codec.cacheKey(canonical), canonical);
    }
    return new Everywhere<DB>({ context: this.#parts.fanOut, keys: [...distinct.values()] }, {});
  }

  /** For `fed.find` and `fed.lookups`: undefined where no table of the federation is looked up. */
  get openedLookups(): OpenedLookups | undefined {
    return this.#parts.lookups;
  }

  /** A query that is built, filtered and compiled once; key and parameters are bound at each call. See `PreparedQuery`. */
  prepare<O>(build: (db: Kysely<DB>) => Buildable<O>): PreparedQuery<Record<never, never>, O>;
  prepare<P extends PreparedParameters, O>(
    parameters: P,
    build: (db: Kysely<DB>, parameters: PreparedExpressions<P>) => Buildable<O>,
  ): PreparedQuery<P, O>;
  prepare<P extends PreparedParameters, O>(
    first: P | ((db: Kysely<DB>) => Buildable<O>),
    build?: (db: Kysely<DB>, parameters: PreparedExpressions<P>) => Buildable<O>,
  ): PreparedQuery<P, O> {
    if (typeof first === "function") return new PreparedQuery(this.#context, {} as P, first);
    return new PreparedQuery(
      this.#context,
      first,
      build as (db: Kysely<DB>, parameters: PreparedExpressions<P>) => Buildable<O>,
    );
  }

  /**
   * A shard manager, for one request: one shard is selected at a time, and raw SQL runs there. See `ShardManager`.
   *
   * @example
   * ```ts
   * await using manager = fed.shardManager();
   * await manager.selectShard(12n);
   * const rows = await manager.query("select label from sheets where user_id = ?", [12n]);
   * ```
   */
  shardManager<Main = unknown>(options?: ShardManagerOptions): ShardManager<Main & DB, Key> {
    const { codec, ...parts } = { ...this.#parts, codec: this.#codec };
    const load = () => parts.tenants.count();
    const at = (key: KeyValue) => this.at(key as Key) as unknown as TenantSession<unknown>;
    return new ShardManager<Main & DB, Key>({ ...parts, codec, load, at }, options);
  }

  /** The parts of the federation: its ranges with their shards, the shards of keys with a place of their own, and the moves under way on each. */
  members(): Promise<FederationMember<Key>[]> {
    const { tenants, moves } = this.#parts;
    return listMembers<Key>({ codec: this.#codec, tenants, moves });
  }

  /** Cuts a range of keys in two. See `Moves.split`. */
  split(...parameters: Parameters<Moves<Key>["split"]>): ReturnType<Moves<Key>["split"]> {
    return this.moves.split(...parameters);
  }

  /** Makes one of two ranges that meet. See `Moves.merge`. */
  merge(...parameters: Parameters<Moves<Key>["merge"]>): ReturnType<Moves<Key>["merge"]> {
    return this.moves.merge(...parameters);
  }

  /** Gives a key a place of its own out of a range. See `Moves.isolate`. */
  isolate(...parameters: Parameters<Moves<Key>["isolate"]>): ReturnType<Moves<Key>["isolate"]> {
    return this.moves.isolate(...parameters);
  }

  /** Moves this federation's keys off a shard. See `Moves.drain`. */
  drain(...parameters: Parameters<Moves<Key>["drain"]>): ReturnType<Moves<Key>["drain"]> {
    return this.moves.drain(...parameters);
  }

  /** Lets a shard that was drained take new keys of this federation again. */
  reopen(shard: number): Promise<void> {
    return this.moves.reopen(shard);
  }

  /** A key from text, as the command line and URLs carry it: digits for bigint, hexadecimal for bytes. KEY_TYPE when it is none. */
  keyFromText(text: string): Key {
    return this.#codec.fromText(text) as Key;
  }

  /** The text from which `keyFromText` gives the key back. */
  keyToText(key: Key): string {
    return this.#codec.toText(key);
  }

  #scopeOf(key: unknown, sameKey: (value: unknown) => boolean): TenantScope {
    return { schema: this.#parts.schema, federation: this.#parts.federation.name, key, sameKey };
  }

  #isSameKey(value: unknown, cacheKey: CacheKey): boolean {
    try {
      return this.#codec.cacheKey(this.#codec.check(value)) === cacheKey;
    } catch {
      return false;
    }
  }
}
