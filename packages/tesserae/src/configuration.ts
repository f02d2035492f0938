/** What `federate()` takes, and its defaults. */

import { TesseraeError } from "./base/errors.ts";
import type { ShardChooser } from "./directory/choosers.ts";
import { redactUrl } from "./engine/address.ts";
import {
  type Engine,
  FAILOVER_DEFAULTS,
  type FailoverOptions,
  POOL_DEFAULTS,
  type PoolOptions,
} from "./engine/contract.ts";
import { mysql } from "./engine/mysql/engine.ts";
import { postgres } from "./engine/postgres/engine.ts";
import { sqlite } from "./engine/sqlite/engine.ts";
import type { FanOutDefaults } from "./fan-out/run/fan-out-options.ts";
import type { ReplicationOptions } from "./replicas/options.ts";
import type { Schema } from "./schema/define-schema.ts";
import type { Consistency } from "./session/following.ts";
import type { TicketMode, TicketSequenceOptions } from "./tickets/sequences.ts";
import type { PoorMansSwitches, ShardsInput, TargetInput } from "./topology/topology.ts";

/** A chooser, or its class. */
export type ChooserInput = ShardChooser | (new () => ShardChooser);

export interface DirectoryOptions {
  /** Keys whose shard a process remembers, for each federation; the least recently used one goes beyond it. Default 100 000. */
  readonly cacheEntries?: number;
  /** How long a remembered shard may be used after the directory was last asked for changes. Default 2 000 ms. */
  readonly leaseMs?: number;
}

export interface TicketingOptions {
  /** `blocks` (default): ids are leased in advance and given from memory. `single`: each call is a round trip, and nothing is lost when a process ends. */
  readonly mode?: TicketMode;
  /** Ids of the smallest block that a process leases. Default 1 000. */
  readonly blockIds?: number;
  /** Ids of the largest block: blocks grow while they are used up within 100 ms. Default 100 × `blockIds`. At most twice as many of a sequence are lost when a process ends. */
  readonly blockIdsMax?: number;
  /** How long a ticket server may take to answer before the next one is asked. Default 500 ms. */
  readonly timeoutMs?: number;
  /** What a process looks at before its first id of a sequence: the ticket servers and the ids in use (`full`, the default), or the servers alone (`counters`). */
  readonly startCheck?: "full" | "counters";
  /** Sequences besides those of the schema's ticket columns, or bounds of those. */
  readonly sequences?: Readonly<Record<string, TicketSequenceOptions>>;
}

/** What a move means to the applications that use the key meanwhile. */
export interface MovesOptions {
  /** How long a write waits for a key that is being cut over, in milliseconds, before it fails with GUARD_REFUSED. Default 5 000. */
  readonly writeWaitMs?: number;
  /** Whether the closure of a transaction runs again when its key moved under it. Default true. */
  readonly rerunTransactions?: boolean;
}

export interface BudgetInput {
  /** Application processes with this configuration. Default 1. */
  readonly processes?: number;
  /** Connections each server grants them together; checked at start where it is given. */
  readonly serverConnectionsMax?: number;
}

/** The configuration of a federation. Clusters that are left out are played by main. */
export interface FederationConfig<S extends Schema = Schema> {
  readonly schema: S;
  /** A URL, or what `sqlite(…)`, `mysql(…)`, `postgres(…)` returns. `${NAME}` in a URL is taken from the environment. */
  readonly main: TargetInput<Engine>;
  /** Servers that replicate main; a shard names its own beside its primary. */
  readonly replicas?: readonly TargetInput<Engine>[];
  readonly shards?: ShardsInput<Engine>;
  readonly tickets?: readonly TargetInput<Engine>[];
  readonly poorMans?: PoorMansSwitches;
  /** Places new keys; for several federations by name. Default: `leastLoaded()`. */
  readonly chooser?: ChooserInput | Readonly<Record<string, ChooserInput>>;
  /** `onFirstUse` adds an unknown key when it is first used; `explicit` (default) refuses it until `fed.tenants.add(key)`. */
  readonly placement?: "explicit" | "onFirstUse";
  /** Each database's pool. */
  readonly pool?: Partial<PoolOptions>;
  /** Connections of the reserved pool for directory and tickets. Default 4. */
  readonly controlConnectionsMax?: number;
  /** How a primary is followed that another server takes over from: `waitMs` (5 000), `checkMs` (1 000). */
  readonly failover?: Partial<FailoverOptions>;
  readonly directory?: DirectoryOptions;
  readonly ticketing?: TicketingOptions;
  /** What reads may see while their key moves: `lease` (default), at most `directory.leaseMs` after the move what was true before it; `strict`, never. */
  readonly consistency?: Consistency;
  readonly moves?: MovesOptions;
  readonly replication?: ReplicationOptions;
  /** Defaults of queries over all shards; `fed.everywhere.using({ … })` overrides them. */
  readonly fanOut?: FanOutDefaults;
  readonly budget?: BudgetInput;
  /** Statements whose parameter and result types are remembered, for each engine. Default 2 000. */
  readonly statementPlansMax?: number;
}

/** An engine from a URL, by its scheme. */
export function engineFromUrl(url: string): Engine {
  const scheme = /^([a-z0-9+]+):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === "mysql" || scheme === "mariadb") return mysql(url);
  if (scheme === "postgres" || scheme === "postgresql") return postgres(url);
  if (scheme === "sqlite" || scheme === "file") return sqlite(url);
  throw new TesseraeError(
    "CONFIG_TARGET_INVALID",
    `"${redactUrl(url)}" is no database URL. It begins with sqlite:, mysql://, mariadb:// or postgres://; a SQLite file is sqlite("app.db") too.`,
  );
}

/** The options of a pool; checked with the configuration. */
export function poolOptions(given: Partial<PoolOptions> | undefined): PoolOptions {
  return { ...POOL_DEFAULTS, ...withoutUndefined(given) };
}

/** The options of failover; checked with the configuration. */
export function failoverOptions(given: Partial<FailoverOptions> | undefined): FailoverOptions {
  return { ...FAILOVER_DEFAULTS, ...withoutUndefined(given) };
}

/** An option that is there and undefined has its default. */
function withoutUndefined<T extends object>(given: T | undefined): T {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as T;
}
