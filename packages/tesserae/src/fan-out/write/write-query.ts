/** A compiled write over all shards, and whose it is. A class with a private field, so that a copy of it is none. Its text and parameters are those of the application's own statement. */
import type { CompiledQuery, QueryId, RootOperationNode } from "kysely";

export class WriteQuery implements CompiledQuery {
  readonly query: RootOperationNode;
  readonly queryId: QueryId;
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly #context: object;
  readonly #origin: string;

  /** `context`: the federation that it was compiled for; another one may have the same name. */
  constructor(
    compiled: Pick<CompiledQuery, "query" | "sql" | "parameters">,
    queryId: QueryId,
    context: object,
    origin: string,
  ) {
    this.query = compiled.query as RootOperationNode;
    this.queryId = queryId;
    this.sql = compiled.sql;
    this.parameters = compiled.parameters;
    this.#context = context;
    this.#origin = origin;
    Object.freeze(this.parameters);
    Object.freeze(this);
  }

  static is(query: CompiledQuery): query is WriteQuery {
    return #origin in query;
  }

  /** The federation's name, and the keys that it is for. */
  get origin(): string {
    return this.#origin;
  }

  isOf(context: object, origin: string): boolean {
    return this.#context === context && this.#origin === origin;
  }
}
