/**
 * Whether a counter is behind the ids in use. The rows are asked first and the counters then: ids that are given meanwhile only bring a counter further. A
 * server may lawfully be behind the highest id of all, which another one gave; so of those above its counter only its own count.
 */
import { TesseraeError } from "../base/errors.ts";
import { type CounterPlace, type CounterTable, firstFrom } from "./counter-table.ts";
import type { IdsInUse } from "./ids-in-use.ts";
import type { TicketSequence } from "./ticket-source.ts";

export interface CheckedCounter {
  readonly address: string;
  readonly counters: CounterTable;
  readonly place: CounterPlace;
}

export interface CounterFinding {
  readonly counter: CheckedCounter;
  /** The next id that it would give. */
  readonly nextId: bigint;
  /** An id in use that it would give again. */
  readonly inUse: bigint;
}

/** The first counter that is behind; undefined when none is. Databases that do not answer are added to `unread`. */
export async function findCounterBehind(
  sequence: TicketSequence,
  ids: IdsInUse,
  checked: readonly CheckedCounter[],
  unread: string[],
): Promise<CounterFinding | undefined> {
  const highest = await ids.highest(sequence.name);
  unread.push(...highest.unread);
  for (const counter of checked) {
    try {
      const finding = await compareCounter(sequence, ids, counter, highest.id, unread);
      if (finding !== undefined) return finding;
    } catch (error) {
      unread.push(`${counter.address}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return undefined;
}

/** `highest`: the highest id in use, which was read before. */
export async function compareCounter(
  sequence: TicketSequence,
  ids: IdsInUse,
  counter: CheckedCounter,
  highest: bigint | undefined,
  unread: string[],
): Promise<CounterFinding | undefined> {
  if (highest === undefined) return undefined;
  const nextId = await nextIdOf(sequence, counter);
  if (nextId === undefined || nextId > highest) return undefined;
  const range = { from: nextId, upTo: highest, step: BigInt(counter.place.step) };
  const own = await ids.highest(sequence.name, range);
  unread.push(...own.unread);
  if (own.id === undefined) return undefined;
  // It may have been given, and used, only just now.
  const now = await nextIdOf(sequence, counter);
  return now !== undefined && now <= own.id ? { counter, nextId: now, inUse: own.id } : undefined;
}

/** Undefined for a counter that gives nothing now. */
async function nextIdOf(
  sequence: TicketSequence,
  { counters, place }: CheckedCounter,
): Promise<bigint | undefined> {
  const row = await counters.readRow(sequence.name);
  if (row === undefined) return firstFrom(sequence.start, place);
  return row.generation === BigInt(place.generation) ? row.nextId : undefined;
}

export function counterBehind(
  sequence: string,
  { counter: { address }, nextId, inUse }: CounterFinding,
): TesseraeError {
  return new TesseraeError(
    "TICKET_COUNTER_BEHIND",
    `The counter of the ticket sequence "${sequence}" on ${address} would give ${nextId} next, and ${inUse} is in use already: the server was restored from an older state, or rows came in with ids that no ticket gave. Raise it above every id that was ever given: "tesserae tickets raise ${sequence}", or fed.tickets.raise("${sequence}").`,
    { cluster: "tickets", operation: "tickets.check" },
  );
}
