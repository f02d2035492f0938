/** Where blocks of ticket ids come from. */
import { TesseraeError } from "../base/errors.ts";

/** Ids `first`, `first + step`, …: `count` of them, at least one. Nobody else gets any of them, ever. */
export interface TicketBlock {
  readonly first: bigint;
  readonly count: number;
  readonly step: bigint;
}

/** A named sequence with its bounds. */
export interface TicketSequence {
  readonly name: string;
  /** The first id of a sequence that has given none. */
  readonly start: bigint;
  /** The last id that may be given: a 32-bit column takes no more than 2^31 − 1. */
  readonly max: bigint;
}

export interface TicketSource {
  /** Leases `count` ids, or as many as are left; TICKET_SEQUENCE_EXHAUSTED when none is. */
  lease(sequence: TicketSequence, count: number): Promise<TicketBlock>;
}

/** The counters are others' now, and this process does not know them. */
export function movedAway(): TesseraeError {
  return new TesseraeError(
    "TICKETS_MOVED",
    "The ids of this installation come from ticket servers, which this process's configuration does not name: main's counters are closed for good. Give the configuration the tickets block that the other processes have, and start the process again.",
    { cluster: "tickets", operation: "tickets.lease" },
  );
}

export function exhausted(sequence: TicketSequence): TesseraeError {
  return new TesseraeError(
    "TICKET_SEQUENCE_EXHAUSTED",
    `The ticket sequence "${sequence.name}" ends at ${sequence.max}, and has no ids left for this call; a call for fewer may still get the last ones. Ids are never given again: let new rows use a bigint column with a sequence of its own.`,
    { cluster: "tickets", operation: "tickets.lease" },
  );
}
