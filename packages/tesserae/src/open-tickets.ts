/** Wires the tickets of a federation: which databases may give ids, what makes their tables, and where ids are in use. */
import type { FederationConfig } from "./configuration.ts";
import { checkControlVersion, upgradeControlTables } from "./directory/control-version.ts";
import type { Database, Engine, PoolOptions } from "./engine/contract.ts";
import { ticketServerTables } from "./engine/control-tables.ts";
import { FederationTickets } from "./tickets/federation-tickets.ts";
import { IdsInUse } from "./tickets/ids-in-use.ts";
import { ticketSequences } from "./tickets/sequences.ts";
import { TicketGrowth } from "./tickets/ticket-growth.ts";
import { TicketMembers } from "./tickets/ticket-members.ts";
import { TICKET_INTERNALS, type TicketInternals } from "./tickets/ticket-points.ts";
import { TicketServers } from "./tickets/ticket-servers.ts";
import type { Topology } from "./topology/topology.ts";

const TIMEOUT_MS_DEFAULT = 500;

export interface TicketsWiring {
  readonly config: FederationConfig;
  readonly topology: Topology<Engine>;
  readonly control: Database;
  /** See `ControlStore`. */
  readonly gate: () => Promise<void>;
  readonly pool: PoolOptions;
  /** Of each ticket server's pool. */
  readonly connectionsMax: number;
  /** Refuses what cannot be part of an open transaction. */
  readonly beforeChange: (operation: string) => void;
}

export interface OpenTickets {
  readonly tickets: FederationTickets;
  readonly growth: TicketGrowth;
  /** The ticket servers, each behind its pool, in the order of the configuration. */
  readonly databases: readonly Database[];
}

export function openTickets(wiring: TicketsWiring): OpenTickets {
  const { config, topology, control, gate, pool, connectionsMax, beforeChange } = wiring;
  const { model } = config.schema;
  const { ticketing = {} } = config;
  const internals = (config as { readonly [TICKET_INTERNALS]?: TicketInternals })[TICKET_INTERNALS];
  const sequences = ticketSequences(model, ticketing.sequences);
  const shards = [...topology.shards.values()];
  const members = new TicketMembers({
    control,
    gate,
    engines: topology.tickets,
    pool,
    connectionsMax,
    timeoutMs: ticketing.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    checkVersion: async (database) => void (await checkControlVersion(database)),
  });
  const growth = new TicketGrowth({
    members,
    sequences,
    prepare: async (database) => void (await upgradeControlTables(database, ticketServerTables())),
    internals,
  });
  const idsInUse = new IdsInUse({
    schema: model,
    main: topology.main,
    shards: shards.filter(({ isMain }) => !isMain).map(({ id, primary }) => ({ id, engine: primary })),
    mainIsShard: shards.some(({ isMain }) => isMain),
    pool,
  });
  const servers = new TicketServers({
    members,
    growth,
    idsInUse: ticketing.startCheck === "counters" ? undefined : idsInUse,
    patienceMs: internals?.patienceMs,
    growthWaitMs: internals?.growthWaitMs,
  });
  const options = {
    sequences,
    ticketMode: ticketing.mode,
    ticketBlockIds: ticketing.blockIds,
    ticketBlockIdsMax: ticketing.blockIdsMax,
  };
  const cluster = { members, growth, servers, idsInUse };
  return {
    tickets: new FederationTickets(options, cluster, beforeChange),
    growth,
    databases: members.servers.map(({ database }) => database),
  };
}
