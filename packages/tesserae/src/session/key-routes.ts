/** The way of one key: through the directory to a shard's target. Made anew for each session, so it holds nothing but references. */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { KeyLookups } from "./claims.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { Consistency, Following } from "./following.ts";
import type { LookupWriter } from "./lookup-writer.ts";
import { takesWrites } from "./residence-reader.ts";
import type { RouteAnswer, RoutedTarget, Target } from "./target.ts";
import type { StatementRunner, Way } from "./way.ts";
import { type Look, WriteWait } from "./write-wait.ts";

export type { RouteAnswer };

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
  /** What takes a shard's reads that may lag behind, by the shard's own target. */
  readonly replicas: ReadonlyMap<Target, Target>;
  /** The engine to compile for while a key's shard is unknown. */
  readonly kit: DialectKit;
  readonly following: Following;
  /** Undefined where no table of the federation has a lookup. */
  readonly lookups?: LookupWriter | undefined;
}

export class KeyRoutes implements Way {
  readonly key: KeyValue;
  readonly strict: boolean;
  readonly #shared: FederationRoutes;

  constructor(shared: FederationRoutes, key: KeyValue, consistency?: Consistency) {
    this.#shared = shared;
    this.key = key;
    this.strict = (consistency ?? shared.following.consistency) === "strict";
  }

  /** Whether the closure of a transaction that the guard refused is run again. */
  get rerunsTransactions(): boolean {
    return this.#shared.following.rerunTransactions;
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

  holds(routed: RoutedTarget): boolean {
    const answer = this.#shared.source.locate(this.key);
    return (
      !(answer instanceof Promise) &&
      answer.epoch === routed.epoch &&
      this.#shared.shards.get(answer.shard) === routed.target
    );
  }

  /**
   * Why it is enough to ask after the read. A cut-over of the route's epoch goes: `frozen`, committed on this shard; then the commit in main; then the other
   * shard takes writes; and this shard never is `here` or `leaving` at that epoch again, since a move is undone only while main has not committed, and
   * main cannot commit afterwards. So a shard that is `here` or `leaving` at the route's epoch now, or in the snapshot that was read, was the key's home when the read was
   * made, and nobody can have written elsewhere before. Asked before the read it would prove nothing: the cut-over could come in between.
   * `frozen` and `arriving` lie on both sides of the commit; there main knows, and what holds for the shard holds for main's answer too: a commit
   * that came before the read would be seen by a question put after it.
   */
  async findMoved(routed: RoutedTarget, runner: StatementRunner): Promise<RoutedTarget | undefined> {
    const residence = await this.#shared.following.residences.read(routed.target, runner, this.key);
    if (takesWrites(residence) && residence?.epoch === routed.epoch) return undefined;
    const now = await this.#refresh();
    if (now.target !== routed.target || now.epoch !== routed.epoch) return now;
    if (residence !== undefined && residence.state !== "gone") return undefined;
    throw new TesseraeError(
      "RESIDENCE_CONFLICT",
      `The directory says that ${this.origin} lives on ${routed.target.name}, and that shard has ${residence === undefined ? "no residence for it" : "it as gone"}: one of the two was restored from an older state.`,
      { ...this.place, ...routed.target.place },
    );
  }

  async hasArrived(_routed: RoutedTarget, _runner: StatementRunner): Promise<boolean> {
    return true;
  }

  get lookups(): KeyLookups | undefined {
    const { lookups: writer } = this.#shared;
    if (writer === undefined) return undefined;
    return {
      claimsOf: (node, resolve) => writer.claimsOf(node, this, resolve),
      refuseUnfiltered: (node) => writer.refuseUnfiltered(node),
    };
  }

  beginWait(signal?: AbortSignal): WriteWait {
    const { watches, writeWaitMs } = this.#shared.following;
    const look = () => this.#look();
    return new WriteWait({ watches, key: this.#shared.toText(this.key), writeWaitMs, signal, look });
  }

  async #look(): Promise<Look> {
    try {
      const routed = await this.#refresh();
      const { residences } = this.#shared.following;
      const residence = await residences.read(routed.target, routed.target.database, this.key);
      return { routed, takesWrites: takesWrites(residence) };
    } catch (error) {
      return { error };
    }
  }

  async #refresh(): Promise<RoutedTarget> {
    const { source, following } = this.#shared;
    const lookUp = () => source.refresh(this.key);
    return whenReady(this.#routed(await following.freshRoutes.ask(this.#shared.toText(this.key), lookUp)));
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
