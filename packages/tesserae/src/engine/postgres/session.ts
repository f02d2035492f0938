/**
 * One connection to the server: its prepared statements, and its statements one after the other. A statement that is run while another is on
 * its way waits here, not in `pg`, whose queue is deprecated.
 *
 * A prepared statement is known by its text and gets a short name of this connection's own. The server keeps a statement's result columns fixed ("cached
 * plan must not change result type"), so they are asked for once; when the table was changed meanwhile the statement is prepared
 * again, and run again where it was alone in its transaction.
 */
import type { Client } from "pg";
import { LruMap } from "../../base/lru.ts";
import type { EngineResult, RawRow, Statement } from "../contract.ts";
import { isFatal, isServerError, isStalePlan } from "./errors.ts";
import { type Columns, Round, type RoundEnd } from "./round.ts";
import { closePortalMessage, executeMessage, fetchPortalMessage, openPortalMessage } from "./wire.ts";

interface Prepared {
  readonly name: string;
  /** The server has it, and this is what it returns. */
  known: boolean;
  columns: Columns | undefined;
}

/** Told when the statement is over, before its promise is settled. */
export interface SessionOwner {
  ended(session: PostgresSession): void;
}

interface Task extends RoundEnd {
  start(): void;
}

export class PostgresSession {
  readonly client: Client;
  /** Nothing more may be sent. */
  broken = false;
  /** When it was last put aside, by `performance.now()`. */
  idleSince = 0;
  readonly #prepared: LruMap<string, Prepared> | undefined;
  #names = 0;
  #portals = 0;
  /** Statements that the server is to forget with the next message. */
  #forgotten: string[] = [];
  #running: Task | undefined;
  #waiting: Task[] = [];

  constructor(client: Client, statementCacheEntries: number) {
    this.client = client;
    if (statementCacheEntries > 0) {
      this.#prepared = new LruMap(statementCacheEntries, (_, evicted) => this.#forgotten.push(evicted.name));
    }
  }

  /** Runs one statement; `owner` hears of its end. */
  run(statement: Statement, owner?: SessionOwner): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      this.#enqueue(new StatementTask(this, statement, owner, (round) => resolve(round.result()), reject));
    });
  }

  /** Runs one statement for its command tag. */
  command(sql: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const statement = { sql, parameters: [], prepare: true };
      this.#enqueue(new StatementTask(this, statement, undefined, (round) => resolve(round.tag), reject));
    });
  }

  /** Rows in chunks, through a portal of its own, which lives to the end of the open transaction. */
  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    this.#portals += 1;
    const portal = `p${this.#portals}`;
    const { sql, parameters } = statement;
    let open = false;
    try {
      let round = await this.#round(() => openPortalMessage(portal, sql, parameters, chunkRows), undefined);
      const { columns } = round;
      for (;;) {
        open = round.suspended;
        if (round.rows.length > 0) yield round.rows;
        if (!round.suspended) return;
        round = await this.#round(() => fetchPortalMessage(portal, chunkRows), columns);
      }
    } finally {
      // After an error the transaction has failed and the portal is gone with it; closing it again is harmless.
      if (open && !this.broken)
        await this.#round(() => closePortalMessage(portal), undefined).catch(() => undefined);
    }
  }

  #round(message: () => Uint8Array, columns: Columns | undefined): Promise<Round> {
    return new Promise((resolve, reject) => {
      const task: Task = {
        start: () => this.send(new Round(message(), columns, task)),
        finished: (round) => {
          this.next();
          resolve(round);
        },
        failed: (_, error) => {
          this.noteError(error);
          this.next();
          reject(error);
        },
      };
      this.#enqueue(task);
    });
  }

  #enqueue(task: Task): void {
    if (this.#running !== undefined) {
      this.#waiting.push(task);
      return;
    }
    this.#start(task);
  }

  #start(task: Task): void {
    this.#running = task;
    try {
      task.start();
    } catch (error) {
      // A parameter that cannot be written: nothing has been sent.
      queueMicrotask(() => task.failed(undefined as never, error as Error));
    }
  }

  /** The running statement is over: the next one's turn. */
  next(): void {
    this.#running = undefined;
    const task = this.#waiting.shift();
    if (task !== undefined) this.#start(task);
  }

  send(round: Round): void {
    this.client.query(round as never);
  }

  noteError(error: Error): void {
    if (isServerError(error) ? isFatal(error) : isSocketError(error)) this.broken = true;
  }

  /** In a transaction block, also a failed one. */
  get inTransaction(): boolean {
    return this.client.getTransactionStatus() !== "I";
  }

  prepared(statement: Statement): Prepared | undefined {
    if (statement.prepare === false || this.#prepared === undefined) return undefined;
    let prepared = this.#prepared.get(statement.sql);
    if (prepared === undefined) {
      this.#names += 1;
      prepared = { name: `t${this.#names}`, known: false, columns: undefined };
      this.#prepared.set(statement.sql, prepared);
    }
    return prepared;
  }

  /** Forgets a statement here, and on the server with the next message. */
  forget(sql: string, prepared: Prepared): void {
    this.#prepared?.delete(sql);
    this.#forgotten.push(prepared.name);
  }

  /** The statements that the next message closes. */
  takeForgotten(): readonly string[] {
    if (this.#forgotten.length === 0) return this.#forgotten;
    const forgotten = this.#forgotten;
    this.#forgotten = [];
    return forgotten;
  }
}

/** Errors that `pg` raises itself, other than those of this library's own readers and writers of values. */
function isSocketError(error: Error): boolean {
  return !(error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError);
}

class StatementTask implements Task {
  readonly #session: PostgresSession;
  readonly #statement: Statement;
  readonly #owner: SessionOwner | undefined;
  readonly #resolve: (round: Round) => void;
  readonly #reject: (error: Error) => void;
  #prepared: Prepared | undefined;
  #again = false;

  constructor(
    session: PostgresSession,
    statement: Statement,
    owner: SessionOwner | undefined,
    resolve: (round: Round) => void,
    reject: (error: Error) => void,
  ) {
    this.#session = session;
    this.#statement = statement;
    this.#owner = owner;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { sql, parameters } = this.#statement;
    const prepared = this.#session.prepared(this.#statement);
    this.#prepared = prepared;
    const known = prepared?.known === true;
    const message = executeMessage({
      parse: known ? undefined : sql,
      name: prepared?.name ?? "",
      values: parameters,
      describe: !known,
      close: this.#session.takeForgotten(),
    });
    this.#session.send(new Round(message, prepared?.columns, this));
  }

  finished(round: Round): void {
    if (this.#prepared !== undefined && !this.#prepared.known) {
      this.#prepared.known = true;
      this.#prepared.columns = round.columns;
    }
    this.#session.next();
    this.#owner?.ended(this.#session);
    this.#resolve(round);
  }

  failed(_: Round, error: Error): void {
    const session = this.#session;
    session.noteError(error);
    const prepared = this.#prepared;
    if (prepared !== undefined && !session.broken) {
      const stale = isServerError(error) && isStalePlan(error);
      if (stale || !prepared.known) session.forget(this.#statement.sql, prepared);
      if (stale && !this.#again && !session.inTransaction) {
        this.#again = true;
        this.start();
        return;
      }
    }
    session.next();
    this.#owner?.ended(session);
    this.#reject(error);
  }
}
