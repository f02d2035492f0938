/**
 * Ids from the set of servers that is in force: main alone, or ticket servers that are asked in turn. One that is down, slow or read-only is left out, and comes
 * back by itself. A server whose counters were closed belongs to a set that is being replaced: then main is asked again which set there is, and the lease
 * waits for the new one.
 *
 * Before a process has its first id of a sequence it checks what operators get wrong: servers that are copies of each other, that do not make up the set, that are another
 * installation's, counters behind the ids in use.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { counterBehind, findCounterBehind } from "./counter-check.ts";
import type { CounterPlace, NoLease } from "./counter-table.ts";
import type { IdsInUse } from "./ids-in-use.ts";
import type { TicketGrowth } from "./ticket-growth.ts";
import { type KnownSet, restoredServer, type ServerPlace, type TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import {
  exhausted,
  movedAway,
  type TicketBlock,
  type TicketSequence,
  type TicketSource,
} from "./ticket-source.ts";

/** How long a lease waits for a growth that is under way. */
const GROWTH_WAIT_MS = 15_000;
/** How long it leaves it to whoever began it. */
const PATIENCE_MS = 1_000;
const POLL_MS_MAX = 200;
/** How often a lease is sent to main again after its connection was lost. */
const MAIN_ATTEMPTS_MAX = 8;
const MAIN_PAUSE_MS = 20;

export const MAIN_PLACE: CounterPlace = { generation: 0, offset: 1, step: 1 };

export interface TicketServersOptions {
  readonly members: TicketMembers;
  readonly growth: TicketGrowth;
  /** Undefined: counters are not compared with the ids in use. */
  readonly idsInUse: IdsInUse | undefined;
  readonly patienceMs?: number | undefined;
}

export class TicketServers implements TicketSource {
  readonly #options: TicketServersOptions;
  readonly #patienceMs: number;
  readonly #checked = new Map<string, Promise<void>>();
  #known: Promise<KnownSet> | undefined;
  /** What `#known` gave last. */
  #current: KnownSet | undefined;
  #begun = false;
  #turn = 0;
  #stopped = false;
  #resuming: Promise<void> | undefined;
  #resumedAt = Number.NEGATIVE_INFINITY;

  constructor(options: TicketServersOptions) {
    this.#options = options;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
  }

