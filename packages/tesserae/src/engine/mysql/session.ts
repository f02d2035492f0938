/** One connection to the server and what the server said last of its state. mysql2 sends its statements one after the other and keeps the prepared ones. */
import type { FieldPacket, PoolConnection, Query, ResultSetHeader } from "mysql2";
import type { EngineResult, RawRow, Statement } from "../contract.ts";
import type { Driver } from "./driver.ts";
import { isFatal, isNotPreparable } from "./errors.ts";
import { binaryParameters, textParameters } from "./parameters.ts";
import { convertRows } from "./raw-rows.ts";

export type Done = (error: Error | null, result?: EngineResult) => void;

/** A `CALL` gives several results, and then lists of what others get one of. */
type Rows = ResultSetHeader | RawRow[] | unknown[];
type Fields = FieldPacket[] | (FieldPacket[] | undefined)[] | undefined;

const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

export class MysqlSession {
  readonly client: PoolConnection;
  /** In somebody's hands. */
  inUse = false;
  /** Nothing more may be sent. */
  broken = false;
  /** By what the server said last. */
  inTransaction = false;
  /** Among servers that replicate; undefined where nobody asked. */
  serverId: string | undefined;
  /** Somebody turned autocommit off: the next user must not inherit it. */
  autocommit = true;
  readonly #types: Driver["TypedParameter"];

  constructor(client: PoolConnection, driver: Driver) {
    this.client = client;
    // Read once: behind the name is a getter that calls `require`, which takes ten microseconds.
    this.#types = driver.TypedParameter;
  }

  run(statement: Statement): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      this.start(statement, (error, result) =>
        error === null ? resolve(result as EngineResult) : reject(error),
      );
    });
  }

  /** A statement without parameters that gives no rows, such as `begin`. */
  command(sql: string): Promise<EngineResult> {
    return this.run({ sql, parameters: [], prepare: false });
  }

  /** When the connection is lost, mysql2 may call back twice. */
  start(statement: Statement, done: Done): void {
    const { sql, parameters, prepare = true } = statement;
    const finish = (error: Error | null, rows?: unknown, fields?: unknown) => {
      if (prepare && isNotPreparable(error)) this.start({ sql, parameters, prepare: false }, done);
      else this.#finish(error, rows as Rows, fields as Fields, done);
    };
    try {
      if (prepare) this.client.execute(sql, binaryParameters(parameters, this.#types), finish);
      else this.client.query(sql, textParameters(parameters), finish);
    } catch (unsendable) {
      done(unsendable as Error);
    }
  }

  /** The statement on its way, for its rows one after the other. */
  send({ sql, parameters, prepare = true }: Statement): Query {
    return prepare
      ? this.client.execute(sql, binaryParameters(parameters, this.#types))
      : this.client.query(sql, textParameters(parameters));
  }

  #finish(error: Error | null, rows: Rows, fields: Fields, done: Done): void {
    if (error !== null) {
      if (isFatal(error)) this.broken = true;
      done(error);
      return;
    }
    let result: EngineResult;
    try {
      result = this.#result(rows, fields);
    } catch (conversion) {
      done(conversion as Error);
      return;
    }
    done(null, result);
  }

  #result(rows: Rows, fields: Fields): EngineResult {
    if (!Array.isArray(rows)) return this.#changed(rows);
    const first = fields?.[0];
    if (fields !== undefined && fields.length > 0 && (first === undefined || Array.isArray(first))) {
      // A CALL: its first result is the answer, its last one the header of the CALL itself.
      const last = rows.at(-1);
      if (last !== undefined && !Array.isArray(last)) this.#changed(last as ResultSetHeader);
      return this.#result(rows[0] as Rows, first);
    }
    convertRows(rows as RawRow[], fields as FieldPacket[]);
    return { rows: rows as RawRow[], affectedRows: undefined, insertId: undefined };
  }

  #changed({ affectedRows, insertId, serverStatus }: ResultSetHeader): EngineResult {
    this.inTransaction = (serverStatus & IN_TRANSACTION) !== 0;
    this.autocommit = (serverStatus & AUTOCOMMIT) !== 0;
    return {
      rows: [],
      affectedRows: BigInt(affectedRows),
      insertId: insertId === 0 ? undefined : BigInt(insertId),
    };
  }
}
