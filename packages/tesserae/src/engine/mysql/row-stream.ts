/**
 * The rows of one statement in chunks, with back-pressure: the socket is read no further while the reader has two chunks waiting. The server sends
 * a result as a whole (mysql2 knows no cursors), so what an early end leaves unread has to be read, stopped or cut off.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { RawRow } from "../contract.ts";
import type { Fields, ResultHeader, RowCommand } from "./driver.ts";
import { isFatal } from "./errors.ts";
import { convertRows } from "./row-parser.ts";
import type { MysqlSession } from "./session.ts";

const CHUNKS_WAITING_MAX = 2;
/** How long the rest of an abandoned result is read before something is done about it. */
const DRAIN_MS = 20;

export class RowStream {
  /** The server has sent everything, or the statement failed. */
  ended = false;
  readonly #session: MysqlSession;
  readonly #chunkRows: number;
  readonly #chunks: RawRow[][] = [];
  #chunk: RawRow[] = [];
  #fields: Fields = [];
  #error: Error | undefined;
  #abandoned = false;
  #wake: () => void = () => {};

  constructor(session: MysqlSession, command: RowCommand, chunkRows: number) {
    this.#session = session;
    this.#chunkRows = Math.max(1, chunkRows);
    command.on("fields", (fields) => {
      if (fields !== undefined) this.#fields = fields;
    });
    command.on("result", (row) => this.#take(row));
    command.on("error", (error) => {
      this.#error = error;
      if (isFatal(error)) session.broken = true;
    });
    command.on("end", () => this.#end());
    // A connection that is lost tells itself and its callbacks, but not a command without one.
    session.client.on("error", this.#onLost);
  }

  readonly #onLost = (error?: Error): void => {
    this.#error ??= error ?? new Error("The connection was lost");
    this.#end();
  };

  #take(row: RawRow | ResultHeader): void {
    // A statement that returns no rows tells its header in their place.
    if (this.#abandoned || this.#fields.length === 0) return;
    this.#chunk.push(row as RawRow);
    if (this.#chunk.length < this.#chunkRows) return;
    this.#finishChunk();
    if (this.#chunks.length >= CHUNKS_WAITING_MAX) this.#session.client.pause();
    this.#wake();
  }

  #finishChunk(): void {
    convertRows(this.#chunk, this.#fields);
    this.#chunks.push(this.#chunk);
    this.#chunk = [];
  }

  #end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#session.client.off("error", this.#onLost);
    if (this.#chunk.length > 0 && !this.#abandoned) this.#finishChunk();
    this.#wake();
  }

  /** The next chunk; undefined after the last one. */
  async next(): Promise<RawRow[] | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        if (!this.ended && this.#chunks.length < CHUNKS_WAITING_MAX) this.#session.client.resume();
        return chunk;
      }
      if (this.ended) {
        if (this.#error !== undefined) throw this.#error;
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /**
   * Nobody wants the rest. A short one is read; otherwise the connection is cut, unless a transaction is open on it: that is the
   * caller's still, so the statement alone is ended, from another connection.
   */
  async abandon(killStatement: () => Promise<void>): Promise<void> {
    this.#abandoned = true;
    this.#chunks.length = 0;
    this.#session.client.resume();
    await Promise.race([this.#untilEnd(), sleep(DRAIN_MS)]);
    if (this.ended) return;
    if (!this.#session.inTransaction) {
      this.#session.broken = true;
      this.#session.client.destroy();
      return;
    }
    await killStatement();
    await this.#untilEnd();
    // The order may have come when the statement was over: it must not hit the next one.
    await this.#session.command("do 0").catch(() => undefined);
  }

  async #untilEnd(): Promise<void> {
    while (!this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
