/** The mover's steps that carry rows: copy, catchUp, verify, freeze and drain. */
import type { MoverTurn } from "./mover-turn.ts";
import { A, B, Harm, LOG_IDS, type Mover, Pc, Residence, rowOf, type State, Step, withRow } from "./state.ts";
import { replaceRows, upsertRows } from "./target-writes.ts";
import { forgetChunk, forgetRound, stop, type Transitions } from "./transitions.ts";

export function stepCopy(turn: MoverTurn): void {
  if (turn.mover.pc === Pc.copy) {
    copyChunk(turn);
    return;
  }
  turn.inMain(
    `copy: progress ${turn.mover.chunk} of 2`,
    () => true,
    (next, m) => {
      next.step = m.chunk === 1 ? Step.chunk1 : Step.copied;
      m.pc = m.chunk === 2 ? Pc.catchUp : Pc.copy;
    },
  );
}

/** A chunk is one row: read at the source in one transaction, written at the target in the next. */
function copyChunk(turn: MoverTurn): void {
  const { t, mover } = turn;
  const chunk = mover.chunk;
  if (mover.holdsChunk === 0) {
    turn.on(A, [Residence.leaving], `copy: reads row ${chunk} of A`, (next, m) => {
      m.holdsChunk = 1;
      m.chunkRow = rowOf(next.rows[A], chunk);
    });
    return;
  }
  const keys = 1 << chunk;
  const rows = withRow(0, chunk, mover.chunkRow);
  writeTarget(turn, keys, rows, `copy: writes row ${chunk} := ${mover.chunkRow} on B`, {
    done: (next, m) => {
      forgetChunk(m);
      m.chunk++;
      if (t.hasFault("copyBesideCatchUp")) next.step = m.chunk === 1 ? Step.chunk1 : Step.copied;
      else m.pc = Pc.copyRecord;
    },
    again: forgetChunk,
  });
}

interface AfterWrite {
  done(next: State, m: Mover): void;
  /** For a mover that goes on although it does not know how its transaction ended. */
  again(m: Mover): void;
}

/** A transaction at the target: it ends and the mover knows, or the mover loses contact and it ends some time later. */
function writeTarget(turn: MoverTurn, keys: number, rows: number, action: string, after: AfterWrite): void {
  const { t, index } = turn;
  if (isBlockedByRows(turn, keys, rows)) return;
  const skips = t.scenario.copySkipsExisting === true && turn.mover.pc === Pc.copy;
  const before = t.now.rows[B];
  const written = t.hasFault("upsert") ? upsertRows(before, keys, rows) : replaceRows(before, keys, rows);
  // A statement that fails is tried again, for good if nothing changes.
  if (written === undefined) return;
  turn.on(B, [Residence.arriving], action, (next, m) => {
    next.rows[B] = skips && rowOf(before, m.chunk) !== 0 ? before : written;
    after.done(next, m);
  });
  const residence = t.now.residences[B];
  const isWorking = residence.state === Residence.arriving && residence.token === turn.mover.token;
  if (t.scenario.targetLost !== true || t.now.targetInFlightKeys !== 0 || !turn.mayStop() || !isWorking)
    return;
  const next = t.branch();
  next.targetInFlightKeys = keys;
  next.targetInFlightRows = rows;
  if (t.hasFault("sameTokenAgain")) after.again(next.movers[index]);
  else stop(next.movers[index]);
  t.take(next, "choice", () => `${turn.name()}: ${action}: sent, contact with B lost`);
}

/** Rows that an unfinished transaction has inserted or deleted are locked; a key that it found absent and left absent is not. */
function isBlockedByRows(turn: MoverTurn, keys: number, rows: number): boolean {
  const s = turn.t.now;
  const common = keys & s.targetInFlightKeys;
  return [0, 1].some((key) => {
    if (((common >>> key) & 1) === 0) return false;
    const existed = rowOf(s.rows[B], key) !== 0;
    return existed || (rowOf(rows, key) !== 0 && rowOf(s.targetInFlightRows, key) !== 0);
  });
}

export function stepCatchUp(turn: MoverTurn): void {
  const { t, mover } = turn;
  if (t.hasFault("copyBesideCatchUp") && mover.chunk < 2) copyChunk(turn);
  const source = mover.draining === 1 ? [Residence.frozen] : [Residence.leaving];
  const deletedFirst = t.hasFault("deletedBeforeApplied");
  switch (mover.pc) {
    case Pc.catchUp:
      if (t.hasFault("rowsBeforeLog")) readRowsFirst(turn, source);
      else readLog(turn, source);
      if (mover.draining === 1) thaw(turn);
      else if (mover.chunk === 2) freezeOrVerify(turn);
      break;
    case Pc.roundRows:
      if (t.hasFault("rowsBeforeLog")) {
        readLog(turn, source);
        break;
      }
      readRows(turn, source);
      break;
    case Pc.roundApply:
      writeTarget(turn, mover.keys, mover.rows, `${phase(mover)}: deletes and inserts on B`, {
        done: (_next, m) => {
          m.pc = deletedFirst ? Pc.catchUp : Pc.roundDelete;
          if (deletedFirst) forgetRound(m);
        },
        again: (m) => {
          m.pc = Pc.catchUp;
          forgetRound(m);
        },
      });
      break;
    case Pc.roundDelete:
      deleteEntries(turn, source);
      break;
    case Pc.verifyTarget:
      turn.on(B, [Residence.arriving], "verify: reads B", (next, m) => {
        const differ = m.rows ^ next.rows[B];
        forgetRound(m);
        m.keys = ((differ & 15) !== 0 ? 1 : 0) | (differ >>> 4 !== 0 ? 2 : 0);
        m.pc = m.keys === 0 ? Pc.catchUp : Pc.verifyLog;
      });
      break;
    default:
      turn.on(A, source, "verify: are the rows that differ in the log?", (next, m) => {
        if ((m.keys & ~keysOf(next, visibleIds(next))) !== 0) next.harm = Harm.verifyDiffers;
        forgetRound(m);
        m.pc = Pc.catchUp;
      });
  }
}

