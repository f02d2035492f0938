/** What there is for each sequence: ids in memory (`BlockStock`), or none (`DirectIds`); and what is refused of every call. */
import { TesseraeError } from "../base/errors.ts";

/** What one `take` may ask for: the ids are handed over as one array. Also the largest block. */
export const TAKE_MAX = 1_000_000;

export interface IdStock {
  /** An id at once, where nothing else is to be done; undefined: call `next`. */
  pop(): bigint | undefined;
  next(): Promise<bigint>;
  take(count: number): Promise<bigint[]>;
  /** Waits for leases under way, and begins none but for callers who wait already. */
  close(): Promise<void>;
}

/** VALUE_INVALID for a count that is none; `call` is the method's name. */
export function checkCount(call: string, of: string, count: number): void {
  if (Number.isSafeInteger(count) && count >= 1 && count <= TAKE_MAX) return;
  throw new TesseraeError(
    "VALUE_INVALID",
    `${call}("${of}", ${count}): the count is a whole number from 1 to ${TAKE_MAX}.`,
    { cluster: "tickets", operation: call },
  );
}

const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** Whether a number of JavaScript holds the id exactly. */
export const isSafe = (id: bigint): boolean => id <= SAFE_MAX;

/** The id as a number; TICKET_UNSAFE for one that would be cut. */
export function safeNumber(sequence: string, id: bigint): number {
  if (isSafe(id)) return Number(id);
  throw new TesseraeError(
    "TICKET_UNSAFE",
    `The next id of the sequence "${sequence}", ${id}, is above 2^53 - 1, and a number of JavaScript would not hold it exactly. Take ids as bigint: tickets.next("${sequence}") and tickets.take, or fed.ids for a bigint() column.`,
    { cluster: "tickets" },
  );
}
