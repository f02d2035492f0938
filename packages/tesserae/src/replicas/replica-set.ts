/**
 * The replicas of one primary: who of them takes the next read. They are watched only while somebody reads from them: each member and the primary are asked every
 * `CHECK_MS`, a member that is down by its backoff. After `IDLE_MS` without a read, and with none under way, nobody is asked any more, and the first read after that
 * looks anew before it chooses.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { TesseraeError } from "../base/errors.ts";
import type { Engine, EngineDialect, PoolOptions, PoolStats } from "../engine/contract.ts";
import { ReplicaMember, type ReplicaState } from "./member.ts";
import type { ReplicationOptions } from "./options.ts";
import type { Primary } from "./primary.ts";
import type { Term } from "./term.ts";
import type { Wish } from "./wish.ts";
import { WishWaiters } from "./wish-waiters.ts";

const CHECK_MS = 500;
const IDLE_MS = 10_000;
/** How long a first look waits for a member that is about to catch up. */
const LOOK_MS_MAX = 1_000;
const LOOK_STEP_MS = 5;

export interface ReplicaSetOptions {
  /** `main`, or `shard 2`. */
  readonly of: string;
  readonly shard: number | undefined;
  readonly engines: readonly Engine[];
  readonly primary: Primary;
  readonly pool: PoolOptions;
  readonly replication: Required<ReplicationOptions>;
}

/** One replica, as `fed.status()` shows it. Addresses hold no passwords. */
export interface ReplicaStatus {
  /** `replica 1 of main`, `replica 2 of shard 1`. */
  readonly name: string;
  readonly cluster: "main" | "shards";
  readonly shard: number | undefined;
  readonly address: string;
  readonly state: ReplicaState;
  /** Why it takes no reads. */
  readonly reason: string | undefined;
  /** How far it was behind its primary when both were asked last; undefined where that is not known. */
  readonly lagMs: number | undefined;
  /** The newest position that is known to be applied. */
  readonly position: string | undefined;
  readonly inFlight: number;
  readonly pool: PoolStats;
}

const NO_POOL: PoolStats = { open: 0, inUse: 0, waiting: 0 };

export class ReplicaSet {
  readonly of: string;
  readonly shard: number | undefined;
  readonly primary: Primary;
  readonly replication: Required<ReplicationOptions>;
  readonly members: readonly ReplicaMember[];
  readonly #checkMs: number;
  readonly #waiters: WishWaiters;
  #lastUseMs = 0;
  #looking: Promise<void> | undefined;
  /** Watched, and looked at once at least. */
  #watched = false;
  #timers = new Set<NodeJS.Timeout>();
  #turn = 0;
  #closed = false;

  constructor(options: ReplicaSetOptions) {
    const { of, shard, engines, primary, pool, replication } = options;
    this.of = of;
    this.shard = shard;
    this.primary = primary;
    this.replication = replication;
    this.#checkMs = Math.max(10, Math.min(CHECK_MS, replication.maxLagMs / 4));
    this.members = engines.map(
      (engine, index) =>
        new ReplicaMember({
          name: `replica ${index + 1} of ${of}`,
          engine,
          primary,
          pool,
          maxLagMs: replication.maxLagMs,
        }),
    );
    this.#waiters = new WishWaiters(this.members, primary);
  }

  get dialect(): EngineDialect {
    return this.primary.dialect;
  }

