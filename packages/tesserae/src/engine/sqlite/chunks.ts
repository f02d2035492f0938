/** A cursor's rows in chunks. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { RawRow, Statement } from "../contract.ts";
import type { Handle } from "./handle.ts";

/** After so long a process's other work gets its turn between two chunks. */
const TURN_MS = 5;

export async function* chunksOf(
  handle: Handle,
  statement: Statement,
  chunkRows: number,
): AsyncGenerator<RawRow[], void, undefined> {
  const rows = handle.iterate(statement);
  let turn = performance.now();
  try {
    for (;;) {
      const chunk: RawRow[] = [];
      for (let next = rows.next(); !next.done; next = rows.next()) {
        chunk.push(next.value);
        if (chunk.length >= chunkRows) break;
      }
      if (chunk.length > 0) yield chunk;
      if (chunk.length < chunkRows) return;
      if (performance.now() - turn > TURN_MS) {
        await nextTurn();
        turn = performance.now();
      }
    }
  } finally {
    rows.return();
  }
}
