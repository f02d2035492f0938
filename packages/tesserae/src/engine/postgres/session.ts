/**
 * What a connection knows of its prepared statements, beside `pg`'s own client. A statement is known by its text and gets a short name of this
 * connection's own. The server keeps a statement's result columns fixed ("cached plan must not change result type"): when a table was changed
 * meanwhile, the statement is prepared again under a new name, and run again where it was alone in its transaction.
 */
import type { PoolClient, QueryResult } from "pg";
import { LruMap } from "../../base/lru.ts";
import type { RawRow, Statement } from "../contract.ts";
import { valuesOf } from "./codecs.ts";
import { loadDriver } from "./driver.ts";
import { isFatal, isReadOnly, isServerError, isSocketError, isStalePlan } from "./errors.ts";
import { type RowQuery, streamRows } from "./row-stream.ts";

/** `pg` keeps the text of every name to the end of its connection: after so many forgotten ones a connection is replaced. */
const FORGOTTEN_MAX = 10_000;

interface RowQueryModule {
  readonly Query: new (config: object) => RowQuery;
}

/** Kept, since an import that was made before still takes the time of a small statement's work. */
let rowQuery: RowQueryModule | undefined;

/** With an error, or with a result. */
export type Ended = (error: Error | undefined, result: QueryResult<RawRow>) => void;

export class PostgresSession {
  readonly client: PoolClient;
  /** When the socket is closed. */
  readonly ended: Promise<void>;
  /** Nothing more may be sent. */
  broken = false;
  #names: LruMap<string, string> | undefined;
  #named = 0;
  #forgotten = 0;
  /** Names that the server is to forget before the next statement. */
  readonly #leaving: string[] = [];

  /** Called when the server ended the connection, or said that it takes no writes. */
  readonly #suspect: () => void;

  constructor(client: PoolClient, statementCacheEntries: number, suspect: () => void = () => {}) {
    this.client = client;
    this.#suspect = suspect;
    this.ended = new Promise((resolve) => client.once("end", resolve));
    if (statementCacheEntries > 0)
      this.#names = new LruMap(statementCacheEntries, (_, name) => this.#leaving.push(name));
  }

  /** In a transaction block, also a failed one. */
  get inTransaction(): boolean {
    return this.client.getTransactionStatus() !== "I";
  }

  /** From now on no statement has a name: what the server's connection remembers is not this one's to know. */
  leaveNames(): void {
    this.#names = undefined;
  }

  get wornOut(): boolean {
    return this.broken || this.#forgotten > FORGOTTEN_MAX;
  }

  /** One statement at a time: `pg` must not be given another before `ended` was called. */
  execute(statement: Statement, ended: Ended, again = false): void {
    // In a transaction a name that the server does not have would undo everything.
    if (this.#leaving.length > 0 && !this.inTransaction) {
      this.#deallocate(() => this.execute(statement, ended, again));
      return;
    }
    let values: unknown[];
    try {
      values = valuesOf(statement);
    } catch (error) {
      ended(error as Error, undefined as never);
      return;
    }
    const name = this.#nameOf(statement);
    let over = false;
    const { sql: text } = statement;
    // Without a name and without values, `pg` would choose the protocol that takes several statements in one text.
    const query = name === undefined ? { text, values, queryMode: "extended" } : { name, text, values };
    this.client.query<RawRow>(query, (error: Error | null | undefined, result) => {
      // A value that cannot be written ends the statement, and the server's answer to what was sent ends it once more.
      if (over) return;
      over = true;
      if (!error) {
        ended(undefined, result);
        return;
      }
      const stale = this.#noteFailure(error, statement.sql, name);
      if (stale && !again && !this.inTransaction) this.execute(statement, ended, true);
      else ended(error, result);
    });
  }

