/**
 * The part of mysql2 that the engine uses, and its loading on first use. The callback interface is wrapped once, by us: mysql2's promise
 * wrapper makes an error with a stack trace for each statement beforehand.
 */
import type { ConnectionOptions, FieldPacket } from "mysql2";
import { TesseraeError } from "../../base/errors.ts";

export type DriverConfig = ConnectionOptions;

/** What the server says about a statement that returns no rows. */
export interface ResultHeader {
  readonly affectedRows: number;
  readonly insertId: number | string;
  readonly serverStatus: number;
}

export type Fields = readonly Pick<FieldPacket, "name" | "columnType">[];

/** One row's bytes on their way, and how far they are read. */
export interface Packet {
  readonly buffer: Buffer;
  offset: number;
  readInt8(): number;
  readSInt8(): number;
  readInt16(): number;
  readSInt16(): number;
  readInt32(): number;
  readSInt32(): number;
  readFloat(): number;
  readDouble(): number;
  readTimeString(): string;
  readLengthCodedString(encoding: string): string;
  readLengthCodedBuffer(): Buffer;
}

export interface ColumnDefinition {
  readonly name: string;
  readonly columnType: number;
  readonly flags: number;
  readonly characterSet: number;
  readonly encoding: string;
}

/** Gives a class whose instances read one row after the other. */
export type BuildParser = (
  this: ExecuteCommand,
  columns: readonly ColumnDefinition[],
  connection: unknown,
) => new () => RowReader;

export interface RowReader {
  next(packet: Packet): Record<string, unknown>;
}

/** A prepared statement on its way. `buildParserFromFields` is asked when the columns are known: inside mysql2, and nowhere documented. */
export interface ExecuteCommand {
  readonly statement?: object;
  buildParserFromFields?: BuildParser;
}

/** A `CALL` gives several results, and then lists of what others get one of. */
export type Callback = (
  error: Error | null,
  rows?: ResultHeader | Record<string, unknown>[] | unknown[],
  fields?: Fields | unknown[],
) => void;

/** A statement on its way, without a callback: it tells of each row as it comes. */
export interface RowCommand {
  on(event: "fields", listener: (fields: Fields | undefined) => void): this;
  on(event: "result", listener: (row: Record<string, unknown> | ResultHeader) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  on(event: "end", listener: () => void): this;
}

export interface DriverStatement {
  execute(parameters: readonly unknown[], callback: Callback): ExecuteCommand;
  execute(parameters: readonly unknown[]): RowCommand & ExecuteCommand;
}

export interface DriverConnection {
  readonly threadId: number;
  connect(callback: (error: Error | null) => void): void;
  prepare(sql: string, callback: (error: Error | null, statement: DriverStatement) => void): void;
  unprepare(sql: string): void;
  query(sql: string, parameters: readonly unknown[], callback: Callback): unknown;
  query(sql: string, parameters: readonly unknown[]): RowCommand;
  pause(): void;
  resume(): void;
  /** Says goodbye to the server after what is under way. */
  end(callback: (error?: Error | null) => void): void;
  /** Cuts the connection. */
  destroy(): void;
  on(event: "error" | "end", listener: (error?: Error) => void): this;
  off(event: "error" | "end", listener: (error?: Error) => void): this;
}

export interface Driver {
  createConnection(config: DriverConfig): DriverConnection;
  /** Parameters with a type of their own; mysql2 would send a bigint as text and any number as a double. */
  longlong(value: bigint): unknown;
  long(value: number): unknown;
  decimal(text: string): unknown;
}

let loading: Promise<Driver> | undefined;

/** Loaded when the first connection is opened: who uses another engine needs no `mysql2`. */
export function loadDriver(): Promise<Driver> {
  loading ??= import("mysql2").then(
    ({ default: mysql2 }): Driver => ({
      createConnection: (config) => mysql2.createConnection(config) as unknown as DriverConnection,
      longlong: (value) => mysql2.TypedParameter.LONGLONG(value),
      long: (value) => mysql2.TypedParameter.LONG(value),
      decimal: (text) => mysql2.TypedParameter.NEWDECIMAL(text),
    }),
    (error: unknown) => {
      loading = undefined;
      if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
      throw new TesseraeError(
        "DRIVER_MISSING",
        "MariaDB and MySQL need the driver mysql2, which is not installed. Run: npm install mysql2",
        { cause: error },
      );
    },
  );
  return loading;
}
