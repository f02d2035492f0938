/**
 * One round trip on a connection: the object that `pg` submits and feeds with the server's answers (its Submittable, as pg-cursor and
 * pg-copy-streams use it).
 */
import type { EngineResult, RawRow } from "../contract.ts";
import { type FieldReader, readerOf } from "./codecs.ts";

/** The columns of a result, as the server described them. */
export interface Columns {
  readonly names: readonly string[];
  readonly readers: readonly (FieldReader | undefined)[];
}

/** The parts of `pg`'s connection that a round uses. */
interface DriverConnection {
  readonly stream: { readonly writable: boolean; write(bytes: Uint8Array): boolean };
}

export interface RoundEnd {
  finished(round: Round): void;
  failed(round: Round, error: Error): void;
}

export class Round {
  rows: RawRow[] = [];
  /** The command tag: "INSERT 0 1", "COMMIT". */
  tag = "";
  /** The portal has more rows. */
  suspended = false;
  columns: Columns | undefined;
  readonly #message: Uint8Array;
  readonly #end: RoundEnd;
  #readerError: Error | undefined;

  constructor(message: Uint8Array, columns: Columns | undefined, end: RoundEnd) {
    this.#message = message;
    this.columns = columns;
    this.#end = end;
  }

  submit(connection: DriverConnection): void {
    // A socket that is gone has told the client so, or will: the error comes from there.
    if (connection.stream.writable) connection.stream.write(this.#message);
  }

  handleRowDescription(message: {
    readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[];
  }): void {
    this.columns = {
      names: message.fields.map((field) => field.name),
      readers: message.fields.map((field) => readerOf(field.dataTypeID)),
    };
  }

  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void {
    const { fields } = message;
    const { names, readers } = this.columns as Columns;
    const row: RawRow = {};
    try {
      for (let i = 0; i < fields.length; i++) {
        const text = fields[i] as string | null;
        const reader = readers[i];
        row[names[i] as string] = text === null || reader === undefined ? text : reader(text);
      }
      this.rows.push(row);
    } catch (error) {
      this.#readerError = error as Error;
    }
  }

  handleCommandComplete(message: { readonly text: string }): void {
    this.tag = message.text;
  }

  handlePortalSuspended(): void {
    this.suspended = true;
  }

  handleEmptyQuery(): void {}

  handleCopyInResponse(connection: { sendCopyFail(reason: string): void }): void {
    connection.sendCopyFail("COPY from the client is not supported here");
  }

  handleCopyData(): void {}

  handleError(error: Error): void {
    this.#end.failed(this, error);
  }

  handleReadyForQuery(): void {
    if (this.#readerError === undefined) this.#end.finished(this);
    else this.#end.failed(this, this.#readerError);
  }

  result(): EngineResult {
    return { rows: this.rows, affectedRows: affectedRows(this.tag), insertId: undefined };
  }
}

/** From the command tag: "UPDATE 3", "INSERT 0 3"; nothing for a read or a command without a count. */
function affectedRows(tag: string): bigint | undefined {
  switch (tag.charCodeAt(0)) {
    case 73: // INSERT
    case 85: // UPDATE
    case 68: // DELETE
    case 77: // MERGE
    case 67: {
      // COPY
      const count = tag.slice(tag.lastIndexOf(" ") + 1);
      if (count === "1") return 1n;
      return /^\d+$/.test(count) ? BigInt(count) : undefined;
    }
    default:
      return undefined;
  }
}
