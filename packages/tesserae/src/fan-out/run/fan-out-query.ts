/**
 * A compiled query over all shards: its plan, and whose it is. A class with a private field, so that a copy of it is none. Its text and parameters are those that a shard runs.
 */
import type { CompiledQuery, QueryId, RootOperationNode } from "kysely";
import type { FanOutContext } from "./fan-out-context.ts";
import type { PlannedQuery } from "./planned-queries.ts";

export class FanOutQuery implements CompiledQuery {
  readonly query: RootOperationNode;
  readonly queryId: QueryId;
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly #origin: string;
  readonly #context: FanOutContext;
  readonly #planned: PlannedQuery;

  constructor(
    compiled: {
      readonly query: RootOperationNode;
      readonly sql: string;
      readonly parameters: readonly unknown[];
    },
    queryId: QueryId,
    origin: string,
    context: FanOutContext,
    planned: PlannedQuery,
  ) {
    this.query = compiled.query;
    this.queryId = queryId;
    this.sql = compiled.sql;
    this.parameters = compiled.parameters;
    this.#origin = origin;
    this.#context = context;
    this.#planned = planned;
    Object.freeze(this.parameters);
    Object.freeze(this);
  }

  static is(query: CompiledQuery): query is FanOutQuery {
    return #planned in query;
  }

  /** The federation that it was planned for. */
  get origin(): string {
    return this.#origin;
  }

  /** Planned for the federation of this context: another one may have the same name, and another schema. */
  isOf(context: FanOutContext): boolean {
    return this.#context === context;
  }

  get planned(): PlannedQuery {
    return this.#planned;
  }
}
