/** One caller's connection: which handle its statements run on, and the state of its transaction. */
import { TesseraeError } from "../../base/errors.ts";
import type { BeginOptions, Connection, EngineResult, RawRow, Statement } from "../contract.ts";
import { chunksOf } from "./chunks.ts";
import { quoteIdentifier } from "./ddl.ts";
import type { Handle } from "./handle.ts";

/** A handle that one caller has for a while. */
export interface Lease {
  readonly handle: Handle;
  /** `broken` closes the handle. */
  end(broken: boolean): void;
}

/** What a connection asks of its pool. */
export interface ConnectionHost {
  /** One statement outside any transaction; `read` on a reader. */
  route(statement: Statement, read: boolean): Promise<EngineResult>;
  stream(statement: Statement, chunkRows: number, read: boolean): AsyncIterable<RawRow[]>;
  leaseWriter(): Promise<Lease>;
  leaseReader(): Promise<Lease>;
  /** Waits for the locks of other processes. */
  retryBusy<T>(work: () => T): Promise<T>;
}

interface Transaction {
  readonly lease: Lease;
  /** The writer was made read-only for this transaction (in memory, where it is the only handle). */
  readonly queryOnly: boolean;
  /** Foreign keys are off on the handle until the transaction ends. */
  readonly unchecked: boolean;
}

export class SqliteConnection implements Connection {
  readonly #host: ConnectionHost;
  readonly #readOnly: boolean;
  readonly #onRelease: () => void;
  #transaction: Transaction | undefined;
  #released = false;

  constructor(host: ConnectionHost, readOnly: boolean, onRelease: () => void) {
    this.#host = host;
    this.#readOnly = readOnly;
    this.#onRelease = onRelease;
  }

  run(statement: Statement): Promise<EngineResult> {
    const transaction = this.#transaction;
    if (transaction === undefined) {
      if (this.#released) return Promise.reject(releasedError());
      return this.#host.route(statement, this.#readOnly || statement.readOnly === true);
    }
    try {
      return Promise.resolve(this.#inside(transaction).execute(statement));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    if (this.#released) throw releasedError();
    const transaction = this.#transaction;
    if (transaction !== undefined) yield* chunksOf(this.#inside(transaction), statement, chunkRows);
    else yield* this.#host.stream(statement, chunkRows, this.#readOnly || statement.readOnly === true);
  }

  async begin(options: BeginOptions = {}): Promise<void> {
    if (this.#released) throw releasedError();
    if (this.#transaction !== undefined)
      throw new TesseraeError(
        "QUERY_FAILED",
        "This connection has a transaction open already. Use a savepoint.",
      );
    // Every isolation level is met: SQLite's transactions are serializable.
    const read = this.#readOnly || options.readOnly === true;
    const unchecked = !read && options.references === "unchecked";
    const lease = await (read ? this.#host.leaseReader() : this.#host.leaseWriter());
    try {
      // Inside a transaction SQLite takes no notice of it.
      if (unchecked) lease.handle.exec("pragma foreign_keys = off");
      await this.#host.retryBusy(() => lease.handle.begin(read));
      const queryOnly = read && !lease.handle.readOnly;
      if (queryOnly) lease.handle.exec("pragma query_only = on");
      this.#transaction = { lease, queryOnly, unchecked };
    } catch (error) {
      // A handle whose foreign keys are off is closed with it.
      lease.end(unchecked || lease.handle.inTransaction);
      throw error;
    }
    if (this.#released) this.#end(true);
  }

  async commit(): Promise<void> {
    const handle = this.#inside(this.#open());
    await this.#host.retryBusy(() => handle.exec("commit"));
    this.#end(false);
  }

  async rollback(): Promise<void> {
    this.#open();
    this.#end(true);
  }

  async savepoint(name: string): Promise<void> {
    this.#inside(this.#open()).exec(`savepoint ${quoteIdentifier(name)}`);
  }

  async rollbackToSavepoint(name: string): Promise<void> {
    this.#inside(this.#open()).exec(`rollback to savepoint ${quoteIdentifier(name)}`);
  }

  async releaseSavepoint(name: string): Promise<void> {
    this.#inside(this.#open()).exec(`release savepoint ${quoteIdentifier(name)}`);
  }

  release(broken = false): void {
    if (this.#released) return;
    this.#released = true;
    try {
      if (this.#transaction !== undefined) this.#end(true, broken);
    } finally {
      this.#onRelease();
    }
  }

  #open(): Transaction {
    if (this.#released) throw releasedError();
    if (this.#transaction === undefined)
      throw new TesseraeError("QUERY_FAILED", "This connection has no transaction open.");
    return this.#transaction;
  }

  /** SQLite ends a transaction by itself after some errors (a full disk, for one): a statement after it would commit alone. */
  #inside(transaction: Transaction): Handle {
    const { handle } = transaction.lease;
    if (!handle.inTransaction)
      throw new TesseraeError(
        "QUERY_FAILED",
        "The database rolled this transaction back after an earlier error. Run the transaction again.",
        { retryable: true },
      );
    return handle;
  }

  #end(rollback: boolean, broken = false): void {
    const { lease, queryOnly, unchecked } = this.#transaction as Transaction;
    this.#transaction = undefined;
    let usable = false;
    try {
      if (rollback && lease.handle.inTransaction) lease.handle.exec("rollback");
      if (queryOnly) lease.handle.exec("pragma query_only = off");
      if (unchecked) lease.handle.exec("pragma foreign_keys = on");
      usable = true;
    } finally {
      // A handle that could not even roll back is closed, which rolls back as well.
      lease.end(broken || !usable);
    }
  }
}

function releasedError(): TesseraeError {
  return new TesseraeError(
    "QUERY_FAILED",
    "This connection was released already. Use it within the callback that got it, and await every statement there.",
  );
}
