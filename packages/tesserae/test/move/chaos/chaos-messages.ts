/** What a chaos process is asked and answers. It crosses between processes as JSON: keys and ids are text. */

/** How a process reaches the databases. */
export interface ChaosAddresses {
  readonly main: string;
  readonly shards: readonly string[];
}

export interface ChildSettings {
  /** Names its ledger; no two processes have the same. */
  readonly name: string;
  readonly addresses: ChaosAddresses;
  readonly ledgerFolder: string;
  /** The first id that is this process's own, as text. */
  readonly firstId: string;
  readonly leaseMs: number;
}

/** What a process does when its moves come to a named point for the `after`-th time: it ends or stops itself there. */
export interface PointOrder {
  readonly point: string;
  readonly after: number;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

/** A move that comes to a point and stands there. */
export interface StandingMove {
  readonly kind: "key" | "range" | "merge";
  /** Of a range: in the middle of it; of a merge: where the two ranges meet. */
  readonly key: string;
  readonly to: number;
  readonly point: string;
  readonly rowsPerSecond?: number;
  /** It stays here for a moment, in which it is written to. */
  readonly lingerAt?: string;
  /** Here its run fails. */
  readonly leaveAt?: string;
  /** It is aborted when its run has failed. */
  readonly abort?: boolean;
}

export type ChildQuestion =
  /** Begins to write to these keys, until `stopWriting`. */
  | {
      readonly verb: "write";
      readonly keys: readonly string[];
      readonly seed: number;
      readonly pauseMs: number;
    }
  /** Goes on more slowly, as `write` was asked to, until `stopWriting`. */
  | { readonly verb: "calm"; readonly pauseMs: number }
  /** Stops after the writes under way. */
  | { readonly verb: "stopWriting" }
  /** So many more writes to each key, tried again until they are acknowledged. */
  | {
      readonly verb: "writeSome";
      readonly keys: readonly string[];
      readonly seed: number;
      readonly writes: number;
    }
  | { readonly verb: "order"; readonly order: PointOrder | null }
  /** How long every move of this process stays at points, in milliseconds. */
  | { readonly verb: "delay"; readonly delays: Readonly<Record<string, number>> }
  /** These moves, each to its point; when all stand there, the process ends or sleeps (`StandingMoves`). */
  | {
      readonly verb: "stand";
      readonly moves: readonly StandingMove[];
      readonly signal: "SIGKILL" | "SIGSTOP";
    }
  /** Moves these keys back and forth until `stopMoving`. */
  | {
      readonly verb: "moveAbout";
      readonly keys: readonly string[];
      readonly range: { readonly low: string; readonly high: string } | null;
      readonly seed: number;
    }
  | { readonly verb: "stopMoving" }
  /** These moves, or all that are under way. */
  | { readonly verb: "resume"; readonly ids?: readonly string[] }
  /** Reads the version of one item again and again, until `stopReading` asks for what was seen (`SeenRead`). */
  | {
      readonly verb: "read";
      readonly key: string;
      readonly id: string;
      readonly strict: boolean;
    }
  | { readonly verb: "stopReading" };

/** One read: when it began (milliseconds since 1970), and the version that it saw; null: no row. */
export interface SeenRead {
  readonly beganAt: number;
  readonly version: number | null;
}

export interface ChildAnswer {
  readonly number: number;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What a process tells unasked. */
export type ChildEvent = { readonly event: "ready" } | { readonly event: "point"; readonly point: string };
