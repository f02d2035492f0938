/**
 * A compiled query over all shards: its plan, and whose it is. A class with a private field, so that a copy of it is none. Its text and parameters are those that a shard runs.
 */
import type { CompiledQuery, KyselyPlugin, QueryId, RootOperationNode } from "kysely";
import type { FanOutContext } from "./fan-out-context.ts";
import type { PlannedQuery } from "./planned-queries.ts";

/** The session that a query was compiled on. */
export interface QueryHome {
  readonly context: FanOutContext;
  /** The federation and the keys that it is for: two sessions of one context with the same text see the same rows. */
  readonly origin: string;
  /** They have changed the query, and its rows are theirs to change back. */
  readonly plugins: readonly KyselyPlugin[];
}

export class FanOutQuery implements CompiledQuery {
  readonly query: RootOperationNode;
  readonly queryId: QueryId;
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly #home: QueryHome;
  readonly #planned: PlannedQuery;

  constructor(
    compiled: {
      readonly query: RootOperationNode;
      readonly sql: string;
      readonly parameters: readonly unknown[];
    },
    queryId: QueryId,
    home: QueryHome,
    planned: PlannedQuery,
  ) {
    this.query = compiled.query;
    this.queryId = queryId;
    this.sql = compiled.sql;
    this.parameters = compiled.parameters;
    this.#home = home;
    this.#planned = planned;
    Object.freeze(this.parameters);
    Object.freeze(this);
  }

  static is(query: CompiledQuery): query is FanOutQuery {
    return #planned in query;
  }

  get origin(): string {
    return this.#home.origin;
  }

  get plugins(): readonly KyselyPlugin[] {
    return this.#home.plugins;
  }

  /** Planned for the same rows of the same federation: another one may have the same name, and another schema. */
  isOf({ context, origin }: Pick<QueryHome, "context" | "origin">): boolean {
    return this.#home.context === context && this.#home.origin === origin;
  }

  get planned(): PlannedQuery {
    return this.#planned;
  }
}
