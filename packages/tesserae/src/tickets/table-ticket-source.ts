/** Ids from one table, by itself. */
import type { Database } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { COUNTERS_OF_MAIN, CounterTable } from "./counter-table.ts";
import {
  exhausted,
  movedAway,
  type TicketBlock,
  type TicketSequence,
  type TicketSource,
} from "./ticket-source.ts";

/**
 * The counters of one table that count in steps of 1, and of nothing else: poor man's mode without the choice between main and ticket servers, which
 * `TicketServers` makes. A lease runs on the source's own connections: the rollback of a caller's transaction gives no id out twice, and no caller waits for
 * another's transaction.
 */
export class TableTicketSource implements TicketSource {
  readonly #counters: CounterTable;

  /** `gate`: see `ControlStore`. */
  constructor(control: Database, gate?: () => Promise<void>) {
    const place = { cluster: "tickets", operation: "tickets.lease" };
    this.#counters = new CounterTable(new ControlStore(control, place, gate), COUNTERS_OF_MAIN);
  }

  async lease(sequence: TicketSequence, count: number): Promise<TicketBlock> {
    const answer =
      (await this.#counters.lease(sequence, count, COUNTERS_OF_MAIN)) ??
      (await this.#counters.leaseSlowly(sequence, count, COUNTERS_OF_MAIN));
    if (answer === "moved") throw movedAway();
    if (answer === "exhausted") throw exhausted(sequence);
    return answer;
  }
}
