/** What makes one session different from another: what it may say, and where it goes. */
import type { RootOperationNode } from "kysely";
import type { DialectKit } from "./dialect-kit.ts";
import type { Origin } from "./routed-query.ts";
import type { Way } from "./way.ts";

export interface SessionBinding extends Way {
  readonly origin: Origin;
  /** The key whose session it is, with its federation; undefined for main. */
  readonly tenant: string | undefined;
  /** The engine a query is compiled for before its route is known; a different one compiles it again from its tree. */
  readonly kit: DialectKit;
  /** Whether the closure of a transaction that the guard refused is run again. */
  readonly rerunsTransactions: boolean;
  /** Checks, filters and completes a statement; raises the refusal. */
  check(node: RootOperationNode): RootOperationNode;
}
