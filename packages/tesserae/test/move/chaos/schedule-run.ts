/**
 * Runs schedules on one site, one after the other. The processes live on from one to the next; whoever was killed is replaced. When the faults are
 * healed nobody does anything by hand but `moves.resume()`, and then everything must be as the ledger says.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type ChaosProcess, ChildError } from "./chaos-process.ts";
import type { ChaosSite, Party, Place } from "./chaos-site.ts";
import { readLedgers } from "./ledger.ts";
import type { Fault, Schedule } from "./schedule.ts";
import { checkSite, readSite } from "./site-check.ts";

/** Whatever has not ended after this time will not. */
const HANG_MS = 40_000;
/** A schedule that takes longer notes what its moves do. */
const SLOW_MS = 5_000;
/** How long a stopped mover sleeps at most while another one finishes its move. */
const SLEEP_MS_MAX = 500;
/** An order for a point that no move comes to is given up. */
const POINT_MS_MAX = 400;
/** Between two writes, once nothing goes wrong any more: what is left is to end soon, however slow the machine. */
const CALM_PAUSE_MS = 200;
const KEYS_APART = 1_000n;

export interface ScheduleResult {
  /** What is wrong; nothing if all is as it must be. */
  readonly problems: readonly string[];
  /** How often movers met what. */
  readonly met: Readonly<Record<string, number>>;
  /** When each part of it was over. */
  readonly times: readonly string[];
  readonly tookMs: number;
}

export class ScheduleRunner {
  readonly #site: ChaosSite;
  readonly #processes: Readonly<Record<Party, ChaosProcess[]>> = { movers: [], writers: [] };
  #firstKey = 0n;
  #began = 0;
  #times: string[] = [];

  constructor(site: ChaosSite) {
    this.#site = site;
  }

  async run(schedule: Schedule): Promise<ScheduleResult> {
    const began = performance.now();
    this.#began = began;
    this.#times = [];
    const met: Record<string, number> = {};
    const problems: string[] = [];
    // What is under way so long afterwards says in its own words why.
    const slow = setInterval(() => void this.#noteMoves(), SLOW_MS);
    try {
      await this.#runThrough(schedule, problems, met);
    } catch (error) {
      problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    clearInterval(slow);
    problems.push(...checkSite(await readSite(this.#site.addresses), readLedgers(this.#site.ledgerFolder)));
    return { problems, met, times: this.#times, tookMs: performance.now() - began };
  }

  async #noteMoves(): Promise<void> {
    for (const { id, what, step, state, waitsFor, error, attempts } of await this.#site.fed.moves
      .list()
      .catch(() => []))
      this.#note(
        `move ${id} of ${what} at ${step}, ${state}, ${attempts} attempts, waits for ${waitsFor}, error ${error?.code}`,
      );
  }

  #note(what: string): void {
    this.#times.push(`${Math.round(performance.now() - this.#began)} ms: ${what}`);
  }

  async #runThrough(schedule: Schedule, problems: string[], met: Record<string, number>): Promise<void> {
    const movers = await this.#staff("movers", schedule.movers);
    const writers = await this.#staff("writers", schedule.writers);
    const { keys, range } = await this.#addKeys(schedule);
    const { seed, pauseMs, runMs } = schedule;
    await Promise.all(
      writers.map((writer, index) => writer.ask({ verb: "write", keys, seed: seed + 100 * index, pauseMs })),
    );
    await Promise.all(movers.map((mover) => mover.ask({ verb: "delay", delays: schedule.delays })));
    await Promise.all(
      movers.map((mover, index) =>
        mover.ask({ verb: "moveAbout", keys, range, seed: seed + 10_000 + index }),
      ),
    );
    await Promise.all([sleep(runMs), ...this.#inflictAll(schedule.faults, movers, writers)]);
    this.#site.heal();
    for (const process of [...movers, ...writers]) process.signal("SIGCONT");
    this.#note("faults healed");
    for (const writer of writers) void writer.ask({ verb: "calm", pauseMs: CALM_PAUSE_MS }).catch(() => {});
    const heard = await Promise.allSettled(
      movers.map((mover) => inTime(mover, mover.ask<Record<string, number>>({ verb: "stopMoving" }))),
    );
    for (const each of heard) {
      if (each.status === "fulfilled")
        for (const [what, times] of Object.entries(each.value)) met[what] = (met[what] ?? 0) + times;
      else if (!isGone(each.reason)) problems.push(`a mover: ${String(each.reason)}`);
    }
    this.#note("movers have stopped");
    await this.#resume(met);
    this.#note("nothing is under way");
    await Promise.all(
      writers.map((writer) =>
        inTime(writer, writer.ask({ verb: "stopWriting" })).catch((error: unknown) => {
          if (!isGone(error)) throw error;
        }),
      ),
    );
    this.#note("writers have stopped");
    const [writer] = await this.#staff("writers", 1);
    if (writer !== undefined) await inTime(writer, writer.ask({ verb: "writeSome", keys, seed, writes: 1 }));
  }

  /** So many processes that live: those of the last schedule, and new ones for those that died. */
  async #staff(party: Party, count: number): Promise<ChaosProcess[]> {
    const living = this.#processes[party].filter(({ isGone }) => !isGone);
    while (living.length < count) living.push(this.#site.start(party));
    this.#processes[party].splice(0, Number.POSITIVE_INFINITY, ...living);
    return Promise.all(living.slice(0, count).map((process) => process.ready()));
  }

  async #addKeys({ keys, layout, seed }: Schedule) {
    this.#firstKey += KEYS_APART;
    const low = this.#firstKey;
    const all = Array.from({ length: keys }, (_, index) => low + BigInt(index) * 30n);
    const shard = (seed % 2) + 1;
    const { tenants } = this.#site.fed;
    if (layout === "range") await tenants.addRange({ low, high: low + 100n }, { shard });
    else for (const key of all) await tenants.add(key, { shard });
    return {
      keys: all.map((key) => `${key}`),
      range: layout === "range" ? { low: `${low}`, high: `${low + 100n}` } : null,
    };
  }

  /** All at once; but a process has one order for a point at a time. */
  #inflictAll(
    faults: readonly Fault[],
    movers: readonly ChaosProcess[],
    writers: readonly ChaosProcess[],
  ): Promise<void>[] {
    const lastOrder = new Map<number, Promise<void>>();
    return faults.map((fault) => {
      if (!("point" in fault)) return this.#inflict(fault, movers, writers);
      const before = lastOrder.get(fault.mover) ?? Promise.resolve();
      const done = before.then(() => this.#inflict(fault, movers, writers));
      lastOrder.set(fault.mover, done);
      return done;
    });
  }

  async #inflict(
    fault: Fault,
    movers: readonly ChaosProcess[],
    writers: readonly ChaosProcess[],
  ): Promise<void> {
    switch (fault.kind) {
      case "killAtPoint":
      case "stopAtPoint":
        return this.#inflictAtPoint(fault, movers);
      case "kill":
        await sleep(fault.atMs);
        return (fault.party === "movers" ? movers : writers)[fault.process]?.kill();
      case "stop": {
        const process = (fault.party === "movers" ? movers : writers)[fault.process];
        await sleep(fault.atMs);
        process?.signal("SIGSTOP");
        await sleep(fault.forMs);
        process?.signal("SIGCONT");
        return;
      }
      case "network":
        return this.#inflictNetwork(fault);
      case "server":
        return this.#killServer(fault.place, fault.atMs, fault.downMs);
    }
  }

  async #inflictAtPoint(
    { kind, mover: index, point, after }: Fault & { kind: "killAtPoint" | "stopAtPoint" },
    movers: readonly ChaosProcess[],
  ): Promise<void> {
    const mover = movers[index] as ChaosProcess;
    const signal = kind === "killAtPoint" ? "SIGKILL" : "SIGSTOP";
    await mover.ask({ verb: "order", order: { point, after, signal } }).catch(ignoreGone);
    const reached = await Promise.race([
      mover.reached().then(
        () => true,
        () => false,
      ),
      sleep(POINT_MS_MAX, false),
    ]);
    if (!reached) {
      await this.#giveUp(mover);
      return;
    }
    if (signal === "SIGKILL") return mover.ended;
    const other = movers.find((each) => each !== mover && !each.isGone);
    const resumed = other?.ask({ verb: "resume" }).catch(() => {});
    const asleep = sleep(SLEEP_MS_MAX);
    await Promise.race([resumed ?? asleep, asleep]);
    await this.#giveUp(mover);
  }

  /** Takes the order back. The process may sleep, or be about to: it is continued until it has heard. */
  async #giveUp(mover: ChaosProcess): Promise<void> {
    const awake = setInterval(() => mover.signal("SIGCONT"), 20);
    await mover.ask({ verb: "order", order: null }).catch(ignoreGone);
    clearInterval(awake);
    mover.forgetPoint();
  }

