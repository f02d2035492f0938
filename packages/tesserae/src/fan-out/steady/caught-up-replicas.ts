/**
 * Replicas for a question to all shards. What a replica shows may be older than the look at main before the question, and then a move may show that had ended by that look. So a shard's
 * replica is asked only when it has applied what its primary had when the look was made; otherwise the shard's primary is.
 *
 * The look may be old, as long as no move has begun and none has cut over since: the primaries are asked for their positions once for it, and once a server is past its position it stays
 * so. Where nothing moves a question costs no more on replicas than on primaries.
 */
import type { EngineReplication } from "../../engine/contract.ts";
import { type Arrival, ReplicaDatabase } from "../../replicas/replica-database.ts";
import type { Target } from "../../session/target.ts";
import type { StatementRunner } from "../../session/way.ts";
import type { MovesSeen } from "./moves-seen.ts";

interface Asked {
  readonly shard: number;
  readonly target: Target;
}

/** A look, and how far a replica must be to show what came after it. */
interface Base {
  readonly look: Promise<MovesSeen>;
  readonly arrivals: Map<number, Arrival>;
}

export class CaughtUpReplicas {
  readonly #federation: string;
  readonly #shards: ReadonlyMap<number, Target>;
  #base: Base | undefined;
  #bases = 0;

  constructor(federation: string, shards: ReadonlyMap<number, Target>) {
    this.#federation = federation;
    this.#shards = shards;
  }

  /** Whether one of them may be read on a replica. */
  concerns(shards: readonly Asked[]): boolean {
    return shards.some(({ target }) => replicaOf(target) !== undefined);
  }

  /** The look that replicas are measured by; a new one where there is none. */
  lookBefore(look: () => Promise<MovesSeen>): Promise<MovesSeen> {
    if (this.#base !== undefined) return this.#base.look;
    const base: Base = { look: look(), arrivals: new Map() };
    this.#base = base;
    this.#bases += 1;
    base.look.catch(() => this.#forget(base));
    return base.look;
  }

  /** Moves have begun or cut over since: the next question begins with a look of its own. */
  forget(): void {
    this.#base = undefined;
  }

  /** The target, by way of servers that have caught up. */
  caughtUp({ shard, target }: Asked): Target {
    const database = replicaOf(target);
    const base = this.#base;
    if (database === undefined) return target;
    // Forgotten by another question in the meantime.
    if (base === undefined) return this.#shards.get(shard) ?? target;
    let arrival = base.arrivals.get(shard);
    if (arrival === undefined) {
      arrival = this.#arrivalAt(shard, base);
      base.arrivals.set(shard, arrival);
    }
    return { ...target, database: database.needing(arrival) };
  }

  #arrivalAt(shard: number, base: Base): Arrival {
    const { database, kit } = this.#shards.get(shard) as Target;
    const replication = kit.dialect.replication as EngineReplication;
    let wanted: Promise<string | undefined> | undefined;
    const askPrimary = async () => {
      await base.look;
      return positionOf(database, replication);
    };
    return {
      name: `moves ${this.#federation} ${this.#bases}`,
      ask: async (server) => {
        wanted ??= askPrimary();
        const position = await wanted.catch(() => {
          wanted = undefined;
          return undefined;
        });
        if (position === undefined) return false;
        const reached = await positionOf(server, replication);
        return reached !== undefined && replication.covers(reached, position);
      },
    };
  }

  #forget(base: Base): void {
    if (this.#base === base) this.#base = undefined;
  }
}

export function replicaOf({ database }: Target): ReplicaDatabase | undefined {
  return database instanceof ReplicaDatabase && database.hasMembers ? database : undefined;
}

async function positionOf(
  server: StatementRunner,
  { statusSql }: EngineReplication,
): Promise<string | undefined> {
  const { rows } = await server.run({ sql: statusSql, parameters: [], readOnly: true });
  const position = rows[0]?.["position"];
  return position === undefined || position === null || position === "" ? undefined : String(position);
}
