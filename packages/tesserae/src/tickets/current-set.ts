/**
 * The set in force as this process knows it: read from main when it is needed first, and again when it was seen to be replaced. What main says is compared with what
 * the servers say of themselves, in both directions: a server that knows less than main was restored, and so was main when a server knows more.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { type KnownSet, restoredServer, type ServerPlace, type TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import { setInForce } from "./ticket-set.ts";
import { movedAway } from "./ticket-source.ts";

/** How long an id waits for main to say whether the set is still in force. Main may be down, and the ticket servers need not be. */
const MAIN_WAIT_MS = 500;

export class CurrentSet {
  readonly #members: TicketMembers;
  readonly #patienceMs: number;
  #known: Promise<KnownSet> | undefined;
  /** What `#known` gave last. */
  #current: KnownSet | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #begun = false;
  readonly #confirming = new Map<TicketServer, Promise<boolean>>();

  /** `patienceMs`: while main gives the ids and ticket servers are configured, they are asked so often whether that is still true. */
  constructor(members: TicketMembers, patienceMs: number) {
    this.#members = members;
    this.#patienceMs = patienceMs;
  }

  get(): Promise<KnownSet> {
    // Main may be restored to before the servers took over, and then nothing that main says tells of it.
    const isMainAlone = this.#current?.set.generation === 0 && this.#members.servers.length > 0;
    if (isMainAlone && performance.now() - this.#readAt > this.#patienceMs) this.forget(this.#current);
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
  forget(known: KnownSet | undefined): void {
    if (this.#current !== known) return;
    this.#known = undefined;
    this.#current = undefined;
  }

  /** As `TicketMembers.placeOf`, and refuses a server that was restored. It is asked again the next time: somebody may have raised its counters. */
  async placeOf(server: TicketServer, known: KnownSet): Promise<ServerPlace> {
    const place = await this.#members.placeOf(server, known);
    if (place.kind !== "member" || !place.behind) return place;
    known.places.delete(server);
    throw restoredServer(server.address);
  }

  /**
   * Whether a server may be taken for what it was when the set was read. When it has been away meanwhile it says again who it is, and main which set there is: it
   * may have come back as it was in a set that was replaced while this process asked nobody.
   */
  async confirm(server: TicketServer, known: KnownSet): Promise<boolean> {
    const life = known.lives.get(server);
    if (life === undefined || life === server.life()) return true;
    let confirming = this.#confirming.get(server);
    if (confirming === undefined) {
      confirming = this.isInForce(known).finally(() => this.#confirming.delete(server));
      this.#confirming.set(server, confirming);
    }
    if (!(await confirming)) return false;
    if (known.lives.get(server) !== server.life()) {
      known.lives.delete(server);
      known.places.delete(server);
    }
    return true;
  }

  /**
   * False when main has a newer set, which is read the next time. A main that does not answer keeps nobody from ids, nor does one that was restored from before this
   * set: the servers that count for it are closed before there is another.
   */
  async isInForce(known: KnownSet): Promise<boolean> {
    const answered = await Promise.race([
      this.#members.setRow.read().catch(() => undefined),
      sleep(MAIN_WAIT_MS, undefined, { ref: false }),
    ]);
    if (answered === undefined || setInForce(answered.record).generation <= known.set.generation) return true;
    this.forget(known);
    return false;
  }

  async #read(): Promise<KnownSet> {
    for (let isFirst = true; ; isFirst = false) {
      const known = await this.#members.read();
      const { silent, refusals } = await this.#identifyAll(known);
      // A growth may have passed by since main was read.
      if (refusals.length > 0 && isFirst) continue;
      for (const { error, server } of refusals) {
        const isMainBehind = known.set.generation === 0 && isTesseraeError(error, "TICKET_SET_BEHIND");
        if (!this.#begun || isMainBehind) throw error;
        server.failed(error);
      }
      for (const { error, server } of silent) server.failed(error);
      if (known.set.generation > 0) this.#refuseIncomplete(known, silent.length + refusals.length);
      this.#begun = true;
      this.#current = known;
      this.#readAt = performance.now();
      return known;
    }
  }

  /** Asks every server who it is. What is wrong with the configuration is raised before the first id; later it leaves that server out. */
  async #identifyAll(known: KnownSet) {
    type Failure = { readonly server: TicketServer; readonly error: Error };
    const silent: Failure[] = [];
    const refusals: Failure[] = [];
    // Main gives the ids without them: nobody waits twice for one that is down.
    const asked = this.#members.servers.filter(
      ({ health }) => known.set.generation > 0 || health.good || health.due,
    );
    const answers = await Promise.allSettled(asked.map((server) => this.placeOf(server, known)));
    for (const [index, answer] of answers.entries()) {
      const server = asked[index] as TicketServer;
      if (answer.status === "fulfilled") {
        if (known.set.generation === 0) server.health.answered();
        continue;
      }
      const error = answer.reason as Error;
      (isTesseraeError(error) && error.code.startsWith("TICKET") ? refusals : silent).push({ server, error });
    }
    return { silent, refusals };
  }

  #refuseIncomplete({ set, places }: KnownSet, silent: number): void {
    const present = [...places.values()].filter(({ kind }) => kind === "member").length;
    if (present + silent === 0) throw movedAway();
    // A process that has begun goes on with those it knows: they count right without the others.
    if (this.#begun || present + silent >= set.servers.length) return;
    throw new TesseraeError(
      "TICKET_STEP",
      `The ticket servers count in steps of ${set.servers.length}, and the configuration names ${present} of the ${set.servers.length} servers. Name all of them in the tickets block: the ids of the others would never be given. For one that is lost for good name an empty database, and run "tesserae tickets replace ADDRESS".`,
      { cluster: "tickets", operation: "tickets.check" },
    );
  }
}
