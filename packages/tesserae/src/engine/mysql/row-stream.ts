/**
 * The rows of one statement in chunks, by mysql2's stream, which stops reading the socket while nobody reads it. The server sends a result as a
 * whole (mysql2 knows no cursors), so what an early end leaves unread has to be read or stopped.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { FieldPacket } from "mysql2";
import type { RawRow, Statement } from "../contract.ts";
import { isFatal, LostError } from "./errors.ts";
import { convertRows } from "./raw-rows.ts";
import type { MysqlSession } from "./session.ts";

/** How long the rest of an abandoned result is read before the statement is stopped. */
const DRAIN_MS = 20;

/** `killStatement` ends what runs on the session, and leaves its transaction as it is. */
export async function* streamChunks(
  session: MysqlSession,
  statement: Statement,
  chunkRows: number,
  killStatement: () => Promise<void>,
): AsyncGenerator<RawRow[], void, undefined> {
  // On a connection that is closed mysql2 leaves a command without a callback unanswered for good.
  if (session.broken) throw new LostError("The connection was lost before the statement was sent.");
  const command = session.send(statement);
  let fields: readonly FieldPacket[] | undefined;
  let over = false;
  let tellOver: () => void = () => {};
  const untilOver = new Promise<void>((resolve) => {
    tellOver = () => {
      over = true;
      resolve();
    };
  });
  command.on("fields", (columns: unknown) => {
    fields = columns as FieldPacket[] | undefined;
  });
  command.on("end", tellOver);
  // The stream hears it, until it is left early: then the error is that of the stopped statement, and nobody's.
  command.on("error", () => undefined);
  const rows = command.stream({ highWaterMark: chunkRows });
  let failure: Error | undefined;
  let wake: () => void = () => {};
  rows
    .on("readable", () => wake())
    .on("end", () => wake())
    .on("error", (error) => {
      failure = error;
      wake();
    });
  // A connection that is lost tells itself, but not a command without a callback.
  const lost = (error?: Error) => {
    session.broken = true;
    rows.destroy(error ?? new LostError("The connection was lost."));
    tellOver();
  };
  session.client.on("error", lost).on("end", lost);
  try {
    let chunk: RawRow[] = [];
    for (;;) {
      // Not `for await`: a promise for each row costs more than the row.
      const row: RawRow | null = rows.read();
      if (row === null) {
        // An error that was met while this row was read for is told in the next turn; by then it would be taken for the end.
        const error = failure ?? rows.errored;
        if (error) throw error;
        if (rows.readableEnded || rows.closed) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      // A statement that returns no rows tells its header in their place.
      if (fields === undefined) continue;
      chunk.push(row);
      if (chunk.length < chunkRows) continue;
      convertRows(chunk, fields);
      yield chunk;
      chunk = [];
    }
    if (fields !== undefined && chunk.length > 0) {
      convertRows(chunk, fields);
      yield chunk;
    }
  } catch (error) {
    if (isFatal(error)) session.broken = true;
    throw error;
  } finally {
    rows.destroy();
    if (!over && !session.broken) await abandon();
    session.client.off("error", lost).off("end", lost);
  }

  async function abandon(): Promise<void> {
    await Promise.race([untilOver, sleep(DRAIN_MS)]);
    if (over) return;
    try {
      await killStatement();
      await untilOver;
      // The order may have come when the statement was over: it must not hit the next one.
      await session.command("do 0").catch(() => undefined);
    } catch {
      session.broken = true;
    }
  }
}
