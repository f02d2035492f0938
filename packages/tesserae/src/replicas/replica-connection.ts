/**
 * A connection to whichever replica a reader got. Its transactions are read only. When the server is lost, what has handed out nothing yet is made again elsewhere;
 * a transaction that has shown rows, and a stream in the midst of them, end with REPLICA_LOST: another server shows another moment.
 */
import { TesseraeError } from "../base/errors.ts";
import type { BeginOptions, Connection, EngineResult, RawRow, Statement } from "../engine/contract.ts";
import type { Term } from "./term.ts";

/** One server's connection, from the pool to the pool. */
export class Held {
  readonly connection: Connection;
  /** Undefined where it is the primary's. */
  readonly term: Term | undefined;
  #isBack = false;

  constructor(connection: Connection, term: Term | undefined) {
    this.connection = connection;
    this.term = term;
  }

  get isBack(): boolean {
    return this.#isBack;
  }

  /** Where the server hangs, `work` is given up. */
  watch<T>(work: Promise<T>): Promise<T> {
    return this.term === undefined ? work : this.term.watch(work);
  }

  giveBack(broken: boolean): void {
    if (this.#isBack) return;
    this.#isBack = true;
    this.connection.release(broken || this.term?.ended === true);
    if (this.term !== undefined) this.term.inFlight -= 1;
  }
}

/** Where connections come from. */
export interface Holder {
  /** One for what comes next. */
  hold(): Promise<Held>;
  /** One of another server, because this one was lost under what was read there. */
  holdElsewhere(lost: Held, error: unknown): Promise<Held>;
  /** Whether what the caller's context has written until now is seen there. */
  showsOwnWrites(held: Held): boolean;
}

/** What tells a lost server from a statement that failed. */
export interface LossJudge {
  readonly of: string;
  isLost(term: Term, error: unknown): boolean;
}

/** By its form, or because of what it calls: outside of a transaction it runs in one that is read only. */
function mayWrite(statement: Statement): boolean {
  return statement.readOnly !== true || statement.mayWrite === true;
}

export class ReplicaConnection implements Connection {
  readonly #holder: Holder;
  readonly #judge: LossJudge | undefined;
  #held: Held;
  /** Another connection is on its way. */
  #changing: Promise<void> | undefined;
  /** Of the open transaction. */
  #begun: BeginOptions | undefined;
  /** The open transaction has shown something. */
  #shown = false;
  #released = false;

  /** `judge` is undefined where there is no server but the primary. */
  constructor(held: Held, holder: Holder, judge: LossJudge | undefined) {
    this.#held = held;
    this.#holder = holder;
    this.#judge = judge;
  }

  /** Whether the primary itself answers. */
  get isPrimarys(): boolean {
    return this.#held.term === undefined;
  }

  async run(statement: Statement): Promise<EngineResult> {
    if (this.#begun !== undefined || !mayWrite(statement))
      return this.#step((connection) => connection.run(statement));
    await this.begin();
    try {
      return await this.#step((connection) => connection.run(statement));
    } finally {
      await this.#end();
    }
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    const alone = this.#begun === undefined && mayWrite(statement);
    if (alone) await this.begin();
    try {
      for (;;) {
        const held = await this.#ready();
        const chunks = held.connection.stream(statement, chunkRows)[Symbol.asyncIterator]();
        let first: IteratorResult<RawRow[]>;
        try {
          first = await held.watch(chunks.next());
        } catch (error) {
          await this.#elsewhere(held, error);
          continue;
        }
        this.#shown = true;
        if (first.done !== true) yield* this.#rest(held, first.value, chunks);
        return;
      }
    } finally {
      if (alone) await this.#end();
    }
  }

  async *#rest(
    held: Held,
    first: RawRow[],
    chunks: AsyncIterator<RawRow[]>,
  ): AsyncGenerator<RawRow[], void, undefined> {
    let open = true;
    try {
      for (let chunk = first; ; ) {
        yield chunk;
        const next = await held.watch(chunks.next()).catch((error: unknown) => {
          open = false;
          throw this.#isLost(held, error) ? this.#lostError(error) : error;
        });
        if (next.done === true) {
          open = false;
          return;
        }
        chunk = next.value;
      }
    } finally {
      if (open) await chunks.return?.();
    }
  }

