/**
 * Who is who: the set in force as main has it, and which of the configured databases are its servers. A server is known by what its own database says,
 * never by its place in the configuration.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Database, Engine, PoolOptions } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { COUNTERS_OF_MAIN, type CounterPlace, type CounterState, CounterTable } from "./counter-table.ts";
import type { ServerIdentity } from "./ticket-server.ts";
import { GivenIds, TicketServer } from "./ticket-server.ts";
import { setInForce, type TicketSet, type TicketSetRecord, TicketSetRow } from "./ticket-set.ts";

export interface TicketMembersOptions {
  /** Main's control database. */
  readonly control: Database;
  /** See `ControlStore`. */
  readonly gate: () => Promise<void>;
  /** The ticket servers of the configuration. */
  readonly engines: readonly Engine[];
  readonly pool: PoolOptions;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  readonly checkVersion: (database: Database) => Promise<void>;
}

/** The set in force as it was read at some moment, and what each server that answered since then is in it. */
export interface KnownSet {
  readonly record: TicketSetRecord;
  readonly set: TicketSet;
  readonly installation: string | undefined;
  /** What has been found out. A server that is not in it has not answered yet. */
  readonly places: Map<TicketServer, ServerPlace>;
  /** In which of its lives each said so; see `TicketServer.life`. */
  readonly lives: Map<TicketServer, number>;
}

/** `behind`: a member that says of itself that it counts for an older set. `outside`: a ticket server of this installation that the set does not have, or one that is none yet. */
export type ServerPlace =
  | {
      readonly kind: "member";
      readonly id: string;
      readonly place: CounterPlace;
      readonly behind: boolean;
    }
  | { readonly kind: "outside"; readonly id: string | undefined };

export class TicketMembers {
  /** Main's own counters, which are those of generation 0. */
  readonly main: CounterTable;
  readonly mainGiven: GivenIds;
  readonly mainAddress: string;
  readonly setRow: TicketSetRow;
  readonly servers: readonly TicketServer[];

  constructor(options: TicketMembersOptions) {
    const { control, gate, engines, ...serverOptions } = options;
    const place = { cluster: "tickets", operation: "tickets" };
    this.main = new CounterTable(new ControlStore(control, place, gate), COUNTERS_OF_MAIN);
    this.mainAddress = control.engine.address.display;
    this.mainGiven = new GivenIds(this.main, this.mainAddress);
    this.setRow = new TicketSetRow(this.main);
    const twin = engines.find(({ address }) => address.identity === control.engine.address.identity);
    if (twin !== undefined)
      throw new TesseraeError(
        "CONFIG_SAME_DATABASE",
        `tickets names main's own database (${twin.address.display}), which has the counters of a federation without ticket servers. Give each ticket server a database of its own; it may be on main's server.`,
        { cluster: "tickets" },
      );
    this.servers = engines.map((engine) => new TicketServer(engine, serverOptions));
  }

  async read(): Promise<KnownSet> {
    const { record, installation } = await this.setRow.read();
    return { record, installation, set: setInForce(record), places: new Map(), lives: new Map() };
  }

  /** What a server is in the set; asked of it once. Raises what makes it unfit to be asked for ids. */
  async placeOf(server: TicketServer, known: KnownSet): Promise<ServerPlace> {
    const asked = known.places.get(server);
    if (asked !== undefined) return asked;
    const life = server.life();
    const place = placeIn(known, server.address, await server.identify());
    if (place.kind === "member") this.#refuseTwin(server, place.id, known);
    known.places.set(server, place);
    known.lives.set(server, life);
    return place;
  }

  #refuseTwin(server: TicketServer, id: string, known: KnownSet): void {
    for (const [other, place] of known.places) {
      if (other === server || place.id !== id) continue;
      throw sameServer(other.address, server.address);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.close()));
  }
}

