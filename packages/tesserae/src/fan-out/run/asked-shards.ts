/** Which shards a query concerns, and what each of them runs. */
import type { SelectQueryNode } from "kysely";
import { isTesseraeError, TesseraeError } from "../../base/errors.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { Target } from "../../session/target.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import { inKeys, type KeyCondition } from "../steady/key-conditions.ts";
import { keyedSources } from "../steady/keyed-sources.ts";
import type { FanOutContext } from "./fan-out-context.ts";
import type { AskedShard } from "./steady-reads.ts";

/** Keys looked up at the same time. */
const LOOKUPS_MAX = 64;
/** Parameters that a statement has besides its keys, at most. */
const OTHER_PARAMETERS = 1_000;

export interface ShardChoice {
  readonly context: FanOutContext;
  readonly plan: FanOutPlan;
  /** The session's own keys, each once: `fed.some(keys)`. */
  readonly keys: readonly KeyValue[] | undefined;
  readonly replica: boolean;
  /** What is cached of the keys' shards has shown to be out of date. */
  readonly fresh: boolean;
  /** Shards that are left out because they have failed. */
  readonly without: ReadonlySet<number>;
}

export async function askedShards(choice: ShardChoice): Promise<AskedShard[]> {
  const { context, plan, keys, without } = choice;
  const narrowed = narrowedKeys(choice);
  if (narrowed === undefined || plan.shards === "one") {
    const shards = [...context.shards.keys()].filter((shard) => !without.has(shard));
    const chosen = plan.shards === "one" ? shards.slice(0, 1) : shards;
    return chosen.map((shard) => asked(choice, shard, plan.statement, undefined));
  }
  const byShard = await locate(narrowed, choice);
  const shards: AskedShard[] = [];
  for (const [shard, its] of [...byShard].sort(([a], [b]) => a - b)) {
    if (without.has(shard)) continue;
    // A query that was narrowed by its own condition has that condition in its statement; of two shards each may have rows of a key that left it, or comes to it.
    if (keys === undefined && byShard.size === 1) shards.push(asked(choice, shard, plan.statement, its));
    else shards.push(...askedForKeys(choice, shard, its));
  }
  return shards.length > 0 ? shards : askedForNothing(choice);
}

/** None of the keys lives anywhere. One shard says what is left: the rows of reference tables, which every shard has. */
function askedForNothing(choice: ShardChoice): AskedShard[] {
  const { context, plan, without } = choice;
  const shard = [...context.shards.keys()].find((candidate) => !without.has(candidate));
  if (shard === undefined) return [];
  return [asked(choice, shard, keyedSources(plan.statement, context, inKeys([])), [])];
}

/** More keys than one statement has parameters for are asked for by several. */
function askedForKeys(choice: ShardChoice, shard: number, keys: readonly KeyValue[]): AskedShard[] {
  const { context, plan } = choice;
  const shards: AskedShard[] = [];
  let keysMax = keys.length;
  for (let at = 0; at < keys.length; at += keysMax) {
    let some = keys.slice(at, at + keysMax);
    let sources = 0;
    const keyed = (condition: KeyCondition) =>
      keyedSources(plan.statement, context, (column) => {
        sources += 1;
        return condition(column);
      });
    let statement = keyed(inKeys(some));
    const { parametersMax } = asked(choice, shard, statement, some).target.kit.dialect.capabilities;
    const fitting = 2 ** Math.floor(Math.log2((parametersMax - OTHER_PARAMETERS) / sources));
    if (some.length > fitting) {
      keysMax = fitting;
      some = some.slice(0, fitting);
      statement = keyed(inKeys(some));
    }
    shards.push(asked(choice, shard, statement, some));
  }
  return shards;
}

/** The keys of the session and of the query's own condition; undefined for all. */
function narrowedKeys({ context, plan, keys }: ShardChoice): readonly KeyValue[] | undefined {
  if (keys === undefined || plan.keys === undefined) return keys ?? plan.keys;
  const own = new Set(plan.keys.map((key) => context.keys.toText(key)));
  return keys.filter((key) => own.has(context.keys.toText(key)));
}

function asked(
  { context, replica }: ShardChoice,
  shard: number,
  statement: SelectQueryNode,
  keys: readonly KeyValue[] | undefined,
): AskedShard {
  const primary = context.shards.get(shard);
  if (primary === undefined)
    throw new TesseraeError(
      "SHARD_UNKNOWN",
      `The directory says that keys of the query live on shard ${shard}, which this configuration does not have. Add the shard to the configuration.`,
      { cluster: "shards", federation: context.federation.name, shard },
    );
  const target: Target = replica ? (context.replicas.get(primary) ?? primary) : primary;
  return { shard, target, statement, keys };
}

/** The keys by the shard that each lives on. A key that nobody added has no rows. */
async function locate(
  keys: readonly KeyValue[],
  { context, fresh }: ShardChoice,
): Promise<Map<number, KeyValue[]>> {
  const byShard = new Map<number, KeyValue[]>();
  const place = (key: KeyValue, shard: number) => {
    const its = byShard.get(shard);
    if (its === undefined) byShard.set(shard, [key]);
    else its.push(key);
  };
  let waiting: Promise<void>[] = [];
  for (const key of keys) {
    const answer = fresh ? context.keys.refresh(key) : context.keys.locate(key);
    if (!(answer instanceof Promise)) {
      place(key, answer.shard);
      continue;
    }
    const placed = answer.then(
      ({ shard }) => place(key, shard),
      (error: unknown) => {
        if (!isTesseraeError(error, "KEY_UNKNOWN")) throw error;
      },
    );
    waiting.push(placed);
    if (waiting.length < LOOKUPS_MAX) continue;
    await Promise.all(waiting);
    waiting = [];
  }
  await Promise.all(waiting);
  return byShard;
}
