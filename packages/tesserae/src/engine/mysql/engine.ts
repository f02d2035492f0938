/** The factory of the MariaDB and MySQL engine. */
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
import { mysqlDialect } from "./dialect.ts";
import { loadDriver } from "./driver.ts";
import { type MysqlOptions, type MysqlSettings, readSettings } from "./options.ts";
import { MysqlDatabase } from "./pool.ts";

export type { MysqlOptions, MysqlTlsOptions } from "./options.ts";

/**
 * A MariaDB (10.6 or newer) or MySQL (8.0.29 or newer) database, by URL or by options. Nothing is opened until it is used; then it needs
 * the driver `mysql2` (`npm install mysql2`; DRIVER_MISSING without it). In a URL, `ssl` (`true`), `ssl-mode` (`REQUIRED`, `VERIFY_CA`, `VERIFY_IDENTITY`), `ssl-ca`,
 * `ssl-cert`, `ssl-key` (files), `socketPath`, `lockTimeoutMs` and `idleInTransactionTimeoutMs` are known. CONFIG_INVALID when an option or the URL is not of the
 * expected form, CONFIG_ENV_MISSING when `${NAME}` is not set.
 *
 * Several hosts, `mysql://app@db-1,db-2/dots`, are servers that replicate: the library works on the one that takes writes, and follows it when another one is promoted.
 *
 * On MySQL there is no RETURNING and no limit of idle transactions.
 *
 * @example
 * ```ts
 * import { mysql } from "tesserae";
 *
 * const main = mysql("mysql://app@db-main:3306/dots?ssl=true");
 * const shard = mysql({ host: "users-1", user: "app", database: "users", lockTimeoutMs: 5_000 });
 * ```
 */
export function mysql(target: string | MysqlOptions): Engine {
  return new MysqlEngine(target);
}

class MysqlEngine implements Engine {
  readonly name = "mysql";
  readonly dialect = mysqlDialect;
  readonly address: DatabaseAddress;
  readonly #settings: MysqlSettings;

  constructor(target: string | MysqlOptions) {
    this.#settings = readSettings(target);
    const { hosts, user, password, database } = this.#settings;
    this.address = serverAddress({ scheme: "mysql", hosts, user, password, database });
  }

  /** Control state shares the database, on connections of its own: each `open` is a pool for itself. */
  control(): Engine {
    return this;
  }

  open(options: PoolOptions, failover?: FailoverOptions): Database {
    const servers = this.#settings.hosts.map((host) => ({
      name: showHost(host),
      open: (pool: PoolOptions, watch?: PoolWatch) =>
        new MysqlDatabase(this, { settings: this.#settings, host, load: loadDriver, watch }, pool),
    }));
    return openOnPrimary(this, servers, options, failover);
  }
}
