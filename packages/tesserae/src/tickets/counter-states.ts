/** Closing and opening all counters of one server, each in one transaction under the lock of the server's state; see `ticket-growth.ts`. */
import { TesseraeError } from "../base/errors.ts";
import type { ControlTransaction } from "../engine/control-store.ts";
import {
  type CounterPlace,
  type CounterRow,
  type CounterState,
  type CounterTable,
  firstFrom,
  isStopped,
} from "./counter-table.ts";
import type { TicketSequence } from "./ticket-source.ts";

/**
 * Closes a server's counters for the growth to `next`, and gives what they were; also when they are closed already. Undefined when the growth went on, or was turned
 * back, without the caller.
 */
export function closeCounters(
  counters: CounterTable,
  set: { readonly generation: number },
  next: number,
  sequences: readonly TicketSequence[],
): Promise<ReadonlyMap<string, bigint> | undefined> {
  return counters.store.transaction(async (transaction) => {
    const state = await counters.lockState(transaction);
    if (state.generation !== set.generation || state.barred >= next) return undefined;
    const rows = await counters.readRows(transaction);
    const stopped = rows.find(isStopped);
    if (stopped !== undefined) throw stoppedRow(counters.store.database.engine.address.display, stopped);
    const closed = new Map<string, bigint>();
    for (const row of rows) {
      closed.set(row.name, row.closedId ?? row.nextId);
      if (row.generation === BigInt(set.generation))
        await counters.closeRow(transaction, row.name, row.nextId, set.generation);
    }
    // In main's table a library that knows no generations would make a row that is not there.
    for (const { name, start } of set.generation === 0 ? sequences : []) {
      if (closed.has(name)) continue;
      await counters.closeRow(transaction, name, start, 0);
      closed.set(name, start);
    }
    if (state.state === "open") await counters.writeState(transaction, { ...state, state: "closed" });
    return closed;
  });
}

/** Lets a server count in a set, from the floors on: main's rows, whose `closedId` nobody may go below. Does nothing where that was done already. */
export function openCounters(
  counters: CounterTable,
  place: CounterPlace,
  floors: readonly CounterRow[],
): Promise<void> {
  return counters.store.transaction(async (transaction) => {
    const state = await counters.lockState(transaction);
    if (state.generation >= place.generation) return;
    if (state.state === "open")
      throw new Error(`The counters of ${counters.store.database.engine.address.display} were not closed.`);
    const own = new Map((await counters.readRows(transaction)).map((row) => [row.name, row]));
    const lowest = new Map(floors.map(({ name, closedId }) => [name, closedId ?? 1n]));
    for (const { name, closedId } of own.values())
      lowest.set(name, max(lowest.get(name) ?? 1n, closedId ?? 1n));
    for (const [name, low] of lowest) {
      const nextId = firstFrom(low, place);
      if (own.has(name)) await counters.writeRow(transaction, name, nextId, place);
      else await counters.insertRow(transaction, name, nextId, place);
    }
    await counters.writeState(transaction, { ...place, state: "open", barred: state.barred });
  });
}

/** Lifts the counters of a server that counts in a set to the floors, where they are below; stopped ones stay stopped. */
export function liftCounters(
  counters: CounterTable,
  place: CounterPlace,
  floors: readonly CounterRow[],
): Promise<void> {
  return counters.store.transaction(async (transaction) => {
    const { state, generation } = await counters.lockState(transaction);
    // What a lost growth had closed is opened by its turning back.
    if (generation !== place.generation) throw closedMeanwhile();
    const own = new Map((await counters.readRows(transaction)).map((row) => [row.name, row]));
    for (const { name, closedId } of floors) {
      const row = own.get(name);
      const nextId = firstFrom(closedId ?? 1n, place);
      if (row === undefined) {
        await counters.insertRow(transaction, name, nextId, place);
        if (state === "closed") await counters.closeRow(transaction, name, nextId, generation);
      } else if ((row.closedId ?? row.nextId) < nextId) {
        if (isStopped(row)) await counters.stopRow(transaction, name, nextId, place);
        else if (row.generation < 0n) await counters.closeRow(transaction, name, nextId, generation);
        else await counters.writeRow(transaction, name, nextId, place);
      }
    }
  });
}

/** Opens what was closed for the growth to `next`, as it was, and lets that growth close it no more. */
export function reopenCounters(
  counters: CounterTable,
  set: { readonly generation: number },
  next: number,
): Promise<void> {
  return counters.store.transaction(async (transaction) => {
    const state = await counters.lockState(transaction);
    if (state.generation !== set.generation || state.barred >= next) return;
    for (const row of await counters.readRows(transaction))
      if (row.generation < 0n && row.closedId !== null)
        await counters.writeRow(transaction, row.name, row.closedId, state);
    await counters.writeState(transaction, { ...state, state: "open", barred: next });
  });
}

/** Lifts one counter to `lowest` at least, and opens it where it was stopped. Gives its next id. `names`: every sequence that may have given ids. */
export function raiseCounter(
  counters: CounterTable,
  name: string,
  lowest: bigint,
  place: CounterPlace,
  names: readonly string[],
): Promise<bigint> {
  return counters.store.transaction(async (transaction) => {
    const state = await counters.lockState(transaction);
    if (state.generation < place.generation) await joinAgain(counters, transaction, state, place, names);
    else if (state.state !== "open" || state.generation !== place.generation) throw closedMeanwhile();
    const row = await counters.lockRow(transaction, name);
    const nextId = firstFrom(max(lowest, row?.nextId ?? 1n), place);
    if (row === undefined) await counters.insertRow(transaction, name, nextId, place);
    else await counters.writeRow(transaction, name, nextId, place);
    return nextId;
  });
}

/** A server that was restored from before the set there is: it counts for the set again, with every counter stopped until it is raised. */
async function joinAgain(
  counters: CounterTable,
  transaction: ControlTransaction,
  state: CounterState,
  place: CounterPlace,
  names: readonly string[],
): Promise<void> {
  const rows = new Map((await counters.readRows(transaction)).map((row) => [row.name, row]));
  for (const name of new Set([...rows.keys(), ...names])) {
    const row = rows.get(name);
    // One that is not there would begin anew.
    if (row === undefined) await counters.insertRow(transaction, name, firstFrom(1n, place), place);
    await counters.stopRow(transaction, name, row?.closedId ?? row?.nextId ?? firstFrom(1n, place), place);
  }
  await counters.writeState(transaction, { ...place, state: "open", barred: state.barred });
}

function closedMeanwhile(): TesseraeError {
  return new TesseraeError(
    "TICKETS_UNAVAILABLE",
    "The ticket servers are being changed. Raise the counters when that has ended.",
    { cluster: "tickets", operation: "tickets.raise" },
  );
}

const max = (one: bigint, other: bigint): bigint => (one < other ? other : one);

export function stoppedRow(address: string, { name }: CounterRow): TesseraeError {
  return new TesseraeError(
    "TICKET_COUNTER_BEHIND",
    `The counter of the ticket sequence "${name}" on ${address} is stopped, because the server was restored from an older state. Nobody knows how far it had come: raise it first, "tesserae tickets raise ${name}".`,
    { cluster: "tickets", operation: "tickets.grow" },
  );
}
