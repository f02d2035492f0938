/**
 * The replicas of one primary as a database that takes reads: each read goes to a member, and when that one is lost, to another. A read goes to the primary where no
 * member is fit (`replication.fallback`), and always where right rows depend on it: when no member has caught up in time with what the reader has written, or has
 * the reader's key yet. Where main plays its replicas there is no set, and the primary takes all reads in the same way.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type {
  AcquireOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolStats,
  Statement,
} from "../engine/contract.ts";
import type { OwnWrites, WriteContexts } from "./own-writes.ts";
import { Held, type Holder, ReplicaConnection } from "./replica-connection.ts";
import type { ReplicaSet } from "./replica-set.ts";
import type { Term } from "./term.ts";

/** What must have arrived on a member before its rows are right: a key with its rows. Once it is there it stays, as far as applying goes. */
export interface Arrival {
  /** Names the key and its epoch. */
  readonly name: string;
  /** Asks a server. */
  ask(server: Pick<Database, "run">): Promise<boolean>;
}

/** How long a wait goes on before the primary is asked whether it has itself what is waited for, in ms. */
const DOUBT_MS = 100;
/** Between two questions to a primary that does not answer, in ms. */
const PRIMARY_PAUSE_MS = 50;

/** One read on its way to somebody who answers. */
class Attempt {
  /** Lost under this read, or without its key. */
  readonly excluded = new Set<Term>();
  /** A healthy member would not do: the rows of the primary alone are right. */
  needsPrimary = false;
  /** Members that had gone down were asked once more. */
  settled = false;
  lastError: unknown;
  #endMs: number | undefined;

  lost(term: Term, error: unknown): void {
    this.excluded.add(term);
    this.lastError = error;
  }

  /** What is left of the wait for a position, counted from the first time that somebody had to wait. */
  restMs(waitMs: number): number {
    this.#endMs ??= performance.now() + waitMs;
    return this.#endMs - performance.now();
  }
}

export interface ReplicaDatabaseOptions {
  readonly primary: Database;
  /** Undefined where main plays its replicas. */
  readonly set: ReplicaSet | undefined;
  /** Undefined where reads need not see what was written before them. */
  readonly contexts: WriteContexts | undefined;
  readonly arrival?: Arrival | undefined;
}

export class ReplicaDatabase implements Database {
  readonly #options: ReplicaDatabaseOptions;
  readonly #primary: Database;
  readonly #set: ReplicaSet | undefined;
  readonly #contexts: WriteContexts | undefined;
  readonly #arrival: Arrival | undefined;

  constructor(options: ReplicaDatabaseOptions) {
    this.#options = options;
    this.#primary = options.primary;
    this.#set = options.set;
    this.#contexts = options.contexts;
    this.#arrival = options.arrival;
  }

  get engine(): Engine {
    return this.#primary.engine;
  }

  get stats(): PoolStats {
    const pools = this.#set?.status().map(({ pool }) => pool) ?? [];
    const sum = (name: keyof PoolStats) => pools.reduce((total, pool) => total + pool[name], 0);
    return { open: sum("open"), inUse: sum("inUse"), waiting: sum("waiting") };
  }

  /** Whether a key's residence is asked of a member before its rows are read there: nowhere but on replicas can it lag behind. */
  get hasMembers(): boolean {
    return this.#set !== undefined;
  }

  /** The same replicas, for reads of what must have arrived. */
  needing(arrival: Arrival): ReplicaDatabase {
    return new ReplicaDatabase({ ...this.#options, arrival });
  }

  async run(statement: Statement): Promise<EngineResult> {
    if (statement.readOnly !== true) return this.#runInTransaction(statement);
    const set = this.#set;
    if (set === undefined) return this.#runOnPrimary(statement);
    let attempt: Attempt | undefined;
    for (;;) {
      const picked = this.#pick(set, attempt);
      const term = picked instanceof Promise ? await picked : picked;
      if (term === undefined) return this.#runOnPrimary(statement);
      term.inFlight += 1;
      try {
        return await term.watch(term.database.run(statement));
      } catch (error) {
        if (!set.isLost(term, error)) throw error;
        attempt ??= new Attempt();
        attempt.lost(term, error);
      } finally {
        term.inFlight -= 1;
      }
    }
  }

  async acquire(options: AcquireOptions = {}): Promise<Connection> {
    const reading: AcquireOptions = { ...options, mode: "read" };
    let attempt = new Attempt();
    const hold = () => this.#hold(reading, attempt);
    const holder: Holder = {
      hold: () => {
        attempt = new Attempt();
        return hold();
      },
      holdElsewhere: ({ term }, error) => {
        if (term !== undefined) attempt.lost(term, error);
        return hold();
      },
      showsOwnWrites: ({ term }) => this.#showsOwnWrites(term),
    };
    return new ReplicaConnection(await hold(), holder, this.#set);
  }

  /** The members are the set's to close, and the primary is its owner's. */
  async close(): Promise<void> {}

  async #hold(options: AcquireOptions, attempt: Attempt): Promise<Held> {
    const set = this.#set;
    for (;;) {
      const term = set === undefined ? undefined : await this.#pick(set, attempt);
      if (set === undefined || term === undefined)
        return new Held(await this.#primary.acquire(options), undefined);
      term.inFlight += 1;
      try {
        return new Held(await term.watch(term.database.acquire(options)), term);
      } catch (error) {
        term.inFlight -= 1;
        const { signal } = options;
        if (signal?.aborted && error === signal.reason) throw error;
        if (!set.isLost(term, error)) throw error;
        attempt.lost(term, error);
      }
    }
  }

  #showsOwnWrites(term: Term | undefined): boolean {
    const set = this.#set;
    if (set === undefined || term === undefined) return true;
    const writes = this.#contexts?.current.find(set.primary);
    if (writes === undefined) return true;
    return !writes.isUnasked && (writes.wish === undefined || writes.wish.isGrantedBy(term));
  }

  /** What may write, as far as its text tells, runs where the server itself refuses a write. */
  async #runInTransaction(statement: Statement): Promise<EngineResult> {
    const connection = await this.acquire();
    try {
      return await connection.run(statement);
    } finally {
      connection.release();
    }
  }

  /** A replica's server refuses what a called function writes; the primary does in a transaction that is read only. */
  async #runOnPrimary(statement: Statement): Promise<EngineResult> {
    if (statement.mayWrite !== true) return this.#primary.run(statement);
    const connection = await this.#primary.acquire({ mode: "read" });
    try {
      await connection.begin({ readOnly: true });
      return await connection.run(statement);
    } finally {
      // Which ends the transaction.
      connection.release();
    }
  }

