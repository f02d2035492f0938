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
import { CounterChecks, type LeasedCounter } from "./counter-checks.ts";
import type { CounterPlace, NoLease } from "./counter-table.ts";
import { CurrentSet } from "./current-set.ts";
import type { IdsInUse } from "./ids-in-use.ts";
import type { TicketGrowth } from "./ticket-growth.ts";
import type { KnownSet, TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import { exhausted, type TicketBlock, type TicketSequence, type TicketSource } from "./ticket-source.ts";

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
  readonly growthWaitMs?: number | undefined;
}

export class TicketServers implements TicketSource {
  readonly #options: TicketServersOptions;
  readonly #patienceMs: number;
  readonly #growthWaitMs: number;
  readonly #current: CurrentSet;
  readonly #checks: CounterChecks;
  #turn = 0;
  #stopped = false;
  #resuming: Promise<void> | undefined;
  #resumedAt = Number.NEGATIVE_INFINITY;

  constructor(options: TicketServersOptions) {
    this.#options = options;
    this.#checks = new CounterChecks(options.idsInUse);
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#growthWaitMs = options.growthWaitMs ?? GROWTH_WAIT_MS;
    this.#current = new CurrentSet(options.members, this.#patienceMs);
  }

  async lease(sequence: TicketSequence, count: number): Promise<TicketBlock> {
    const begun = performance.now();
    for (let waitMs = 5; ; waitMs = Math.min(POLL_MS_MAX, waitMs * 2)) {
      const known = await this.#current.get();
      await this.#checks.begin(sequence, () => this.#counters(known));
      const answer =
        known.set.generation === 0
          ? await this.#leaseFromMain(sequence, count)
          : await this.#leaseFromServers(sequence, count, known);
      if (answer === "exhausted") throw exhausted(sequence);
      if (answer !== "moved") return answer;
      this.#current.forget(known);
      const waited = performance.now() - begun;
      if (waited > this.#growthWaitMs || this.#stopped) throw underWay(waited);
      if (waited > this.#patienceMs)
        await Promise.race([
          this.#takeUpGrowth(),
          sleep(this.#growthWaitMs - waited, undefined, { ref: false }),
        ]);
      await sleep(waitMs * (0.5 + Math.random() / 2));
    }
  }

  /** Leases that wait for a growth wait no longer. */
  stop(): void {
    this.#stopped = true;
  }

  /** Waits for what runs beside the leases. */
  async close(): Promise<void> {
    await this.#checks.close();
    await this.#resuming;
  }

  /** Everything that answers is compared before the first id of a sequence, and each server again before it gives after it was away. */
  #counters(known: KnownSet): LeasedCounter[] {
    if (known.set.generation === 0) return [this.#ofMain];
    return [...known.places].flatMap(([server, place]) =>
      place.kind === "member" ? [leased(server, place.place)] : [],
    );
  }

  get #ofMain(): LeasedCounter {
    const { main, mainAddress } = this.#options.members;
    return { server: main, life: 0, address: mainAddress, counters: main, place: MAIN_PLACE };
  }

  async #leaseFromMain(sequence: TicketSequence, count: number): Promise<TicketBlock | NoLease> {
    const { main, mainGiven } = this.#options.members;
    for (let attempt = 1; ; attempt++) {
      await this.#checks.before(sequence, this.#ofMain);
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
    const exhaustedAt = new Set<TicketServer>();
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
        if (answer === "exhausted") exhaustedAt.add(server);
        if (typeof answer !== "object") continue;
        return (await this.#leaveOut(closed, sequence, known)) ? answer : "moved";
      }
    }
    if (closed.length > 0) return "moved";
    const counted = servers.filter((server) => known.places.get(server)?.kind !== "outside");
    if (counted.every((server) => exhaustedAt.has(server))) return "exhausted";
    const failed = this.#reasons(counted, sequence);
    if (failed.length > 0) throw unavailable(failed);
    // One of them has come back in this moment.
    return this.#leaseFromServers(sequence, count, known);
  }

  /** Undefined when the server failed. */
  async #leaseFrom(
    server: TicketServer,
    sequence: TicketSequence,
    count: number,
    known: KnownSet,
  ): Promise<TicketBlock | NoLease | undefined> {
    const health = server.healthOf(sequence.name);
    const begun = performance.now();
    for (let attempt = 1; ; attempt++) {
      try {
        if (!(await this.#current.confirm(server, known))) return "moved";
        const place = await this.#current.placeOf(server, known);
        if (place.kind !== "member") return undefined;
        await this.#checks.before(sequence, leased(server, place.place));
        const answer = await server.lease(sequence, count, place.place);
        server.health.answered();
        health.answered();
        return answer;
      } catch (error) {
        if (server.maySendAgain(error, attempt, begun)) continue;
        // It knows of a growth that passed by since main was read; or main was restored, which is then seen.
        if (isTesseraeError(error, "TICKET_SET_BEHIND") && !(await this.#current.isInForce(known)))
          return "moved";
        // A counter that is behind says nothing of the server's others.
        const isCounters =
          isTesseraeError(error, "TICKET_COUNTER_BEHIND") || isTesseraeError(error, "TICKET_OFFSET");
        if (isCounters) health.failed(error);
        else server.failed(error as Error);
        return undefined;
      }
    }
  }

  /**
   * Others of the set give ids: whoever is closed was down when it was to be opened. Or the one that gave was restored, as it was in a set that was replaced since: so main
   * is asked now and then. False when it has another set.
   */
  async #leaveOut(
    closed: readonly TicketServer[],
    { name }: TicketSequence,
    known: KnownSet,
  ): Promise<boolean> {
    if (closed.length > 0 && performance.now() - this.#resumedAt > this.#patienceMs * 5) {
      void this.#takeUpGrowth();
      if (!(await this.#current.isInForce(known))) return false;
    }
    for (const server of closed) server.healthOf(name).failed(new Error("its counters are closed"));
    return true;
  }

  #reasons(servers: readonly TicketServer[], { name }: TicketSequence): { address: string; reason: Error }[] {
    return servers.flatMap((server) => {
      const reason = server.health.reason ?? server.healthOf(name).reason;
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

function leased(server: TicketServer, place: CounterPlace): LeasedCounter {
  const { address, counters } = server;
  return { server, life: server.life(), address, counters, place };
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
