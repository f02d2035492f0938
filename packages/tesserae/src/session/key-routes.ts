/** The way of one key: through the directory to a shard's target. Made anew for each session, so it holds nothing but references. */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { RoutedTarget, Target } from "./target.ts";

/** A directory's answer. */
export interface RouteAnswer {
  readonly shard: number;
  readonly epoch: bigint;
}

/** What the session needs of the directory: the floor below provides it. */
export interface RouteSource {
  /** At once from a warm cache whose lease holds; else looks it up. KEY_UNKNOWN for a key without a shard. */
  locate(key: KeyValue): RouteAnswer | Promise<RouteAnswer>;
  /** Looks it up anew, whatever is cached. */
  refresh(key: KeyValue): Promise<RouteAnswer>;
}

/** What all keys of a federation share. */
export interface FederationRoutes {
  readonly federation: string;
  readonly source: RouteSource;
  /** The key as text for messages; long ones are cut. */
  show(key: KeyValue): string;
  /** The whole key as text: compiled queries remember it. */
  toText(key: KeyValue): string;
  readonly shards: ReadonlyMap<number, Target>;
  /** The engine to compile for while a key's shard is unknown. */
  readonly kit: DialectKit;
}

export class KeyRoutes {
  readonly key: KeyValue;
  readonly #shared: FederationRoutes;

  constructor(shared: FederationRoutes, key: KeyValue) {
    this.#shared = shared;
    this.key = key;
  }

  get kit(): DialectKit {
    return this.#shared.kit;
  }

  get origin(): string {
    return `key ${this.#shared.toText(this.key)} of federation ${this.#shared.federation}`;
  }

  get tenant(): string {
    return this.origin;
  }

  get place(): ErrorPlace {
    return { cluster: "shards", federation: this.#shared.federation, key: this.#shared.show(this.key) };
  }

  route(): RoutedTarget | Promise<RoutedTarget> {
    const answer = this.#shared.source.locate(this.key);
    return answer instanceof Promise
      ? answer.then((late) => whenReady(this.#routed(late)))
      : whenReady(this.#routed(answer));
  }

  async reroute(refused: RoutedTarget): Promise<RoutedTarget | undefined> {
    const now = await whenReady(this.#routed(await this.#shared.source.refresh(this.key)));
    return now.target === refused.target && now.epoch === refused.epoch ? undefined : now;
  }

  holds(routed: RoutedTarget): boolean {
    const answer = this.#shared.source.locate(this.key);
    return (
      !(answer instanceof Promise) &&
      answer.epoch === routed.epoch &&
      this.#shared.shards.get(answer.shard) === routed.target
    );
  }

  #routed(answer: RouteAnswer): RoutedTarget {
    const target = this.#shared.shards.get(answer.shard);
    if (target !== undefined) return { target, epoch: answer.epoch };
    throw new TesseraeError(
      "SHARD_UNKNOWN",
      `The directory says that ${this.origin} lives on shard ${answer.shard}, which this configuration does not have. Add the shard to the configuration.`,
      { ...this.place, shard: answer.shard },
    );
  }
}

function whenReady(routed: RoutedTarget): RoutedTarget | Promise<RoutedTarget> {
  const { readiness } = routed.target;
  return readiness.ready ? routed : readiness.wait().then(() => routed);
}
