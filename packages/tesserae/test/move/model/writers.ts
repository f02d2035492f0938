/**
 * Writers: sessions with a cached route. Each statement passes the guard of the shard it is sent to, which holds the residence row shared to
 * the end of the transaction; a refusal ends the transaction, and the session refreshes its route and runs it again.
 */
import type { Put } from "./scenario.ts";
import { Harm, LOG_IDS, Residence, rowOf, type Shard, type State, withRow } from "./state.ts";
import { accepts, type Transitions } from "./transitions.ts";

const SHARD_NAMES = ["A", "B"] as const;

export function stepWriter(t: Transitions, index: 0 | 1): void {
  const writer = t.now.writers[index];
  const script = t.scenario.scripts[index];
  const puts = script[writer.transaction];
  if (puts === undefined) return;
  if (writer.refused === 1) {
    const next = t.branch();
    next.writers[index].refused = 0;
    next.writers[index].route = next.shard;
    t.take(next, "progress", () => `writer ${index}: refresh: main names ${SHARD_NAMES[t.now.shard]}`);
  } else if (writer.statements < puts.length) {
    sendStatement(t, index, puts[writer.statements]!);
  } else {
    commit(t, index, puts);
  }
}

function sendStatement(t: Transitions, index: 0 | 1, put: Put): void {
  const shard = t.now.writers[index].route;
  const state = t.now.residences[shard].state;
  const next = t.branch();
  const writer = next.writers[index];
  const what = `writer ${index} on ${SHARD_NAMES[shard]}: row ${put.primaryKey} := ${put.value}`;
  if (!accepts(state)) {
    writer.refused = 1;
    writer.statements = 0;
    forgetOwnEntries(next, index);
    t.take(next, "progress", () => `${what}: refused`);
    return;
  }
  // The engine's lock on the row itself: the other writer's open transaction has it.
  if (isRowTaken(t, index, put.primaryKey, shard)) return;
  writer.statements++;
  if (state === Residence.leaving) {
    if (next.nextId >= LOG_IDS) throw new Error("the scenario writes more than the log's ids");
    next.log[next.nextId++] = (put.primaryKey + 1) | (4 * (index + 1));
  }
  const id = next.nextId - 1;
  t.take(next, "progress", () => (state === Residence.leaving ? `${what}, log entry ${id}` : what));
}

function isRowTaken(t: Transitions, index: 0 | 1, primaryKey: number, shard: Shard): boolean {
  const other = t.now.writers[1 - index]!;
  if (other.route !== shard) return false;
  const puts = t.scenario.scripts[(1 - index) as 0 | 1][other.transaction] ?? [];
  return puts.slice(0, other.statements).some((put) => put.primaryKey === primaryKey);
}

function commit(t: Transitions, index: 0 | 1, puts: readonly Put[]): void {
  const next = t.branch();
  const writer = next.writers[index];
  const shard = writer.route;
  for (const put of puts) {
    next.rows[shard] = withRow(next.rows[shard], put.primaryKey, put.value);
    next.truth = withRow(next.truth, put.primaryKey, put.value);
  }
  const owner = 4 * (index + 1);
  for (let id = 0; id < LOG_IDS; id++) {
    if ((next.log[id]! & 12) === owner) next.log[id] = next.log[id]! & 3;
  }
  if (next.shard !== shard) next.harm = Harm.acknowledgedElsewhere;
  writer.transaction++;
  writer.statements = 0;
  t.take(next, "progress", () => `writer ${index} on ${SHARD_NAMES[shard]}: commit, acknowledged`);
}

function forgetOwnEntries(next: State, index: 0 | 1): void {
  const owner = 4 * (index + 1);
  for (let id = 0; id < LOG_IDS; id++) if ((next.log[id]! & 12) === owner) next.log[id] = 0;
}

/** No two rows of a shard hold the same value of the unique column. */
export function isUnique(rows: number): boolean {
  return rowOf(rows, 0) === 0 || rowOf(rows, 0) !== rowOf(rows, 1);
}
