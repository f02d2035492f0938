/**
 * The state of the model: main, two shards, what is under way between them, and the memory of each actor. One key moves from shard A to shard B.
 *
 * A state is small numbers only and packs into six words, so that millions of them fit in memory. `pack` and `unpack` are the only
 * places that know the bits.
 */

export const A = 0;
export const B = 1;
export type Shard = 0 | 1;

/** A residence's state on a shard. `none`: the shard has no row for the key. */
export const Residence = { none: 0, arriving: 1, here: 2, leaving: 3, frozen: 4, gone: 5 } as const;

/**
 * What the move's row in main says. Two rows are copied in two chunks; `chunk1` and `copied` are the progress of the copy. That the
 * cut-over is committed is said by the directory row.
 */
export const Step = { claimed: 0, chunk1: 1, copied: 2, abort: 3, aborted: 4, done: 5 } as const;

/** Where a mover is: the transaction that it does next. */
export const Pc = {
  idle: 0,
  raise: 1,
  claimTarget: 2,
  claimSource: 3,
  leave: 4,
  copy: 5,
  copyRecord: 6,
  catchUp: 7,
  roundRows: 8,
  roundApply: 9,
  roundDelete: 10,
  verifyTarget: 11,
  verifyLog: 12,
  commit: 13,
  arrive: 14,
  gone: 15,
  purge: 16,
  finish: 17,
  thaw: 18,
  clearLog: 19,
  cleanTarget: 20,
  abortFinish: 21,
  earlyPurge: 22,
} as const;

/** What a mover learned from main when it claimed the move. */
export const View = { before: 0, committed: 1, abort: 2 } as const;

/** Harm that a transition itself sees; the other invariants are read off the state. */
export const Harm = {
  none: 0,
  acknowledgedElsewhere: 1,
  strictReadOld: 2,
  leaseReadOld: 3,
  verifyDiffers: 4,
  unexpectedState: 5,
} as const;

export const StrictPc = { read: 0, check: 1, ask: 2, done: 3 } as const;
export const LeasePc = { ready: 0, polling: 1, polled: 2, check: 3, done: 4 } as const;
/** What a lease reader holds: the current rows, those of the moment of the cut-over, or neither. */
export const Found = { current: 0, atCutOver: 1, neither: 2 } as const;

/** Writes per run that can be logged; ids of log entries are 0 … 4. */
export const LOG_IDS = 5;

export class ResidenceRow {
  state = 0;
  token = 0;
  epoch = 0;
}

export class Writer {
  /** The transaction of its script that it is in. */
  transaction = 0;
  /** Statements done in the open transaction; 0: none is open. */
  statements = 0;
  /** The cached route, which is the open transaction's shard too. */
  route: Shard = A;
  /** Refused by the guard: it must refresh its route. */
  refused = 0;
}

export class Mover {
  pc = 0;
  /** Its token; 0 while idle. */
  token = 0;
  view = 0;
  /** The chunk to copy next, and in the purges the row to delete next. */
  chunk = 0;
  /** 1 when it holds a chunk that it has read and not written. */
  holdsChunk = 0;
  chunkRow = 0;
  /** Ids of the round's log entries, as bits. */
  batch = 0;
  /** The round's primary keys, as bits; in verify, the rows that differ. */
  keys = 0;
  draining = 0;
  /** The rows that the round, or verify, has read. */
  rows = 0;
}

/**
 * Rows are a byte: row 0 in the low four bits, row 1 in the high four. 0 is "no such row"; other values are values of a unique column,
 * each written once to a row, so that a value says which write it comes from.
 */
export function rowOf(rows: number, primaryKey: number): number {
  return primaryKey === 0 ? rows & 15 : rows >>> 4;
}

export function withRow(rows: number, primaryKey: number, value: number): number {
  return primaryKey === 0 ? (rows & 0xf0) | value : (rows & 15) | (value << 4);
}

export class State {
  // Main.
  shard: Shard = A;
  epoch = 0;
  token = 0;
  step = 0;
  /** A lease has passed since the cut-over. */
  cutOverAged = 0;
  /** The token of a commit that was sent and whose answer was given up; it may still land. */
  commitInFlight = 0;

  // Shards.
  readonly residences: readonly [ResidenceRow, ResidenceRow] = [new ResidenceRow(), new ResidenceRow()];
  readonly rows: [number, number] = [0, 0];
  /** The source's log by id: 0 nothing, else primary key + 1, plus 4 × (writer + 1) while that writer's transaction is open. */
  readonly log: [number, number, number, number, number] = [0, 0, 0, 0, 0];
  nextId = 0;
  /** A transaction at the target whose mover lost contact: its keys and rows. It holds the residence shared until it ends. */
  targetInFlightKeys = 0;
  targetInFlightRows = 0;

  // The ledger outside of the databases: what was acknowledged last, and what that was at the cut-over.
  truth = 0;
  truthAtCutOver = 0;
  harm = 0;

  // Actors.
  readonly writers: readonly [Writer, Writer] = [new Writer(), new Writer()];
  readonly movers: readonly [Mover, Mover] = [new Mover(), new Mover()];
  readonly strict = { pc: 0, route: 0 as Shard, current: 0 };
  readonly lease = { pc: 0, route: 0 as Shard, expired: 0, found: 0 };
}

