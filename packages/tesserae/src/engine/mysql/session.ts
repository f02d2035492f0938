/**
 * One connection to the server: its prepared statements, and its statements one after the other (mysql2 keeps their order).
 *
 * A prepared statement is kept here by its text, and executed by itself: mysql2's `execute` would look it up again and make a command
 * for that each time. mysql2 has a cache of its own, which is made a little larger than ours, so that ours alone decides what goes.
 */
import { LruMap } from "../../base/lru.ts";
import type { EngineResult, RawRow, Statement } from "../contract.ts";
import type {
  Callback,
  Driver,
  DriverConnection,
  DriverStatement,
  Fields,
  ResultHeader,
  RowCommand,
} from "./driver.ts";
import { isFatal, isNotPreparable } from "./errors.ts";
import { ANYWHERE, COMPARED, DecimalParameter, type Place, parameterPlaces } from "./parameter-places.ts";
import { convertRows, readRowsOf } from "./row-parser.ts";

/** Told when the statement is over, before its promise is settled. */
export interface SessionOwner {
  ended(session: MysqlSession): void;
}

interface Prepared {
  readonly statement: DriverStatement;
  readonly places: readonly Place[];
}

type Done = (error: Error | null, result: EngineResult | undefined) => void;

const IN_TRANSACTION = 1;
const AUTOCOMMIT = 2;

export class MysqlSession {
  readonly client: DriverConnection;
  /** Nothing more may be sent. */
  broken = false;
  /** By what the server said last. */
  inTransaction = false;
  /** Somebody turned autocommit off: the next user must not inherit it. */
  autocommit = true;
  /** When it was last put aside, by `performance.now()`. */
  idleSince = 0;
  readonly #driver: Driver;
  readonly #statements: LruMap<string, Prepared>;

  constructor(client: DriverConnection, driver: Driver, statementCacheEntries: number) {
    this.client = client;
    this.#driver = driver;
    this.#statements = new LruMap(statementCacheEntries, (sql) => {
      if (!this.broken) client.unprepare(sql);
    });
  }

  get statementCount(): number {
    return this.#statements.size;
  }

  run(statement: Statement, owner?: SessionOwner): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      this.#start(statement, (error, result) => {
        owner?.ended(this);
        if (error === null) resolve(result as EngineResult);
        else reject(error);
      });
    });
  }

  /** A statement without parameters that gives no rows, such as `begin`. */
  command(sql: string): Promise<EngineResult> {
    return this.run({ sql, parameters: [], prepare: false });
  }

  /** The statement's rows as they come; see `RowCommand`. */
  async rows(statement: Statement): Promise<RowCommand> {
    const { sql, parameters, prepare = true } = statement;
    if (!prepare) return this.client.query(sql, this.#textParameters(parameters));
    const prepared = await new Promise<Prepared | undefined>((resolve, reject) => {
      this.#prepare(sql, (error, known) => {
        if (error === null) resolve(known);
        else if (isNotPreparable(error)) resolve(undefined);
        else reject(error);
      });
    });
    if (prepared === undefined) return this.client.query(sql, this.#textParameters(parameters));
    const command = prepared.statement.execute(this.#binaryParameters(parameters, prepared.places));
    readRowsOf(command);
    return command;
  }

  #start(statement: Statement, done: Done): void {
    const { sql, parameters, prepare = true } = statement;
    const finish: Callback = (error, rows, fields) => this.#finish(error, rows, fields, done);
    const execute = ({ statement, places }: Prepared) =>
      readRowsOf(statement.execute(this.#binaryParameters(parameters, places), finish));
    try {
      if (!prepare) {
        this.client.query(sql, this.#textParameters(parameters), finish);
        return;
      }
      const known = this.#statements.get(sql);
      if (known !== undefined) {
        execute(known);
        return;
      }
      this.#prepare(sql, (error, prepared) => {
        try {
          if (error === null) execute(prepared as Prepared);
          else if (isNotPreparable(error)) this.client.query(sql, this.#textParameters(parameters), finish);
          else finish(error);
        } catch (unsendable) {
          finish(unsendable as Error);
        }
      });
    } catch (error) {
      finish(error as Error);
    }
  }

  #prepare(sql: string, done: (error: Error | null, prepared: Prepared | undefined) => void): void {
    const known = this.#statements.get(sql);
    if (known !== undefined) {
      done(null, known);
      return;
    }
    this.client.prepare(sql, (error, statement) => {
      if (error !== null) {
        done(error, undefined);
        return;
      }
      const prepared = { statement, places: parameterPlaces(sql) };
      this.#statements.set(sql, prepared);
      done(null, prepared);
    });
  }

  #finish(
    error: Error | null,
    rows: Parameters<Callback>[1],
    fields: Fields | unknown[] | undefined,
    done: Done,
  ): void {
    let result: EngineResult | undefined;
    if (error === null || error === undefined) {
      error = null;
      try {
        result = this.#result(rows, fields);
      } catch (conversion) {
        error = conversion as Error;
      }
    } else if (isFatal(error)) {
      this.broken = true;
    }
    done(error, result);
  }

  #result(rows: Parameters<Callback>[1], fields: Fields | unknown[] | undefined): EngineResult {
    if (!Array.isArray(rows)) return this.#changed(rows as ResultHeader);
    const first = fields?.[0];
    if (Array.isArray(fields) && (first === undefined || Array.isArray(first)) && fields.length > 0) {
      // A CALL: its first result is the answer, its last one the header of the CALL itself.
      const last = rows.at(-1);
      if (last !== undefined && !Array.isArray(last)) this.#changed(last as ResultHeader);
      return this.#result(rows[0] as ResultHeader, first as Fields | undefined);
    }
    convertRows(rows as RawRow[], fields as Fields);
    return { rows: rows as RawRow[], affectedRows: undefined, insertId: undefined };
  }

  #changed(header: ResultHeader): EngineResult {
    const { affectedRows, insertId, serverStatus } = header;
    this.inTransaction = (serverStatus & IN_TRANSACTION) !== 0;
    this.autocommit = (serverStatus & AUTOCOMMIT) !== 0;
    return {
      rows: [],
      affectedRows: affectedRows === 1 ? 1n : BigInt(affectedRows),
      insertId: insertId === 0 ? undefined : BigInt(insertId),
    };
  }

  /** See parameter-places.ts. */
  #binaryParameters(parameters: readonly unknown[], places: readonly Place[]): unknown[] {
    const values = new Array<unknown>(parameters.length);
    for (let i = 0; i < parameters.length; i++) {
      const value = parameters[i];
      const place = places[i] ?? ANYWHERE;
      if (typeof value === "bigint") {
        values[i] = place === ANYWHERE ? this.#driver.longlong(value) : value.toString();
      } else if (typeof value === "number") {
        values[i] = place === ANYWHERE && Number.isSafeInteger(value) ? this.#integer(value) : value;
      } else if (value instanceof DecimalParameter) {
        values[i] = place <= COMPARED ? this.#driver.decimal(value.text) : value.text;
      } else {
        values[i] = value instanceof Uint8Array ? asBuffer(value) : value;
      }
    }
    return values;
  }

  #integer(value: number): unknown {
    return value === (value | 0) ? this.#driver.long(value) : this.#driver.longlong(BigInt(value));
  }

  #textParameters(parameters: readonly unknown[]): unknown[] {
    return parameters.map((value) => (value instanceof Uint8Array ? asBuffer(value) : value));
  }
}

const asBuffer = (value: Uint8Array): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
