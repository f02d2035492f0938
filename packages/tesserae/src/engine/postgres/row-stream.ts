/**
 * The rows of one statement in chunks, without a cursor: the server works for the whole answer, and its socket is not read while nobody wants rows. What an early end leaves unread is read
 * for a moment, and then the statement is stopped.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { PoolClient } from "pg";
import type { RawRow } from "../contract.ts";

/** How long the rest of an abandoned answer is read before the statement is stopped. */
const DRAIN_MS = 20;

/** `pg`'s own query, which tells each row where nobody gave it a callback. */
export interface RowQuery {
  on(event: "row", listener: (row: RawRow) => void): this;
  on(event: "end", listener: () => void): this;
  on(event: "error", listener: (error: Error) => void): this;
}

/** The driver's socket. */
interface Flow {
  pause(): void;
  resume(): void;
}

/** `cancel` ends what runs on the client. */
export async function* streamRows(
  client: PoolClient,
  query: RowQuery,
  chunkRows: number,
  cancel: () => Promise<void>,
): AsyncGenerator<RawRow[], void, undefined> {
  const flow = (client as unknown as { readonly connection: { readonly stream: Flow } }).connection.stream;
  const full: RawRow[][] = [];
  let chunk: RawRow[] = [];
  let isOver = false;
  let isLeft = false;
  let failure: Error | undefined;
  let wake: () => void = () => {};
  const end = (error?: Error) => {
    failure ??= error;
    isOver = true;
    wake();
  };
  const lost = () => end(new Error("Connection terminated while rows were read."));
  query
    .on("row", (row) => {
      if (isLeft) return;
      chunk.push(row);
      if (chunk.length < chunkRows) return;
      full.push(chunk);
      chunk = [];
      flow.pause();
      wake();
    })
    .on("end", () => end())
    .on("error", end);
  client.once("end", lost);
  client.query(query as never);
  try {
    for (;;) {
      const next = full.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      if (isOver) break;
      const arrival = new Promise<void>((resolve) => {
        wake = resolve;
      });
      flow.resume();
      await arrival;
    }
    if (failure !== undefined) throw failure;
    if (chunk.length > 0) yield chunk;
  } finally {
    isLeft = true;
    flow.resume();
    if (!isOver) await leave();
    client.off("end", lost);
  }

  async function leave(): Promise<void> {
    const over = new Promise<void>((resolve) => {
      wake = resolve;
    });
    await Promise.race([over, sleep(DRAIN_MS)]);
    if (isOver) return;
    await cancel();
    await over;
  }
}
