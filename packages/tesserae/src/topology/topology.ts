/**
 * The topology: which database plays which cluster. Parsing is pure: targets are anything with an address, so that the
 * rules can be tested without a server. A missing block means poor man's: main plays it. An explicit block wins; a switch that contradicts a
 * block is refused with the reason.
 */
import { TesseraeError } from "../base/errors.ts";

/** What the topology needs to know of a database: an engine fits. */
export interface TopologyTarget {
  readonly name: string;
  readonly address: PlaceAddress & {
    readonly display: string;
    /** Each host of a list in which the primary is found; undefined for one host. */
    readonly hosts?: readonly PlaceAddress[] | undefined;
  };
}

interface PlaceAddress {
  readonly identity: string;
  readonly server: string;
}

/** Every place that a target may be found at. */
export function placesOf({ address }: TopologyTarget): readonly PlaceAddress[] {
  return address.hosts ?? [address];
}

/** Servers that replicate hold the same database: two targets with one host in common are one, in whatever order and with whatever others. */
function sharesPlace(one: TopologyTarget, other: TopologyTarget): boolean {
  const identities = new Set(placesOf(one).map(({ identity }) => identity));
  return placesOf(other).some(({ identity }) => identities.has(identity));
}

/** A target, or its URL. */
export type TargetInput<T extends TopologyTarget> = T | string;

/** The word that makes main itself a shard beside others. */
export const MAIN = "main";

export interface ShardInput<T extends TopologyTarget> {
  readonly primary: TargetInput<T> | typeof MAIN;
  readonly replicas?: readonly TargetInput<T>[];
}

export interface ListedShardInput<T extends TopologyTarget> extends ShardInput<T> {
  /** A whole number from 1. */
  readonly id: number;
}

/** By id, `{ 1: target, 2: { primary, replicas } }`, or as a list with ids. */
export type ShardsInput<T extends TopologyTarget> =
  | Readonly<Record<number, TargetInput<T> | ShardInput<T>>>
  | readonly ListedShardInput<T>[];

export interface PoorMansSwitches {
  /** Main plays its own replicas. */
  readonly replicas?: boolean;
  /** Main is the one shard. */
  readonly federation?: boolean;
  /** Main holds the ticket counters. */
  readonly tickets?: boolean;
}

export interface TopologyInput<T extends TopologyTarget> {
  readonly main: TargetInput<T>;
  readonly replicas?: readonly TargetInput<T>[];
  readonly shards?: ShardsInput<T>;
  readonly tickets?: readonly TargetInput<T>[];
  readonly poorMans?: PoorMansSwitches;
}

export interface ShardTopology<T extends TopologyTarget> {
  readonly id: number;
  readonly primary: T;
  readonly replicas: readonly T[];
  /** True where main itself is this shard. */
  readonly isMain: boolean;
}

export interface Topology<T extends TopologyTarget> {
  readonly main: T;
  readonly replicas: readonly T[];
  /** By id, in the order of ids. */
  readonly shards: ReadonlyMap<number, ShardTopology<T>>;
  readonly tickets: readonly T[];
  /** Which clusters main plays. */
  readonly poorMans: Readonly<Required<PoorMansSwitches>>;
}

/** Parses and checks; raises a `CONFIG_…` error for the first thing wrong. `resolve` turns a URL into a target. */
export function parseTopology<T extends TopologyTarget>(
  input: TopologyInput<T>,
  resolve: (url: string) => T,
): Topology<T> {
  const target = (value: unknown, where: string): T => readTarget(value, where, resolve);
  if (input.main === undefined || input.main === null) {
    throw new TesseraeError(
      "CONFIG_MAIN_MISSING",
      'The configuration has no main cluster. Give one: main: sqlite("app.db") or main: "mysql://…".',
      { cluster: "main" },
    );
  }
  const main = target(input.main, "main");
  const replicas = readList(input.replicas, "replicas").map((value, index) =>
    target(value, `replicas[${index}]`),
  );
  const tickets = readList(input.tickets, "tickets").map((value, index) =>
    target(value, `tickets[${index}]`),
  );
  const poorMans = Object.freeze({
    replicas: decideSwitch("replicas", input.poorMans?.replicas, replicas.length > 0),
    federation: decideSwitch("federation", input.poorMans?.federation, input.shards !== undefined),
    tickets: decideSwitch("tickets", input.poorMans?.tickets, tickets.length > 0),
  });
  const shards = poorMans.federation
    ? new Map([[1, Object.freeze({ id: 1, primary: main, replicas, isMain: true })]])
    : readShards(input.shards as ShardsInput<T>, main, replicas, target);
  refuseTwins("replicas", replicas, main);
  refuseTwins("tickets", tickets);
  return Object.freeze({ main, replicas, shards, tickets, poorMans });
}

