/** The sessions an application holds: Kysely instances bound to main, to a replica, to a key. */
import {
  type Dialect,
  type DrainOuterGeneric,
  Kysely,
  type KyselyPlugin,
  type KyselyProps,
  type QueryExecutor,
  type TransactionBuilder,
  WithSchemaPlugin,
} from "kysely";
import type { SessionBinding } from "./binding.ts";
import { TenantBinding, UnfilteredBinding } from "./bindings.ts";
import { RoutedExecutor } from "./executor.ts";
import type { KeyRoutes } from "./key-routes.ts";
import { RerunTransactionBuilder } from "./rerun-transaction.ts";
import { RoutedDriver } from "./routed-connection.ts";
import type { TenantScope } from "./tenant-filter.ts";

const driver = new RoutedDriver();

/** Only asked for by Kysely's introspection, which sessions do not offer: `fed.schema` knows the tables. */
const dialect: Dialect = {
  createAdapter: () => refuse(),
  createDriver: () => driver,
  createIntrospector: () => refuse(),
  createQueryCompiler: () => refuse(),
};

function refuse(): never {
  throw new Error("a session has no introspection: fed.schema tells what exists");
}

const config = { dialect };

/** A Kysely instance over a binding, and whatever Kysely derives from it. */
class Session<DB> extends Kysely<DB> {
  readonly #props: KyselyProps;
  readonly #binding: SessionBinding;

  constructor(binding: SessionBinding, executor: QueryExecutor = new RoutedExecutor(binding)) {
    const props = { config, dialect, driver, executor };
    super(props);
    this.#props = props;
    this.#binding = binding;
  }

  /**
   * Kysely's transaction. Where the key moves while it runs, the closure of `execute` is rolled back and run again, so it may run more than once: let it do nothing
   * outside the database that must happen once. `moves.rerunTransactions: false` in the configuration switches that off.
   */
  override transaction(): TransactionBuilder<DB> {
    return this.#binding.rerunsTransactions
      ? new RerunTransactionBuilder<DB>(this.#props, this.#binding)
      : super.transaction();
  }

  override withPlugin(plugin: KyselyPlugin): Kysely<DB> {
    return this.#over(this.#props.executor.withPlugin(plugin));
  }

  override withoutPlugins(): Kysely<DB> {
    return this.#over(this.#props.executor.withoutPlugins());
  }

  override withSchema(schema: string): Kysely<DB> {
    return this.#over(this.#props.executor.withPluginAtFront(new WithSchemaPlugin(schema)));
  }

  // These change the types alone: the session stays what it is, and so do its transactions.

  // biome-ignore lint/suspicious/noExplicitAny: Kysely's own signature.
  override $extendTables<T extends Record<string, Record<string, any>>>(): Kysely<DrainOuterGeneric<DB & T>> {
    return this.#over(this.#props.executor);
  }

  override $omitTables<T extends keyof DB>(): Kysely<DB extends object ? Omit<DB, T> : DB> {
    return this.#over(this.#props.executor);
  }

  override $pickTables<T extends keyof DB>(): Kysely<DB extends object ? Pick<DB, T> : DB> {
    return this.#over(this.#props.executor);
  }

  #over<Other = DB>(executor: QueryExecutor): Kysely<Other> {
    return new Session<Other>(this.#binding, executor);
  }
}

/** A Kysely instance over a binding. */
export function openSession<DB>(binding: SessionBinding): Kysely<DB> {
  return new Session<DB>(binding);
}

/** `fed.at(key)`: a Kysely instance that sees and touches only that key's rows, on the shard where they live. */
export class TenantSession<DB> extends Session<DB> {
  readonly #routes: KeyRoutes;
  readonly #scope: TenantScope;
  readonly #replicaRoutes: () => KeyRoutes;
  readonly #readOnly: boolean;
  #replica: TenantSession<DB> | undefined;

  constructor(routes: KeyRoutes, scope: TenantScope, replicaRoutes: () => KeyRoutes, readOnly = false) {
    super(new TenantBinding(routes, scope, readOnly));
    this.#routes = routes;
    this.#scope = scope;
    this.#replicaRoutes = replicaRoutes;
    this.#readOnly = readOnly;
    if (readOnly) this.#replica = this;
  }

  /**
   * The replicas of the shard this key lives on: plain selects only, which may lag behind. Without replicas in the configuration the primary plays them, with the same
   * rules.
   */
  get replica(): TenantSession<DB> {
    this.#replica ??= new TenantSession<DB>(this.#replicaRoutes(), this.#scope, this.#replicaRoutes, true);
    return this.#replica;
  }

  /**
   * The shard this key lives on, without the tenant filter: whole raw statements pass, and every tenant's rows on that shard are in reach. The
   * guard still refuses rows of keys that live elsewhere. On a replica it reads only.
   */
  unfiltered(): Kysely<DB> {
    return openSession<DB>(new UnfilteredBinding(this.#routes, this.#readOnly));
  }
}
