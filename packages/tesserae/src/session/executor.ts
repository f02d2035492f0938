/**
 * The executor under every session: compiles through the session's check, then routes. A single statement takes the short way (one call of the pool);
 * transactions, pinned connections and streams acquire a connection first. Inside an open transaction's closure every session's statements
 * go to that transaction's connection, or are refused.
 */
import {
  type CompiledQuery,
  type ConnectionProvider,
  type DatabaseConnection,
  DefaultQueryExecutor,
  type KyselyPlugin,
  type QueryCompiler,
  type QueryId,
  type QueryResult,
  type RootOperationNode,
} from "kysely";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { SessionBinding } from "./binding.ts";
import { JoinedConnection } from "./joined-connection.ts";
import { inConnectionContext, joinTransaction, openTransaction } from "./open-transaction.ts";
import { RoutedConnection } from "./routed-connection.ts";
import { RoutedQuery } from "./routed-query.ts";
import { type Bound, boundFor, READS_MAX, runRouted } from "./run-routed.ts";
import type { RoutedTarget, Target } from "./target.ts";

type QueryOptions = Parameters<DefaultQueryExecutor["executeQuery"]>[1];
type StreamOptions = Parameters<DefaultQueryExecutor["stream"]>[2];

/** Kysely's base class wants a compiler; this executor compiles by its binding. */
const noCompiler: QueryCompiler = {
  compileQuery() {
    throw new Error("a routed executor compiles by its binding");
  },
};

export class RoutedExecutor extends DefaultQueryExecutor {
  readonly #binding: SessionBinding;
  readonly #pinned: ConnectionProvider | undefined;

  constructor(binding: SessionBinding, pinned?: ConnectionProvider, plugins: readonly KyselyPlugin[] = []) {
    super(
      noCompiler,
      binding.kit.adapter,
      undefined as unknown as ConnectionProvider,
      plugins as KyselyPlugin[],
    );
    this.#binding = binding;
    this.#pinned = pinned;
  }

  override compileQuery(node: RootOperationNode, queryId: QueryId): CompiledQuery {
    const binding = this.#binding;
    return new RoutedQuery(
      binding.kit.compile(binding.check(node), queryId),
      queryId,
      binding.origin,
      binding.kit,
    );
  }

