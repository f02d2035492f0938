/**
 * A mover: its begin is here; `mover-rows.ts` carries the rows, `mover-end.ts` cuts over, `mover-abort.ts` has the way back. Both movers run this program. A mover that is not
 * scheduled for a while is the zombie; one that crashed is idle and has forgotten all; a takeover is the other one drawing a token.
 *
 * Each step is one transaction on one server, which locks the residence row that it works under and goes on only if token and state
 * are as expected. The steps' names are those of the column `step`.
 */
import { stepAbort } from "./mover-abort.ts";
import { isFinished, stepEnd } from "./mover-end.ts";
import { stepCatchUp, stepCopy } from "./mover-rows.ts";
import { MoverTurn, nameOfPc } from "./mover-turn.ts";
import { A, B, type Mover, Pc, Residence, rowOf, type Shard, Step, View } from "./state.ts";
import { stop, type Transitions } from "./transitions.ts";

export function stepMover(t: Transitions, index: 0 | 1): void {
  const turn = new MoverTurn(t, index);
  if (turn.mover.pc !== Pc.idle && turn.mayStop()) {
    const next = t.branch();
    stop(next.movers[index]);
    t.take(next, "choice", () => `${turn.name()}: crash at ${nameOfPc(turn.mover.pc)}`);
  }
  switch (turn.mover.pc) {
    case Pc.idle:
    case Pc.raise:
    case Pc.claimTarget:
    case Pc.claimSource:
    case Pc.leave:
      stepBegin(turn);
      break;
    case Pc.copy:
    case Pc.copyRecord:
      stepCopy(turn);
      break;
    case Pc.catchUp:
    case Pc.roundRows:
    case Pc.roundApply:
    case Pc.roundDelete:
    case Pc.verifyTarget:
    case Pc.verifyLog:
      stepCatchUp(turn);
      break;
    case Pc.earlyPurge:
    case Pc.commit:
    case Pc.arrive:
    case Pc.gone:
    case Pc.purge:
    case Pc.finish:
      stepEnd(turn);
      break;
  }
  if (t.scenario.abort === true) stepAbort(turn);
}

function stepBegin(turn: MoverTurn): void {
  const { t, mover, index } = turn;
  if (mover.pc === Pc.idle || mover.pc === Pc.raise) {
    claimInMain(turn);
  } else if (mover.pc === Pc.claimTarget) {
    claimOn(turn, B);
  } else if (mover.pc === Pc.claimSource) {
    claimOn(turn, A);
  } else {
    if (t.hasFault("copyBeforeLeave") && mover.holdsChunk === 0 && mover.chunk === 0) {
      turn.on(A, [Residence.here], "copy: reads row 0 of A, before leaving", (next, m) => {
        m.holdsChunk = 1;
        m.chunkRow = rowOf(next.rows[A], 0);
      });
    }
    turn.aloneOn(A, [Residence.here], "leave: A here → leaving", (next, m) => {
      next.residences[A].state = Residence.leaving;
      m.pc = t.hasFault("copyBesideCatchUp") ? Pc.catchUp : pcOfCopy(next.movers[index]);
    });
  }
}

function pcOfCopy(m: Mover): number {
  return m.chunk === 2 ? Pc.catchUp : Pc.copy;
}

/** The token rises under the lock of the directory row, and what is there is read in the same transaction. */
function claimInMain(turn: MoverTurn): void {
  const { t, mover, index } = turn;
  const s = t.now;
  if (mover.pc === Pc.idle && (isFinished(s) || s.token >= t.scenario.tokens)) return;
  const next = t.branch();
  const m = next.movers[index];
  const holderLives = s.token !== 0 && s.movers[1 - index]!.token === s.token;
  const kind = mover.pc === Pc.idle && holderLives ? "choice" : "progress";
  const readsFirst = t.hasFault("readBeforeRaise");
  if (mover.pc === Pc.idle) {
    m.view = s.shard === B ? View.committed : s.step === Step.abort ? View.abort : View.before;
    m.chunk = s.step <= Step.copied ? s.step : 0;
    if (readsFirst) {
      m.pc = Pc.raise;
      t.take(next, kind, () => "mover without token: reads main");
      return;
    }
  }
  if (isFinished(s) || s.token >= t.scenario.tokens) {
    stop(m);
    t.take(next, kind, () => "mover without token: nothing left to claim");
    return;
  }
  next.token++;
  m.token = next.token;
  m.pc = Pc.claimTarget;
  t.take(
    next,
    kind,
    () => `mover: claim in main: token ${s.token + 1}${readsFirst ? "" : ", reads what is there"}`,
  );
}

/** The larger token wins; the target's row is made if there is none. Waits for the shard's open writers of the key. */
function claimOn(turn: MoverTurn, shard: Shard): void {
  const { t, index } = turn;
  if (t.isResidenceShared(shard)) return;
  const next = t.branch();
  const m = next.movers[index];
  const residence = next.residences[shard];
  const wins = residence.token < m.token;
  if (!wins) {
    stop(m);
  } else {
    residence.token = m.token;
    if (shard === B) {
      if (residence.state === Residence.none) residence.state = Residence.arriving;
      m.pc = Pc.claimSource;
    } else {
      goOnFrom(m, residence.state);
    }
  }
  t.take(next, "progress", () => {
    return `${turn.name()}: claim on ${shard === B ? "B" : "A"}${wins ? "" : `: token ${residence.token} or more is there, it stops`}`;
  });
}

/** Recovery: committed → only forward; else resume where main and the source say. */
function goOnFrom(m: Mover, source: number): void {
  if (m.view === View.committed) m.pc = Pc.arrive;
  else if (m.view === View.abort) m.pc = Pc.thaw;
  else if (source === Residence.here) m.pc = Pc.leave;
  else if (source === Residence.frozen) {
    m.pc = Pc.catchUp;
    m.draining = 1;
  } else m.pc = pcOfCopy(m);
}
