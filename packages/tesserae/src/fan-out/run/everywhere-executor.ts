/** The executor under `fed.everywhere`: a query is planned when it is compiled, and run over the shards when it is executed. */
import {
  type CompiledQuery,
  type ConnectionProvider,
  DefaultQueryExecutor,
  type KyselyPlugin,
  type QueryCompiler,
  type QueryId,
  type QueryResult,
  type RootOperationNode,
} from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import type { KeyValue } from "../../schema/logical-type.ts";
import { openTransaction } from "../../session/open-transaction.ts";
import { isReadOnly } from "../../session/read-only.ts";
import { RoutedQuery } from "../../session/routed-query.ts";
import { CheckedWrite } from "../write/checked-write.ts";
import { writeEverywhere } from "../write/write-everywhere.ts";
import { WriteQuery } from "../write/write-query.ts";
import type { EverywhereWriteReport } from "../write/write-report.ts";
import type { FanOutContext } from "./fan-out-context.ts";
import type { FanOutSettings } from "./fan-out-options.ts";
import { FanOutQuery } from "./fan-out-query.ts";
import { FanOutRun } from "./fan-out-run.ts";
import { plannedQuery } from "./planned-queries.ts";

type QueryOptions = Parameters<DefaultQueryExecutor["executeQuery"]>[1];
type StreamOptions = Parameters<DefaultQueryExecutor["stream"]>[2];

/** Kysely's base class wants a compiler; this executor compiles by its plan. */
const noCompiler: QueryCompiler = {
  compileQuery() {
    throw new Error("an everywhere executor compiles by its plan");
  },
};

/** Nor has it one connection to give. */
const noConnection: ConnectionProvider = {
  provideConnection() {
    throw noTransaction();
  },
};

/** What one session over the shards is. */
export interface EverywhereScope {
  readonly context: FanOutContext;
  readonly settings: FanOutSettings;
  /** `fed.some(keys)`; undefined for all keys. */
  readonly keys: readonly KeyValue[] | undefined;
}

export class EverywhereExecutor extends DefaultQueryExecutor {
  readonly scope: EverywhereScope;
  #originText: string | undefined;

  constructor(scope: EverywhereScope, plugins: readonly KyselyPlugin[] = []) {
    super(noCompiler, scope.context.kit.adapter, noConnection, plugins as KyselyPlugin[]);
    this.scope = scope;
  }

