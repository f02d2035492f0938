/** The way back, possible until the commit in main: main says so first, then the source serves again, then the target is cleaned. */
import type { MoverTurn } from "./mover-turn.ts";
import { A, B, LOG_IDS, Pc, Residence, Step, View, withRow } from "./state.ts";
import { forgetChunk, forgetRound, stop } from "./transitions.ts";

export function stepAbort(turn: MoverTurn): void {
  const { mover } = turn;
  if (mover.pc >= Pc.leave && mover.pc <= Pc.commit) decide(turn);
  switch (mover.pc) {
    case Pc.thaw:
      turn.aloneOn(
        A,
        [Residence.here, Residence.leaving, Residence.frozen],
        "abort: A here again",
        (next, m) => {
          next.residences[A].state = Residence.here;
          m.pc = Pc.clearLog;
        },
      );
      break;
    case Pc.clearLog:
      turn.on(A, [Residence.here], "abort: deletes the log", (next, m) => {
        for (let id = 0; id < LOG_IDS; id++) next.log[id] = 0;
        m.chunk = 0;
        m.pc = Pc.cleanTarget;
      });
      break;
    case Pc.cleanTarget:
      cleanTarget(turn);
      break;
    case Pc.abortFinish:
      turn.inMain(
        "abort → aborted",
        () => true,
        (next, m) => {
          next.step = Step.aborted;
          stop(m);
        },
      );
      break;
  }
}

function decide(turn: MoverTurn): void {
  const { t, index, mover } = turn;
  if (t.now.token !== mover.token || t.now.shard === B) return;
  const next = t.branch();
  const m = next.movers[index];
  const isRecorded = !t.hasFault("abortUnrecorded");
  if (isRecorded) next.step = Step.abort;
  m.pc = Pc.thaw;
  m.view = View.abort;
  m.draining = 0;
  m.chunk = 0;
  forgetRound(m);
  forgetChunk(m);
  t.take(
    next,
    "choice",
    () => `${turn.name()}: abort, ${isRecorded ? "main says so" : "main does not know"}`,
  );
}

function cleanTarget(turn: MoverTurn): void {
  const row = turn.mover.chunk;
  const forgets = turn.t.hasFault("targetRowDeleted");
  if (row < 2) {
    turn.on(B, [Residence.arriving, Residence.gone], `abort: deletes row ${row} of B`, (next, m) => {
      next.rows[B] = withRow(next.rows[B], row, 0);
      m.chunk = row + 1;
    });
    return;
  }
  turn.aloneOn(
    B,
    [Residence.arriving, Residence.gone],
    forgets ? "abort: B forgets the residence" : "abort: B gone",
    (next, m) => {
      next.residences[B].state = forgets ? Residence.none : Residence.gone;
      if (forgets) next.residences[B].token = 0;
      m.pc = Pc.abortFinish;
    },
  );
}
