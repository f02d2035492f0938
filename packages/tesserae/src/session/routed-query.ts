/**
 * A compiled query that remembers whose it is. It is a class with a private field, so that a copy of it is not one: neither spreading it nor
 * exchanging its parameters makes another tenant's query pass.
 */
import type { CompiledQuery, QueryId, RootOperationNode } from "kysely";
import type { DialectKit, Planned } from "./dialect-kit.ts";
import type { StatementPlan } from "./statement-plan.ts";

/** Whose a query is. Two origins with the same text are the same tenant of the same federation, or both main. */
export type Origin = string;

export class RoutedQuery implements CompiledQuery {
  readonly query: RootOperationNode;
  readonly queryId: QueryId;
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly #origin: Origin;
  readonly #kit: DialectKit;
  readonly #plan: StatementPlan;

  constructor(planned: Planned, queryId: QueryId, origin: Origin, kit: DialectKit) {
    this.query = planned.query;
    this.queryId = queryId;
    this.sql = planned.sql;
    this.parameters = planned.parameters;
    this.#origin = origin;
    this.#kit = kit;
    this.#plan = planned.plan;
    Object.freeze(this.parameters);
    Object.freeze(this);
  }

  /** The origin of a query that a session of this library compiled; undefined for any other. */
  static originOf(query: CompiledQuery): Origin | undefined {
    return #origin in query ? (query as RoutedQuery).#origin : undefined;
  }

  /** The query for an engine: itself where it was compiled for it, else compiled anew from its tree. */
  plannedFor(kit: DialectKit): Planned {
    return kit === this.#kit
      ? { query: this.query, sql: this.sql, parameters: this.parameters, plan: this.#plan }
      : kit.compile(this.query, this.queryId);
  }
}
