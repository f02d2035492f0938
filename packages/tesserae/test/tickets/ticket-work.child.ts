/**
 * A process that takes ids, or changes the ticket servers: `ticket-work.child.ts <json of TicketWork>`. It writes every id to its file before it goes on: what it
 * got is on record whatever becomes of it.
 */
import { openSync, writeSync } from "node:fs";
import { isTesseraeError } from "../../src/base/errors.ts";
import type { TicketingOptions } from "../../src/configuration.ts";
import { federate } from "../../src/federation.ts";
import type { TicketPoint } from "../../src/tickets/ticket-points.ts";
import { engineAt } from "../engine/open-database.ts";
import { placesConfig } from "./ticket-site.ts";

export interface TicketWork {
  readonly main: string;
  readonly tickets: readonly string[];
  readonly take?: {
    /** Ids as 64-bit numbers, one after the other. */
    readonly file: string;
    /** Ids of one call; the process ends after so many calls, or goes on until it is killed. */
    readonly count: number;
    readonly calls?: number;
    /** Between two calls, in milliseconds. */
    readonly pauseMs?: number;
    readonly ticketing?: TicketingOptions;
  };
  readonly grow?: {
    readonly without?: readonly string[];
    readonly point: TicketPoint;
    readonly signal: "SIGKILL" | "SIGSTOP";
    /** A server whose counters are stopped when the first one was closed: the growth cannot go on. */
    readonly spoil?: string;
  };
}

async function stopCounters(url: string): Promise<void> {
  const engine = await engineAt(url);
  const database = engine.open({ ...(await import("../../src/engine/contract.ts")).POOL_DEFAULTS });
  await database.run({
    sql: "update tesserae_tickets set generation = -1 - generation where name = 'dots' and generation >= 0",
    parameters: [],
  });
  await database.close();
}

const { main, tickets, take, grow } = JSON.parse(process.argv[2] as string) as TicketWork;
let spoilt = false;
const internals = {
  patienceMs: 100,
  async at(point: TicketPoint) {
    if (grow === undefined) return;
    if (point === "fence:server" && grow.spoil !== undefined && !spoilt) {
      spoilt = true;
      await stopCounters(grow.spoil);
    }
    if (point !== grow.point) return;
    process.kill(process.pid, grow.signal);
    // The signal may take a moment to arrive.
    await new Promise((resolve) => setTimeout(resolve, 50));
  },
};
const places = await federate(
  placesConfig(main, tickets, {
    internals,
    ...(take?.ticketing === undefined ? {} : { ticketing: take.ticketing }),
  }),
);
if (grow !== undefined) {
  await places.tickets
    .grow({ without: grow.without ?? [] })
    .catch((error) => console.log(error.code, error.message));
  process.exit(0);
}
if (take !== undefined) {
  const file = openSync(take.file, "a");
  for (let call = 0; take.calls === undefined || call < take.calls; ) {
    try {
      const ids = await places.tickets.take("dots", take.count);
      writeSync(file, new Uint8Array(BigInt64Array.from(ids).buffer));
      if (call === 0) console.log("begun");
      call += 1;
    } catch (error) {
      if (!isTesseraeError(error) || !error.retryable) {
        console.log(isTesseraeError(error) ? error.code : String(error));
        process.exit(3);
      }
    }
    if (take.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, take.pauseMs));
  }
  await places.close();
}
