/**
 * Readers. The strict one looks at the residence after its read. The lease one believes its route for one lease, counted from the start of
 * its last poll, and asks once more whether the lease holds when its result has come.
 *
 * Time is one kind of step: "a lease passes" makes every lease begun before it end, and lets every grace begun before it be over. Real time
 * lets less happen at once.
 */
import { Found, Harm, LeasePc, Residence, StrictPc } from "./state.ts";
import { accepts, type Transitions } from "./transitions.ts";

const SHARD_NAMES = ["A", "B"] as const;

export function stepStrictReader(t: Transitions): void {
  const { pc, route } = t.now.strict;
  if (pc === StrictPc.done) return;
  const next = t.branch();
  const reader = next.strict;
  if (pc === StrictPc.read) {
    reader.current = next.rows[route] === next.truth ? 1 : 0;
    reader.pc = StrictPc.check;
    t.take(next, "progress", () => `strict reader: reads on ${SHARD_NAMES[route]}`);
    return;
  }
  const state = next.residences[route].state;
  const asks = state === Residence.frozen || state === Residence.arriving;
  if (pc === StrictPc.check && asks && !(state === Residence.frozen && t.hasFault("strictTrustsFrozen"))) {
    reader.pc = StrictPc.ask;
    t.take(
      next,
      "progress",
      () => `strict reader: ${SHARD_NAMES[route]} is frozen or arriving, so it asks main`,
    );
    return;
  }
  const accepted = pc === StrictPc.ask ? next.shard === route : accepts(state) || asks;
  if (accepted) {
    if (reader.current === 0) next.harm = Harm.strictReadOld;
    reader.pc = StrictPc.done;
    reader.current = 0;
    t.take(next, "progress", () => "strict reader: accepts");
  } else {
    reader.pc = StrictPc.read;
    reader.current = 0;
    reader.route = next.shard;
    t.take(next, "progress", () => `strict reader: reads again on ${SHARD_NAMES[t.now.shard]}`);
  }
}

export function stepLeaseReader(t: Transitions): void {
  const { pc, route, expired } = t.now.lease;
  if (pc === LeasePc.done) return;
  const next = t.branch();
  const reader = next.lease;
  if (pc === LeasePc.ready && expired === 0) {
    reader.pc = LeasePc.check;
    reader.found = findResult(t, route);
    t.take(next, "progress", () => `lease reader: reads on ${SHARD_NAMES[route]}`);
  } else if (pc === LeasePc.ready) {
    reader.pc = LeasePc.polling;
    if (!t.hasFault("leaseFromPollEnd")) reader.expired = 0;
    t.take(next, "progress", () => "lease reader: begins to poll");
  } else if (pc === LeasePc.polling) {
    reader.pc = LeasePc.polled;
    reader.route = next.shard;
    t.take(next, "progress", () => `lease reader: the poll sees ${SHARD_NAMES[t.now.shard]}`);
  } else if (pc === LeasePc.polled) {
    reader.pc = LeasePc.ready;
    if (t.hasFault("leaseFromPollEnd")) reader.expired = 0;
    t.take(next, "progress", () => "lease reader: the poll has come back");
  } else if (expired === 1) {
    reader.pc = LeasePc.ready;
    reader.found = Found.current;
    t.take(next, "progress", () => "lease reader: the lease is over, so it polls and reads again");
  } else {
    // Rows of the moment of the cut-over may be had for one lease after it.
    if (reader.found === Found.neither || (reader.found === Found.atCutOver && next.cutOverAged === 1)) {
      next.harm = Harm.leaseReadOld;
    }
    reader.pc = LeasePc.done;
    reader.found = Found.current;
    t.take(next, "progress", () => "lease reader: the lease holds, accepts");
  }
}

function findResult(t: Transitions, route: 0 | 1): number {
  const rows = t.now.rows[route];
  if (rows === t.now.truth) return Found.current;
  return route !== t.now.shard && rows === t.now.truthAtCutOver ? Found.atCutOver : Found.neither;
}

export function passLease(t: Transitions): void {
  const readerWaits =
    t.scenario.leaseReader === true && t.now.lease.expired === 0 && t.now.lease.pc !== LeasePc.done;
  const graceRuns = t.now.shard === 1 && t.now.cutOverAged === 0;
  if (!readerWaits && !graceRuns) return;
  const next = t.branch();
  if (t.scenario.leaseReader === true && next.lease.pc !== LeasePc.done) next.lease.expired = 1;
  if (graceRuns) next.cutOverAged = 1;
  t.take(next, "progress", () => "time: a lease passes");
}
