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

/** What a process does when its mover comes to a named point for the `after`-th time. */
export interface PointOrder {
  readonly point: string;
  readonly after: number;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

export type MoveWhat =
  | { readonly keys: readonly string[] }
  | { readonly low: string | null; readonly high: string | null };

export type ChildQuestion =
  /** Begins to write to these keys, until `stopWriting`. */
  | {
      readonly verb: "write";
      readonly keys: readonly string[];
      readonly seed: number;
      readonly pauseMs: number;
    }
  /** Stops after the writes under way. */
  | { readonly verb: "stopWriting" }
  /** One more write to each key, tried again until it is acknowledged. */
  | { readonly verb: "writeLast"; readonly keys: readonly string[]; readonly seed: number }
  | { readonly verb: "order"; readonly order: PointOrder | null }
  | { readonly verb: "move"; readonly what: MoveWhat; readonly to: number }
  /** Moves these keys back and forth until `stopMoving`. */
  | {
      readonly verb: "moveAbout";
      readonly keys: readonly string[];
      readonly range: { readonly low: string; readonly high: string } | null;
      readonly seed: number;
    }
  | { readonly verb: "stopMoving" }
  | { readonly verb: "resume" }
  /** The writer's rows that a read shows, `strict` or within the lease. */
  | { readonly verb: "read"; readonly key: string; readonly strict: boolean };

export interface ChildAnswer {
  readonly number: number;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** What a process tells unasked. */
export type ChildEvent = { readonly event: "ready" } | { readonly event: "point"; readonly point: string };