  override compileQuery(node: RootOperationNode, queryId: QueryId): CompiledQuery {
    const { context } = this.scope;
    if (this.scope.settings.allowEverywhere && isWrite(node)) return this.#compileWrite(node, queryId);
    this.#refuseWrite(node);
    const planned = plannedQuery(node, queryId, context);
    const { sql, parameters } = planned.statement.for(context.kit).planned;
    const home = { context, origin: this.#origin, plugins: this.plugins };
    return new FanOutQuery({ query: node, sql, parameters }, queryId, home, planned);
  }

  override async executeQuery<R>(compiled: CompiledQuery, options?: QueryOptions): Promise<QueryResult<R>> {
    if (WriteQuery.is(compiled)) {
      const { affectedRows } = await this.write(compiled, options?.signal);
      return { rows: [], numAffectedRows: affectedRows };
    }
    const { result } = await this.collect<R>(compiled, options?.signal);
    return result;
  }

  /** What became of a write, shard by shard. FAN_OUT_WRITE_FAILED, with the same, where it failed on one. */
  async write(compiled: CompiledQuery, signal?: AbortSignal): Promise<EverywhereWriteReport> {
    const { context, settings, keys } = this.scope;
    this.#refuseInTransaction();
    const query = this.#ownWrite(compiled);
    if (!WriteQuery.is(query))
      throw new TesseraeError(
        "STATEMENT_REFUSED",
        "write() takes an update or a delete; execute() a select.",
        {
          cluster: "shards",
          federation: context.federation.name,
        },
      );
    const signals = [signal, settings.signal].filter((each) => each !== undefined);
    return writeEverywhere(query.query, context.shards, {
      ...context.writes,
      schema: context.schema,
      only: keys,
      concurrency: settings.concurrency,
      signal: signals.length === 0 ? undefined : AbortSignal.any(signals),
    });
  }

  /** The whole answer, and the run that it came of. */
  async collect<R>(
    compiled: CompiledQuery,
    signal?: AbortSignal,
  ): Promise<{ result: QueryResult<R>; run: FanOutRun }> {
    const query = this.#own(compiled);
    const run = this.#runOf(query, signal);
    const rows = (await run.collect()) as R[];
    return { result: await this.#transform({ rows }, query, signal), run };
  }

  override async *stream<R>(
    compiled: CompiledQuery,
    chunkSize: number,
    options?: StreamOptions,
  ): AsyncIterableIterator<QueryResult<R>> {
    const query = this.#own(compiled);
    const signal = options?.signal;
    for await (const rows of this.#runOf(query, signal).stream(Math.max(1, chunkSize)))
      yield await this.#transform({ rows: rows as R[] }, query, signal);
  }

  override withPlugins(plugins: readonly KyselyPlugin[]): EverywhereExecutor {
    return new EverywhereExecutor(this.scope, [...this.plugins, ...plugins]);
  }

  override withPlugin(plugin: KyselyPlugin): EverywhereExecutor {
    return new EverywhereExecutor(this.scope, [...this.plugins, plugin]);
  }

  override withPluginAtFront(plugin: KyselyPlugin): EverywhereExecutor {
    return new EverywhereExecutor(this.scope, [plugin, ...this.plugins]);
  }

  override withoutPlugins(): EverywhereExecutor {
    return new EverywhereExecutor(this.scope);
  }

  override withConnectionProvider(): never {
    throw noTransaction();
  }

  /** Whose rows the session's queries are for. */
  get #origin(): string {
    const { keys, context } = this.scope;
    const whole = `all shards of federation ${context.federation.name}`;
    this.#originText ??=
      keys === undefined ? whole : `${whole}, keys ${keys.map((key) => context.keys.toText(key)).join()}`;
    return this.#originText;
  }

  /** Only the check of it: what each shard is sent has conditions that are known when it runs. */
  #compileWrite(node: RootOperationNode, queryId: QueryId): CompiledQuery {
    const { context } = this.scope;
    const { kit, schema, federation } = context;
    new CheckedWrite(node, schema, federation.name);
    return new WriteQuery(kit.compile(node, queryId), queryId, context, this.#origin);
  }

  /** Kysely's only writes are those of a tree; text is refused below. */
  #refuseWrite(node: RootOperationNode): void {
    const { federation } = this.scope.context;
    const place = { cluster: "shards", federation: federation.name };
    if (node.kind === "RawNode")
      throw new TesseraeError(
        "RAW_REFUSED",
        "A whole raw statement cannot be taken apart over the shards. Build the query on fed.everywhere, or bring the shards' rows together with fed.gather(sources, sql).",
        place,
      );
    if (isReadOnly(node)) return;
    throw new TesseraeError(
      "FAN_OUT_READ_ONLY",
      "fed.everywhere takes plain selects: nothing that writes, and no row locks. Write through fed.at(key), each key's rows in a transaction of their own; or, an update or delete of every tenant's rows, through fed.everywhere.using({ allowEverywhere: true }).",
      place,
    );
  }

  /** This session's own query. One that was compiled elsewhere is planned like a new one; one for other rows is refused: its keys would be lost. */
  #own(compiled: CompiledQuery): FanOutQuery {
    if (FanOutQuery.is(compiled) && compiled.isOf({ context: this.scope.context, origin: this.#origin }))
      return compiled;
    if (WriteQuery.is(compiled))
      throw new TesseraeError(
        "STATEMENT_REFUSED",
        "A write over all shards gives no rows: execute() it, or hand it to write(), which tells what became of each shard.",
        { cluster: "shards", federation: this.scope.context.federation.name },
      );
    this.#refuseForeign(compiled);
    return this.compileQuery(compiled.query as RootOperationNode, compiled.queryId) as FanOutQuery;
  }

  /** The same for a write; without `allowEverywhere` no session runs one, whatever it was allowed where it was compiled. */
  #ownWrite(compiled: CompiledQuery): CompiledQuery {
    const { settings, context } = this.scope;
    if (settings.allowEverywhere) {
      if (WriteQuery.is(compiled) && compiled.isOf(context, this.#origin)) return compiled;
      this.#refuseForeign(compiled);
    }
    return this.compileQuery(compiled.query as RootOperationNode, compiled.queryId);
  }

  #refuseForeign(compiled: CompiledQuery): void {
    const origin =
      FanOutQuery.is(compiled) || WriteQuery.is(compiled) ? compiled.origin : RoutedQuery.originOf(compiled);
    if (origin === undefined) return;
    throw new TesseraeError(
      "QUERY_OF_OTHER_SESSION",
      `This query was compiled for ${origin} and cannot run over ${this.#origin}. Build it on this session.`,
      { cluster: "shards", federation: this.scope.context.federation.name },
    );
  }

  #runOf({ planned, queryId }: FanOutQuery, signal: AbortSignal | undefined): FanOutRun {
    const { context, settings, keys } = this.scope;
    this.#refuseInTransaction();
    return new FanOutRun(context, { planned, queryId, keys, settings, signal });
  }

  #refuseInTransaction(): void {
    const open = openTransaction();
    if (open === undefined) return;
    throw new TesseraeError(
      "TRANSACTION_OPEN",
      `A transaction is open on ${open.target.name}, and a query over all shards would not see what it has written. Make the query before or after the transaction.`,
      { cluster: "shards", federation: this.scope.context.federation.name },
    );
  }

  async #transform<R>(
    result: { rows: R[] },
    { queryId, plugins }: FanOutQuery,
    signal: AbortSignal | undefined,
  ): Promise<QueryResult<R>> {
    let transformed = result as QueryResult<never>;
    for (const plugin of plugins) {
      const args = { queryId, result: transformed, ...(signal === undefined ? {} : { signal }) };
      transformed = (await plugin.transformResult(args)) as QueryResult<never>;
    }
    return transformed;
  }
}

function isWrite(node: RootOperationNode): boolean {
  return (
    node.kind === "UpdateQueryNode" || node.kind === "DeleteQueryNode" || node.kind === "InsertQueryNode"
  );
}

export function noTransaction(): TesseraeError {
  return new TesseraeError(
    "FAN_OUT_READ_ONLY",
    "There is no transaction and no connection over several shards. Each query over them sees every shard at its own moment; what must be seen or done together belongs to one key: fed.at(key).transaction().",
    { cluster: "shards" },
  );
}