export const WORDS = 6;

export function pack(s: State, words: Uint32Array): void {
  const [a, b] = s.residences;
  words[0] =
    s.shard |
    (s.epoch << 1) |
    (s.token << 3) |
    (s.step << 5) |
    (s.cutOverAged << 8) |
    (a.state << 9) |
    (a.token << 12) |
    (b.state << 14) |
    (b.token << 17) |
    (b.epoch << 19) |
    (s.nextId << 21) |
    (s.commitInFlight << 24) |
    (s.harm << 26) |
    (a.epoch << 29);
  words[1] = s.rows[0] | (s.rows[1] << 8) | (s.truth << 16) | (s.truthAtCutOver << 24);
  const log = s.log;
  words[2] =
    log[0] |
    (log[1] << 4) |
    (log[2] << 8) |
    (log[3] << 12) |
    (log[4] << 16) |
    (packWriter(s.writers[0]) << 20) |
    (packWriter(s.writers[1]) << 26);
  words[3] =
    s.strict.pc |
    (s.strict.route << 2) |
    (s.strict.current << 3) |
    (s.lease.pc << 4) |
    (s.lease.route << 7) |
    (s.lease.expired << 8) |
    (s.lease.found << 9) |
    (s.targetInFlightKeys << 11) |
    (s.targetInFlightRows << 13);
  // The movers run the same program, so which of them is first makes no difference.
  const first = packMover(s.movers[0]);
  const second = packMover(s.movers[1]);
  words[4] = first < second ? first : second;
  words[5] = first < second ? second : first;
}

export function unpack(words: Uint32Array, s: State): void {
  const [w0, w1, w2, w3] = [words[0]!, words[1]!, words[2]!, words[3]!];
  const [a, b] = s.residences;
  s.shard = (w0 & 1) as Shard;
  s.epoch = (w0 >>> 1) & 3;
  s.token = (w0 >>> 3) & 3;
  s.step = (w0 >>> 5) & 7;
  s.cutOverAged = (w0 >>> 8) & 1;
  a.state = (w0 >>> 9) & 7;
  a.token = (w0 >>> 12) & 3;
  b.state = (w0 >>> 14) & 7;
  b.token = (w0 >>> 17) & 3;
  b.epoch = (w0 >>> 19) & 3;
  s.nextId = (w0 >>> 21) & 7;
  s.commitInFlight = (w0 >>> 24) & 3;
  s.harm = (w0 >>> 26) & 7;
  a.epoch = (w0 >>> 29) & 3;
  s.rows[0] = w1 & 255;
  s.rows[1] = (w1 >>> 8) & 255;
  s.truth = (w1 >>> 16) & 255;
  s.truthAtCutOver = w1 >>> 24;
  for (let id = 0; id < LOG_IDS; id++) s.log[id] = (w2 >>> (4 * id)) & 15;
  unpackWriter((w2 >>> 20) & 63, s.writers[0]);
  unpackWriter(w2 >>> 26, s.writers[1]);
  s.strict.pc = w3 & 3;
  s.strict.route = ((w3 >>> 2) & 1) as Shard;
  s.strict.current = (w3 >>> 3) & 1;
  s.lease.pc = (w3 >>> 4) & 7;
  s.lease.route = ((w3 >>> 7) & 1) as Shard;
  s.lease.expired = (w3 >>> 8) & 1;
  s.lease.found = (w3 >>> 9) & 3;
  s.targetInFlightKeys = (w3 >>> 11) & 3;
  s.targetInFlightRows = (w3 >>> 13) & 255;
  unpackMover(words[4]!, s.movers[0]);
  unpackMover(words[5]!, s.movers[1]);
}

function packWriter(w: Writer): number {
  return w.transaction | (w.statements << 2) | (w.route << 4) | (w.refused << 5);
}

function unpackWriter(bits: number, w: Writer): void {
  w.transaction = bits & 3;
  w.statements = (bits >>> 2) & 3;
  w.route = ((bits >>> 4) & 1) as Shard;
  w.refused = bits >>> 5;
}

function packMover(m: Mover): number {
  return (
    (m.pc |
      (m.token << 5) |
      (m.view << 7) |
      (m.chunk << 9) |
      (m.holdsChunk << 11) |
      (m.chunkRow << 12) |
      (m.batch << 16) |
      (m.keys << 21) |
      (m.draining << 23) |
      (m.rows << 24)) >>>
    0
  );
}

function unpackMover(bits: number, m: Mover): void {
  m.pc = bits & 31;
  m.token = (bits >>> 5) & 3;
  m.view = (bits >>> 7) & 3;
  m.chunk = (bits >>> 9) & 3;
  m.holdsChunk = (bits >>> 11) & 1;
  m.chunkRow = (bits >>> 12) & 15;
  m.batch = (bits >>> 16) & 31;
  m.keys = (bits >>> 21) & 3;
  m.draining = (bits >>> 23) & 1;
  m.rows = bits >>> 24;
}
