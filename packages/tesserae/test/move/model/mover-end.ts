/** The cut-over and what follows: commit in main, arrive, purge. */
import type { MoverTurn } from "./mover-turn.ts";
import { A, B, Pc, Residence, type State, Step, View, withRow } from "./state.ts";
import { forgetChunk, forgetRound, stop, type Transitions } from "./transitions.ts";

export function isFinished(s: State): boolean {
  return s.step === Step.aborted || s.step === Step.done;
}

export function stepEnd(turn: MoverTurn): void {
  const { t, mover } = turn;
  switch (mover.pc) {
    case Pc.earlyPurge:
      turn.on(A, [Residence.frozen], "purge before the commit", (next, m) => {
        next.rows[A] = 0;
        m.pc = Pc.commit;
      });
      break;
    case Pc.commit:
      commitInMain(turn);
      break;
    case Pc.arrive:
      turn.aloneOn(B, [Residence.arriving, Residence.here], "arrive: B here", (next, m) => {
        next.residences[B].state = Residence.here;
        next.residences[B].epoch = 2;
        m.pc = Pc.gone;
      });
      break;
    case Pc.gone:
      turn.aloneOn(A, [Residence.frozen, Residence.gone], "arrive: A gone", (next, m) => {
        next.residences[A].state = Residence.gone;
        m.pc = Pc.purge;
        m.chunk = 0;
        m.draining = 0;
      });
      break;
    case Pc.purge:
      if (t.now.cutOverAged === 1 || t.hasFault("purgeWithoutGrace")) purgeBatch(turn);
      break;
    default:
      turn.inMain(
        "purge → done",
        () => true,
        (next, m) => {
          next.step = Step.done;
          stop(m);
        },
      );
  }
}

function purgeBatch(turn: MoverTurn): void {
  const row = turn.mover.chunk;
  turn.on(A, [Residence.gone], `purge: row ${row} of A`, (next, m) => {
    next.rows[A] = withRow(next.rows[A], row, 0);
    if (row === 0) {
      m.chunk = 1;
    } else {
      next.log.fill(0);
      m.pc = Pc.finish;
    }
  });
}

function isCommitGood(s: State): boolean {
  return s.shard === A && s.epoch === 1;
}

function cutOver(next: State): void {
  next.shard = B;
  next.epoch++;
  next.truthAtCutOver = next.truth;
}

/** The commit with its answer, or with contact lost: then the mover gives up, and what it sent lands later or never. */
function commitInMain(turn: MoverTurn): void {
  const { t, index } = turn;
  turn.inMain("commit: main names B", isCommitGood, (next, m) => {
    cutOver(next);
    m.view = View.committed;
    m.pc = Pc.arrive;
    forgetRound(m);
    forgetChunk(m);
  });
  if (!turn.mayStop() || t.now.commitInFlight !== 0) return;
  const next = t.branch();
  next.commitInFlight = turn.mover.token;
  stop(next.movers[index]);
  t.take(next, "choice", () => `${turn.name()}: commit sent, contact with main lost`);
}

/** A commit that was sent to main and lost its sender lands, or never arrives. */
export function endCommitInFlight(t: Transitions): void {
  const s = t.now;
  if (s.commitInFlight !== 0) {
    const token = s.commitInFlight;
    const landed = t.branch();
    const good = s.token === token && isCommitGood(s) && !isFinished(s);
    landed.commitInFlight = 0;
    if (good) cutOver(landed);
    t.take(landed, "progress", () => `commit of token ${token} lands: ${good ? "main names B" : "refused"}`);
    const dropped = t.branch();
    dropped.commitInFlight = 0;
    t.take(dropped, "progress", () => `commit of token ${token} never arrives`);
  }
}