  async begin(options: BeginOptions = {}): Promise<void> {
    // A standby of PostgreSQL knows no serializable transactions; one that only reads a snapshot sees what one of these would.
    const isolation = options.isolation === "serializable" ? "repeatable read" : options.isolation;
    const begun = { ...options, isolation, readOnly: true };
    await this.#step((connection) => connection.begin(begun));
    this.#begun = begun;
    this.#shown = false;
  }

  async commit(): Promise<void> {
    this.#begun = undefined;
    const held = this.#held;
    await held.watch(held.connection.commit()).catch((error: unknown) => {
      // It has written nothing, and whatever was read was read.
      if (!this.#isLost(held, error)) throw error;
    });
  }

  async rollback(): Promise<void> {
    this.#begun = undefined;
    await this.#held.watch(this.#held.connection.rollback());
  }

  savepoint(name: string): Promise<void> {
    return this.#inTransaction((connection) => connection.savepoint(name));
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#inTransaction((connection) => connection.rollbackToSavepoint(name));
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#inTransaction((connection) => connection.releaseSavepoint(name));
  }

  async interrupt(): Promise<void> {
    if (!this.#held.isBack) await this.#held.connection.interrupt?.();
  }

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    this.#held.giveBack(broken);
  }

  /** Does `work` here, or where that is lost and nothing was shown yet, on another server. */
  async #step<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    for (;;) {
      const held = await this.#ready();
      try {
        const result = await held.watch(work(held.connection));
        this.#shown = true;
        return result;
      } catch (error) {
        await this.#elsewhere(held, error);
      }
    }
  }

  /** A savepoint is a part of this transaction, on this server. */
  async #inTransaction(work: (connection: Connection) => Promise<void>): Promise<void> {
    this.#shown = true;
    await this.#step(work);
  }

  /**
   * The connection for what comes next. Outside of a transaction it must show what was written since the last read, which perhaps another server alone does; nothing else is
   * under way then, because a session lets one statement after the other use a connection.
   */
  async #ready(): Promise<Held> {
    while (this.#changing !== undefined) await this.#changing;
    const held = this.#held;
    if (this.#released) return held;
    if (!held.isBack && (this.#begun !== undefined || this.#holder.showsOwnWrites(held))) return held;
    held.giveBack(false);
    await this.#change(() => this.#holder.hold());
    return this.#held;
  }

  /** After an error: another server's connection, with the transaction begun anew; raises the error where that cannot be. */
  async #elsewhere(held: Held, error: unknown): Promise<void> {
    if (!this.#isLost(held, error)) throw error;
    if (this.#begun !== undefined && this.#shown) throw this.#lostError(error);
    held.giveBack(true);
    // Somebody else who read here may have changed already.
    if (held === this.#held) await this.#change(() => this.#holder.holdElsewhere(held, error));
  }

  #change(hold: () => Promise<Held>): Promise<void> {
    this.#changing ??= this.#changeTo(hold).finally(() => {
      this.#changing = undefined;
    });
    return this.#changing;
  }

  async #changeTo(hold: () => Promise<Held>): Promise<void> {
    for (let next = hold; ; ) {
      const held = await next();
      this.#held = held;
      if (this.#released) held.giveBack(false);
      if (this.#released || this.#begun === undefined) return;
      const begun = this.#begun;
      try {
        await held.watch(held.connection.begin(begun));
        return;
      } catch (error) {
        held.giveBack(true);
        if (!this.#isLost(held, error)) throw error;
        next = () => this.#holder.holdElsewhere(held, error);
      }
    }
  }

  #isLost({ term }: Held, error: unknown): boolean {
    return !this.#released && term !== undefined && this.#judge?.isLost(term, error) === true;
  }

  async #end(): Promise<void> {
    await this.rollback().catch(() => this.#held.giveBack(true));
  }

  #lostError(cause: unknown): TesseraeError {
    return new TesseraeError(
      "REPLICA_LOST",
      `A replica of ${this.#judge?.of ?? "main"} was lost while it was read from, and another one would show another moment. What was read so far is right; make the read again as a whole.`,
      { cluster: "replicas", cause },
    );
  }
}
