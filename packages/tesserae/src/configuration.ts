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

export function poolOptions(given: Partial<PoolOptions> | undefined): PoolOptions {
  const options = { ...POOL_DEFAULTS, ...given };
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === "number" && Number.isInteger(value) && value >= 1) continue;
    throw new TesseraeError(
      "CONFIG_INVALID",
      `pool.${name} is ${String(value)}. Give a whole number of at least 1.`,
    );
  }
  return options;
}

export function failoverOptions(given: Partial<FailoverOptions> | undefined): FailoverOptions {
  const options = { ...FAILOVER_DEFAULTS, ...given };
  const least: Readonly<Record<string, number>> = { waitMs: 0, checkMs: 10 } satisfies FailoverOptions;
  for (const [name, value] of Object.entries(options)) {
    const minimum = least[name];
    if (minimum === undefined)
      throw new TesseraeError(
        "CONFIG_INVALID",
        `failover has an option "${name}", which does not exist. Known: ${Object.keys(least).join(", ")}.`,
      );
    if (Number.isInteger(value) && value >= minimum && value < 2 ** 31) continue;
    throw new TesseraeError(
      "CONFIG_INVALID",
      `failover.${name} is ${String(value)}. Give a whole number of milliseconds, at least ${minimum}.`,
    );
  }
  return options;
}

/** Every option of a configuration; a misspelt one is refused instead of ignored. */
const OPTIONS: Readonly<Record<keyof FederationConfig, true>> = {
  schema: true,
  main: true,
  replicas: true,
  shards: true,
  tickets: true,
  poorMans: true,
  chooser: true,
  placement: true,
  pool: true,
  controlConnectionsMax: true,
  failover: true,
  directory: true,
  ticketing: true,
  consistency: true,
  moves: true,
  replication: true,
  budget: true,
  statementPlansMax: true,
};

const TICKETING: Readonly<Record<keyof TicketingOptions, true>> = {
  mode: true,
  blockIds: true,
  blockIdsMax: true,
  timeoutMs: true,
  startCheck: true,
  sequences: true,
};

function checkTicketing(ticketing: TicketingOptions | undefined): void {
  if (ticketing === undefined) return;
  const unknown = Object.keys(ticketing).find((name) => !(name in TICKETING));
  if (unknown !== undefined) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `ticketing has an option "${unknown}", which does not exist. Known: ${Object.keys(TICKETING).join(", ")}.`,
    );
  }
  const { mode, timeoutMs = 1, startCheck } = ticketing;
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs >= 2 ** 31) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `ticketing.timeoutMs is ${String(timeoutMs)}. Give a whole number of milliseconds, at least 1.`,
    );
  }
  if (startCheck !== undefined && startCheck !== "full" && startCheck !== "counters") {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `ticketing.startCheck is ${JSON.stringify(startCheck)}. It is "full" or "counters".`,
    );
  }
  if (mode !== undefined && mode !== "blocks" && mode !== "single") {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `ticketing.mode is ${JSON.stringify(mode)}. It is "blocks" or "single".`,
    );
  }
}

const MOVES: Readonly<Record<keyof MovesOptions, true>> = { writeWaitMs: true, rerunTransactions: true };

/** CONFIG_INVALID for a consistency that is none; the configuration and `fed.at(key, …)` name one. */
export function checkConsistency(consistency: unknown): void {
  if (consistency === undefined || consistency === "lease" || consistency === "strict") return;
  throw new TesseraeError(
    "CONFIG_INVALID",
    `consistency is ${JSON.stringify(consistency)}. It is "lease" or "strict".`,
  );
}

function checkMoves(moves: MovesOptions | undefined): void {
  if (moves === undefined) return;
  const unknown = Object.keys(moves).find((name) => !(name in MOVES));
  if (unknown !== undefined) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `moves has an option "${unknown}", which does not exist. Known: ${Object.keys(MOVES).join(", ")}.`,
    );
  }
  const { writeWaitMs = 1, rerunTransactions = true } = moves;
  if (!Number.isInteger(writeWaitMs) || writeWaitMs < 1) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `moves.writeWaitMs is ${String(writeWaitMs)}. Give a whole number of milliseconds, at least 1.`,
    );
  }
  if (typeof rerunTransactions !== "boolean") {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `moves.rerunTransactions is ${String(rerunTransactions)}. It is true or false.`,
    );
  }
}

/** What each option of replication may be: words, or a whole number from so much on. */
const REPLICATION: Readonly<Record<keyof ReplicationOptions, readonly string[] | number>> = {
  maxLagMs: 1,
  freshness: ["ownWrites", "none"],
  freshnessWaitMs: 0,
  fallback: ["primary", "error"],
};

function checkReplication(replication: ReplicationOptions | undefined): void {
  for (const [name, value] of Object.entries(replication ?? {})) {
    const allowed = REPLICATION[name as keyof ReplicationOptions];
    if (allowed === undefined)
      throw new TesseraeError(
        "CONFIG_INVALID",
        `replication has an option "${name}", which does not exist. Known: ${Object.keys(REPLICATION).join(", ")}.`,
      );
    if (value === undefined) continue;
    const fits =
      typeof allowed === "number"
        ? Number.isInteger(value) && Number(value) >= allowed
        : allowed.includes(value as string);
    if (fits) continue;
    const expected =
      typeof allowed === "number"
        ? `Give a whole number of milliseconds, at least ${allowed}.`
        : `It is ${allowed.map((word) => JSON.stringify(word)).join(" or ")}.`;
    throw new TesseraeError("CONFIG_INVALID", `replication.${name} is ${JSON.stringify(value)}. ${expected}`);
  }
}

/** CONFIG_INVALID for what TypeScript would have refused: a schema that is none, and options that do not exist. */
export function checkConfig(config: unknown): void {
  if (typeof config !== "object" || config === null) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      'federate() takes a configuration: federate({ schema, main: sqlite("app.db") }).',
    );
  }
  const { schema, placement } = config as { schema?: { model?: { tables?: unknown } }; placement?: unknown };
  if (!(schema?.model?.tables instanceof Map)) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      "The configuration has no schema. Give what defineSchema(…) returned: federate({ schema, main: … }).",
    );
  }
  const unknown = Object.keys(config).find((name) => !(name in OPTIONS));
  if (unknown !== undefined) {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `The configuration has an option "${unknown}", which does not exist. Known: ${Object.keys(OPTIONS).join(", ")}.`,
    );
  }
  if (placement !== undefined && placement !== "explicit" && placement !== "onFirstUse") {
    throw new TesseraeError(
      "CONFIG_INVALID",
      `placement is ${JSON.stringify(placement)}. It is "explicit" or "onFirstUse".`,
    );
  }
  const { consistency, moves, ticketing, replication } = config as Partial<FederationConfig>;
  checkConsistency(consistency);
  checkMoves(moves);
  checkTicketing(ticketing);
  checkReplication(replication);
}
