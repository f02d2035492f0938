/** What a run of the model holds: who takes part, what they write, and which step of the protocol, if any, is done wrongly. */

/** The protocol done wrongly, each in one way; the model must find harm in each. */
export type Fault =
  /** Writers read the residence without a lock. */
  | "unlockedFence"
  /** Catch-up rounds run while the copy is under way. */
  | "copyBesideCatchUp"
  /** A round deletes its log entries first. */
  | "deletedBeforeApplied"
  /** The shards do not compare tokens; main does. */
  | "tokenInMainOnly"
  /** A round deletes all entries up to its largest id. */
  | "deletedUpTo"
  /** The target is written by upserts, as MariaDB does them with a second unique key. */
  | "upsert"
  /** The source is purged before the commit in main. */
  | "purgeBeforeCommit"
  /** A recovery reads main, then raises the token. */
  | "readBeforeRaise"
  /** The source is purged without the grace. */
  | "purgeWithoutGrace"
  /** The lease counts from the end of the poll. */
  | "leaseFromPollEnd"
  /** A strict reader that finds `frozen` does not ask main. */
  | "strictTrustsFrozen"
  /** The source is thawed before main says that the move is aborted. */
  | "abortUnrecorded"
  /** An aborted move deletes the target's residence row. */
  | "targetRowDeleted"
  /** After an unknown outcome at the target the mover goes on with the same token. */
  | "sameTokenAgain"
  /** A mover's transaction at the target reads the token without holding the residence. */
  | "moverUnlocked"
  /** A round reads the rows, then the log. */
  | "rowsBeforeLog"
  /** The copy reads from before `leaving`. */
  | "copyBeforeLeave";

export interface Put {
  primaryKey: 0 | 1;
  /** 0 deletes the row; else a value of the unique column. */
  value: number;
}

export interface Scenario {
  name: string;
  /** Rows 0 and 1 at the beginning, as values of the unique column; 0: absent. */
  rows: readonly [number, number];
  /** A script for each writer: its transactions, each one to three statements. */
  scripts: readonly [readonly (readonly Put[])[], readonly (readonly Put[])[]];
  /** Tokens to be drawn, at most 3: the first is the move's begin, each further one a takeover or a recovery. */
  tokens: number;
  strictReader?: boolean;
  leaseReader?: boolean;
  verify?: boolean;
  abort?: boolean;
  /** A mover may lose contact while its transaction at the target ends. */
  targetLost?: boolean;
  /** A chunk that is copied again leaves the rows that are there: another right way. */
  copySkipsExisting?: boolean;
  /** A round reads each of its rows in a statement, and a snapshot, of its own: another right way. */
  readsRowsSingly?: boolean;
  fault?: Fault;
}
