/** The sessions an application holds: Kysely instances bound to main, to a replica, to a key. */
import { type Dialect, Kysely, type KyselyProps } from "kysely";
import type { SessionBinding } from "./binding.ts";
import { TenantBinding, UnfilteredBinding } from "./bindings.ts";
import { RoutedExecutor } from "./executor.ts";
import type { KeyRoutes } from "./key-routes.ts";
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

function propsOf(binding: SessionBinding): KyselyProps {
  return { config, dialect, driver, executor: new RoutedExecutor(binding) };
}

/** A Kysely instance over a binding. */
export function openSession<DB>(binding: SessionBinding): Kysely<DB> {
  return new Kysely<DB>(propsOf(binding));
}

/** `fed.at(key)`: a Kysely instance that sees and touches only that key's rows, on the shard where they live. */
export class TenantSession<DB> extends Kysely<DB> {
  readonly #routes: KeyRoutes;
  readonly #scope: TenantScope;

  constructor(routes: KeyRoutes, scope: TenantScope, readOnly = false) {
    super(propsOf(new TenantBinding(routes, scope, readOnly)));
    this.#routes = routes;
    this.#scope = scope;
  }

  /**
   * The key's replica: plain selects only, which may lag behind. Without replicas in the configuration the primary plays it, with the same
   * rules.
   */
  get replica(): TenantSession<DB> {
    return new TenantSession<DB>(this.#routes, this.#scope, true);
  }

  /**
   * The shard this key lives on, without the tenant filter: whole raw statements pass, and every tenant's rows on that shard are in reach. The
   * guard still refuses rows of keys that live elsewhere.
   */
  unfiltered(): Kysely<DB> {
    return openSession<DB>(new UnfilteredBinding(this.#routes));
  }
}
