/**
 * The way of one key's reads on replicas: by the directory to a shard, as the primary's way, and there to a replica that has the key.
 *
 * A replica that is behind may show a time before the key came, or before it came back. So before the first read of a key there at the route's epoch its
 * residence is asked of that same server: `here` or `leaving` at that epoch was written behind the last row that the move brought, and what a server has applied it
 * keeps. Frozen or arriving tell nothing, and so do other epochs: such a read goes to the primary. When the key leaves, the directory's lease counts as on the
 * primary: the shard has the rows for longer than anybody may still read them there, and a replica has them for longer than its primary.
 */
import { isTesseraeError } from "../base/errors.ts";
import { ReplicaConnection } from "../replicas/replica-connection.ts";
import { ReplicaDatabase } from "../replicas/replica-database.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { Consistency } from "./following.ts";
import { type FederationRoutes, KeyRoutes } from "./key-routes.ts";
import { takesWrites } from "./residence-reader.ts";
import type { RoutedTarget, Target } from "./target.ts";
import type { StatementRunner } from "./way.ts";

/** What plays a shard's replica. */
export interface ReplicaTarget extends Target {
  readonly database: ReplicaDatabase;
}

/** A replica's target, and the primary's that it stands for. */
interface ReplicaRoute extends RoutedTarget {
  readonly primary: RoutedTarget;
}

export class ReplicaRoutes extends KeyRoutes {
  readonly #shared: FederationRoutes;
  /** The latest one: as long as the key stays where it is, its target is the same. */
  #latest: ReplicaRoute | undefined;

  constructor(shared: FederationRoutes, key: KeyValue, consistency?: Consistency) {
    super(shared, key, consistency);
    this.#shared = shared;
  }

  override route(): RoutedTarget | Promise<RoutedTarget> {
    const routed = super.route();
    return routed instanceof Promise ? routed.then((late) => this.#replicaOf(late)) : this.#replicaOf(routed);
  }

  override holds(routed: RoutedTarget): boolean {
    return super.holds(primaryOf(routed));
  }

  /** Where a key lives now, only the primary of its shard can tell. */
  override async findMoved(routed: RoutedTarget, runner: StatementRunner): Promise<RoutedTarget | undefined> {
    const primary = primaryOf(routed);
    // Of the primary's own connection as well, lest readers that hold one each wait for one more.
    const asked = mayLag(runner) ? primary.target.database : runner;
    const moved = await super.findMoved(primary, asked);
    return moved === undefined ? undefined : this.#replicaOf(moved);
  }

  override hasArrived(routed: RoutedTarget, runner: StatementRunner): Promise<boolean> {
    return mayLag(runner) ? this.#hasArrived(primaryOf(routed), runner) : super.hasArrived(routed, runner);
  }

  #replicaOf(primary: RoutedTarget): RoutedTarget {
    const latest = this.#latest;
    if (latest?.primary.target === primary.target && latest.epoch === primary.epoch) return latest;
    const target = this.#shared.replicas.get(primary.target) as ReplicaTarget;
    const route = { target: this.#forKey(target, primary), epoch: primary.epoch, primary };
    this.#latest = route;
    return route;
  }

  #forKey(target: ReplicaTarget, primary: RoutedTarget): Target {
    if (!target.database.hasMembers) return target;
    const { federation, toText } = this.#shared;
    const database = target.database.needing({
      name: `${primary.epoch} ${federation} ${toText(this.key)}`,
      ask: (server) => this.#hasArrived(primary, server),
    });
    return { ...target, database };
  }

  async #hasArrived({ target, epoch }: RoutedTarget, server: StatementRunner): Promise<boolean> {
    try {
      const residence = await this.#shared.following.residences.read(target, server, this.key);
      return takesWrites(residence) && residence?.epoch === epoch;
    } catch (error) {
      // So far behind that it has no control tables yet.
      if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return false;
      throw error;
    }
  }
}

/** Whether a replica answers, and not the primary itself. */
function mayLag(runner: StatementRunner): boolean {
  if (runner instanceof ReplicaConnection) return !runner.isPrimarys;
  return runner instanceof ReplicaDatabase && runner.hasMembers;
}

function primaryOf(routed: RoutedTarget): RoutedTarget {
  return (routed as Partial<ReplicaRoute>).primary ?? routed;
}
