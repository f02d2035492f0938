/** Where a test may stop or kill a growth: each names what has just been made durable, or is about to be. */
export const TICKET_POINTS = [
  "prepared",
  "recorded",
  "fence:server",
  "fenced",
  "floors",
  "open:server",
  "opened",
  "done",
  "abort:recorded",
  "abort:server",
  "aborted",
] as const;
export type TicketPoint = (typeof TICKET_POINTS)[number];

/** What tests reach into the tickets of a federation with: `federate({ …, [TICKET_INTERNALS]: { at } })`. No part of the public interface. */
export const TICKET_INTERNALS = Symbol.for("tesserae.ticket-internals");

export interface TicketInternals {
  /** Called at each named point of a growth: a test stops or kills the process there. */
  readonly at?: ((point: TicketPoint) => void | Promise<void>) | undefined;
  /** How long a lease waits for a growth of somebody else before it takes it up, in milliseconds. */
  readonly patienceMs?: number | undefined;
  /** How long a lease waits for a growth at all. */
  readonly growthWaitMs?: number | undefined;
}