  async lease(sequence: TicketSequence, count: number): Promise<TicketBlock> {
    const begun = performance.now();
    for (let waitMs = 5; ; waitMs = Math.min(POLL_MS_MAX, waitMs * 2)) {
      const known = await this.#set();
      await this.#check(sequence, known);
      const answer =
        known.set.generation === 0
          ? await this.#leaseFromMain(sequence, count)
          : await this.#leaseFromServers(sequence, count, known);
      if (answer === "exhausted") throw exhausted(sequence);
      if (answer !== "moved") return answer;
      this.#forget(known);
      const waited = performance.now() - begun;
      if (waited > GROWTH_WAIT_MS || this.#stopped) throw underWay(waited);
      if (waited > this.#patienceMs) await this.#takeUpGrowth();
      await sleep(waitMs * (0.5 + Math.random() / 2));
    }
  }

  /** Leases that wait for a growth wait no longer. */
  stop(): void {
    this.#stopped = true;
  }

  /** Waits for what runs beside the leases. */
  async close(): Promise<void> {
    await this.#resuming;
  }

  #set(): Promise<KnownSet> {
    if (this.#known === undefined) {
      const known = this.#read();
      this.#known = known;
      known.catch(() => {
        if (this.#known === known) this.#known = undefined;
      });
    }
    return this.#known;
  }

  /** Main is asked again. Somebody else may have done so already. */
  #forget(known: KnownSet): void {
    if (this.#current === known) this.#known = undefined;
  }

  async #read(): Promise<KnownSet> {
    const { members } = this.#options;
    const known = await members.read();
    if (known.set.generation > 0) {
      const silent = await this.#identifyAll(known);
      this.#refuseIncomplete(known, silent);
    }
    this.#begun = true;
    this.#current = known;
    return known;
  }

  /** Asks every server who it is. What is wrong with the configuration is raised before the first id; later it leaves that server out. */
  async #identifyAll(known: KnownSet): Promise<number> {
    const { members } = this.#options;
    const answers = await Promise.allSettled(members.servers.map((server) => this.#placeOf(server, known)));
    let silent = 0;
    for (const [index, answer] of answers.entries()) {
      if (answer.status === "fulfilled") continue;
      const error = answer.reason as Error;
      if (!this.#begun && isTesseraeError(error) && error.code.startsWith("TICKET")) throw error;
      (members.servers[index] as TicketServer).health.failed(error);
      silent += 1;
    }
    return silent;
  }

  /** As `TicketMembers.placeOf`, and refuses a server that was restored. It is asked again the next time: somebody may have raised its counters. */
  async #placeOf(server: TicketServer, known: KnownSet): Promise<ServerPlace> {
    const place = await this.#options.members.placeOf(server, known);
    if (place.kind !== "member" || !place.behind) return place;
    known.places.delete(server);
    throw restoredServer(server.address);
  }

  #refuseIncomplete({ set, places }: KnownSet, silent: number): void {
    const present = [...places.values()].filter(({ kind }) => kind === "member").length;
    if (present + silent === 0) throw movedAway();
    // A process that has begun goes on with those it knows: they count right without the others.
    if (this.#begun || present + silent >= set.servers.length) return;
    throw new TesseraeError(
      "TICKET_STEP",
      `The ticket servers count in steps of ${set.servers.length}, and the configuration names ${present} of the ${set.servers.length} servers. Name all of them in the tickets block: the ids of the others would never be given.`,
      { cluster: "tickets", operation: "tickets.check" },
    );
  }

  /** Once for each sequence; again after a refusal, when somebody may have put it right. */
  #check(sequence: TicketSequence, known: KnownSet): Promise<void> | undefined {
    const { idsInUse } = this.#options;
    if (idsInUse === undefined) return undefined;
    let checked = this.#checked.get(sequence.name);
    if (checked === undefined) {
      checked = this.#compare(sequence, known, idsInUse);
      this.#checked.set(sequence.name, checked);
      checked.catch(() => this.#checked.delete(sequence.name));
    }
    return checked;
  }

  async #compare(sequence: TicketSequence, known: KnownSet, ids: IdsInUse): Promise<void> {
    const { members } = this.#options;
    const counters =
      known.set.generation === 0
        ? [{ address: members.mainAddress, counters: members.main, place: MAIN_PLACE }]
        : [...known.places].flatMap(([server, place]) =>
            place.kind === "member"
              ? [{ address: server.address, counters: server.commanded, place: place.place }]
              : [],
          );
    const finding = await findCounterBehind(sequence, ids, counters);
    if (finding !== undefined) throw counterBehind(sequence.name, finding);
  }

  async #leaseFromMain(sequence: TicketSequence, count: number): Promise<TicketBlock | NoLease> {
    const { main, mainGiven } = this.#options.members;
    for (let attempt = 1; ; attempt++) {
      const floor = mainGiven.of(sequence.name, MAIN_PLACE);
      try {
        const answer =
          (await main.lease(sequence, count, MAIN_PLACE)) ??
          (await main.leaseSlowly(sequence, count, MAIN_PLACE));
        if (typeof answer !== "string") await mainGiven.note(sequence.name, answer, MAIN_PLACE, floor);
        return answer;
      } catch (error) {
        // Ids whose lease was answered by nobody are lost.
        if (attempt === MAIN_ATTEMPTS_MAX || !isTesseraeError(error, "CONNECTION_LOST")) throw error;
        await sleep(MAIN_PAUSE_MS * attempt * Math.random());
      }
    }
  }