  /** Runs one statement for its result. */
  run(statement: Statement): Promise<QueryResult<RawRow>> {
    return new Promise((resolve, reject) => {
      this.execute(statement, (error, result) => (error === undefined ? resolve(result) : reject(error)));
    });
  }

  /** Several statements without parameters, in one trip to the server. */
  script(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.client.query(sql, (error: Error | null | undefined) => {
        if (!error) resolve();
        else {
          this.#note(error);
          reject(error);
        }
      });
    });
  }

  /** Rows in chunks, through a portal. Nothing else may run meanwhile. */
  async *stream(statement: Statement, chunkRows: number): AsyncGenerator<RawRow[], void, undefined> {
    const { default: Cursor } = await loadDriver(() => import("pg-cursor"), "pg-cursor");
    const cursor = this.client.query(new Cursor<RawRow>(statement.sql, valuesOf(statement)));
    let open = false;
    try {
      do {
        open = false;
        const rows = await this.#unlessLost(cursor.read(chunkRows)).catch((error: Error) => {
          this.#note(error);
          throw error;
        });
        open = rows.length === chunkRows;
        if (rows.length > 0) yield rows;
      } while (open);
    } finally {
      if (open && !this.broken) await this.#unlessLost(cursor.close()).catch(() => undefined);
    }
  }

  /** The same without a portal. `cancel` ends what runs here. */
  async *streamWhole(
    statement: Statement,
    chunkRows: number,
    cancel: () => Promise<void>,
  ): AsyncGenerator<RawRow[], void, undefined> {
    rowQuery ??= (await loadDriver(() => import("pg"), "pg")) as unknown as RowQueryModule;
    const { Query } = rowQuery;
    for (let again = false; ; again = true) {
      if (this.#leaving.length > 0) await new Promise<void>((resolve) => this.#deallocate(resolve));
      const name = this.#nameOf(statement);
      const values = valuesOf(statement);
      const { sql: text } = statement;
      const query = new Query(
        name === undefined ? { text, values, queryMode: "extended" } : { name, text, values },
      );
      let given = false;
      try {
        for await (const rows of streamRows(this.client, query, chunkRows, cancel)) {
          given = true;
          yield rows;
        }
        return;
      } catch (error) {
        const stale = this.#noteFailure(error as Error, text, name);
        if (!stale || given || again) throw error;
      }
    }
  }

  /** The answer, or an error in `pg`'s words: `pg-cursor` gives none when the connection is lost between the last row and the end of the statement. */
  #unlessLost<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const lost = () => reject(new Error("Connection terminated while rows were read."));
      this.client.once("end", lost);
      answer.then(resolve, reject).finally(() => this.client.off("end", lost));
    });
  }

  #nameOf({ sql, prepare }: Statement): string | undefined {
    if (prepare === false || this.#names === undefined) return undefined;
    let name = this.#names.get(sql);
    if (name === undefined) {
      this.#named += 1;
      name = `t${this.#named}`;
      this.#names.set(sql, name);
    }
    return name;
  }

  /** Forgets a name that is of no use any more; true where the statement only has to be prepared again. */
  #noteFailure(error: Error, sql: string, name: string | undefined): boolean {
    this.#note(error);
    const stale = isServerError(error) && isStalePlan(error);
    // After an error of its own `pg` has closed the name on the server and does not know it.
    if (name !== undefined && (stale || !isServerError(error)) && this.#names?.delete(sql))
      this.#leaving.push(name);
    return stale;
  }

  #note(error: Error): void {
    if (isServerError(error) ? isFatal(error) : isSocketError(error)) this.broken = true;
    if (this.broken || isReadOnly(error)) this.#suspect();
  }

  /** One by one: a name that the server does not have is an error, which ends a list. */
  #deallocate(then: () => void): void {
    const name = this.#leaving.pop();
    if (name === undefined) {
      then();
      return;
    }
    this.#forgotten += 1;
    this.client.query(`deallocate ${name}`, () => this.#deallocate(then));
  }
}
