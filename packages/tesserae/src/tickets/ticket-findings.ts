/** What `fed.tickets.check()` says of ticket servers and counters that are not as they should be. */
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import type { KnownSet } from "./ticket-members.ts";
import type { GrowthPhase } from "./ticket-set.ts";

/** What `check` found. */
export interface TicketFinding {
  readonly code: string;
  readonly message: string;
}

export function textOf(error: unknown): string {
  if (isTesseraeError(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

export function findingOf(error: unknown): TicketFinding {
  if (isTesseraeError(error)) return { code: error.code, message: error.message };
  return { code: "TICKETS_UNAVAILABLE", message: textOf(error) };
}

function found(
  code: "TICKET_STEP" | "TICKETS_UNAVAILABLE" | "TICKET_COUNTER_BEHIND",
  message: string,
): TesseraeError {
  return new TesseraeError(code, message, { cluster: "tickets", operation: "tickets.check" });
}

export const notInSet = (address: string) =>
  found(
    "TICKET_STEP",
    `${address} is configured and gives no ids: it is not in the set of ticket servers. "tesserae tickets grow" takes it in, when every process has the configuration.`,
  );

export const notNamed = (missing: number, { set }: Pick<KnownSet, "set">) =>
  found(
    "TICKET_STEP",
    `${missing} of the ${set.servers.length} ticket servers are not in the configuration. Name all of them in the tickets block.`,
  );

export const growing = (phase: GrowthPhase) =>
  found(
    "TICKETS_UNAVAILABLE",
    `The ticket servers are being changed (${phase}). If nobody is at it any more, finish it: "tesserae tickets grow".`,
  );

export const notRead = (reason: string) =>
  found("TICKETS_UNAVAILABLE", `Not everything could be compared: ${reason}`);

export const notWhileGrowing = () =>
  new TesseraeError(
    "TICKETS_UNAVAILABLE",
    'The ticket servers are being changed. Raise the counters when that has ended; "tesserae tickets grow" finishes it.',
    { cluster: "tickets", operation: "tickets.raise" },
  );

export const stoppedCounter = (sequence: string, address: string) =>
  found(
    "TICKET_COUNTER_BEHIND",
    `The counter of the ticket sequence "${sequence}" on ${address} is stopped, because the server was restored from an older state. Raise it: "tesserae tickets raise ${sequence}".`,
  );
