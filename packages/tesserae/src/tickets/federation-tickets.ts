/** `fed.tickets`: ids, and what an operator does about where they come from. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { counterBehind, findCounterBehind } from "./counter-check.ts";
import { raiseCounter } from "./counter-states.ts";
import { BIGINT_TOP, type CounterPlace, type CounterTable, isStopped } from "./counter-table.ts";
import type { IdsInUse } from "./ids-in-use.ts";
import type { NamedSequence } from "./sequences.ts";
import type { ReplacementResult } from "./server-replacement.ts";
import { recoverSet } from "./set-recovery.ts";
import {
  findingOf,
  growing,
  notInSet,
  notNamed,
  notRead,
  notWhileGrowing,
  stoppedCounter,
  type TicketFinding,
  textOf,
} from "./ticket-findings.ts";
import type { GrowthResult, TicketGrowth } from "./ticket-growth.ts";
import { type KnownSet, restoredServer, type TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import { MAIN_PLACE, type TicketServers } from "./ticket-servers.ts";
import type { GrowthPhase } from "./ticket-set.ts";
import { Tickets, type TicketsOptions } from "./tickets.ts";

/** Above the ids that are known: those that processes have leased and not used yet nobody can see. */
const RAISE_MARGIN = 1_000_000n;

export interface TicketCluster {
  readonly members: TicketMembers;
  readonly growth: TicketGrowth;
  readonly servers: TicketServers;
  readonly idsInUse: IdsInUse;
}

export interface TicketCounterStatus {
  readonly sequence: string;
  /** The next id that nobody has leased. */
  readonly nextId: bigint;
  /** `stopped`: it is behind what it gave, and waits for `raise`. */
  readonly state: "open" | "closed" | "stopped";
}

export interface TicketServerStatus {
  readonly address: string;
  /** In which ids it gives: those that leave `offset` when divided by `step`. Undefined for a server outside of the set. */
  readonly offset: number | undefined;
  readonly step: number | undefined;
  /** `outside`: configured, but not in the set: `grow()` takes it in. `down`: it does not answer, or may not be used; `reason` says why. */
  readonly state: "open" | "closed" | "outside" | "down";
  readonly reason: string | undefined;
  readonly counters: readonly TicketCounterStatus[];
}

export interface TicketStatus {
  /** 0: main gives the ids. It rises with each change of the servers. */
  readonly generation: number;
  /** What is under way, if the servers are being changed. */
  readonly growing: GrowthPhase | undefined;
  readonly servers: readonly TicketServerStatus[];
}

/** Where a sequence goes on after `raise`. */
export interface RaiseResult {
  readonly sequence: string;
  /** The next id of each server. */
  readonly servers: readonly { readonly address: string; readonly nextId: bigint }[];
}

interface Counted {
  readonly address: string;
  readonly counters: CounterTable;
  readonly place: CounterPlace;
}

export class FederationTickets extends Tickets {
  readonly #cluster: TicketCluster;
  readonly #sequences: ReadonlyMap<string, NamedSequence>;
  readonly #beforeChange: (operation: string) => void;

  /** `beforeChange` refuses what cannot be part of an open transaction. */
  constructor(
    options: Omit<TicketsOptions, "source">,
    cluster: TicketCluster,
    beforeChange: (operation: string) => void,
  ) {
    super({ ...options, source: cluster.servers });
    this.#cluster = cluster;
    this.#sequences = options.sequences;
    this.#beforeChange = beforeChange;
  }

