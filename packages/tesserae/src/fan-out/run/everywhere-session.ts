/** `fed.everywhere` and `fed.some(keys)`: Kysely instances whose queries run over the shards. */
import {
  type Compilable,
  type ConnectionBuilder,
  type ControlledTransactionBuilder,
  type Dialect,
  type DrainOuterGeneric,
  Kysely,
  type KyselyPlugin,
  type KyselyProps,
  type TransactionBuilder,
  WithSchemaPlugin,
} from "kysely";
import { RoutedDriver } from "../../session/routed-connection.ts";
import type { EverywhereWriteReport } from "../write/write-report.ts";
import { EverywhereExecutor, type EverywhereScope, noTransaction } from "./everywhere-executor.ts";
import { checkFanOutOptions, type FanOutOptions, fanOutSettings } from "./fan-out-options.ts";
import type { MissingShard } from "./fan-out-run.ts";

/** Only asked for by Kysely's introspection, which sessions do not offer. */
const refuse = (): never => {
  throw new Error("a session has no introspection: fed.schema tells what exists");
};

const driver = new RoutedDriver();
const dialect: Dialect = {
  createAdapter: refuse,
  createDriver: () => driver,
  createIntrospector: refuse,
  createQueryCompiler: refuse,
};

/** An answer, and which shards it was made of. */
export interface EverywhereResult<O> {
  readonly rows: O[];
  /** Shards whose rows are not in the answer, and why. Empty unless the mode is `partial`. */
  readonly missing: readonly MissingShard[];
  /** Shards that were asked, by their numbers. */
  readonly shards: readonly number[];
}

/**
 * Selects over all shards: federated and reference tables of one federation. The answer is the one that a single database with all rows would give, or the query is refused. Each
 * shard is seen at its own moment.
 *
 * @example
 * ```ts
 * const newest = await fed.everywhere.selectFrom("dots").selectAll().orderBy("id", "desc").limit(20).execute();
 * ```
 */
export class Everywhere<DB> extends Kysely<DB> {
  readonly #executor: EverywhereExecutor;
  readonly #options: FanOutOptions;

  constructor(
    scope: Omit<EverywhereScope, "settings">,
    options: FanOutOptions,
    plugins: readonly KyselyPlugin[] = [],
  ) {
    const settings = fanOutSettings(scope.context.defaults, options);
    const executor = new EverywhereExecutor({ ...scope, settings }, plugins);
    super({ config: { dialect }, dialect, driver, executor } satisfies KyselyProps);
    this.#executor = executor;
    this.#options = options;
  }

  /** The same over the same keys with other options; what is not named stays as it is. CONFIG_INVALID for an option that makes no sense. */
  using(options: FanOutOptions): Everywhere<DB> {
    checkFanOutOptions(options);
    return this.#over(this.#executor.plugins, { ...this.#options, ...options });
  }

  /** Runs a query that was built on this session, or on another one of the same federation, and tells which shards it came from. */
  async run<O>(
    query: Compilable<O>,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<EverywhereResult<O>> {
    const { result, run } = await this.#executor.collect<O>(query.compile(), options.signal);
    return { rows: result.rows, missing: run.missing, shards: run.shards };
  }

  /**
   * Runs an update or delete over all shards, and tells what became of each. `using({ allowEverywhere: true })` lets it. FAN_OUT_WRITE_FAILED, whose `report` is the same, where a
   * shard was not written; `report.rerun()` runs again what failed.
   */
  write(query: Compilable, options: { readonly signal?: AbortSignal } = {}): Promise<EverywhereWriteReport> {
    return this.#executor.write(query.compile(), options.signal);
  }

  override transaction(): TransactionBuilder<DB> {
    throw noTransaction();
  }

  override startTransaction(): ControlledTransactionBuilder<DB> {
    throw noTransaction();
  }

  override connection(): ConnectionBuilder<DB> {
    throw noTransaction();
  }

  override withPlugin(plugin: KyselyPlugin): Everywhere<DB> {
    return this.#over([...this.#executor.plugins, plugin]);
  }

  override withoutPlugins(): Everywhere<DB> {
    return this.#over([]);
  }

  override withSchema(schema: string): Everywhere<DB> {
    return this.#over([new WithSchemaPlugin(schema), ...this.#executor.plugins]);
  }

  // These change the types alone.

  // biome-ignore lint/suspicious/noExplicitAny: Kysely's own signature.
  override $extendTables<T extends Record<string, Record<string, any>>>(): Everywhere<
    DrainOuterGeneric<DB & T>
  > {
    return this.#over(this.#executor.plugins);
  }

  override $omitTables<T extends keyof DB>(): Everywhere<DB extends object ? Omit<DB, T> : DB> {
    return this.#over(this.#executor.plugins);
  }

  override $pickTables<T extends keyof DB>(): Everywhere<DB extends object ? Pick<DB, T> : DB> {
    return this.#over(this.#executor.plugins);
  }

  #over<Other = DB>(plugins: readonly KyselyPlugin[], options = this.#options): Everywhere<Other> {
    return new Everywhere<Other>(this.#executor.scope, options, plugins);
  }
}
