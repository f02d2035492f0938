/** What makes one session different from another: what it may say, and where it goes. */
import type { RootOperationNode } from "kysely";
import type { ErrorPlace } from "../base/errors.ts";
import type { DialectKit } from "./dialect-kit.ts";
import type { Origin } from "./routed-query.ts";
import type { RoutedTarget } from "./target.ts";

export interface SessionBinding {
  readonly origin: Origin;
  /** The key whose session it is, with its federation; undefined for main. */
  readonly tenant: string | undefined;
  readonly place: ErrorPlace;
  /** The engine a query is compiled for before its route is known; a different one compiles it again from its tree. */
  readonly kit: DialectKit;
  /** Checks, filters and completes a statement; raises the refusal. */
  check(node: RootOperationNode): RootOperationNode;
  /** At once where the route is known, else a promise. */
  route(): RoutedTarget | Promise<RoutedTarget>;
  /** After the guard refused a write sent to `refused`: the new route, or undefined where the directory still says the same. */
  reroute(refused: RoutedTarget): Promise<RoutedTarget | undefined>;
  /** True while the route's lease holds: a read that ended later than that is made again. */
  holds(target: RoutedTarget): boolean;
}