function phase(m: Mover): string {
  return m.draining === 1 ? "drain" : "catchUp";
}

/** Ids of the entries whose transactions have committed. */
function visibleIds(s: State): number[] {
  const ids: number[] = [];
  for (let id = 0; id < LOG_IDS; id++) if (s.log[id] !== 0 && s.log[id]! < 4) ids.push(id);
  return ids;
}

function keysOf(s: State, ids: readonly number[]): number {
  return ids.reduce((keys, id) => keys | s.log[id]!, 0);
}

/**
 * A batch is one of the entries that can be seen, or all of them: all these rounds are tried. "Up to" an id makes sense only with the
 * smallest ids first, so there it is the first entry or all.
 */
function readLog(turn: MoverTurn, source: readonly number[]): void {
  const { t, mover } = turn;
  const ids = visibleIds(t.now);
  const isFenced = t.now.residences[A].token !== mover.token;
  if (ids.length === 0) {
    if (mover.draining === 0 && !isFenced && mover.pc === Pc.catchUp) return;
    turn.on(A, source, `${phase(mover)}: the log is empty`, (_next, m) => {
      m.rows = 0;
      m.pc = Pc.catchUp;
      if (m.draining === 1) m.pc = t.hasFault("purgeBeforeCommit") ? Pc.earlyPurge : Pc.commit;
    });
    return;
  }
  const batches = (t.hasFault("deletedUpTo") ? ids.slice(0, 1) : ids).map((id) => [id]);
  if (ids.length > 1) batches.push(ids);
  for (const batch of batches) {
    turn.on(A, source, `${phase(mover)}: reads log entries ${batch.join(", ")}`, (next, m) => {
      m.batch = batch.reduce((bits, id) => bits | (1 << id), 0);
      m.keys = keysOf(next, batch);
      m.pc = t.hasFault("deletedBeforeApplied") ? Pc.roundDelete : Pc.roundRows;
      if (t.hasFault("rowsBeforeLog")) m.pc = Pc.roundApply;
    });
  }
}

/** The round's rows in one snapshot; or row 0 first, and `holdsChunk` says that row 1 is still to come. */
function readRows(turn: MoverTurn, source: readonly number[]): void {
  const { t, mover } = turn;
  const isSplit = t.scenario.readsRowsSingly === true && mover.keys === 3;
  const isFirstHalf = isSplit && mover.holdsChunk === 0;
  const wanted = isSplit ? (isFirstHalf ? [0] : [1]) : [0, 1].filter((key) => (mover.keys >>> key) & 1);
  turn.on(A, source, `${phase(mover)}: reads the current rows ${wanted.join(", ")} of A`, (next, m) => {
    for (const key of wanted) m.rows = withRow(m.rows, key, rowOf(next.rows[A], key));
    if (isSplit) m.holdsChunk = isFirstHalf ? 1 : 0;
    if (!isFirstHalf) m.pc = Pc.roundApply;
  });
}

/** The wrong order: what a writer commits between rows and log is taken for applied. */
function readRowsFirst(turn: MoverTurn, source: readonly number[]): void {
  turn.on(A, source, `${phase(turn.mover)}: reads the rows of A, before the log`, (next, m) => {
    m.rows = next.rows[A];
    m.pc = Pc.roundRows;
  });
}

function deleteEntries(turn: MoverTurn, source: readonly number[]): void {
  const { t, mover } = turn;
  turn.on(A, source, `${phase(mover)}: deletes the round's log entries`, (next, m) => {
    for (const id of visibleIds(next)) {
      const isApplied = ((m.batch >>> id) & 1) === 1;
      if (isApplied || (t.hasFault("deletedUpTo") && m.batch >>> id !== 0)) next.log[id] = 0;
    }
    if (t.hasFault("deletedBeforeApplied")) {
      m.pc = Pc.roundRows;
    } else {
      m.pc = Pc.catchUp;
      forgetRound(m);
    }
  });
}

function freezeOrVerify(turn: MoverTurn): void {
  turn.aloneOn(A, [Residence.leaving], "freeze: A leaving → frozen", (next, m) => {
    next.residences[A].state = Residence.frozen;
    m.draining = 1;
  });
  if (turn.t.scenario.verify !== true) return;
  turn.on(A, [Residence.leaving], "verify: reads A", (next, m) => {
    m.rows = next.rows[A];
    m.pc = Pc.verifyTarget;
  });
}

/** Over the pause budget: back to catching up. */
function thaw(turn: MoverTurn): void {
  const { t, index, mover } = turn;
  const { state, token } = t.now.residences[A];
  if (state !== Residence.frozen || token !== mover.token) return;
  const next = t.branch();
  next.residences[A].state = Residence.leaving;
  next.movers[index].draining = 0;
  t.take(next, "choice", () => `${turn.name()}: drain: over budget, A frozen → leaving`);
}

/** The transaction at the target that lost its mover ends. */
export function endTargetInFlight(t: Transitions): void {
  const keys = t.now.targetInFlightKeys;
  if (keys === 0) return;
  for (const lands of [true, false]) {
    const next = t.branch();
    if (lands) next.rows[B] = replaceRows(next.rows[B], keys, next.targetInFlightRows);
    next.targetInFlightKeys = 0;
    next.targetInFlightRows = 0;
    t.take(
      next,
      "progress",
      () => `the transaction at B that lost its mover ${lands ? "commits" : "rolls back"}`,
    );
  }
}