  /** Which servers give the ids, how each is, and its counters. Never rejects for one that is down. */
  async status(): Promise<TicketStatus> {
    const { members } = this.#cluster;
    const known = await members.read();
    const { set, record } = known;
    const main =
      set.generation > 0 ? [] : [await this.#statusOf(members.mainAddress, members.main, MAIN_PLACE)];
    const servers = await Promise.all(members.servers.map((server) => this.#statusOfServer(server, known)));
    return {
      generation: set.generation,
      growing: record.growing?.phase,
      servers: [...main, ...servers],
    };
  }

  /**
   * Looks for what is wrong with the servers and their counters: what a process refuses before its first id, and what only needs to be known, such as a server
   * that does not answer. Gives nothing when all is well.
   */
  async check(): Promise<TicketFinding[]> {
    const { members, idsInUse } = this.#cluster;
    const known = await members.read();
    const findings: TicketFinding[] = [];
    const add = (error: unknown) => findings.push(findingOf(error));
    const counted: Counted[] = [];
    if (known.set.generation === 0)
      counted.push({ address: members.mainAddress, counters: members.main, place: MAIN_PLACE });
    let unfit = 0;
    for (const server of members.servers) {
      try {
        const place = await members.placeOf(server, known);
        if (place.kind === "outside") {
          add(notInSet(server.address));
          continue;
        }
        counted.push({ address: server.address, counters: server.commanded, place: place.place });
        if (place.behind) add(restoredServer(server.address));
      } catch (error) {
        unfit += 1;
        add(error);
      }
    }
    const missing = known.set.servers.length - counted.length - unfit;
    if (known.set.generation > 0 && missing > 0) add(notNamed(missing, known));
    if (known.record.growing !== undefined) add(growing(known.record.growing.phase));
    const unread = new Set<string>();
    for (const sequence of this.#sequences.values()) {
      const silent: string[] = [];
      const finding = await findCounterBehind(sequence, idsInUse, counted, silent);
      if (finding !== undefined) add(counterBehind(sequence.name, finding));
      for (const each of silent) unread.add(each);
    }
    for (const each of unread) add(notRead(each));
    for (const { address, counters } of counted)
      for (const row of (await counters.readRows().catch(() => [])).filter(isStopped))
        add(stoppedCounter(row.name, address));
    return findings;
  }

  /**
   * Makes the configured servers give the ids, while applications take them: from main to ticket servers, or with more of them than before. Deploy the
   * configuration to all processes first: one that does not name the servers gets TICKETS_MOVED. `without` names servers, by address, that leave the set. After a crash,
   * or when it was turned back, call it again.
   */
  async grow(options: { readonly without?: readonly string[] } = {}): Promise<GrowthResult> {
    this.#beforeChange("tickets.grow");
    return this.#cluster.growth.grow(options.without);
  }

  /**
   * Lifts the counters of a sequence on every server of the set, and lets stopped ones count again. `above`: the last id that will not be given; unless said, a
   * million (near the end of the sequence half of what is left) above everything that is in use or was leased as far as can be seen. Ids that processes hold in memory cannot be seen: wait until those that took ids from the
   * server before it was restored have ended, or say a number that is surely above.
   */
  async raise(sequence: string, options: { readonly above?: bigint } = {}): Promise<RaiseResult> {
    this.#beforeChange("tickets.raise");
    const { members, idsInUse } = this.#cluster;
    const known = await members.read();
    if (known.record.growing !== undefined) throw notWhileGrowing();
    const counted = await this.#counted(known);
    const bounds = this.#sequences.get(sequence);
    // One that a column had once may still have its counters.
    if (bounds === undefined && !(await isCounted(sequence, counted)))
      throw new TesseraeError(
        "TICKET_SEQUENCE_UNKNOWN",
        `There is no ticket sequence "${sequence}", neither in the schema and the options nor among the counters.`,
        { cluster: "tickets", operation: "tickets.raise" },
      );
    // Every server must have ids left, and a growth a number to begin from.
    const top = BIGINT_TOP - RAISE_MARGIN;
    const limit = bounds === undefined || bounds.max > top ? top : bounds.max;
    const above = options.above ?? withMargin(await highestKnown(sequence, counted, idsInUse), limit);
    if (above < 0n || above >= limit)
      throw new TesseraeError(
        "VALUE_INVALID",
        `The counters of "${sequence}" cannot be raised above ${above}: the sequence ends at ${limit}, and no id would be left. Name a lower number with { above } or --above, from 0 on; where the ids are used up, let new rows use a bigint column with a sequence of its own.`,
        { cluster: "tickets", operation: "tickets.raise" },
      );
    const names = [...this.#sequences.keys(), ...(await members.main.readRows()).map(({ name }) => name)];
    const servers: { address: string; nextId: bigint }[] = [];
    for (const { address, counters, place } of counted)
      servers.push({ address, nextId: await raiseCounter(counters, sequence, above + 1n, place, names) });
    return { sequence, servers };
  }

  /**
   * Tells main again which ticket servers give the ids, after main was restored from before they did, or lost its last writes in a failover (TICKET_SET_BEHIND). The
   * servers say it: all of the newest set must be configured and answer. Changes nothing where main knows it.
   */
  async recover(): Promise<GrowthResult> {
    this.#beforeChange("tickets.recover");
    return recoverSet({ ...this.#cluster, sequences: this.#sequences });
  }

  /**
   * Puts an empty database in the place of a ticket server that is lost for good, with its data. `address`, or a part of it: the empty database's, which the configuration names
   * instead of the lost one. It gives ids of a sequence as soon as that is raised: `raise`. The lost server must never come back.
   */
  async replace(address: string): Promise<ReplacementResult> {
    this.#beforeChange("tickets.replace");
    return this.#cluster.growth.replace(address);
  }

  override async close(): Promise<void> {
    this.#cluster.servers.stop();
    await super.close();
    await this.#cluster.servers.close();
    await this.#cluster.members.close();
  }

  /** Every server of the set: one that is down, or not configured, would stay behind. */
  async #counted(known: KnownSet): Promise<Counted[]> {
    const { members } = this.#cluster;
    const isMain = known.set.generation === 0;
    const counted: Counted[] = isMain
      ? [{ address: members.mainAddress, counters: members.main, place: MAIN_PLACE }]
      : [];
    for (const server of members.servers) {
      const place = await members.placeOf(server, known).catch((error: unknown) => {
        // Main gives the ids without them, unless one knows better.
        if (!isMain || (isTesseraeError(error) && error.code.startsWith("TICKET"))) throw error;
        return undefined;
      });
      if (place === undefined) continue;
      if (place.kind === "member")
        counted.push({ address: server.address, counters: server.commanded, place: place.place });
    }
    const missing = known.set.servers.length - counted.length;
    if (!isMain && missing > 0) throw notNamed(missing, known);
    return counted;
  }

  async #statusOfServer(server: TicketServer, known: KnownSet): Promise<TicketServerStatus> {
    const nothing = { offset: undefined, step: undefined, counters: [] };
    try {
      const place = await this.#cluster.members.placeOf(server, known);
      if (place.kind === "outside")
        return { address: server.address, state: "outside", reason: undefined, ...nothing };
      const status = await this.#statusOf(server.address, server.commanded, place.place);
      const reason = server.health.reason;
      return reason === undefined ? status : { ...status, state: "down", reason: textOf(reason) };
    } catch (error) {
      return { address: server.address, state: "down", reason: textOf(error), ...nothing };
    }
  }

  async #statusOf(
    address: string,
    counters: CounterTable,
    { generation, offset, step }: CounterPlace,
  ): Promise<TicketServerStatus> {
    const state = await counters.readState();
    const rows = await counters.readRows();
    const isOpen = state.state === "open" && state.generation === generation;
    return {
      address,
      offset,
      step,
      state: isOpen ? "open" : "closed",
      reason: undefined,
      counters: rows.map((row) => ({
        sequence: row.name,
        nextId: row.closedId ?? row.nextId,
        state: isStopped(row) ? "stopped" : row.generation === BigInt(generation) ? "open" : "closed",
      })),
    };
  }
}

async function isCounted(sequence: string, counted: readonly Counted[]): Promise<boolean> {
  const rows = await Promise.all(counted.map(({ counters }) => counters.readRow(sequence)));
  return rows.some((row) => row !== undefined);
}

async function highestKnown(sequence: string, counted: readonly Counted[], ids: IdsInUse): Promise<bigint> {
  const { id = 0n, unread } = await ids.highest(sequence);
  if (unread.length > 0)
    throw new TesseraeError(
      "TICKETS_UNAVAILABLE",
      `Not every database could be asked for the ids in use (${unread.join(" | ")}). Say yourself above what the counters of "${sequence}" are to be: --above ID.`,
      { cluster: "tickets", operation: "tickets.raise" },
    );
  const rows = await Promise.all(counted.map(({ counters }) => counters.readRow(sequence)));
  return rows.reduce((highest, row) => {
    const next = row?.closedId ?? row?.nextId ?? 0n;
    return next > highest ? next : highest;
  }, id);
}

/** A number surely above what was leased and cannot be seen; near the end of a sequence half of what is left must do. */
function withMargin(highest: bigint, limit: bigint): bigint {
  const half = (limit - highest) / 2n;
  return highest + (half < RAISE_MARGIN ? half : RAISE_MARGIN);
}
