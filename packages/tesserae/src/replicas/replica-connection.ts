/**
 * A connection to whichever replica a reader got. Its transactions are read only. When the server is lost, what has handed out nothing yet is made again elsewhere;
 * a transaction that has shown rows, and a stream in the midst of them, end with REPLICA_LOST: another server shows another moment.
 */
import { TesseraeError } from "../base/errors.ts";
import type { BeginOptions, Connection, EngineResult, RawRow, Statement } from "../engine/contract.ts";
import type { Term } from "./term.ts";

export interface Held {
  readonly connection: Connection;
  /** Undefined where it is the primary's. */
  readonly term: Term | undefined;
  /** Hears that the term was lost. */
  readonly attempt: { lost(term: Term, error: unknown): void };
}

/** What tells a lost server from a statement that failed. */
export interface LossJudge {
  readonly of: string;
  isLost(term: Term, error: unknown): boolean;
}

export class ReplicaConnection implements Connection {
  readonly #hold: () => Promise<Held>;
  readonly #judge: LossJudge | undefined;
  #held: Held;
  /** False between a connection that was lost and the next one. */
  #holds = true;
  /** Of the open transaction. */
  #begun: BeginOptions | undefined;
  /** The open transaction has shown something. */
  #shown = false;
  #released = false;

  /** `hold` gives another server's connection; `judge` is undefined where there is no other. */
  constructor(held: Held, hold: () => Promise<Held>, judge: LossJudge | undefined) {
    this.#held = held;
    this.#hold = hold;
    this.#judge = judge;
  }

  async run(statement: Statement): Promise<EngineResult> {
    if (this.#begun !== undefined || statement.readOnly === true)
      return this.#step((connection) => connection.run(statement));
    await this.begin();
    try {
      return await this.#step((connection) => connection.run(statement));
    } finally {
      await this.#end();
    }
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    const alone = this.#begun === undefined && statement.readOnly !== true;
    if (alone) await this.begin();
    try {
      for (;;) {
        if (!this.#holds) await this.#holdAnother();
        const chunks = this.#held.connection.stream(statement, chunkRows)[Symbol.asyncIterator]();
        let first: IteratorResult<RawRow[]>;
        try {
          first = await this.#watch(chunks.next());
        } catch (error) {
          await this.#elsewhere(error);
          continue;
        }
        this.#shown = true;
        if (first.done !== true) yield* this.#rest(first.value, chunks);
        return;
      }
    } finally {
      if (alone) await this.#end();
    }
  }

  async *#rest(first: RawRow[], chunks: AsyncIterator<RawRow[]>): AsyncGenerator<RawRow[], void, undefined> {
    let open = true;
    try {
      for (let chunk = first; ; ) {
        yield chunk;
        const next = await this.#watch(chunks.next()).catch((error: unknown) => {
          open = false;
          throw this.#isLost(error) ? this.#lostError(error) : error;
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
    await this.#watch(this.#held.connection.commit()).catch((error: unknown) => {
      // It has written nothing, and whatever was read was read.
      if (!this.#isLost(error)) throw error;
    });
  }

  async rollback(): Promise<void> {
    this.#begun = undefined;
    await this.#watch(this.#held.connection.rollback());
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

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    this.#giveBack(broken);
  }

  /** Does `work` here, or where that is lost and nothing was shown yet, on another server. */
  async #step<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    for (;;) {
      if (!this.#holds) await this.#holdAnother();
      try {
        const result = await this.#watch(work(this.#held.connection));
        this.#shown = true;
        return result;
      } catch (error) {
        await this.#elsewhere(error);
      }
    }
  }

  /** A savepoint is a part of this transaction, on this server. */
  async #inTransaction(work: (connection: Connection) => Promise<void>): Promise<void> {
    this.#shown = true;
    await this.#step(work);
  }

  /** After an error: another server's connection, with the transaction begun anew; raises the error where that cannot be. */
  async #elsewhere(error: unknown): Promise<void> {
    if (!this.#isLost(error)) throw error;
    if (this.#begun !== undefined && this.#shown) throw this.#lostError(error);
    const { term, attempt } = this.#held;
    if (term !== undefined) attempt.lost(term, error);
    this.#giveBack(true);
    await this.#holdAnother();
    if (this.#begun === undefined) return;
    const begun = this.#begun;
    this.#begun = undefined;
    await this.begin(begun);
  }

  async #holdAnother(): Promise<void> {
    this.#held = await this.#hold();
    this.#holds = true;
    if (this.#released) this.#giveBack(false);
  }

  #isLost(error: unknown): boolean {
    const { term } = this.#held;
    return !this.#released && term !== undefined && this.#judge?.isLost(term, error) === true;
  }

  #watch<T>(work: Promise<T>): Promise<T> {
    const { term } = this.#held;
    return term === undefined ? work : term.watch(work);
  }

  async #end(): Promise<void> {
    await this.rollback().catch(() => this.#giveBack(true));
  }

  #giveBack(broken: boolean): void {
    if (!this.#holds) return;
    this.#holds = false;
    const { connection, term } = this.#held;
    connection.release(broken || term?.ended === true);
    if (term !== undefined) term.inFlight -= 1;
  }

  #lostError(cause: unknown): TesseraeError {
    return new TesseraeError(
      "REPLICA_LOST",
      `A replica of ${this.#judge?.of ?? "main"} was lost while it was read from, and another one would show another moment. What was read so far is right; make the read again as a whole.`,
      { cluster: "replicas", cause },
    );
  }
}
