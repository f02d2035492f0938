/** The whole: the first state, everybody's steps, and what must hold in every state. */
import type { CheckedModel, Emit } from "./checker.ts";
import { stepMover } from "./mover.ts";
import { endCommitInFlight } from "./mover-end.ts";
import { endTargetInFlight } from "./mover-rows.ts";
import { nameOfPc } from "./mover-turn.ts";
import { passLease, stepLeaseReader, stepStrictReader } from "./readers.ts";
import type { Scenario } from "./scenario.ts";
import {
  A,
  B,
  Harm,
  LeasePc,
  Pc,
  pack,
  Residence,
  rowOf,
  State,
  Step,
  StrictPc,
  unpack,
  View,
  WORDS,
  withRow,
} from "./state.ts";
import { accepts, Transitions } from "./transitions.ts";
import { isUnique, stepWriter } from "./writers.ts";

export function protocolModel(scenario: Scenario): CheckedModel {
  const transitions = new Transitions(scenario);
  const seen = new State();
  return {
    words: WORDS,
    initial: (words) => pack(initialState(scenario), words),
    successors(words: Uint32Array, emit: Emit) {
      transitions.from(words, emit);
      for (const index of [0, 1] as const) {
        stepWriter(transitions, index);
        stepMover(transitions, index);
      }
      if (scenario.strictReader === true) stepStrictReader(transitions);
      if (scenario.leaseReader === true) stepLeaseReader(transitions);
      endCommitInFlight(transitions);
      endTargetInFlight(transitions);
      passLease(transitions);
    },
    violation(words) {
      unpack(words, seen);
      return (
        harmDone(seen) ??
        harmToService(seen) ??
        // Of a broken version one wants to see the harm, not only what leads to it.
        (scenario.fault === undefined ? harmToCopy(seen) : undefined) ??
        (isAtRest(scenario, seen) ? harmAtRest(seen) : undefined)
      );
    },
    isComplete(words) {
      unpack(words, seen);
      return isAtRest(scenario, seen);
    },
    describe(words) {
      unpack(words, seen);
      return describeState(seen);
    },
  };
}

function initialState(scenario: Scenario): State {
  const s = new State();
  s.epoch = 1;
  s.residences[A].state = Residence.here;
  s.residences[A].epoch = 1;
  s.rows[A] = withRow(withRow(0, 0, scenario.rows[0]), 1, scenario.rows[1]);
  s.truth = s.rows[A];
  if (scenario.strictReader !== true) s.strict.pc = StrictPc.done;
  if (scenario.leaseReader !== true) s.lease.pc = LeasePc.done;
  return s;
}

function isAtRest(scenario: Scenario, s: State): boolean {
  return (
    (s.step === Step.done || s.step === Step.aborted) &&
    s.movers.every((m) => m.pc === Pc.idle) &&
    s.writers.every((w, index) => w.transaction === scenario.scripts[index as 0 | 1].length) &&
    s.strict.pc === StrictPc.done &&
    s.lease.pc === LeasePc.done &&
    s.commitInFlight === 0 &&
    s.targetInFlightKeys === 0
  );
}

const HARMS: Readonly<Record<number, string>> = {
  [Harm.acknowledgedElsewhere]: "a write was acknowledged on a shard that the directory does not name",
  [Harm.strictReadOld]: "a strict reader accepted rows that were not the current ones when it read them",
  [Harm.leaseReadOld]: "a lease reader accepted rows that are more than a lease old, or never were",
  [Harm.verifyDiffers]: "verify found a row that differs and has no entry in the log",
  [Harm.unexpectedState]: "a mover found its own token with a state that it did not expect",
};

function harmDone(s: State): string | undefined {
  return s.harm === Harm.none ? undefined : HARMS[s.harm];
}

/** At most one shard accepts writes, it is the one that the directory names, and it holds all that was acknowledged and nothing else. */
function harmToService(s: State): string | undefined {
  const open = [A, B].filter((shard) => accepts(s.residences[shard as 0 | 1].state)) as (0 | 1)[];
  if (open.length > 1) return "both shards accept writes";
  for (const shard of open) {
    if (s.shard !== shard) return "a shard accepts writes that the directory does not name";
    if (s.residences[shard].epoch !== s.epoch)
      return "a shard accepts writes at an epoch that is not the directory's";
    if (s.rows[shard] !== s.truth) return "the shard that serves does not hold what was acknowledged";
  }
  if (s.epoch !== (s.shard === A ? 1 : 2)) return "the epoch did not rise by one at the cut-over";
  if (s.shard === B && s.rows[B] !== s.truth) return "the directory names a target that is not complete";
  if (s.rows.some((rows) => !isUnique(rows)))
    return "two rows of a shard hold the same value of a unique column";
  return undefined;
}

/** What the copy leans on: a copied row that differs from the source's has an entry in the log. */
function harmToCopy(s: State): string | undefined {
  const source = s.residences[A].state;
  const isCopying = s.shard === A && (source === Residence.leaving || source === Residence.frozen);
  if (!isCopying || (s.step !== Step.chunk1 && s.step !== Step.copied)) return undefined;
  for (let key = 0; key < s.step; key++) {
    if (rowOf(s.rows[A], key) === rowOf(s.rows[B], key)) continue;
    const isLogged = s.log.some((entry) => entry === key + 1);
    if (!isLogged) return `the copy of row ${key} differs from the source and has no entry in the log`;
  }
  return undefined;
}

function harmAtRest(s: State): string | undefined {
  const [a, b] = s.residences;
  const home = s.shard;
  if (s.rows[home] !== s.truth) return "at rest, an acknowledged write is missing";
  if (s.rows[1 - home] !== 0) return "at rest, rows are where the directory does not point";
  if (s.log.some((entry) => entry !== 0)) return "at rest, the log is not empty";
  if (s.step === Step.aborted && (home !== A || a.state !== Residence.here))
    return "an aborted move leaves the source closed";
  if (s.step === Step.aborted && b.state !== Residence.gone && b.state !== Residence.none)
    return "an aborted move leaves a residence at the target";
  if (s.step === Step.done && (home !== B || b.state !== Residence.here || a.state !== Residence.gone))
    return "a move is done and the residences do not say so";
  return undefined;
}

const STATE_NAMES = Object.keys(Residence);
const STEP_NAMES = Object.keys(Step);
const VIEW_NAMES = Object.keys(View);

function describeState(s: State): string {
  const show = (rows: number) => `${rowOf(rows, 0) || "-"},${rowOf(rows, 1) || "-"}`;
  const [a, b] = s.residences;
  const log = s.log.map((entry, id) =>
    entry === 0 ? "" : `${id}:row ${(entry & 3) - 1}${entry > 3 ? " (open)" : ""}`,
  );
  const movers = s.movers
    .filter((m) => m.pc !== Pc.idle)
    .map((m) => `${m.token}@${nameOfPc(m.pc)}${m.view === View.before ? "" : `/${VIEW_NAMES[m.view]}`}`);
  return (
    `main ${s.shard === A ? "A" : "B"} token ${s.token} ${STEP_NAMES[s.step]} | A ${STATE_NAMES[a.state]}/${a.token} rows ${show(s.rows[A])} | ` +
    `B ${STATE_NAMES[b.state]}/${b.token} rows ${show(s.rows[B])} | acknowledged ${show(s.truth)} | log [${log.filter(Boolean).join(" ")}] | movers ${movers.join(" ") || "none"}`
  );
}
