/** `tesserae tickets`: ids for people and scripts. A process of the application leases blocks; a command leases what it prints and no more. */
import { engineFromUrl, type FederationConfig, poolOptions } from "../configuration.ts";
import { checkControlVersion } from "../directory/control-version.ts";
import type { Engine } from "../engine/contract.ts";
import { ticketSequences } from "../tickets/sequences.ts";
import {
  TableTicketSource,
  type TicketBlock,
  type TicketSequence,
  type TicketSource,
} from "../tickets/ticket-source.ts";
import { Tickets } from "../tickets/tickets.ts";
import { parseTopology } from "../topology/topology.ts";

/** Takes `count` ids of a sequence, and leases exactly those. */
export async function takeTickets(
  config: FederationConfig,
  sequence: string,
  count: number,
): Promise<bigint[]> {
  const { main } = parseTopology<Engine>(config, engineFromUrl);
  const control = main.control().open({ ...poolOptions(config.pool), connectionsMax: 1 });
  const source = new TableTicketSource(control, async () => void (await checkControlVersion(control)));
  const tickets = new Tickets({
    source: new ExactSource(source, count),
    sequences: ticketSequences(config.schema.model, config.ticketing?.sequences),
    ticketBlockIds: 1,
  });
  try {
    return await tickets.take(sequence, count);
  } finally {
    await tickets.close();
    await control.close();
  }
}

/** Leases so many ids and then none: `Tickets` would fetch the next block in advance. */
class ExactSource implements TicketSource {
  readonly #source: TicketSource;
  #left: number;

  constructor(source: TicketSource, count: number) {
    this.#source = source;
    this.#left = count;
  }

  async lease(sequence: TicketSequence, count: number): Promise<TicketBlock> {
    // Nobody waits for this one, so nobody hears of the refusal.
    if (this.#left === 0) throw new Error("Every id that was asked for is leased.");
    const block = await this.#source.lease(sequence, Math.min(count, this.#left));
    this.#left -= block.count;
    return block;
  }
}