  async #inflictNetwork({ how, party, place, atMs, forMs }: Fault & { kind: "network" }): Promise<void> {
    const proxy = this.#site.proxy(party, place);
    await sleep(atMs);
    if (how === "drop") {
      proxy.drop();
      return;
    }
    if (how === "swallow") proxy.swallow();
    else if (how === "stall") proxy.stall();
    else {
      proxy.refuse();
      proxy.drop();
    }
    await sleep(forMs);
    proxy.heal();
  }

  async #killServer(place: Place, atMs: number, downMs: number): Promise<void> {
    const server = this.#site.server(place);
    await sleep(atMs);
    await server.kill();
    await sleep(downMs);
    await server.restart();
  }

  /** What a timer of the application does: until nothing is left under way. */
  async #resume(met: Record<string, number>): Promise<void> {
    const deadline = performance.now() + HANG_MS;
    for (;;) {
      const [mover] = await this.#staff("movers", 1);
      if (mover === undefined) throw new Error("no mover could be started");
      try {
        const underWay = await inTime(mover, mover.ask<number>({ verb: "resume" }));
        if (underWay === 0) return;
        met["resumed"] = (met["resumed"] ?? 0) + underWay;
      } catch (error) {
        // A server that has just come back, an order that this process had left: a timer comes again.
        if (performance.now() > deadline) throw error;
        await sleep(50);
      }
      if (performance.now() > deadline) throw new Error("moves are under way for ever");
    }
  }
}

const isGone = (error: unknown): boolean => error instanceof ChildError && error.code === "GONE";

function ignoreGone(error: unknown): void {
  if (!isGone(error)) throw error;
}

/** An answer, or an error that says who did not give it. */
async function inTime<T>(process: ChaosProcess, answer: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(HANG_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${process.name} does not answer: ${process.unanswered.join(", ")}`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([answer, late]);
  } finally {
    timer.abort();
  }
}