  /** The healthy in turn; when none of them gives, those that were left out for longer than a moment. */
  async #leaseFromServers(
    sequence: TicketSequence,
    count: number,
    known: KnownSet,
  ): Promise<TicketBlock | NoLease> {
    const { servers } = this.#options.members;
    const start = this.#turn++ % servers.length;
    const inTurn = [...servers.slice(start), ...servers.slice(0, start)];
    const asked = new Set<TicketServer>();
    const closed: TicketServer[] = [];
    for (const round of ["good", "left out"] as const) {
      for (const server of inTurn) {
        if (asked.has(server) || known.places.get(server)?.kind === "outside") continue;
        const own = server.healthOf(sequence.name);
        if (server.health.fresh || own.fresh) continue;
        if (round === "good" && !server.health.good) {
          if (server.health.due) server.probe(sequence.name);
          continue;
        }
        // The server answers; only what it says of this sequence may have changed.
        if (round === "good" && !own.good && !own.due) continue;
        asked.add(server);
        const answer = await this.#leaseFrom(server, sequence, count, known);
        if (answer === "moved") closed.push(server);
        if (typeof answer !== "object") continue;
        this.#leaveOut(closed, sequence);
        return answer;
      }
    }
    if (closed.length > 0) return "moved";
    const failed = this.#reasons(sequence, known);
    if (failed.length === 0) return "exhausted";
    throw unavailable(failed);
  }

  /** Undefined when the server failed. */
  async #leaseFrom(
    server: TicketServer,
    sequence: TicketSequence,
    count: number,
    known: KnownSet,
  ): Promise<TicketBlock | NoLease | undefined> {
    const health = server.healthOf(sequence.name);
    try {
      const place = await this.#placeOf(server, known);
      if (place.kind !== "member") return undefined;
      const answer = await server.lease(sequence, count, place.place);
      server.health.answered();
      health.answered();
      return answer;
    } catch (error) {
      // A counter that is behind says nothing of the server's others.
      const isCounters =
        isTesseraeError(error, "TICKET_COUNTER_BEHIND") || isTesseraeError(error, "TICKET_OFFSET");
      (isCounters ? health : server.health).failed(error as Error);
      return undefined;
    }
  }

  /** Others of the set give ids: whoever is closed was down when it was to be opened. */
  #leaveOut(closed: readonly TicketServer[], { name }: TicketSequence): void {
    for (const server of closed) server.healthOf(name).failed(new Error("its counters are closed"));
    if (closed.length > 0 && performance.now() - this.#resumedAt > this.#patienceMs * 5)
      void this.#takeUpGrowth();
  }

  #reasons(sequence: TicketSequence, known: KnownSet): { address: string; reason: Error }[] {
    return this.#options.members.servers.flatMap((server) => {
      if (known.places.get(server)?.kind === "outside") return [];
      const reason = server.health.reason ?? server.healthOf(sequence.name).reason;
      return reason === undefined ? [] : [{ address: server.address, reason }];
    });
  }

  /** Whoever began the growth may have died. Every step of it may be made by anybody, also by several at once. */
  async #takeUpGrowth(): Promise<void> {
    this.#resumedAt = performance.now();
    this.#resuming ??= this.#options.growth
      .resume()
      .catch(() => undefined)
      .finally(() => {
        this.#resuming = undefined;
      });
    await this.#resuming;
  }
}

function unavailable(failed: readonly { address: string; reason: Error }[]): TesseraeError {
  const reasons = failed.map(({ address, reason }) => {
    const code = reason instanceof TesseraeError ? `${reason.code}: ` : "";
    return `${address}: ${code}${reason.message}`;
  });
  return new TesseraeError(
    "TICKETS_UNAVAILABLE",
    `No ticket server gives ids now, and nothing was written. ${reasons.join(" | ")}`,
    { cluster: "tickets", operation: "tickets.lease", cause: failed.at(-1)?.reason },
  );
}

function underWay(waitedMs: number): TesseraeError {
  return new TesseraeError(
    "TICKETS_UNAVAILABLE",
    `The ticket servers are being changed, and that did not end within ${Math.round(waitedMs)} ms. If nobody is at it any more, finish it: "tesserae tickets grow", or await fed.tickets.grow().`,
    { cluster: "tickets", operation: "tickets.lease" },
  );
}
