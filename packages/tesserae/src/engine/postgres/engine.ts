/** The factory of the PostgreSQL engine. */
import { serverAddress } from "../address.ts";
import type { Database, DatabaseAddress, Engine, PoolOptions } from "../contract.ts";
import { postgresDialect } from "./dialect.ts";
import { type DriverConfig, type PostgresOptions, readSettings } from "./options.ts";
import { PostgresDatabase } from "./pool.ts";

export type { PostgresOptions } from "./options.ts";

/**
 * A PostgreSQL database (14 or newer), by URL or by options. Nothing is opened until it is used; then it needs the driver `pg` (`npm install pg`; DRIVER_MISSING
 * without it), and for streams `pg-cursor`. In a URL, `sslmode` (`disable`, `require`, `verify-ca`, `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `schema`, `application_name`,
 * `statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout` (ms) are known. CONFIG_INVALID when an option or the URL is not
 * of the expected form, CONFIG_ENV_MISSING when `${NAME}` is not set.
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
  readonly #client: DriverConfig;

  constructor(target: string | PostgresOptions) {
    const { client, schema, ...location } = readSettings(target);
    const address = serverAddress({ scheme: "postgres", ...location });
    // Two schemas of one database are two places.
    const suffix = schema === undefined ? "" : `?schema=${encodeURIComponent(schema)}`;
    this.address = Object.freeze({
      ...address,
      identity: `${address.identity}${suffix}`,
      display: `${address.display}${suffix}`,
    });
    this.#client = client;
  }

  /** Control state shares the database, on connections of its own: each `open` is a pool for itself. */
  control(): Engine {
    return this;
  }

  open(options: PoolOptions): Database {
    return new PostgresDatabase(this, this.#client, options);
  }
}
