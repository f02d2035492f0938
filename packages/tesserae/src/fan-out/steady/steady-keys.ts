/**
 * Each row once, while tenants move: the answer to a question about some keys. Each shard is asked only for the keys that the directory says live there, so that nothing can be
 * counted twice; what can happen is that a key has left. It is found out as for reads by key: the directory's lease must still hold when the first rows are there, or the shard must
 * still have the key, where the federation reads strictly.
 */
import { isTesseraeError } from "../../base/errors.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import type { Following } from "../../session/following.ts";
import { takesWrites } from "../../session/residence-reader.ts";
import type { RouteAnswer, Target } from "../../session/target.ts";
import type { StatementRunner } from "../../session/way.ts";
import type { FanOutKeys } from "../run/fan-out-context.ts";
import type { AskedShard, SteadyAnswer, SteadyQuestion, SteadyReads } from "../run/steady-reads.ts";
import { replicaOf } from "./caught-up-replicas.ts";

/** Keys whose arrival on a replica is asked for; more are read on the primary. */
const REPLICA_KEYS_MAX = 64;

export interface SteadyKeysOptions {
  readonly federation: string;
  readonly keys: FanOutKeys;
  /** The shards themselves, by number. */
  readonly shards: ReadonlyMap<number, Target>;
  readonly following: Following;
}

/** A key with the place that it is asked at. */
interface Placed {
  readonly key: KeyValue;
  readonly shard: number;
  readonly target: Target;
  readonly route: RouteAnswer | undefined;
}

export class SteadyKeys implements SteadyReads {
  readonly #options: SteadyKeysOptions;

  constructor(options: SteadyKeysOptions) {
    this.#options = options;
  }

  async begin({ shards }: SteadyQuestion): Promise<SteadyAnswer> {
    const placed: Placed[] = [];
    const asked: AskedShard[] = [];
    for (const shard of shards) {
      const its: Placed[] = [];
      const primary = this.#options.shards.get(shard.shard) ?? shard.target;
      for (const key of shard.keys ?? [])
        its.push({ key, shard: shard.shard, target: primary, route: await this.#locate(key) });
      placed.push(...its);
      asked.push({ ...shard, target: this.#whereArrived(shard, primary, its) });
    }
    const stays = this.#options.following.consistency === "strict" ? this.#staysStrictly : this.#staysByLease;
    return {
      shards: asked,
      verdict: async (failed) => {
        const others = placed.filter(({ shard }) => !failed.has(shard));
        const answers = await Promise.all(others.map((one) => stays.call(this, one)));
        return answers.every((stayed) => stayed) ? "right" : "elsewhere";
      },
    };
  }

  /** Undefined for a key without a shard. */
  async #locate(key: KeyValue, refresh = false): Promise<RouteAnswer | undefined> {
    const { keys } = this.#options;
    try {
      return await (refresh ? keys.refresh(key) : keys.locate(key));
    } catch (error) {
      if (isTesseraeError(error, "KEY_UNKNOWN")) return undefined;
      throw error;
    }
  }

  async #staysByLease({ key, shard, route }: Placed): Promise<boolean> {
    const now = await this.#locate(key);
    return now !== undefined && now.shard === shard && now.epoch === route?.epoch;
  }

  /** `KeyRoutes.findMoved` says why it is enough to ask afterwards. */
  async #staysStrictly({ key, shard, target, route }: Placed): Promise<boolean> {
    if (route === undefined || route.shard !== shard) return false;
    if (await this.#hasKey(target, target.database, key, route)) return true;
    const now = await this.#locate(key, true);
    return now !== undefined && now.shard === shard && now.epoch === route.epoch;
  }

  /** A replica shows a key's rows when its residence there is of the epoch of the route (`session/replica-routes.ts`). */
  #whereArrived({ target }: AskedShard, primary: Target, its: readonly Placed[]): Target {
    const database = replicaOf(target);
    if (database === undefined) return target;
    if (its.length > REPLICA_KEYS_MAX) return primary;
    const { federation, keys } = this.#options;
    const names = its.map(({ key, route }) => `${route?.epoch} ${keys.toText(key)}`);
    const arrival = {
      name: `keys ${federation} ${JSON.stringify(names)}`,
      ask: async (server: StatementRunner) => {
        for (const { key, route } of its)
          if (route === undefined || !(await this.#hasKey(primary, server, key, route))) return false;
        return true;
      },
    };
    return { ...target, database: database.needing(arrival) };
  }

  async #hasKey(
    target: Target,
    server: StatementRunner,
    key: KeyValue,
    route: RouteAnswer,
  ): Promise<boolean> {
    try {
      const residence = await this.#options.following.residences.read(target, server, key);
      return takesWrites(residence) && residence?.epoch === route.epoch;
    } catch (error) {
      // A replica so far behind that it has no control tables yet.
      if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return false;
      throw error;
    }
  }
}
