/** A session of one shard as a whole, which belongs to no key: statements run there as they are, over the rows of all tenants. */
import type { RootOperationNode } from "kysely";
import type { ErrorPlace } from "../base/errors.ts";
import type { SessionBinding } from "../session/binding.ts";
import type { DialectKit } from "../session/dialect-kit.ts";
import type { RoutedTarget, Target } from "../session/target.ts";

export class ShardBinding implements SessionBinding {
  readonly origin: string;
  /** A name of its own, so that where main is the one shard no statement joins another key's transaction. */
  readonly tenant: string;
  readonly strict = false;
  readonly rerunsTransactions = false;
  readonly place: ErrorPlace;
  readonly kit: DialectKit;
  readonly #routed: RoutedTarget;

  constructor(target: Target) {
    this.origin = `${target.name} as a whole`;
    this.tenant = this.origin;
    this.place = target.place;
    this.kit = target.kit;
    this.#routed = { target, epoch: 0n };
  }

  check(node: RootOperationNode): RootOperationNode {
    return node;
  }

  route(): RoutedTarget | Promise<RoutedTarget> {
    const { readiness } = this.#routed.target;
    return readiness.ready ? this.#routed : readiness.wait().then(() => this.#routed);
  }

  holds(): boolean {
    return true;
  }

  async findMoved(): Promise<undefined> {
    return undefined;
  }

  async hasArrived(): Promise<boolean> {
    return true;
  }

  /** The shard was named, not found by a key: there is nowhere else to go, and so nothing to wait for. */
  beginWait(): undefined {
    return undefined;
  }
}
