/** What all fan-outs of one federation share. */
import type { SelectQueryNode } from "kysely";
import type { EngineDialect } from "../../engine/contract.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { FederationModel, SchemaModel } from "../../schema/model.ts";
import type { DialectKit } from "../../session/dialect-kit.ts";
import type { RouteAnswer, Target } from "../../session/target.ts";
import type { FanOutPlan } from "../fan-out-plan.ts";
import type { EverywhereWriteOptions } from "../write/write-everywhere.ts";
import type { FanOutGates } from "./fan-out-gates.ts";
import type { FanOutDefaults } from "./fan-out-options.ts";
import type { SteadyReads } from "./steady-reads.ts";

export interface FanOutContext {
  readonly schema: SchemaModel;
  readonly federation: FederationModel;
  /** By their numbers, in their order. */
  readonly shards: ReadonlyMap<number, Target>;
  /** What takes a shard's reads that may lag behind. */
  readonly replicas: ReadonlyMap<Target, Target>;
  /** The engine that queries are planned and shown for. */
  readonly kit: DialectKit;
  readonly keys: FanOutKeys;
  readonly gates: FanOutGates;
  readonly defaults: FanOutDefaults;
  readonly steady: SteadyReads | undefined;
  /** What writes over all shards need of main. */
  readonly writes: Pick<EverywhereWriteOptions, "keys" | "control" | "waitMs" | "at">;
  /** Takes a query apart; FAN_OUT_UNSUPPORTED where that cannot be done exactly. */
  plan(
    node: SelectQueryNode,
    options: { schema: SchemaModel; federation: FederationModel; dialect: EngineDialect },
  ): FanOutPlan;
  /** Makes one answer of the shards' rows. */
  combine(
    plan: FanOutPlan,
    sources: readonly AsyncIterator<unknown[][], undefined>[],
    limits: { readonly groupsMax: number },
  ): AsyncGenerator<Record<string, unknown>[], void, undefined>;
}

/** What is known of keys. */
export interface FanOutKeys {
  /** Two keys with the same text are the same. */
  toText(key: KeyValue): string;
  /** KEY_UNKNOWN for a key without a shard. */
  locate(key: KeyValue): RouteAnswer | Promise<RouteAnswer>;
  /** Looks it up anew, whatever is cached. */
  refresh(key: KeyValue): Promise<RouteAnswer>;
}
