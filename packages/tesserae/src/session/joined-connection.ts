/** A transaction's connection as a session has it that joined: its statements run as its own key's, and not as those of whoever opened the transaction. */
import type { CompiledQuery, DatabaseConnection, QueryResult } from "kysely";
import type { RoutedConnection, Traveller } from "./routed-connection.ts";
import type { Target } from "./target.ts";

export class JoinedConnection implements DatabaseConnection {
  readonly #joined: RoutedConnection;
  readonly #traveller: Traveller;

  constructor(joined: RoutedConnection, traveller: Traveller) {
    this.#joined = joined;
    this.#traveller = traveller;
  }

  get target(): Target {
    return this.#joined.target;
  }

  /** No transaction of its own can begin on it. */
  get inTransaction(): boolean {
    return this.#joined.inTransaction;
  }

  executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    return this.#joined.executeFor<R>(this.#traveller, compiled);
  }

  streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.#joined.streamFor<R>(this.#traveller, compiled, chunkSize);
  }
}
