/**
 * The connection budget: how many connections an installation may open on each server. processes × pool, summed over the databases a
 * server holds.
 */
import { TesseraeError } from "../base/errors.ts";
import { placesOf, type Topology, type TopologyTarget } from "./topology.ts";

export interface BudgetOptions {
  /** Application processes that use this configuration; 1 unless said. */
  readonly processes: number;
  /** Connections of each pool. */
  readonly poolMax: number;
  /** Connections of main's reserved pool for control state. */
  readonly controlPoolMax: number;
  /** The database of main's control state, where it is not main: an embedded main has a second file. */
  readonly control?: TopologyTarget;
  /** Connections beside each pool: those over which a server is asked whether it is the primary. 0 unless said. */
  readonly besidePool?: (target: TopologyTarget) => number;
  /** Connections each server grants this installation; undefined: not checked. */
  readonly serverMax: number | undefined;
}

export interface ServerBudget {
  readonly server: string;
  /** The pools on this server: `main`, `control`, `shard 1`, … */
  readonly pools: readonly string[];
  /** Connections all processes together may open. */
  readonly connectionsMax: number;
}

/** States the budget for each server; raises CONFIG_BUDGET when it exceeds `serverMax`. */
export function connectionBudget<T extends TopologyTarget>(
  topology: Topology<T>,
  options: BudgetOptions,
): ServerBudget[] {
  const servers = new Map<string, { pools: string[]; perProcess: number }>();
  const addOn = (server: string, pool: string, size: number): void => {
    const entry = servers.get(server) ?? { pools: [], perProcess: 0 };
    entry.pools.push(pool);
    entry.perProcess += size;
    servers.set(server, entry);
  };
  const add = (target: TopologyTarget, pool: string, size: number): void => {
    // Only one host of a list has the pool at a time, but each may be the one.
    for (const { server } of placesOf(target))
      addOn(server, pool, size + (options.besidePool?.(target) ?? 0));
  };
  add(topology.main, "main", options.poolMax);
  add(options.control ?? topology.main, "control", options.controlPoolMax);
  // Beside each pool of replicas, and of a primary with replicas, stands one connection that asks for positions.
  const addReplicas = (primary: TopologyTarget, replicas: readonly TopologyTarget[], of: string): void => {
    if (replicas.length > 0) add(primary, `positions of ${of}`, 1);
    for (const [index, replica] of replicas.entries()) {
      const { server } = replica.address;
      addOn(server, `replica ${index + 1} of ${of}`, options.poolMax + 1);
    }
  };
  addReplicas(topology.main, topology.replicas, "main");
  for (const { id, primary, replicas } of topology.shards.values())
    if (replicas !== topology.replicas) addReplicas(primary, replicas, `shard ${id}`);
  // Main as a shard shares main's pool.
  for (const shard of topology.shards.values())
    if (!shard.isMain) add(shard.primary, `shard ${shard.id}`, options.poolMax);
  // An upgrade of a ticket server's control tables needs two.
  for (const [index, server] of topology.tickets.entries())
    add(server, `ticket server ${index + 1}`, Math.max(2, options.controlPoolMax));
  const budget = [...servers].map(([server, { pools, perProcess }]) => ({
    server,
    pools,
    connectionsMax: perProcess * options.processes,
  }));
  for (const { server, pools, connectionsMax } of budget) {
    if (options.serverMax === undefined || connectionsMax <= options.serverMax) continue;
    throw new TesseraeError(
      "CONFIG_BUDGET",
      `${options.processes} processes with the pools ${pools.join(", ")} may open ${connectionsMax} connections on ${server}; budget.serverConnectionsMax allows ${options.serverMax}. ` +
        "Lower pool.connectionsMax, run fewer processes, or put a pooler between.",
    );
  }
  return budget;
}
