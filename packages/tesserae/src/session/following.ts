/** What all sessions of one federation share to follow keys that move. */
import { FreshAnswers } from "../base/fresh-answers.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { FederationModel } from "../schema/model.ts";

import { ResidenceReader } from "./residence-reader.ts";
import type { RouteAnswer } from "./target.ts";
import { KeyWatches } from "./write-wait.ts";

/**
 * What a read may see while its key moves. `lease`: for as long as the directory's lease it may see the shard that the key has just left. `strict`: each read
 * asks the shard once more whether the key still lives there.
 */
export type Consistency = "lease" | "strict";

export interface SessionOptions {
  /** Default: what the configuration says. */
  readonly consistency?: Consistency;
}

export const WRITE_WAIT_MS_DEFAULT = 5_000;

export interface FollowingOptions {
  readonly federation: FederationModel;
  readonly compare: (a: KeyValue, b: KeyValue) => number;
  readonly consistency?: Consistency | undefined;
  /** How long a write waits for a key that no shard takes writes of. */
  readonly writeWaitMs?: number | undefined;
  /** Whether the closure of a transaction that the guard refused is run again. */
  readonly rerunTransactions?: boolean | undefined;
}

export class Following {
  readonly consistency: Consistency;
  readonly writeWaitMs: number;
  readonly rerunTransactions: boolean;
  readonly residences: ResidenceReader;
  readonly watches = new KeyWatches();
  readonly freshRoutes = new FreshAnswers<RouteAnswer>();

  constructor(options: FollowingOptions) {
    this.consistency = options.consistency ?? "lease";
    this.writeWaitMs = options.writeWaitMs ?? WRITE_WAIT_MS_DEFAULT;
    this.rerunTransactions = options.rerunTransactions ?? true;
    this.residences = new ResidenceReader(options.federation, options.compare);
  }
}