  /** Notes a read. Undefined where the members' states are known; otherwise they are by the time the promise ends. */
  use(): Promise<void> | undefined {
    this.throwIfClosed();
    this.#lastUseMs = performance.now();
    if (this.#watched) return undefined;
    this.#looking ??= this.#begin().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Among the healthy that have what is wished for, the one with the least in flight; those with as little in turn. */
  choose(wish: Wish | undefined, excluded: ReadonlySet<Term> | undefined): Term | undefined {
    const { members } = this;
    let chosen: Term | undefined;
    this.#turn = (this.#turn + 1) % Math.max(1, members.length);
    for (let i = 0; i < members.length; i++) {
      const member = members[(i + this.#turn) % members.length] as ReplicaMember;
      const { term } = member;
      if (!member.isHealthy || term === undefined || excluded?.has(term)) continue;
      if (chosen !== undefined && chosen.inFlight <= term.inFlight) continue;
      if (wish === undefined || wish.isGrantedBy(term)) chosen = term;
    }
    return chosen;
  }

  hasHealthy(excluded: ReadonlySet<Term>): boolean {
    return this.members.some(({ isHealthy, term }) => isHealthy && term !== undefined && !excluded.has(term));
  }

  /** Waits until a healthy member has what is wished for: false after `timeoutMs`, or when the set is closed. */
  waitFor(wish: Wish, timeoutMs: number): Promise<boolean> {
    return this.#waiters.waitFor(wish, timeoutMs);
  }

  /** A read failed there: whether another server may be asked for it. */
  isLost(term: Term, error: unknown): boolean {
    if (term.ended) return true;
    const { code } = this.dialect.classify(error);
    if (code === "CONNECT_FAILED" || code === "CONNECTION_LOST") {
      const member = this.members.find((each) => each.term === term);
      member?.fail(this.#asLost(error, code), false);
      if (member !== undefined) void this.#checkAgain(member);
      return true;
    }
    // A standby ends reads that keep it from applying, as a deadlock where they hold each other up, and a server may have no connection left.
    return code === "SERIALIZATION" || code === "DEADLOCK" || code === "CONNECTION_LIMIT";
  }

  /** Waits for the checks of members that have just gone down. */
  async settle(): Promise<void> {
    await Promise.all(this.members.filter(({ isHealthy }) => !isHealthy).map((member) => member.check()));
  }

  /** Asks everybody, a member that is about to catch up several times, until all are judged. */
  async look(): Promise<void> {
    await Promise.all(await this.#look());
  }

  status(): ReplicaStatus[] {
    return this.members.map(({ name, engine, state, reason, lagMs, term, inFlight }) => ({
      name,
      cluster: this.shard === undefined ? "main" : "shards",
      shard: this.shard,
      address: engine.address.display,
      state,
      reason,
      lagMs,
      position: term?.position,
      inFlight,
      pool: term?.database.stats ?? NO_POOL,
    }));
  }

  /** The error of a read that nobody may answer. */
  unavailable(cause: unknown): TesseraeError {
    const reasons = this.members.map(({ name, engine, reason }) => {
      return `${name} (${engine.address.display}): ${reason ?? "failed while it was read"}`;
    });
    return new TesseraeError(
      "REPLICAS_UNAVAILABLE",
      `No replica of ${this.of} can be read, and the primary is not asked (replication.fallback: "error"). ${reasons.join(" ")}`,
      { cluster: "replicas", shard: this.shard, cause },
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stop();
    this.#waiters.close();
    await Promise.all(this.members.map((member) => member.close()));
  }

  async #begin(): Promise<void> {
    this.primary.beginWatch(this);
    for (const member of this.members) member.forget();
    // One that hangs is not waited for where another one answers.
    await untilOneIsTrue(await this.#look());
    if (this.#closed) return;
    this.#watched = true;
    this.#watch(
      () =>
        this.primary.askPosition().then(
          () => this.#judge(),
          () => undefined,
        ),
      () => this.#checkMs,
    );
    for (const member of this.members)
      this.#watch(
        () => this.#check(member),
        () => (member.state === "down" ? member.backoffMs : this.#checkMs),
      );
  }

  async #look(): Promise<Promise<boolean>[]> {
    await this.primary.askPosition().catch(() => undefined);
    const endMs = performance.now() + LOOK_MS_MAX;
    return this.members.map((member) => this.#lookAt(member, endMs));
  }

  /** True when the member is healthy. */
  async #lookAt(member: ReplicaMember, endMs: number): Promise<boolean> {
    for (;;) {
      await member.check();
      const catchesUp = member.state === "behind" && member.lagMs === undefined;
      if (!catchesUp || this.#closed || performance.now() > endMs) return member.isHealthy;
      await sleep(LOOK_STEP_MS);
    }
  }

  /** Does `ask` again and again, with a pause of `pauseMs()`, for as long as somebody reads. */
  #watch(ask: () => Promise<void>, pauseMs: () => number): void {
    const timer = setTimeout(async () => {
      this.#timers.delete(timer);
      if (this.#isIdle) this.#stop();
      if (!this.#watched) return;
      await ask();
      if (this.#watched) this.#watch(ask, pauseMs);
    }, pauseMs());
    timer.unref();
    this.#timers.add(timer);
  }

  /** Nobody has read lately, nor is still at it: a read on a server that hangs ends only because that one is watched. */
  get #isIdle(): boolean {
    if (performance.now() - this.#lastUseMs <= IDLE_MS) return false;
    return this.members.every(({ inFlight }) => inFlight === 0);
  }

  #stop(): void {
    this.#watched = false;
    this.primary.endWatch(this);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #check(member: ReplicaMember): Promise<void> {
    await member.check();
    this.#waiters.settle();
  }

  /** At once: a single connection may have been lost, and not the server. */
  async #checkAgain(member: ReplicaMember): Promise<void> {
    if (!this.#closed) await this.#check(member);
  }

  #judge(): void {
    for (const member of this.members) member.judge();
  }

  #asLost(error: unknown, code: "CONNECT_FAILED" | "CONNECTION_LOST"): TesseraeError {
    if (error instanceof TesseraeError) return error;
    return new TesseraeError(code, error instanceof Error ? error.message : String(error), { cause: error });
  }

  throwIfClosed(): void {
    if (!this.#closed) return;
    throw new TesseraeError("CLOSED", `The replicas of ${this.of} are closed; no more work is taken.`);
  }
}

/** Resolves with the first that is true, or when all have ended. */
function untilOneIsTrue(checks: readonly Promise<boolean>[]): Promise<void> {
  return new Promise((resolve) => {
    let left = checks.length;
    if (left === 0) resolve();
    for (const check of checks)
      void check.then((isTrue) => {
        left -= 1;
        if (isTrue || left === 0) resolve();
      });
  });
}