  override async executeQuery<R>(compiled: CompiledQuery, options?: QueryOptions): Promise<QueryResult<R>> {
    const query = this.#own(compiled);
    const signal = options?.signal;
    const open = this.#pinned === undefined ? openTransaction() : undefined;
    if (this.#pinned !== undefined || (signal !== undefined && (open !== undefined || endsQuery(options))))
      return super.executeQuery<R>(query, options);
    signal?.throwIfAborted();
    const binding = this.#binding;
    const first = binding.route();
    const routed = first instanceof Promise ? await first : first;
    let result: QueryResult<R>;
    if (open === undefined) {
      result = (await this.#run(query, routed, signal)) as QueryResult<R>;
    } else {
      const traveller = { tenant: binding.tenant, way: binding, routed };
      result = await (await joinTransaction(open, traveller)).executeFor<R>(traveller, query);
    }
    return this.plugins.length === 0 ? result : this.#transform(result, query, signal);
  }

  override async *stream<R>(
    compiled: CompiledQuery,
    chunkSize: number,
    options?: StreamOptions,
  ): AsyncIterableIterator<QueryResult<R>> {
    const query = this.#own(compiled);
    for (let reads = 1; ; reads++) {
      const results = super.stream<R>(query, chunkSize, options);
      let first: IteratorResult<QueryResult<R>>;
      try {
        first = await results.next();
      } catch (error) {
        // Nothing was handed out, and the directory was asked: the next try goes where the key lives now.
        if (this.#pinned === undefined && reads < READS_MAX && isTesseraeError(error, "READ_STALE")) continue;
        throw error;
      }
      if (first.done === true) return;
      try {
        yield first.value;
        yield* results;
      } finally {
        await results.return?.();
      }
      return;
    }
  }

  override async provideConnection<T>(
    consumer: (connection: DatabaseConnection) => Promise<T>,
    options?: Parameters<DefaultQueryExecutor["provideConnection"]>[1],
  ): Promise<T> {
    if (this.#pinned !== undefined) return this.#pinned.provideConnection(consumer, options);
    const binding = this.#binding;
    const routed = await binding.route();
    const { target } = routed;
    const traveller = { tenant: binding.tenant, way: binding, routed };
    const open = openTransaction();
    if (open !== undefined) {
      const joined = await joinTransaction(open, traveller);
      if (binding.strict) joined.askAtCommit(traveller);
      return consumer(new JoinedConnection(joined, traveller));
    }
    let connection: RoutedConnection;
    try {
      connection = new RoutedConnection(
        await target.database.acquire({ signal: options?.signal }),
        traveller,
      );
    } catch (error) {
      if (options?.signal?.aborted && error === options.signal.reason) throw error;
      throw toEngineError(error, target.kit.dialect, {
        ...target.place,
        ...binding.place,
        operation: "acquire",
      });
    }
    try {
      return await inConnectionContext(connection, () => consumer(connection));
    } finally {
      connection.inTransaction = false;
      connection.connection.release();
    }
  }

  override withPlugins(plugins: readonly KyselyPlugin[]): RoutedExecutor {
    return new RoutedExecutor(this.#binding, this.#pinned, [...this.plugins, ...plugins]);
  }

  override withPlugin(plugin: KyselyPlugin): RoutedExecutor {
    return new RoutedExecutor(this.#binding, this.#pinned, [...this.plugins, plugin]);
  }

  override withPluginAtFront(plugin: KyselyPlugin): RoutedExecutor {
    return new RoutedExecutor(this.#binding, this.#pinned, [plugin, ...this.plugins]);
  }

  override withConnectionProvider(pinned: ConnectionProvider): RoutedExecutor {
    return new RoutedExecutor(this.#binding, pinned, this.plugins);
  }

  /** Without plugins, and with the tenant filter all the same: the filter is no plugin. */
  override withoutPlugins(): RoutedExecutor {
    return new RoutedExecutor(this.#binding, this.#pinned);
  }

  /** This session's own query. One that was compiled elsewhere is checked like a new one; another tenant's is refused. */
  #own(compiled: CompiledQuery): RoutedQuery {
    const origin = RoutedQuery.originOf(compiled);
    if (origin === this.#binding.origin) return compiled as RoutedQuery;
    if (origin !== undefined) {
      throw new TesseraeError(
        "QUERY_OF_OTHER_SESSION",
        `This query was compiled for ${origin} and cannot run in the session of ${this.#binding.origin}. Build it on this session, or use fed.prepare().`,
        this.#binding.place,
      );
    }
    const { query, queryId } = compiled;
    // A raw statement made by CompiledQuery.raw has its text and parameters beside its tree: they are taken as they are.
    if (query.kind === "RawNode")
      return new RoutedQuery(
        this.#binding.kit.adopt(compiled, this.#binding.check(query)),
        queryId,
        this.#binding.origin,
        this.#binding.kit,
      );
    return this.compileQuery(query, queryId) as RoutedQuery;
  }

  #run(query: RoutedQuery, first: RoutedTarget, signal?: AbortSignal): Promise<QueryResult<never>> {
    const bind = (target: Target): Bound => {
      return boundFor(this.#binding, query.plannedFor(target.kit));
    };
    return runRouted(this.#binding, first, bind, signal);
  }

  async #transform<R>(
    result: QueryResult<R>,
    { queryId }: RoutedQuery,
    signal: AbortSignal | undefined,
  ): Promise<QueryResult<R>> {
    let transformed = result as QueryResult<never>;
    for (const plugin of this.plugins) {
      const args = { queryId, result: transformed, ...(signal === undefined ? {} : { signal }) };
      transformed = (await plugin.transformResult(args)) as QueryResult<never>;
    }
    return transformed;
  }
}

/** Kysely refuses what this library's connections cannot do: cancelling a query, or killing its session. */
function endsQuery(options: QueryOptions): boolean {
  return (options?.inflightQueryAbortStrategy ?? "ignore query") !== "ignore query";
}
