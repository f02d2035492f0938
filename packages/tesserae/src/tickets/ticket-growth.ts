/**
 * From one set of servers to the next, while applications take ids: from main to ticket servers, or to more or fewer of them. Every step may be made again, by
 * anybody, after a crash at any point; docs/internals/tickets.md has the protocol and why it holds.
 *
 * 1. prepare: the new servers get their tables and a name; all servers answer and take writes.
 * 2. record: main says which servers will be the next set (`fencing`).
 * 3. fence: each old server closes its counters, in one transaction. Nobody is given an id of the old set from then on.
 * 4. floors: when *all* are closed, the highest counter of each sequence is recorded in main (`opening`).
 * 5. open: each new server counts from there, in its own residue.
 * 6. done: main says that the set is the new one.
 *
 * While not all are closed the growth can turn back: `aborting` is recorded in main, which makes 4 impossible, and the old servers open as they were.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { closeCounters, openCounters, reopenCounters, stoppedRow } from "./counter-states.ts";
import { isStopped } from "./counter-table.ts";
import {
  LATER,
  notReached,
  type Participants,
  reachParticipants,
  refuseBehind,
  refuseOthers,
  UNCHANGED,
} from "./growth-participants.ts";
import { type ReplacementResult, replaceServer } from "./server-replacement.ts";
import { sameServer, type TicketMembers } from "./ticket-members.ts";
import type { TicketInternals, TicketPoint } from "./ticket-points.ts";
import { serverNamed, TICKET_SERVER_META, type TicketServer } from "./ticket-server.ts";
import type { GrowthRecord, TicketSetRecord } from "./ticket-set.ts";
import type { TicketSequence } from "./ticket-source.ts";

export interface TicketGrowthOptions {
  readonly members: TicketMembers;
  readonly sequences: ReadonlyMap<string, TicketSequence>;
  /** Creates the control tables of a ticket server, or brings them to this library's layout. */
  readonly prepare: (database: Database) => Promise<void>;
  readonly internals?: TicketInternals | undefined;
}

export interface GrowthResult {
  /** The set that is in force now. */
  readonly generation: number;
  readonly servers: number;
  /** Whether this call changed it. */
  readonly changed: boolean;
}

export class TicketGrowth {
  readonly #options: TicketGrowthOptions;

  constructor(options: TicketGrowthOptions) {
    this.#options = options;
  }

