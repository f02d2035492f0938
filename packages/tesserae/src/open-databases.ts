/** The databases of a federation, each behind its pool, and what is compiled for their engines. */
import type { Database, Engine, FailoverOptions, PoolOptions } from "./engine/contract.ts";
import type { SchemaModel } from "./schema/model.ts";
import { DialectKit } from "./session/dialect-kit.ts";
import type { Topology } from "./topology/topology.ts";

/** The databases of a federation, each behind its pool, opened on first use. */
export interface Databases {
  readonly main: Database;
  readonly control: Database;
  readonly shards: ReadonlyMap<number, Database>;
}

export function openDatabases(
  topology: Topology<Engine>,
  pool: PoolOptions,
  controlConnectionsMax: number,
  failover: FailoverOptions,
): Databases {
  const main = topology.main.open(pool, failover);
  const control = topology.main.control().open({ ...pool, connectionsMax: controlConnectionsMax }, failover);
  const shards = new Map(
    [...topology.shards.values()].map(({ id, primary, isMain }) => [
      id,
      isMain ? main : primary.open(pool, failover),
    ]),
  );
  return { main, control, shards };
}

/** The compiling and planning of each engine in use. */
export class Kits {
  readonly #kits = new Map<string, DialectKit>();
  readonly #schema: SchemaModel;
  readonly #plansMax: number;

  constructor(schema: SchemaModel, plansMax: number) {
    this.#schema = schema;
    this.#plansMax = plansMax;
  }

  of(database: Database): DialectKit {
    const { dialect } = database.engine;
    let kit = this.#kits.get(dialect.name);
    if (kit === undefined) {
      kit = new DialectKit(dialect, this.#schema, this.#plansMax);
      this.#kits.set(dialect.name, kit);
    }
    return kit;
  }
}
