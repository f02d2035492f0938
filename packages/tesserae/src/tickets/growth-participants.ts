/** The servers that take part in a change of the set, as this process reaches them. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { CounterTable } from "./counter-table.ts";
import { placeIn, restoredServer, type TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import type { TicketSetRecord } from "./ticket-set.ts";

/** One of the servers that take part, and its place in its list. */
export interface Participant {
  readonly address: string;
  readonly counters: CounterTable;
  readonly index: number;
}

/** Those of a list that answer, and an error for those that do not. */
export interface Participants {
  readonly reached: readonly Participant[];
  readonly missing: TesseraeError | undefined;
}

export const UNCHANGED = "Nothing was changed.";
export const LATER = 'Run "tesserae tickets grow" again when it answers: it finishes what was begun.';

/**
 * The servers of a list as this process reaches them; main, for the set of generation 0. TICKET_STEP when the configuration does not have them all, however
 * many of them answer.
 */
export async function reachParticipants(
  members: TicketMembers,
  record: TicketSetRecord,
  servers: readonly string[],
): Promise<Participants> {
  if (record.generation === 0 && servers === record.servers) {
    const main = { address: members.mainAddress, counters: members.main, index: 0 };
    return { reached: [main], missing: undefined };
  }
  const silent: { readonly server: TicketServer; readonly error: Error }[] = [];
  await Promise.all(
    members.servers.map((server) =>
      server.identify(server.commanded).catch((error: Error) => silent.push({ server, error })),
    ),
  );
  const down = new Set(silent.map(({ server }) => server));
  const reached = members.servers
    .filter((server) => server.id !== undefined && servers.includes(server.id) && !down.has(server))
    .map(({ id, address, commanded }) => ({
      address,
      counters: commanded,
      index: servers.indexOf(id as string),
    }))
    .toSorted((one, other) => one.index - other.index);
  const missing = servers.length - reached.length;
  const unknown = silent.filter(({ server: { id } }) => id === undefined || servers.includes(id));
  if (missing > unknown.length) throw notConfigured(missing - unknown.length, servers.length);
  const [first] = unknown;
  return {
    reached,
    missing:
      missing === 0 || first === undefined ? undefined : notReached(first.server.address, first.error, LATER),
  };
}

/** Refuses servers that are another installation's, that are in a set of which main knows nothing, or that do not answer. */
export async function refuseOthers(members: TicketMembers): Promise<void> {
  if (members.servers.length === 0) return;
  try {
    await refuseOthersNow(members);
  } catch (error) {
    if (!isTesseraeError(error, "TICKET_SET_BEHIND")) throw error;
    // Unless somebody else's growth passed by since main was read.
    await refuseOthersNow(members);
  }
}

async function refuseOthersNow(members: TicketMembers): Promise<void> {
  const known = await members.read().catch((error: unknown) => {
    if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return undefined;
    throw error;
  });
  const set = known ?? { set: { generation: 0, servers: [] }, installation: undefined };
  for (const server of members.servers) {
    const identity = await server.identify(server.commanded).catch((error: Error) => {
      throw notReached(server.address, error, UNCHANGED);
    });
    placeIn(set, server.address, identity);
  }
}

/** Refuses servers that were restored from an older state: nobody knows how far they had come. */
export async function refuseBehind(members: TicketMembers): Promise<void> {
  const known = await members.read();
  for (const server of members.servers) {
    const place = await members.placeOf(server, known);
    if (place.kind === "member" && place.behind) throw restoredServer(server.address);
  }
}

export function notReached(address: string, error: Error, then: string): TesseraeError {
  // What says itself what to do is no failure of the server.
  if (error instanceof TesseraeError && error.code.startsWith("TICKET")) return error;
  return new TesseraeError(
    "TICKETS_UNAVAILABLE",
    `The ticket servers cannot be changed while one that takes part does not do its part: ${address}: ${error.message} ${then}`,
    { cluster: "tickets", operation: "tickets.grow", cause: error },
  );
}

function notConfigured(missing: number, all: number): TesseraeError {
  return new TesseraeError(
    "TICKET_STEP",
    `${missing} of the ${all} ticket servers that take part in the change are not in this configuration. Name them all in the tickets block, also those that are to leave the set: "tesserae tickets grow --without ADDRESS".`,
    { cluster: "tickets", operation: "tickets.grow" },
  );
}
