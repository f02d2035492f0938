/** Asks one server for its part in replication, on a connection of its own, so that the answer does not wait behind the application's statements. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { Database, EngineDialect, EngineReplication, RawRow } from "../engine/contract.ts";
import { INSTALLATION_META, META_TABLE, SHARD_META } from "../engine/control-tables.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { closedError } from "../engine/failover-errors.ts";
import { withDeadline } from "./deadline.ts";

/** A server that has not answered after this time hangs, in ms. */
export const ANSWER_MS_MAX = 1_000;

export interface ReplicationStatus {
  /** Undefined where the server keeps none. */
  readonly position: string | undefined;
  /** Of a primary, the end of its log, where it has what is not committed yet. */
  readonly written: string | undefined;
  /** Of a primary, how much of it replicas can have been sent. */
  readonly sent: string | undefined;
  readonly writable: boolean;
}

/** The server hangs: it neither answers nor refuses. */
export class NoAnswer extends TesseraeError {
  constructor(display: string) {
    super("CONNECTION_LOST", `${display} did not answer within ${ANSWER_MS_MAX} ms.`);
  }
}

const IDENTITY_SQL = `select name, value from ${META_TABLE} where name in ('${INSTALLATION_META}', '${SHARD_META}') order by name`;

export class StatusQuestion {
  readonly #replication: EngineReplication;
  readonly #dialect: EngineDialect;
  readonly #display: string;
  readonly #open: () => Database;
  #database: Database | undefined;
  #closed = false;

  /** `open` gives a pool of one connection. */
  constructor(replication: EngineReplication, dialect: EngineDialect, display: string, open: () => Database) {
    this.#replication = replication;
    this.#dialect = dialect;
    this.#display = display;
    this.#open = open;
  }

  /** Rejects with a TesseraeError; NoAnswer where the server did not answer in time. */
  async ask(): Promise<ReplicationStatus> {
    const [row] = await this.#select(this.#replication.statusSql);
    const { position, written, sent, writable } = row as RawRow;
    return {
      position: textOf(position),
      written: textOf(written),
      sent: textOf(sent),
      writable: Number(writable) === 1,
    };
  }

  /** Whose database it is, by its control tables; undefined where there are none. A copy says the same as its primary. */
  async askIdentity(): Promise<string | undefined> {
    try {
      const rows = await this.#select(IDENTITY_SQL);
      return rows.length === 0 ? undefined : JSON.stringify(rows);
    } catch (error) {
      if (isTesseraeError(error, "SCHEMA_NOT_APPLIED")) return undefined;
      throw error;
    }
  }

  async #select(sql: string): Promise<readonly RawRow[]> {
    if (this.#closed) throw closedError(this.#display);
    this.#database ??= this.#open();
    const database = this.#database;
    try {
      const answer = database.run({ sql, parameters: [], readOnly: true });
      return (await withDeadline(answer, ANSWER_MS_MAX, () => new NoAnswer(this.#display))).rows;
    } catch (error) {
      // Whatever the connection still waits for, nobody waits for any more.
      if (this.#database === database) this.forget();
      throw error instanceof NoAnswer ? error : toEngineError(error, this.#dialect, {});
    }
  }

  /** The next question goes by a new connection. */
  forget(): void {
    void this.#database?.close(0).catch(() => undefined);
    this.#database = undefined;
  }

  /** Nobody is asked any more; who asks later gets CLOSED, and no connection is opened for it. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#database?.close(0);
  }
}

function textOf(value: unknown): string | undefined {
  const text = value === null || value === undefined ? "" : String(value);
  return text === "" ? undefined : text;
}