/** What a server is in a set, by what it says of itself. */
export function placeIn(
  { set, installation, record }: Pick<KnownSet, "set" | "installation"> & Partial<Pick<KnownSet, "record">>,
  address: string,
  identity: ServerIdentity | undefined,
): ServerPlace {
  if (identity === undefined) return { kind: "outside", id: undefined };
  const { id, state } = identity;
  if (identity.installation !== installation)
    throw misplaced(
      "TICKET_SERVER_IDENTITY",
      `${address} is a ticket server of another installation (${identity.installation}); this one is ${installation ?? "not set up yet"}. Correct its address in the tickets block. If main was set up anew and the old installation is gone, give it an empty database.`,
    );
  // Main names a set before any of its servers counts for it.
  if (state.generation > set.generation) throw mainBehind(address, state, set.generation);
  const index = set.servers.indexOf(id);
  if (index < 0) {
    if (state.state === "open")
      throw misplaced(
        "TICKET_SERVER_IDENTITY",
        `${address} counts as server ${state.offset} of ${state.step} in set ${state.generation}, and is none of the servers of set ${set.generation}, which is in force: it was restored from before it left. Take it out of the tickets block; to take it into the set again, empty its database first and run "tesserae tickets grow".`,
      );
    return { kind: "outside", id };
  }
  const place = { generation: set.generation, offset: index + 1, step: set.servers.length };
  if (state.generation === set.generation) {
    if (state.step !== place.step)
      throw misplaced(
        "TICKET_STEP",
        `${address} counts in steps of ${state.step}, and the set has ${place.step} servers: ids would be given twice, or never. Somebody changed the row "tickets" of its tesserae_meta: write step ${place.step} and offset ${place.offset} there again, or restore the server from a backup and raise its sequences ("tesserae tickets raise").`,
      );
    if (state.offset !== place.offset)
      throw misplaced(
        "TICKET_OFFSET",
        `${address} has the offset ${state.offset}, which is another server's: by main's list it is server ${place.offset} of ${place.step}. Somebody changed the row "tickets" of its tesserae_meta: write offset ${place.offset} there again, or restore the server from a backup and raise its sequences ("tesserae tickets raise").`,
      );
  }
  // While the set is only being opened it may not have been its turn.
  const settled = record !== undefined && record.growing === undefined;
  return { kind: "member", id, place, behind: settled && state.generation < set.generation };
}

/** A server that says that it counts for an older set than there is was restored: in the new one it had given ids of which it knows nothing. */
export function restoredServer(address: string): TesseraeError {
  return misplaced(
    "TICKET_COUNTER_BEHIND",
    `${address} counts for a set of ticket servers that was replaced since: it was restored from an older state. Its counters give nothing until each sequence is raised above every id that was ever given: "tesserae tickets raise SEQUENCE", or fed.tickets.raise(sequence, { above }).`,
  );
}

/** Main draws the number of a set before anybody counts for it: so main has lost what it said. */
function mainBehind(
  address: string,
  { offset, step, generation }: CounterState,
  known: number,
): TesseraeError {
  return new TesseraeError(
    "TICKET_SET_BEHIND",
    `${address} counts as server ${offset} of ${step} in set ${generation}, and main knows of sets up to ${known} only: main was restored from an older state, or lost its last writes in a failover. Nothing is leased by a set that is out of force. Name all servers of set ${generation} in the tickets block and run "tesserae tickets recover", or await fed.tickets.recover(): main then knows the set again.`,
    { cluster: "tickets" },
  );
}

/** A database that was copied takes its name with it. */
export function sameServer(one: string, other: string): TesseraeError {
  return misplaced(
    "TICKET_OFFSET",
    `${one} and ${other} are the same ticket server, with the same offset: they would give the same ids. One is a copy of the other, or another name for it. Name each server once; a new one begins with an empty database.`,
  );
}

function misplaced(
  code: "TICKET_SERVER_IDENTITY" | "TICKET_STEP" | "TICKET_OFFSET" | "TICKET_COUNTER_BEHIND",
  message: string,
): TesseraeError {
  return new TesseraeError(code, message, { cluster: "tickets" });
}
