/** A primary whose writes are noted for the replicas' reads. Only primaries with replicas are wrapped in it. */
import type {
  AcquireOptions,
  BeginOptions,
  Connection,
  Database,
  Engine,
  EngineResult,
  PoolStats,
  RawRow,
  Statement,
} from "../engine/contract.ts";
import type { WriteContexts } from "./own-writes.ts";
import type { Primary } from "./primary.ts";

export class NotingDatabase implements Database {
  readonly #database: Database;
  readonly #primary: Primary;
  readonly #contexts: WriteContexts;

  constructor(database: Database, primary: Primary, contexts: WriteContexts) {
    this.#database = database;
    this.#primary = primary;
    this.#contexts = contexts;
  }

  get engine(): Engine {
    return this.#database.engine;
  }

  get stats(): PoolStats {
    return this.#database.stats;
  }

  run(statement: Statement): Promise<EngineResult> {
    return statement.readOnly === true ? this.#database.run(statement) : this.#runNoting(statement);
  }

  async #runNoting(statement: Statement): Promise<EngineResult> {
    const note = this.#noter();
    try {
      return await this.#database.run(statement);
    } finally {
      // After an error too: a write whose answer was lost may have been done.
      note();
    }
  }

  async acquire(options?: AcquireOptions): Promise<Connection> {
    return new NotingConnection(await this.#database.acquire(options), () => this.#noter(), options?.signal);
  }

  close(timeoutMs?: number): Promise<void> {
    return this.#database.close(timeoutMs);
  }

  /** Notes a write in the context of now, when it is called. */
  #noter(): () => void {
    const context = this.#contexts.current;
    return () => context.of(this.#primary).note();
  }
}

class NotingConnection implements Connection {
  readonly #connection: Connection;
  readonly #noter: () => () => void;
  readonly #signal: AbortSignal | undefined;
  /** The open transaction has written, perhaps. */
  #wrote = false;

  constructor(connection: Connection, noter: () => () => void, signal: AbortSignal | undefined) {
    this.#connection = connection;
    this.#noter = noter;
    this.#signal = signal;
  }

  async run(statement: Statement): Promise<EngineResult> {
    if (statement.readOnly === true) return this.#connection.run(statement);
    // In a raw statement a transaction may end, so that the write of a transaction is noted at once and at its commit.
    this.#wrote = true;
    const note = this.#noter();
    // Whoever waits no longer for the answer may read at once, and the write may have been done.
    this.#signal?.addEventListener("abort", note, { once: true });
    try {
      return await this.#connection.run(statement);
    } finally {
      this.#signal?.removeEventListener("abort", note);
      note();
    }
  }

  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    if (statement.readOnly === true) {
      yield* this.#connection.stream(statement, chunkRows);
      return;
    }
    this.#wrote = true;
    const note = this.#noter();
    try {
      yield* this.#connection.stream(statement, chunkRows);
    } finally {
      note();
    }
  }

  async begin(options?: BeginOptions): Promise<void> {
    this.#wrote = false;
    await this.#connection.begin(options);
  }

  async commit(): Promise<void> {
    const note = this.#noter();
    try {
      await this.#connection.commit();
    } finally {
      if (this.#wrote) note();
    }
  }

  async rollback(): Promise<void> {
    await this.#connection.rollback();
  }

  savepoint(name: string): Promise<void> {
    return this.#connection.savepoint(name);
  }

  rollbackToSavepoint(name: string): Promise<void> {
    return this.#connection.rollbackToSavepoint(name);
  }

  releaseSavepoint(name: string): Promise<void> {
    return this.#connection.releaseSavepoint(name);
  }

  async interrupt(): Promise<void> {
    await this.#connection.interrupt?.();
  }

  release(broken?: boolean): void {
    this.#connection.release(broken);
  }
}
