/** A process that takes ids and writes each to its output, until it is killed: `take-ids.child.ts <url> <block ids>`. */
import { writeSync } from "node:fs";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { TableTicketSource } from "../../src/tickets/table-ticket-source.ts";
import { Tickets } from "../../src/tickets/tickets.ts";
import { engineAt } from "../engine/open-database.ts";

const [url, blockIds] = process.argv.slice(2) as [string, string];
const database = (await engineAt(url)).open({ ...POOL_DEFAULTS, connectionsMax: 2 });
const tickets = new Tickets({
  source: new TableTicketSource(database),
  sequences: new Map([["dots", { name: "dots", start: 1n, max: 2n ** 62n }]]),
  ticketBlockIds: Number(blockIds),
});
for (;;) {
  const ids = [await tickets.next("dots"), ...(await tickets.take("dots", 3))];
  // One write a line: what was given out before a kill is on record.
  writeSync(1, ids.map((id) => `${id}\n`).join(""));
  if (Math.random() < 0.05) await new Promise((resolve) => setTimeout(resolve, 1));
}
