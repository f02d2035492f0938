/**
 * COPY over `pg`'s connections. `pg` hands COPY's messages on to whatever query runs, so it needs no further package: what is submitted here is a query of `pg`'s own kind.
 *
 * The data are not looked at. The server sends a message a row; they are gathered into pieces before they go on, since a write to a socket costs more than a row.
 */
import type { Socket } from "node:net";
import type { PoolClient, Submittable } from "pg";

/** `pg`'s connection below the client. */
interface Wire {
  readonly stream: Socket;
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(reason: string): void;
}

const PIECE_BYTES = 256 * 1024;

const countOf = ({ text }: { readonly text: string }): number => Number(/^COPY (\d+)/.exec(text)?.[1] ?? 0);

/** What both directions share: how a query of `pg` ends. */
abstract class CopyQuery implements Submittable {
  readonly done: Promise<number>;
  protected wire: Wire | undefined;
  readonly #text: string;
  readonly #end: { resolve(rows: number): void; reject(error: Error): void };
  #rows = 0;
  /** `pg` puts its time limit around it. */
  callback: (error?: Error) => void = () => undefined;

  constructor(text: string) {
    this.#text = text;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.done = promise;
    this.#end = { resolve, reject };
    // Whoever waits hears of it; until then it is nobody's unhandled rejection.
    promise.catch(() => undefined);
  }

  submit = (wire: unknown): void => {
    this.wire = wire as Wire;
    this.wire.query(this.#text);
  };

  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = countOf(message);
  }

  handleReadyForQuery(): void {
    this.callback();
    this.#end.resolve(this.#rows);
  }

  handleError(error: Error): void {
    this.callback(error);
    this.#end.reject(error);
  }
}

/** `copy (…) to stdout`. `take` gets pieces of data; while its promise is pending the server waits. */
export class CopyOut extends CopyQuery {
  readonly #take: (piece: Buffer) => Promise<void> | undefined;
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #used = 0;

  constructor(text: string, take: (piece: Buffer) => Promise<void> | undefined) {
    super(text);
    this.#take = take;
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    if (chunk.length > PIECE_BYTES) {
      this.#flush();
      this.#give(Buffer.from(chunk));
      return;
    }
    if (this.#used + chunk.length > PIECE_BYTES) this.#flush();
    chunk.copy(this.#piece, this.#used);
    this.#used += chunk.length;
  }

  override handleReadyForQuery(): void {
    this.#flush();
    super.handleReadyForQuery();
  }

  #flush(): void {
    if (this.#used === 0) return;
    this.#give(this.#piece.subarray(0, this.#used));
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#used = 0;
  }

  #give(piece: Buffer): void {
    const taken = this.#take(piece);
    if (taken === undefined) return;
    const stream = this.wire?.stream;
    stream?.pause();
    taken.finally(() => stream?.resume()).catch(() => undefined);
  }
}

/** `copy … from stdin`. After an error of the server, which `done` tells, what is written goes nowhere. */
export class CopyIn extends CopyQuery {
  readonly #ready = Promise.withResolvers<void>();
  #open = false;
  #drained: Promise<void> | undefined;

  /** When the server takes data; also when it refused the statement. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  handleCopyInResponse(): void {
    this.#open = true;
    this.#ready.resolve();
  }

  override handleError(error: Error): void {
    this.#open = false;
    this.#ready.resolve();
    super.handleError(error);
  }

  /** A promise where the server is slower than we are. */
  write(piece: Buffer): Promise<void> | undefined {
    if (!this.#open || this.wire === undefined) return undefined;
    this.wire.sendCopyFromChunk(piece);
    const { stream } = this.wire;
    if (!stream.writableNeedDrain) return undefined;
    this.#drained ??= new Promise((resolve) => {
      const go = () => {
        this.#drained = undefined;
        stream.off("drain", go).off("close", go);
        resolve();
      };
      stream.once("drain", go).once("close", go);
    });
    return this.#drained;
  }

  end(): void {
    if (this.#open) this.wire?.endCopyFrom();
    this.#open = false;
  }

  /** Ends the statement with an error, and with it what it has written. */
  fail(reason: string): void {
    if (this.#open) this.wire?.sendCopyFail(reason);
    this.#open = false;
  }
}

/** Pipes one COPY into another. The error of the statement that failed first; both connections have ended their statements then. */
export async function pipeCopy(
  source: { readonly client: PoolClient; readonly sql: string },
  target: { readonly client: PoolClient; readonly sql: string },
): Promise<number> {
  const into = new CopyIn(target.sql);
  target.client.query(into);
  await into.ready;
  const out = new CopyOut(source.sql, (piece) => into.write(piece));
  source.client.query(out);
  try {
    await out.done;
    into.end();
  } catch (error) {
    into.fail("The source failed.");
    await into.done.catch(() => undefined);
    throw error;
  }
  return into.done;
}
