/** One server of a set of replicas: its state, judged from what it says of itself and from the errors that reads meet there. */
import type { TesseraeError } from "../base/errors.ts";
import type { Engine, PoolOptions } from "../engine/contract.ts";
import type { Follower, Primary } from "./primary.ts";
import { NoAnswer, type ReplicationStatus, StatusQuestion } from "./status-question.ts";
import { Term } from "./term.ts";

/**
 * `unasked`: nobody has needed it yet. `healthy`: it takes reads. `behind`: further than `maxLagMs`, or nobody knows how far. `unfit`: it answers and is no
 * replica, or nobody can tell. `down`: it does not answer.
 */
export type ReplicaState = "unasked" | "healthy" | "behind" | "unfit" | "down";

/** How soon a server that is down is asked again, in ms: doubled from the one to the other, with jitter. */
const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5_000;

export interface MemberOptions {
  /** `replica 1 of main`. */
  readonly name: string;
  readonly engine: Engine;
  readonly primary: Primary;
  readonly pool: PoolOptions;
  readonly maxLagMs: number;
}

export class ReplicaMember implements Follower {
  readonly name: string;
  readonly engine: Engine;
  state: ReplicaState = "unasked";
  /** Why it is left out. */
  reason: string | undefined;
  lagMs: number | undefined;
  /** Between its coming up and its going down. */
  term: Term | undefined;
  /** Those before it in which something is still under way: nobody else would end it when the server hangs. */
  readonly #endedTerms = new Set<Term>();
  readonly #options: MemberOptions;
  readonly #question: StatusQuestion;
  #checking: Promise<void> | undefined;
  #failures = 0;
  /** How often it went down: an answer from before that says nothing any more. */
  #downs = 0;
  #closed = false;
  /** By what it said last. */
  #isReplica = false;
  /** Where it has what its primary lacks; for as long as the term. */
  #parted: Term | undefined;
  /** Its control tables say the same as its primary's. */
  #isCopy = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.name = options.name;
    this.engine = options.engine;
    const { engine, primary, pool } = options;
    const { address, dialect } = engine;
    this.#question = new StatusQuestion(primary.replication, dialect, address.display, () =>
      engine.open({ ...pool, connectionsMax: 1 }),
    );
    primary.follow(this);
  }

  heardBefore(): (end: string | undefined) => void {
    const { term } = this;
    const known = term?.position;
    const { covers, hasParted } = this.#options.primary.replication;
    return (end) => {
      if (term === undefined || known === undefined) return;
      if (end !== undefined && hasParted(known, end)) {
        this.#parted = term;
        this.judge();
      } else if (term.vouched === undefined || covers(known, term.vouched)) {
        term.vouched = known;
      }
    };
  }

  get isHealthy(): boolean {
    return this.state === "healthy";
  }

  /** Reads and held connections. */
  get inFlight(): number {
    let count = this.term?.inFlight ?? 0;
    for (const { inFlight } of this.#endedTerms) count += inFlight;
    return count;
  }

  /** When it is to be asked again, in ms, where it is down. */
  get backoffMs(): number {
    const ms = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.max(0, this.#failures - 1));
    return ms * (0.75 + Math.random() / 2);
  }

  /** Asks the server how far it is and judges it. Never rejects. All who ask at the same time share one question. */
  check(): Promise<void> {
    if (this.#checking !== undefined) return this.#checking;
    const checking = this.#check().finally(() => {
      if (this.#checking === checking) this.#checking = undefined;
    });
    this.#checking = checking;
    return checking;
  }

  async #check(): Promise<void> {
    const downs = this.#downs;
    const isCurrent = () => downs === this.#downs && !this.#closed;
    try {
      const status = await this.#question.ask();
      const stranger = await this.#whyNoCopy();
      if (!isCurrent()) return;
      this.#failures = 0;
      this.#hear(status, stranger);
    } catch (error) {
      if (!isCurrent()) return;
      this.#failures += 1;
      this.fail(error as TesseraeError, error instanceof NoAnswer);
    }
  }

  /** Why it cannot be its primary's copy; undefined where it is, or where the primary does not tell. Asked until it has shown that it is one. */
  async #whyNoCopy(): Promise<string | undefined> {
    if (this.#isCopy) return undefined;
    const expected = await this.#options.primary.identity();
    if (expected === undefined) return undefined;
    const identity = await this.#question.askIdentity();
    this.#isCopy = identity === expected;
    if (this.#isCopy) return undefined;
    return identity === undefined
      ? "It does not have its primary's tables: it has not applied them yet, or is no copy of it."
      : "It is the copy of another database: its control tables name another shard or installation than its primary's.";
  }

  #hear({ position, writable }: ReplicationStatus, stranger: string | undefined): void {
    this.#isReplica = position !== undefined && !writable && stranger === undefined;
    if (position === undefined || writable) {
      this.#leaveOut(
        "unfit",
        position === undefined
          ? "It keeps no position in replication: it follows no primary, or its log is off."
          : "It takes writes, so it is no replica: it was promoted, or read_only is off.",
      );
      return;
    }
    if (stranger !== undefined) {
      this.#leaveOut("unfit", stranger);
      return;
    }
    const { engine, primary, pool } = this.#options;
    const { term } = this;
    if (term === undefined || term.ended || !primary.replication.covers(position, term.position)) {
      // A position that went back is another server's, or a restored one's.
      this.#endTerm(undefined, false);
      this.term = new Term(engine.open(pool), position);
    } else {
      term.position = position;
    }
    if (this.term !== undefined && primary.vouchesFor(position)) this.term.vouched = position;
    this.judge();
  }

  /** Judges its position anew; the primary's may have become known meanwhile. */
  judge(): void {
    const { primary, maxLagMs } = this.#options;
    // What it had applied when it was a replica says nothing of one that was promoted.
    if (!this.#isReplica || this.term === undefined || this.term.ended) return;
    if (this.#parted === this.term) {
      this.#leaveOut(
        "unfit",
        "It has what its primary lacks, so it cannot follow it: a server that was behind it was promoted, or an older state restored. Set it up anew from its primary.",
      );
      return;
    }
    if (primary.state === "keeps none") {
      this.#leaveOut("unfit", "The primary keeps no position, so nobody can tell how far behind it is.");
      return;
    }
    const { history } = primary;
    this.lagMs = history.lagMs(this.term.position);
    if (this.lagMs === undefined && !history.isEmpty) {
      this.state = "behind";
      this.reason = "It is behind its primary, and how far is not known yet.";
    } else if (this.lagMs !== undefined && this.lagMs > maxLagMs) {
      this.state = "behind";
      this.reason = `It is more than ${maxLagMs} ms behind its primary (replication.maxLagMs).`;
    } else {
      this.state = "healthy";
      this.reason = undefined;
    }
  }

  /** Nobody has asked it for so long that what is known of its state says nothing any more. */
  forget(): void {
    this.lagMs = undefined;
    if (this.state === "down") return;
    this.state = "unasked";
    this.reason = undefined;
  }

  /** It does not answer. Where it `hangs`, what is under way there is given up. */
  fail(error: TesseraeError, hangs: boolean): void {
    this.state = "down";
    this.reason = `${error.code}: ${error.message}`;
    this.lagMs = undefined;
    this.#downs += 1;
    this.#isCopy = false;
    this.#checking = undefined;
    this.#endTerm(error, hangs);
  }

  #endTerm(error: unknown, hangs: boolean): void {
    if (this.term !== undefined) this.#endedTerms.add(this.term);
    this.term = undefined;
    for (const term of this.#endedTerms) {
      term.end(error, hangs);
      if (hangs || term.inFlight === 0) this.#endedTerms.delete(term);
    }
  }

  #leaveOut(state: ReplicaState, reason: string): void {
    this.state = state;
    this.reason = reason;
    this.lagMs = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const terms = [...this.#endedTerms, ...(this.term === undefined ? [] : [this.term])];
    await Promise.all([...terms.map((term) => term.close()), this.#question.close()]);
  }
}