function readTarget<T extends TopologyTarget>(value: unknown, where: string, resolve: (url: string) => T): T {
  if (typeof value === "string") return resolve(value);
  if (typeof value === "object" && value !== null && "address" in value && "name" in value) return value as T;
  throw new TesseraeError(
    "CONFIG_TARGET_INVALID",
    `${where} is ${describe(value)}. Give a URL, or what sqlite(…), mysql(…) or postgres(…) returns.`,
    { cluster: where },
  );
}

function readList(value: unknown, where: string): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value))
    throw new TesseraeError(
      "CONFIG_TARGET_INVALID",
      `${where} is ${describe(value)}. Give a list: ${where}: [mysql("…")].`,
      { cluster: where },
    );
  if (value.length === 0)
    throw new TesseraeError(
      "CONFIG_CLUSTER_EMPTY",
      `${where} is an empty list. Name at least one database, or leave ${where} out: main plays it then.`,
      { cluster: where },
    );
  return value;
}

function decideSwitch(name: keyof PoorMansSwitches, given: boolean | undefined, hasBlock: boolean): boolean {
  const block = name === "federation" ? "shards" : name;
  if (given === true && hasBlock) {
    throw new TesseraeError(
      "CONFIG_CONTRADICTION",
      `poorMans.${name} is on, but the configuration has a ${block} block. Remove one of them.`,
      { cluster: block },
    );
  }
  if (given === false && !hasBlock) {
    throw new TesseraeError(
      "CONFIG_CONTRADICTION",
      `poorMans.${name} is off, but the configuration has no ${block} block. Add the block, or leave the switch out.`,
      { cluster: block },
    );
  }
  return !hasBlock;
}

function readShards<T extends TopologyTarget>(
  input: ShardsInput<T>,
  main: T,
  replicas: readonly T[],
  target: (value: unknown, where: string) => T,
): Map<number, ShardTopology<T>> {
  const entries = listShards(input);
  if (entries.length === 0)
    throw new TesseraeError(
      "CONFIG_CLUSTER_EMPTY",
      "shards names no shard. Name at least one, or leave shards out: main is shard 1 then.",
      { cluster: "shards" },
    );
  const shards = new Map<number, ShardTopology<T>>();
  for (const [rawId, value] of entries) {
    const id = readShardId(rawId);
    if (shards.has(id))
      throw new TesseraeError(
        "CONFIG_SHARD_DUPLICATE",
        `Shard ${id} is configured twice. Give each shard an id of its own.`,
        { cluster: "shards", shard: id },
      );
    const shard = readShard(id, value, main, replicas, target);
    const twin = [...shards.values()].find(({ primary }) => sharesPlace(primary, shard.primary));
    if (twin !== undefined) throw sameDatabase(twin.id, id, shard);
    refuseTwins(`shards[${id}].replicas`, shard.replicas, shard.primary);
    shards.set(id, shard);
  }
  return new Map([...shards].sort(([a], [b]) => a - b));
}

function listShards(input: unknown): [unknown, unknown][] {
  if (typeof input !== "object" || input === null) {
    throw new TesseraeError(
      "CONFIG_TARGET_INVALID",
      `shards is ${describe(input)}. Give them by id: shards: { 1: mysql("…"), 2: mysql("…") }.`,
      { cluster: "shards" },
    );
  }
  if (!Array.isArray(input)) return Object.entries(input);
  return input.map((value: unknown) => {
    const id = typeof value === "object" && value !== null ? (value as { id?: unknown }).id : undefined;
    if (id === undefined)
      throw new TesseraeError(
        "CONFIG_SHARD_ID",
        "A shard in the list has no id. Give each one: { id: 1, primary: … }.",
        { cluster: "shards" },
      );
    return [id, value];
  });
}

