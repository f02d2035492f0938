/** The factory of the PostgreSQL engine. */
import { serverAddress, showHost } from "../address.ts";
import type {
  Database,
  DatabaseAddress,
  Engine,
  FailoverOptions,
  PoolOptions,
  PoolWatch,
} from "../contract.ts";
import { openOnPrimary } from "../failover.ts";
import { postgresDialect } from "./dialect.ts";
import { type PostgresOptions, type PostgresSettings, readSettings } from "./options.ts";
import { PostgresDatabase } from "./pool.ts";

export type { PostgresOptions } from "./options.ts";

/**
 * A PostgreSQL database (14 or newer), by URL or by options. Nothing is opened until it is used; then it needs the driver `pg` (`npm install pg`; DRIVER_MISSING
 * without it), and for streams `pg-cursor`. In a URL, `sslmode` (`disable`, `require`, `verify-ca`, `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `schema`, `application_name`,
 * `statement_timeout`, `lock_timeout`, `idle_in_transaction_session_timeout` (ms) and `pooler` are known. CONFIG_INVALID when an option or the URL is not
 * of the expected form, CONFIG_ENV_MISSING when `${NAME}` is not set.
 *
 * Several hosts, `postgres://app@db-1,db-2/dots`, are servers that replicate: the library works on the one that takes writes, and follows it when another one is promoted.
 *
 * @example
 * ```ts
 * import { postgres } from "tesserae";
 *
 * const main = postgres("postgres://app@db-main:5432/dots?sslmode=verify-full");
 * const shard = postgres({ host: "users-1", user: "app", database: "users", tls: true, lockTimeoutMs: 5_000 });
 * ```
 */
export function postgres(target: string | PostgresOptions): Engine {
  return new PostgresEngine(target);
}

class PostgresEngine implements Engine {
  readonly name = "postgres";
  readonly dialect = postgresDialect;
  readonly address: DatabaseAddress;
  readonly #settings: PostgresSettings;

  constructor(target: string | PostgresOptions) {
    this.#settings = readSettings(target);
    const { hosts, user, password, database, schema } = this.#settings;
    const address = serverAddress({ scheme: "postgres", hosts, user, password, database });
    // Two schemas of one database are two places.
    const suffix = schema === undefined ? "" : `?schema=${encodeURIComponent(schema)}`;
    this.address = Object.freeze({
      ...address,
      identity: `${address.identity}${suffix}`,
      display: `${address.display}${suffix}`,
      ...(address.hosts === undefined
        ? {}
        : {
            hosts: address.hosts.map(({ identity, server }) => ({
              identity: `${identity}${suffix}`,
              server,
            })),
          }),
    });
  }

  /** Control state shares the database, on connections of its own: each `open` is a pool for itself. */
  control(): Engine {
    return this;
  }

  open(options: PoolOptions, failover?: FailoverOptions): Database {
    const servers = this.#settings.hosts.map((host) => ({
      name: showHost(host),
      open: (pool: PoolOptions, watch?: PoolWatch) =>
        new PostgresDatabase(this, { ...this.#settings.client, ...host }, pool, watch),
    }));
    return openOnPrimary(this, servers, options, failover);
  }
}
