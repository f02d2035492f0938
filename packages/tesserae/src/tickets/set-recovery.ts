/**
 * Tells main again which set is in force, when main was restored from before it, or lost its last writes in a failover. The servers know it: each says in which set it
 * counts, with which offset and step. Main believes them when all of the newest set are there and agree, so that nobody else can be counting.
 *
 * 1. The set is worked out; nothing is written unless it is complete.
 * 2. Where main's own counters are open again, they are closed. From then on nobody has ids but from the servers.
 * 3. The servers are lifted above what main gave meanwhile.
 * 4. Main names the set. Servers that a lost growth had closed already open again, as when a growth is turned back.
 */
import { TesseraeError } from "../base/errors.ts";
import { closeCounters, liftCounters } from "./counter-states.ts";
import type { CounterState } from "./counter-table.ts";
import { notReached, UNCHANGED } from "./growth-participants.ts";
import type { GrowthResult, TicketGrowth } from "./ticket-growth.ts";
import { sameServer, type TicketMembers } from "./ticket-members.ts";
import type { TicketServer } from "./ticket-server.ts";
import { setInForce, type TicketSetRecord } from "./ticket-set.ts";
import type { TicketSequence } from "./ticket-source.ts";

export interface SetRecoveryOptions {
  readonly members: TicketMembers;
  readonly growth: TicketGrowth;
  readonly sequences: ReadonlyMap<string, TicketSequence>;
}

interface Claim {
  readonly server: TicketServer;
  readonly id: string;
  readonly state: CounterState;
}

/** Gives the set that main knows then. Changes nothing where main knows the newest one. */
export async function recoverSet({ members, growth, sequences }: SetRecoveryOptions): Promise<GrowthResult> {
  const { record, installation } = await members.setRow.read();
  const claims = await claimsOf(members, installation);
  const newest = Math.max(0, ...claims.map(({ state }) => state.generation));
  const { generation, servers } = setInForce(record);
  if (newest <= generation) return { generation, servers: servers.length, changed: false };
  const set = completeSet(claims.filter(({ state }) => state.generation === newest));
  const drawn = Math.max(record.drawn, newest, ...claims.map(({ state }) => state.barred));
  const next = drawn + 1;
  if (record.generation === 0) {
    await closeCounters(members.main, { generation: 0 }, next, [...sequences.values()]);
    const floors = await members.main.readRows();
    for (const [index, { server, state }] of set.entries())
      await liftCounters(
        server.commanded,
        { generation: newest, offset: index + 1, step: state.step },
        floors,
      ).catch((error: Error) => {
        throw notReached(server.address, error, 'Run "tesserae tickets recover" again when it answers.');
      });
  }
  const known = { generation: newest, servers: set.map(({ id }) => id) };
  const isWhole = set.every(({ state }) => state.state === "open");
  const recovered: TicketSetRecord = isWhole
    ? { ...known, drawn }
    : { ...known, drawn: next, growing: { ...known, generation: next, phase: "aborting" } };
  await members.setRow.change(async (now) => (setInForce(now).generation < newest ? recovered : undefined));
  await growth.resume();
  return { generation: newest, servers: set.length, changed: true };
}

/** What every configured server says of itself. One that is silent may know of a newer set. */
async function claimsOf(members: TicketMembers, installation: string | undefined): Promise<Claim[]> {
  const identities = await Promise.all(
    members.servers.map(async (server) => ({
      server,
      identity: await server.identify(server.commanded).catch((error: Error) => {
        throw notReached(server.address, error, UNCHANGED);
      }),
    })),
  );
  const claims: Claim[] = [];
  for (const { server, identity } of identities) {
    if (identity === undefined || identity.installation !== installation) continue;
    const twin = claims.find(({ id }) => id === identity.id);
    if (twin !== undefined) throw sameServer(twin.server.address, server.address);
    claims.push({ server, id: identity.id, state: identity.state });
  }
  return claims;
}

/** The servers of a set in the order of their offsets, if they are all of it. */
function completeSet(claims: readonly Claim[]): Claim[] {
  const ordered = claims.toSorted((one, other) => one.state.offset - other.state.offset);
  const steps = new Set(ordered.map(({ state }) => state.step));
  const said = ordered
    .map(({ server, state }) => `${server.address}: ${state.offset} of ${state.step}, ${state.state}`)
    .join(" | ");
  const [first] = ordered;
  const isComplete =
    steps.size === 1 &&
    ordered.length === first?.state.step &&
    ordered.every(({ state }, index) => state.offset === index + 1);
  if (!isComplete)
    throw refused(
      `set ${first?.state.generation} is not complete: ${said}. Name all of its servers in the tickets block and run "tesserae tickets recover" again.`,
    );
  // When all are closed a newer set may have been opened on servers that are not configured here.
  if (ordered.every(({ state }) => state.state === "closed"))
    throw refused(
      `all servers of set ${first.state.generation} are closed, for a set that none of the configured servers counts for: ${said}. Name the servers of that set in the tickets block, too, and run "tesserae tickets recover" again.`,
    );
  return ordered;
}

const refused = (reason: string) =>
  new TesseraeError(
    "TICKET_SET_BEHIND",
    `Main cannot be told which set of ticket servers is in force: ${reason}`,
    {
      cluster: "tickets",
      operation: "tickets.recover",
    },
  );
