/**
 * Puts an empty database in the place of a ticket server that was lost with all its data. It takes the lost one's name, so that it is the same server for everybody, and
 * is then what a server is that was restored from before the set there is: it gives nothing of any sequence until that is raised.
 */

import { TesseraeError } from "../base/errors.ts";
import type { Database } from "../engine/contract.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { notReached, UNCHANGED } from "./growth-participants.ts";
import { notWhileGrowing } from "./ticket-findings.ts";
import { placeIn, type TicketMembers } from "./ticket-members.ts";
import { serverNamed, TICKET_SERVER_META, type TicketServer } from "./ticket-server.ts";

export interface ReplacementResult {
  /** Of the server that takes the place. */
  readonly address: string;
  readonly offset: number;
  readonly step: number;
}

/** `address`: of the empty database, which the configuration names instead of the lost one. */
export async function replaceServer(
  members: TicketMembers,
  prepare: (database: Database) => Promise<void>,
  address: string,
): Promise<ReplacementResult> {
  const known = await members.read();
  const { servers } = known.set;
  if (known.record.growing !== undefined) throw notWhileGrowing();
  const server = serverNamed(members.servers, address, "tickets.replace");
  const present = new Set<string>();
  for (const each of members.servers) {
    const identity = await each.identify(each.commanded).catch((error: Error) => {
      throw notReached(each.address, error, UNCHANGED);
    });
    const place = placeIn(known, each.address, identity);
    if (each === server && (place.kind === "member" || (identity?.state.generation ?? 0) > 0))
      throw refused(`${each.address} has counted already. Only an empty database can take a server's place.`);
    if (place.kind === "member") present.add(place.id);
  }
  const lost = servers.filter((id) => !present.has(id));
  if (lost.length !== 1)
    throw refused(
      `${lost.length} of the ${servers.length} ticket servers of the set are missing in the configuration, and exactly one must be: name all the others, and the empty database instead of the one that was lost.`,
    );
  const [id] = lost as [string];
  await takeName(server, `${id} of ${known.installation}`, prepare).catch((error: unknown) => {
    throw notReached(server.address, toEngineError(error, server.engine.dialect, {}), UNCHANGED);
  });
  return { address: server.address, offset: servers.indexOf(id) + 1, step: servers.length };
}

async function takeName(
  { database, commanded }: TicketServer,
  name: string,
  prepare: (database: Database) => Promise<void>,
): Promise<void> {
  await prepare(database);
  await commanded.store.transaction(async (transaction) => {
    await commanded.meta.lock(transaction, TICKET_SERVER_META);
    await commanded.meta.write(transaction, TICKET_SERVER_META, name);
  });
}

const refused = (reason: string) =>
  new TesseraeError("CONFIG_INVALID", reason, { cluster: "tickets", operation: "tickets.replace" });
