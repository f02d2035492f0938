/** The way of a statement: where it goes, and what tells that it went to the right place. A key has one, and main. */
import type { ErrorPlace } from "../base/errors.ts";
import type { EngineResult, Statement } from "../engine/contract.ts";
import type { KeyLookups } from "./claims.ts";
import type { RoutedTarget } from "./target.ts";
import type { WriteWait } from "./write-wait.ts";

/** A database, or a connection of one. */
export interface StatementRunner {
  run(statement: Statement): Promise<EngineResult>;
}

export interface Way {
  readonly place: ErrorPlace;
  /** What claims the values of columns with a lookup. Missing for main, where no table of the federation has any, and for who may not write them. */
  readonly lookups?: KeyLookups | undefined;
  /** True where each read asks the shard whether the key still lives there; false where the route's lease is enough. */
  readonly strict: boolean;
  /** At once where the route is known, else a promise. */
  route(): RoutedTarget | Promise<RoutedTarget>;
  /** True while the route's lease holds: a read that ended later than that is made again. */
  holds(target: RoutedTarget): boolean;
  /** After a result has come: undefined if the key lived at `routed` when it was made, otherwise where it lives now. */
  findMoved(routed: RoutedTarget, runner: StatementRunner): Promise<RoutedTarget | undefined>;
  /** Whether the rows that `runner` shows are the key's at `routed`: on a replica they may not have come yet, or be those of before it left. */
  hasArrived(routed: RoutedTarget, runner: StatementRunner): Promise<boolean>;
  /** What a write that the guard refused waits with; undefined where nothing moves. */
  beginWait(signal?: AbortSignal): WriteWait | undefined;
}
