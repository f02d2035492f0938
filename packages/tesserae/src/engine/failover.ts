/**
 * A database that follows its primary. The operator's own tool promotes and demotes servers; here the one that takes writes is found among the hosts of an address, and left when it does
 * so no longer.
 *
 * Each host is asked over a connection of its own (`FailoverHost`), in rounds: before the first statement, at once when a connection was lost or a write was
 * refused as read-only (`#doubt`), and every `checkMs` while the database is used. A round ends in a verdict:
 *
 * - one host takes writes: it is the primary. The pool on it lives as long as the connection that told so; another answer, or another connection, and the pool is drained and left.
 * - more than one: PRIMARY_AMBIGUOUS for everybody, and no pool. Never a choice.
 * - none: who may wait does so for `waitMs`, round after round, and then gets PRIMARY_NOT_FOUND.
 *
 * `#fresh` is the primary that may be used without asking, all that the hot path looks at. It is undefined from a doubt to the next verdict, and when nobody used the database for
 * `checkMs`: whoever comes then lets ask first.
 *
 * What is sent again: statements that were never sent, whatever they are; plain reads whose connection was lost; writes that were refused as read-only. Each outside a transaction. A
 * write whose answer was lost goes to the caller, and so does every error inside a transaction: it has a connection of the pool, with nothing between.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isTesseraeError, type TesseraeError } from "../base/errors.ts";
import { untilAborted } from "../base/until-aborted.ts";
import {
  type AcquireOptions,
  type Connection,
  type Database,
  type Engine,
  type EngineResult,
  FAILOVER_DEFAULTS,
  type FailoverOptions,
  type PoolOptions,
  type PoolStats,
  type Statement,
} from "./contract.ts";
import {
  ambiguousError,
  closedError,
  isHopeless,
  isOneStatement,
  ledToReadOnly,
  notFoundError,
  wasNeverSent,
} from "./failover-errors.ts";
import { FailoverHost, type FailoverServer } from "./failover-host.ts";

/** From round to round while somebody waits for a primary. */
const POLL_MS = 100;
/** How often a read is made whose connection is lost each time: it may be what ends the server, or somebody ends it by KILL. */
const LOST_READS_MAX = 2;
/** A server that goes down ends its connections one after the other: it is given the time to end all, before a read takes another one. */
const LOST_PAUSE_MS = 25;

interface Primary {
  readonly host: FailoverHost;
  readonly pool: Database;
  /** The connection that told that the host takes writes. */
  readonly asked: Connection | undefined;
}

type Verdict =
  | { readonly kind: "found"; readonly primary: Primary }
  | { readonly kind: "ambiguous"; readonly error: TesseraeError }
  | { readonly kind: "none" };

interface Failure {
  readonly primary: Primary;
  readonly error: unknown;
}

/** What one piece of work has gone through. */
interface Tries {
  readonly begun: number;
  failures: number;
  /** Of the failures, those whose connection was lost. */
  lost: number;
}

/** The one server's own pool where nobody asked for failover; a list of servers is always looked through. */
export function openOnPrimary(
  engine: Engine,
  servers: readonly FailoverServer[],
  options: PoolOptions,
  failover: FailoverOptions | undefined,
): Database {
  const [first, second] = servers;
  if (failover === undefined && first !== undefined && second === undefined) return first.open(options);
  return new FailoverDatabase(engine, servers, options, failover ?? FAILOVER_DEFAULTS);
}