  /** Makes the tables of every configured server, and gives each that has none a name. Refuses those of others. */
  async prepare(): Promise<void> {
    const { members } = this.#options;
    const known = await members.read();
    if (known.installation === undefined)
      throw new TesseraeError(
        "SCHEMA_NOT_APPLIED",
        'Main holds nothing yet. Create what the schema says first: await fed.schema.apply(), or "tesserae schema apply".',
        { cluster: "main", operation: "tickets.grow" },
      );
    await this.refuseOthers();
    const servers = new Map<string, TicketServer>();
    for (const server of members.servers) {
      const id = await this.#prepareServer(server, known.installation).catch((error: unknown) => {
        throw notReached(server.address, toEngineError(error, server.engine.dialect, {}), UNCHANGED);
      });
      const twin = servers.get(id);
      if (twin !== undefined) throw sameServer(twin.address, server.address);
      servers.set(id, server);
    }
    await this.#at("prepared");
  }

  /** What the server calls itself from then on. */
  async #prepareServer(server: TicketServer, installation: string): Promise<string> {
    await this.#options.prepare(server.database);
    await server.commanded.meta.writeOnce(TICKET_SERVER_META, `${crypto.randomUUID()} of ${installation}`);
    return (await server.identify(server.commanded))?.id as string;
  }

  /** Before anything is written. */
  refuseOthers(): Promise<void> {
    return refuseOthers(this.#options.members);
  }

  /** At the end of `schema.apply()`: makes what ticket servers need. Where main has given no id yet, they give them from the beginning. */
  async setUp(): Promise<void> {
    const { members } = this.#options;
    if (members.servers.length === 0) return;
    const { record } = await members.read();
    const isNew =
      record.generation === 0 && (await members.main.readRows()).every(({ closedId }) => closedId !== null);
    if (isNew || record.growing !== undefined) await this.grow();
    else await this.prepare();
  }

  /** Makes the configured servers, without those named by `without`, the set that is in force; finishes a growth that was cut off first. */
  async grow(without: readonly string[] = []): Promise<GrowthResult> {
    const { members } = this.#options;
    if (members.servers.length === 0)
      throw new TesseraeError(
        "CONFIG_INVALID",
        "The configuration has no tickets block, so there is nothing to grow to. Name the ticket servers: tickets: [mysql(…), mysql(…)].",
        { cluster: "tickets", operation: "tickets.grow" },
      );
    const left = this.#leftOut(without);
    await this.prepare();
    const before = await this.#finish();
    const servers = this.#inOrder(left, before.servers);
    if (sameList(before.servers, servers))
      return { generation: before.generation, servers: servers.length, changed: false };
    await this.#refuseUnfit(before, servers);
    await members.setRow.change(async (record) => {
      if (record.growing !== undefined || record.generation !== before.generation) return undefined;
      const generation = record.drawn + 1;
      return { ...record, drawn: generation, growing: { generation, servers, phase: "fencing" } };
    });
    await this.#at("recorded");
    const settled = await this.#finish();
    // Somebody who names the same servers in another order may have been first.
    if (!sameList(settled.servers.toSorted(), servers.toSorted())) throw turnedBack();
    return { generation: settled.generation, servers: servers.length, changed: true };
  }

  /** See `replaceServer`. */
  replace(address: string): Promise<ReplacementResult> {
    return replaceServer(this.#options.members, this.#options.prepare, address);
  }

  /** Finishes a growth that was cut off, if there is one. */
  async resume(): Promise<void> {
    await this.#finish();
  }

  #leftOut(without: readonly string[]): ReadonlySet<TicketServer> {
    const { servers } = this.#options.members;
    const left = new Set(without.map((text) => serverNamed(servers, text, "tickets.grow")));
    if (left.size === servers.length)
      throw new TesseraeError("CONFIG_INVALID", "No ticket server would be left. Leave one in the set.", {
        cluster: "tickets",
        operation: "tickets.grow",
      });
    return left;
  }

  /** Who is in the set keeps its place, and new ones follow as the configuration has them. */
  #inOrder(left: ReadonlySet<TicketServer>, current: readonly string[]): string[] {
    const wanted = this.#options.members.servers
      .filter((server) => !left.has(server))
      .map(({ id }) => id as string);
    return [...current.filter((id) => wanted.includes(id)), ...wanted.filter((id) => !current.includes(id))];
  }

  /** Before anything is closed: every server that takes part answers, takes writes, and none is behind. */
  async #refuseUnfit(record: TicketSetRecord, servers: readonly string[]): Promise<void> {
    for (const list of [record.servers, servers]) {
      const { reached, missing } = await reachParticipants(this.#options.members, record, list);
      if (missing !== undefined) throw missing;
      for (const { address, counters } of reached) {
        await counters.probe("").catch((error: Error) => {
          throw notReached(address, error, UNCHANGED);
        });
        const stopped = (await counters.readRows()).find(isStopped);
        if (stopped !== undefined) throw stoppedRow(address, stopped);
      }
    }
    await refuseBehind(this.#options.members);
  }

  /** Takes up what main says is under way, until nothing is. Gives the set then. */
  async #finish(): Promise<TicketSetRecord> {
    for (;;) {
      const { record } = await this.#options.members.setRow.read();
      const growing = record.growing;
      if (growing === undefined) return record;
      if (growing.phase === "aborting") await this.#turnBack(record, growing);
      else if (growing.phase === "opening") await this.#open(record, growing);
      else await this.#fenceOrTurnBack(record, growing);
    }
  }

  async #fenceOrTurnBack(record: TicketSetRecord, growing: GrowthRecord): Promise<void> {
    // Who does not even know the servers leaves the growth to those who do.
    const old = await reachParticipants(this.#options.members, record, record.servers);
    await reachParticipants(this.#options.members, record, growing.servers);
    try {
      await this.#fence(record, growing, old);
    } catch (error) {
      const now = await this.#recordAbort(growing.generation);
      // Otherwise somebody else got further, or turned back.
      if (now?.phase !== "aborting") return;
      await this.#turnBack(record, now);
      throw error;
    }
  }

  /** Steps 3 and 4. */
  async #fence(record: TicketSetRecord, growing: GrowthRecord, old: Participants): Promise<void> {
    const { members, sequences } = this.#options;
    if (old.missing !== undefined) throw old.missing;
    const floors = new Map<string, bigint>();
    for (const { address, counters } of old.reached) {
      const closed = await closeCounters(counters, record, growing.generation, [...sequences.values()]).catch(
        (error: Error) => {
          throw notReached(address, error, "The growth was turned back.");
        },
      );
      if (closed === undefined) throw turnedBack();
      for (const [name, id] of closed) if ((floors.get(name) ?? 0n) < id) floors.set(name, id);
      await this.#at("fence:server");
    }
    await this.#at("fenced");
    await members.setRow.change(async (now, transaction) => {
      if (now.growing?.generation !== growing.generation || now.growing.phase !== "fencing") return undefined;
      await this.#recordFloors(transaction, floors);
      return { ...now, growing: { ...now.growing, phase: "opening" } };
    });
    await this.#at("floors");
  }

  /** Main's rows keep what no counter may go below, from one growth to the next. */
  async #recordFloors(transaction: ControlTransaction, floors: ReadonlyMap<string, bigint>): Promise<void> {
    const { main } = this.#options.members;
    const known = new Map((await main.readRows(transaction)).map((row) => [row.name, row.closedId ?? 0n]));
    for (const [name, id] of floors)
      if ((known.get(name) ?? 0n) < id) await main.closeRow(transaction, name, id, 0);
  }

  /** Steps 5 and 6. */
  async #open(record: TicketSetRecord, { generation, servers }: GrowthRecord): Promise<void> {
    const { members } = this.#options;
    const { reached, missing } = await reachParticipants(this.#options.members, record, servers);
    const floors = await members.main.readRows();
    // One that is down keeps nobody from the ids of the others.
    let failure: Error | undefined = missing;
    for (const { address, counters, index } of reached) {
      const place = { generation, offset: index + 1, step: servers.length };
      await openCounters(counters, place, floors).catch((error: Error) => {
        failure ??= notReached(address, error, LATER);
      });
      await this.#at("open:server");
    }
    if (failure !== undefined) throw failure;
    await this.#at("opened");
    await members.setRow.change(async (now) =>
      now.growing?.generation === generation && now.growing.phase === "opening"
        ? { generation, servers, drawn: now.drawn }
        : undefined,
    );
    await this.#at("done");
  }

  async #recordAbort(generation: number): Promise<GrowthRecord | undefined> {
    const record = await this.#options.members.setRow.change(async (now) =>
      now.growing?.generation === generation && now.growing.phase === "fencing"
        ? { ...now, growing: { ...now.growing, phase: "aborting" } }
        : undefined,
    );
    await this.#at("abort:recorded");
    return record.growing;
  }

  async #turnBack(record: TicketSetRecord, { generation }: GrowthRecord): Promise<void> {
    const { members } = this.#options;
    const { reached, missing } = await reachParticipants(this.#options.members, record, record.servers);
    let failure: Error | undefined = missing;
    for (const { address, counters } of reached) {
      await reopenCounters(counters, record, generation).catch((error: Error) => {
        failure ??= notReached(address, error, LATER);
      });
      await this.#at("abort:server");
    }
    if (failure !== undefined) throw failure;
    await members.setRow.change(async (now) =>
      now.growing?.generation === generation && now.growing.phase === "aborting"
        ? { generation: now.generation, servers: now.servers, drawn: now.drawn }
        : undefined,
    );
    await this.#at("aborted");
  }

  async #at(point: TicketPoint): Promise<void> {
    await this.#options.internals?.at?.(point);
  }
}

function sameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((id, index) => id === other[index]);
}

function turnedBack(): TesseraeError {
  return new TesseraeError(
    "TICKETS_UNAVAILABLE",
    'The change of the ticket servers was turned back by another process, which could not reach all of them, or had another configuration. Ids go on coming from the servers of before. See that every process has the same tickets block and that "tesserae tickets status" shows every server, and run "tesserae tickets grow" again.',
    { cluster: "tickets", operation: "tickets.grow" },
  );
}