  /** The member for a read; undefined for the primary. At once in the usual case: nothing to wait for and nothing to ask. */
  #pick(set: ReplicaSet, attempt: Attempt | undefined): Term | undefined | Promise<Term | undefined> {
    const looking = set.use();
    if (looking === undefined && attempt === undefined) {
      const writes = this.#contexts?.current.find(set.primary);
      if (writes === undefined || !writes.isUnasked) {
        const term = set.choose(writes?.wish, undefined);
        const arrival = this.#arrival;
        if (term !== undefined && (arrival === undefined || term.arrived.get(arrival.name) === true))
          return term;
      }
    }
    return this.#pickSlowly(set, attempt ?? new Attempt(), looking);
  }

  async #pickSlowly(
    set: ReplicaSet,
    attempt: Attempt,
    looking: Promise<void> | undefined,
  ): Promise<Term | undefined> {
    await looking;
    const writes = this.#contexts?.current.find(set.primary);
    for (;;) {
      set.throwIfClosed();
      if (writes?.isUnasked && !(await this.#askPosition(set, writes, attempt))) return undefined;
      const wish = writes === undefined || this.#isMoot(set, writes) ? undefined : writes.wish;
      const term = this.#tooOften(set, attempt) ? undefined : this.#choose(set, writes, attempt);
      if (term !== undefined) {
        if (await this.#hasArrived(set, term, attempt)) return term;
      } else if (writes !== undefined && wish !== undefined && set.hasHealthy(attempt.excluded)) {
        const restMs = attempt.restMs(set.replication.freshnessWaitMs);
        if (restMs <= 0) return undefined;
        await this.#waitFor(set, writes, restMs);
      } else if (attempt.needsPrimary || this.#primaryMayAnswer(set)) {
        return undefined;
      } else {
        if (attempt.settled && set.replication.fallback === "primary") return undefined;
        if (attempt.settled) throw set.unavailable(attempt.lastError);
        attempt.settled = true;
        await set.settle();
      }
    }
  }

  /** Who has what is wished for; where nobody has, and that is moot, anyone who is healthy. */
  #choose(set: ReplicaSet, writes: OwnWrites | undefined, { excluded }: Attempt): Term | undefined {
    const term = set.choose(writes?.wish, excluded);
    if (term !== undefined || writes === undefined || !this.#isMoot(set, writes)) return term;
    return set.choose(undefined, excluded);
  }

  /** False where the read must go to the primary, because nobody knows the position of what was written. */
  async #askPosition(set: ReplicaSet, writes: OwnWrites, attempt: Attempt): Promise<boolean> {
    for (;;) {
      if (this.#isMoot(set, writes)) return true;
      try {
        return await writes.ask();
      } catch {
        set.throwIfClosed();
        if (attempt.restMs(set.replication.freshnessWaitMs) <= PRIMARY_PAUSE_MS)
          return this.#isMoot(set, writes);
        await sleep(PRIMARY_PAUSE_MS);
      }
    }
  }

  /**
   * While the primary is down nobody can tell where a write is, and a wait for what was lost with it would have no end. So what was written longer ago than
   * `maxLagMs` is not waited for: most likely it is applied, or lost.
   */
  #isMoot({ primary, replication }: ReplicaSet, writes: OwnWrites): boolean {
    return primary.state === "down" && performance.now() - writes.sinceMs > replication.maxLagMs;
  }

  async #waitFor(set: ReplicaSet, writes: OwnWrites, restMs: number): Promise<void> {
    const { wish } = writes;
    if (wish === undefined) return;
    if (await set.waitFor(wish, Math.min(restMs, DOUBT_MS))) return;
    await writes.verify().catch(() => undefined);
    if (writes.wish === wish && restMs > DOUBT_MS) await set.waitFor(wish, restMs - DOUBT_MS);
  }

  async #hasArrived(set: ReplicaSet, term: Term, attempt: Attempt): Promise<boolean> {
    const arrival = this.#arrival;
    if (arrival === undefined || term.arrived.get(arrival.name) === true) return true;
    try {
      if (await term.watch(arrival.ask(term.database))) {
        term.arrived.set(arrival.name, true);
        return true;
      }
      attempt.excluded.add(term);
      attempt.needsPrimary = true;
    } catch (error) {
      if (!set.isLost(term, error)) throw error;
      attempt.lost(term, error);
    }
    return false;
  }

  /** One that is down is the last resort: a replica that has just gone down may have come back. */
  #primaryMayAnswer({ replication, primary }: ReplicaSet): boolean {
    return replication.fallback === "primary" && primary.state !== "down";
  }

  /** Members that come and go under one read: somebody else shall answer. */
  #tooOften({ members }: ReplicaSet, { excluded }: Attempt): boolean {
    return excluded.size > 2 * members.length;
  }
}
