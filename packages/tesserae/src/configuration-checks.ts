/** What TypeScript would have refused in a configuration: options that do not exist, and values that are none of an option's. A configuration file has no types. */
import { TesseraeError } from "./base/errors.ts";
import type {
  BudgetInput,
  DirectoryOptions,
  FederationConfig,
  MovesOptions,
  TicketingOptions,
} from "./configuration.ts";
import type { FailoverOptions, PoolOptions } from "./engine/contract.ts";
import type { FanOutDefaults } from "./fan-out/run/fan-out-options.ts";
import type { ReplicationOptions } from "./replicas/options.ts";
import type { TicketSequenceOptions } from "./tickets/sequences.ts";
import type { PoorMansSwitches } from "./topology/topology.ts";

/** A whole number from so much on, one of some words, true or false, or what is checked elsewhere. */
type Allowed = number | readonly string[] | "boolean" | "anything";
type Block<Options> = Readonly<Record<keyof Options, Allowed>>;

/** Numbers that timers take. */
const NUMBER_MAX = 2 ** 31;

const CONFIG: Block<FederationConfig> = {
  schema: "anything",
  main: "anything",
  replicas: "anything",
  shards: "anything",
  tickets: "anything",
  poorMans: "anything",
  chooser: "anything",
  placement: ["explicit", "onFirstUse"],
  pool: "anything",
  controlConnectionsMax: 1,
  failover: "anything",
  directory: "anything",
  ticketing: "anything",
  consistency: ["lease", "strict"],
  moves: "anything",
  replication: "anything",
  fanOut: "anything",
  budget: "anything",
  statementPlansMax: 1,
};

const POOR_MANS: Block<PoorMansSwitches> = { replicas: "boolean", federation: "boolean", tickets: "boolean" };
const POOL: Block<PoolOptions> = {
  connectionsMax: 1,
  acquireTimeoutMs: 1,
  connectTimeoutMs: 1,
  idleTimeoutMs: 1,
  statementCacheEntries: 1,
};
const FAILOVER: Block<FailoverOptions> = { waitMs: 0, checkMs: 10 };
const DIRECTORY: Block<DirectoryOptions> = { cacheEntries: 1, leaseMs: 1 };
const TICKETING: Block<TicketingOptions> = {
  mode: ["blocks", "single"],
  // Of these, the stock of ids knows the bounds.
  blockIds: "anything",
  blockIdsMax: "anything",
  timeoutMs: 1,
  startCheck: ["full", "counters"],
  sequences: "anything",
};
const SEQUENCE: Block<TicketSequenceOptions> = {
  start: "anything",
  max: "anything",
  mode: ["blocks", "single"],
};
const MOVES: Block<MovesOptions> = { writeWaitMs: 1, rerunTransactions: "boolean" };
const REPLICATION: Block<ReplicationOptions> = {
  maxLagMs: 1,
  freshness: ["ownWrites", "none"],
  freshnessWaitMs: 0,
  fallback: ["primary", "error"],
};
const FAN_OUT: Block<FanOutDefaults> = { deadlineMs: 1, concurrency: 1, rowsInFlight: 1, groupsMax: 1 };
const BUDGET: Block<BudgetInput> = { processes: 1, serverConnectionsMax: 1 };

/** CONFIG_INVALID for a configuration whose form is wrong; what its databases are is the topology's to check. */
export function checkConfig(config: unknown): void {
  if (typeof config !== "object" || config === null)
    throw invalid('federate() takes a configuration: federate({ schema, main: sqlite("app.db") }).');
  const given = config as Partial<FederationConfig>;
  if (!((given.schema as { model?: { tables?: unknown } } | undefined)?.model?.tables instanceof Map))
    throw invalid(
      "The configuration has no schema. Give what defineSchema(…) returned: federate({ schema, main: … }).",
    );
  checkOptions(undefined, given, CONFIG);
  checkOptions("poorMans", given.poorMans, POOR_MANS);
  checkOptions("pool", given.pool, POOL);
  checkOptions("failover", given.failover, FAILOVER);
  checkOptions("directory", given.directory, DIRECTORY);
  checkOptions("ticketing", given.ticketing, TICKETING);
  for (const [name, sequence] of Object.entries(given.ticketing?.sequences ?? {}))
    checkOptions(`ticketing.sequences.${name}`, sequence, SEQUENCE);
  checkOptions("moves", given.moves, MOVES);
  checkOptions("replication", given.replication, REPLICATION);
  checkOptions("fanOut", given.fanOut, FAN_OUT);
  checkOptions("budget", given.budget, BUDGET);
}

/** CONFIG_INVALID for a consistency that is none; the configuration and `fed.at(key, …)` name one. */
export function checkConsistency(consistency: unknown): void {
  checkOptions(undefined, { consistency }, CONFIG);
}

/** `block` undefined: the configuration itself. */
function checkOptions(
  block: string | undefined,
  given: unknown,
  known: Readonly<Record<string, Allowed>>,
): void {
  if (given === undefined) return;
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw invalid(
      `${block} is ${JSON.stringify(given)}. Give its options: ${block}: { ${Object.keys(known)[0]}: … }.`,
    );
  for (const [name, value] of Object.entries(given)) {
    const allowed = known[name];
    if (allowed === undefined)
      throw invalid(
        `${block ?? "The configuration"} has an option "${name}", which does not exist. Known: ${Object.keys(known).join(", ")}.`,
      );
    if (value === undefined || fits(value, allowed)) continue;
    const shown = typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
    throw invalid(`${block === undefined ? "" : `${block}.`}${name} is ${shown}. ${expected(name, allowed)}`);
  }
}

function fits(value: unknown, allowed: Allowed): boolean {
  if (allowed === "anything") return true;
  if (allowed === "boolean") return typeof value === "boolean";
  if (typeof allowed === "number")
    return Number.isInteger(value) && Number(value) >= allowed && Number(value) < NUMBER_MAX;
  return typeof value === "string" && allowed.includes(value);
}

function expected(name: string, allowed: Allowed): string {
  if (allowed === "boolean") return "It is true or false.";
  if (typeof allowed === "number")
    return `Give a whole number${name.endsWith("Ms") ? " of milliseconds" : ""} of at least ${allowed}.`;
  return `It is ${(allowed as readonly string[]).map((word) => JSON.stringify(word)).join(" or ")}.`;
}

function invalid(message: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", message);
}
