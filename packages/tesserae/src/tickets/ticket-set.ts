/**
 * Which servers give ids: a row of main's `tesserae_meta`. Generation 0 is main itself, with its counters in steps of 1; every later one is a list of ticket
 * servers, the i-th of which has the offset i and the number of them as its step. A growth that is under way stands beside the set that it replaces.
 *
 * | phase | ids come from | what follows |
 * |---|---|---|
 * | fencing | nobody once the first old counter is closed | all old counters are closed → opening; one cannot be → aborting |
 * | opening | the new servers, each as soon as it is open | all are open → settled |
 * | aborting | the old servers, each as soon as it is open again | all are open → settled, with the old set |
 */
import type { ControlRunner, ControlTransaction } from "../engine/control-store.ts";
import { INSTALLATION_META } from "../engine/control-tables.ts";
import type { CounterTable } from "./counter-table.ts";

export const TICKET_SET_META = "tickets_set";

export interface TicketSet {
  /** 0: main. */
  readonly generation: number;
  /** Ticket servers by what they call themselves, in the order of their offsets; empty for main. */
  readonly servers: readonly string[];
}

export type GrowthPhase = "fencing" | "opening" | "aborting";

export interface GrowthRecord extends TicketSet {
  readonly phase: GrowthPhase;
}

export interface TicketSetRecord extends TicketSet {
  readonly growing?: GrowthRecord | undefined;
  /** The last generation that was drawn: one that was turned back is not drawn again. */
  readonly drawn: number;
}

const MAIN_ALONE: TicketSetRecord = { generation: 0, servers: [], drawn: 0 };

/** The set whose counters may be open. */
export function setInForce({ generation, servers, growing }: TicketSetRecord): TicketSet {
  return growing?.phase === "opening" ? growing : { generation, servers };
}

export class TicketSetRow {
  readonly #main: CounterTable;

  constructor(main: CounterTable) {
    this.#main = main;
  }

  /** The record, and the id of the installation; undefined before the schema was applied. */
  async read(): Promise<{ readonly record: TicketSetRecord; readonly installation: string | undefined }> {
    const store = this.#main.store;
    const runner: ControlRunner = { run: (sql, parameters) => store.read(sql, parameters) };
    const rows = await this.#main.meta.read(runner, [TICKET_SET_META, INSTALLATION_META]);
    return { record: parse(rows.get(TICKET_SET_META)), installation: rows.get(INSTALLATION_META) };
  }

  /**
   * Changes the record: `change` gives the new one, or undefined to leave it. With what else it writes in the transaction it takes effect as a whole. Gives the
   * record as it is then.
   */
  change(
    change: (
      record: TicketSetRecord,
      transaction: ControlTransaction,
    ) => Promise<TicketSetRecord | undefined>,
  ): Promise<TicketSetRecord> {
    return this.#main.store.transaction(async (transaction) => {
      const record = parse(await this.#main.meta.lock(transaction, TICKET_SET_META));
      const changed = await change(record, transaction);
      if (changed === undefined) return record;
      await this.#main.meta.write(transaction, TICKET_SET_META, JSON.stringify(changed));
      return changed;
    });
  }
}

function parse(text: string | undefined): TicketSetRecord {
  return text === undefined || text === "" ? MAIN_ALONE : (JSON.parse(text) as TicketSetRecord);
}