function readShardId(raw: unknown): number {
  const id = typeof raw === "string" && /^\d+$/.test(raw) ? Number(raw) : raw;
  if (id === 0)
    throw new TesseraeError(
      "CONFIG_SHARD_ID",
      "A shard has the id 0, which stands for main. Number shards from 1.",
      { cluster: "shards", shard: 0 },
    );
  if (typeof id !== "number" || !Number.isInteger(id) || id < 1 || id > 2_147_483_647) {
    throw new TesseraeError(
      "CONFIG_SHARD_ID",
      `A shard has the id ${describe(raw)}. An id is a whole number from 1 to 2147483647.`,
      { cluster: "shards" },
    );
  }
  return id;
}

const SHARD_OPTIONS: ReadonlySet<string> = new Set([
  "id",
  "primary",
  "replicas",
] satisfies (keyof ListedShardInput<TopologyTarget>)[]);

function readShard<T extends TopologyTarget>(
  id: number,
  value: unknown,
  main: T,
  replicasOfMain: readonly T[],
  target: (value: unknown, where: string) => T,
): ShardTopology<T> {
  const where = `shards[${id}]`;
  const isBlock = typeof value === "object" && value !== null && !("address" in value);
  if (isBlock && !("primary" in value))
    throw new TesseraeError(
      "CONFIG_TARGET_INVALID",
      `${where} has no primary. Write ${id}: { primary: mysql("…") }.`,
      { cluster: "shards", shard: id },
    );
  const unknown = isBlock ? Object.keys(value).find((name) => !SHARD_OPTIONS.has(name)) : undefined;
  if (unknown !== undefined)
    throw new TesseraeError(
      "CONFIG_INVALID",
      `${where} has an option "${unknown}", which does not exist. Known: ${[...SHARD_OPTIONS].join(", ")}.`,
      { cluster: "shards", shard: id },
    );
  const given: unknown = isBlock ? (value as ShardInput<T>).primary : value;
  const primary = given === MAIN ? main : target(given, where);
  const isMain = sharesPlace(primary, main);
  const listed: unknown = isBlock ? (value as ShardInput<T>).replicas : undefined;
  // Main's replicas are its own as a shard too, unless it names others.
  const replicas =
    listed === undefined && isMain
      ? replicasOfMain
      : readList(listed, `${where}.replicas`).map((entry, index) =>
          target(entry, `${where}.replicas[${index}]`),
        );
  return Object.freeze({ id, primary, replicas, isMain });
}

function sameDatabase<T extends TopologyTarget>(
  first: number,
  second: number,
  shard: ShardTopology<T>,
): TesseraeError {
  const { display } = shard.primary.address;
  return shard.isMain
    ? new TesseraeError(
        "CONFIG_SHARD_IS_MAIN_TWICE",
        `Shards ${first} and ${second} are both main (${display}). Main can be one shard at most.`,
        { cluster: "shards", shard: second },
      )
    : new TesseraeError(
        "CONFIG_SHARD_SAME_DATABASE",
        `Shards ${first} and ${second} are the same database (${display}). Give each shard a database of its own.`,
        { cluster: "shards", shard: second },
      );
}

/**
 * Each of them is one server: a list of hosts is for a primary that is looked for. One of several hosts of the primary may be a replica, and is one until it is promoted.
 */
function refuseTwins(where: string, targets: readonly TopologyTarget[], primary?: TopologyTarget): void {
  const seen = new Set(primary?.address.hosts === undefined ? [primary?.address.identity] : []);
  for (const { address } of targets) {
    if (address.hosts !== undefined)
      throw new TesseraeError(
        "CONFIG_TARGET_INVALID",
        `${where} names several hosts as one database (${address.display}). Give each server by itself: only a primary is looked for in a list.`,
        { cluster: where },
      );
    if (seen.has(address.identity))
      throw new TesseraeError(
        "CONFIG_SAME_DATABASE",
        `${where} names the same database twice, or its own primary (${address.display}). Name each database once.`,
        { cluster: where },
      );
    seen.add(address.identity);
  }
}

function describe(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (typeof value === "string") return `"${value}"`;
  return typeof value === "object" ? (Array.isArray(value) ? "a list" : "an object") : String(value);
}
