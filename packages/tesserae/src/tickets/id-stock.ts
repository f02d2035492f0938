/** What `Tickets` has for each sequence: ids in memory (`BlockStock`), or none (`DirectIds`). */

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
