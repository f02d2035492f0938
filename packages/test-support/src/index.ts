/** Private database servers and fresh databases, for tests and benches. */
export { freshName, queryAsAdmin, runAsAdmin } from "./administration.ts";
export { findBinary, type Program, requireBinary } from "./binaries.ts";
export {
  ENGINE_NAMES,
  type EngineName,
  type FreshDatabases,
  type FreshDatabasesOptions,
  forEachEngine,
  freshDatabases,
  type TestEngine,
  whyUnavailable,
} from "./fresh-databases.ts";
export { installPackages, installServers, missingPackages } from "./installation.ts";
export { startMariaDb } from "./mariadb.ts";
export { type PgBouncerOptions, type PrivatePgBouncer, startPgBouncer } from "./pgbouncer.ts";
export { startPostgres } from "./postgres.ts";
export {
  type ReplicatedDatabase,
  type ReplicatedOptions,
  type ReplicatedServers,
  startReplicated,
} from "./replicated.ts";
export type { ReplicatedServer } from "./replicated-server.ts";
export type { DatabaseServer, PrivateServer, ServerAddress, ServerEngine, ServerOptions } from "./server.ts";
export { ServerSet, sharedServer, stopSharedServers } from "./shared-servers.ts";
export { type ProxyState, type ProxyTarget, TcpProxy } from "./tcp-proxy.ts";