export class FailoverDatabase implements Database {
  readonly engine: Engine;
  readonly #hosts: readonly FailoverHost[];
  readonly #statusSql: string;
  readonly #options: PoolOptions;
  readonly #failover: FailoverOptions;
  #fresh: Primary | undefined;
  #primary: Primary | undefined;
  readonly #leaving = new Set<Database>();
  /** A primary was found once: that there is none now may be a failover. */
  #found = false;
  #used = false;
  #usedAt = 0;
  #doubts = 0;
  #round: { readonly verdict: Promise<Verdict>; readonly doubts: number } | undefined;
  #nextRound: Promise<Verdict> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    engine: Engine,
    servers: readonly FailoverServer[],
    options: PoolOptions,
    failover: FailoverOptions,
  ) {
    const { replication } = engine.dialect;
    if (replication === undefined) throw new Error(`${engine.name} has no replication to follow.`);
    this.engine = engine;
    this.#statusSql = replication.statusSql;
    this.#hosts = servers.map((server) => new FailoverHost(server, replication.statusSql, options));
    this.#options = options;
    this.#failover = failover;
  }

  get stats(): PoolStats {
    const pools = this.#primary === undefined ? [] : [this.#primary.pool];
    let [open, inUse, waiting] = [0, 0, 0];
    for (const { stats } of [...pools, ...this.#leaving]) {
      open += stats.open;
      inUse += stats.inUse;
      waiting += stats.waiting;
    }
    return { open, inUse, waiting };
  }

  get primary(): string | undefined {
    return this.#hosts.length > 1 ? this.#primary?.host.server.name : undefined;
  }

  run(statement: Statement): Promise<EngineResult> {
    const primary = this.#fresh;
    if (primary === undefined) return this.#onPrimary((pool) => pool.run(statement), { statement });
    this.#used = true;
    return primary.pool
      .run(statement)
      .catch((error: unknown) =>
        this.#onPrimary((pool) => pool.run(statement), { statement, failure: { primary, error } }),
      );
  }

  acquire(options?: AcquireOptions): Promise<Connection> {
    return this.#onPrimary((pool) => pool.acquire(options), { signal: options?.signal });
  }

  close(timeoutMs?: number): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  /** Does the work on the primary, and again on the next one where that is safe. */
  async #onPrimary<T>(
    work: (pool: Database) => Promise<T>,
    options: { statement?: Statement; failure?: Failure; signal?: AbortSignal | undefined },
  ): Promise<T> {
    const { statement, signal } = options;
    const begun = performance.now();
    let { failure } = options;
    const tries: Tries = { begun, failures: 0, lost: 0 };
    for (;;) {
      if (failure !== undefined) this.#throwUnlessSafe(failure, statement, tries);
      this.#used = true;
      const fresh = failure === undefined ? this.#fresh : undefined;
      const primary: Primary = fresh ?? (await this.#find(begun, failure?.error, signal));
      if (failure !== undefined && failure.primary === primary) {
        // The server takes writes, so it was the statement's own transaction, role or function that does not.
        if (!wasNeverSent(failure.error) && this.#codeOf(failure.error) === "SERVER_READ_ONLY")
          throw failure.error;
        await sleep(Math.min(POLL_MS, tries.lost * LOST_PAUSE_MS + 5 * tries.failures));
      }
      try {
        return await work(primary.pool);
      } catch (error) {
        failure = { primary, error };
      }
    }
  }

  /** Throws the error where the work must not, or need not, be done again. */
  #throwUnlessSafe({ primary, error }: Failure, statement: Statement | undefined, tries: Tries): void {
    if (this.#closing !== undefined) throw error;
    const code = this.#codeOf(error);
    tries.failures += 1;
    if (code === "CONNECTION_LOST") tries.lost += 1;
    const neverSent = wasNeverSent(error);
    if (neverSent || code === "CONNECTION_LOST" || code === "SERVER_READ_ONLY") {
      // The address leads elsewhere than when the host was asked: a new connection tells where.
      if (ledToReadOnly(error)) primary.host.forget();
      if (this.#primary === primary) this.#doubt();
    }
    const again =
      neverSent ||
      (code === "CONNECTION_LOST" && statement?.readOnly === true && tries.lost < LOST_READS_MAX) ||
      (code === "SERVER_READ_ONLY" && statement !== undefined && isOneStatement(statement.sql));
    const isLate = tries.failures > 1 && performance.now() - tries.begun > this.#failover.waitMs;
    if (!again || isLate) throw error;
  }

  #codeOf(error: unknown): string {
    return this.engine.dialect.classify(error).code;
  }

  /** The primary by the present round, or as soon as there is one. */
  async #find(begun: number, cause: unknown, signal: AbortSignal | undefined): Promise<Primary> {
    const { display } = this.engine.address;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#closing !== undefined) throw closedError(display);
      const verdict = await untilAborted(this.#look(), signal);
      if (verdict.kind === "found") return verdict.primary;
      if (verdict.kind === "ambiguous") throw verdict.error;
      const waitedMs = performance.now() - begun;
      this.#throwHopeless();
      if (waitedMs >= this.#failover.waitMs) {
        const reasons = this.#hosts.map(({ server, reason }) => ({ name: server.name, reason }));
        throw notFoundError(display, reasons, waitedMs, this.#errorOfHost() ?? cause);
      }
      await untilAborted(sleep(POLL_MS), signal);
    }
  }

  /** The host's own error where waiting for a promotion makes no sense: the login is refused, or the one server was never there. */
  #throwHopeless(): void {
    const errors = this.#hosts.map(({ answer }) =>
      answer.kind === "unreachable" ? answer.error : undefined,
    );
    if (errors.includes(undefined)) return;
    if (errors.every(isHopeless) || (errors.length === 1 && !this.#found)) throw errors[0];
  }

  #errorOfHost(): unknown {
    const unreachable = this.#hosts.map(({ answer }) => answer).find(({ kind }) => kind === "unreachable");
    return unreachable?.kind === "unreachable" ? unreachable.error : undefined;
  }

  /** Nobody uses the primary before it was asked. */
  #doubt(): void {
    this.#doubts += 1;
    this.#fresh = undefined;
    void this.#look();
  }

  /** The verdict of a round that knows of every doubt: the one under way, or the one after it. Never rejects. */
  #look(): Promise<Verdict> {
    const present = this.#round;
    if (present === undefined) {
      const verdict = this.#ask().finally(() => {
        this.#round = undefined;
      });
      this.#round = { verdict, doubts: this.#doubts };
      return verdict;
    }
    if (present.doubts === this.#doubts) return present.verdict;
    this.#nextRound ??= present.verdict.then(() => {
      this.#nextRound = undefined;
      return this.#look();
    });
    return this.#nextRound;
  }

  async #ask(): Promise<Verdict> {
    // A round may come after the one that was under way when everything was closed.
    if (this.#closing !== undefined) return { kind: "none" };
    const doubts = this.#doubts;
    const prompt = this.#hosts.filter(({ slow }) => !slow);
    const asked = new Map(this.#hosts.map((host) => [host, host.ask()]));
    await Promise.all(prompt.map((host) => asked.get(host)));
    if (!this.#hosts.some(takesWrites)) await Promise.all(asked.values());
    if (this.#closing !== undefined) return { kind: "none" };
    const verdict = this.#judge();
    this.#fresh = verdict.kind === "found" && doubts === this.#doubts ? verdict.primary : undefined;
    this.#arm();
    return verdict;
  }

  #judge(): Verdict {
    const [first, ...others] = this.#hosts.filter(takesWrites);
    const present = this.#primary;
    if (others.length === 0 && first !== undefined) return { kind: "found", primary: this.#adopt(first) };
    // A server that is only slow to answer, or has no connection left for the question, was not demoted as far as anybody knows.
    if (first === undefined && present !== undefined && isUndecided(present.host))
      return { kind: "found", primary: present };
    this.#primary = undefined;
    if (present !== undefined) this.#leave(present);
    if (first === undefined) {
      for (const host of this.#hosts) host.forgetOutdated();
      return { kind: "none" };
    }
    const names = [first, ...others].map(({ server }) => server.name);
    return { kind: "ambiguous", error: ambiguousError(this.engine.address.display, names) };
  }

  #adopt(host: FailoverHost): Primary {
    const present = this.#primary;
    if (present !== undefined && present.host === host && present.asked === host.connection) return present;
    const suspect = () => {
      if (this.#primary === primary) this.#doubt();
    };
    const pool = host.server.open(this.#options, { statusSql: this.#statusSql, suspect });
    const primary: Primary = { host, pool, asked: host.connection };
    this.#primary = primary;
    this.#found = true;
    // Where another server is the primary, a statement on one that does not answer waits for nothing.
    if (present !== undefined) this.#leave(present, isGone(present.host) ? 0 : undefined);
    return primary;
  }

  /** Nobody is given its connections any more; who has one may go on for a while. */
  #leave({ pool }: Primary, timeoutMs?: number): void {
    this.#leaving.add(pool);
    const left = () => this.#leaving.delete(pool);
    pool.close(timeoutMs).then(left, left);
  }

  #arm(): void {
    if (this.#closing !== undefined) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#tick();
    }, this.#failover.checkMs).unref();
  }

  #tick(): void {
    const now = performance.now();
    // A statement that gets no answer is use, too: it may be at a server that another one has taken over from.
    if (this.#used || (this.#primary?.pool.stats.inUse ?? 0) > 0) {
      this.#used = false;
      this.#usedAt = now;
      void this.#look();
      return;
    }
    this.#fresh = undefined;
    if (now - this.#usedAt < this.#options.idleTimeoutMs) this.#arm();
    else this.#rest();
  }

  /** Unused for so long that the pool has closed its connections: those that ask go, too. */
  #rest(): void {
    const present = this.#primary;
    this.#primary = undefined;
    if (present !== undefined) this.#leave(present);
    for (const host of this.#hosts) void host.close();
  }

  async #close(timeoutMs?: number): Promise<void> {
    clearTimeout(this.#timer);
    this.#fresh = undefined;
    const present = this.#primary;
    this.#primary = undefined;
    const pools = [...(present === undefined ? [] : [present.pool]), ...this.#leaving];
    await Promise.all([
      ...pools.map((pool) => pool.close(timeoutMs)),
      ...this.#hosts.map((host) => host.close()),
    ]);
  }
}

const takesWrites = ({ answer }: FailoverHost) => answer.kind === "writable";

const isGone = ({ answer }: FailoverHost) => answer.kind === "silent" || answer.kind === "unreachable";

function isUndecided({ answer }: FailoverHost): boolean {
  if (answer.kind === "silent") return true;
  return answer.kind === "unreachable" && isTesseraeError(answer.error, "CONNECTION_LIMIT");
}
