import { PostgresAdapter, PostgresQueryCompiler } from "kysely";
import type { FederationModel } from "../../schema/model.ts";
import type { Connection, EngineDialect } from "../contract.ts";
import { postgresCapabilities } from "./capabilities.ts";
import { postgresCodec } from "./codecs.ts";
import {
  addPostgresColumn,
  addPostgresForeignKeys,
  createPostgresTable,
  dropPostgresTable,
  quoteIdentifier,
} from "./ddl.ts";
import { classifyPostgresError } from "./errors.ts";
import { createPostgresGuard, gateSql, guardFunctionNames, passPostgresGuard } from "./guard.ts";
import { postgresReplication } from "./replication.ts";
import { postgresTransfer } from "./transfer.ts";

export const postgresDialect: EngineDialect = Object.freeze({
  name: "postgres",
  capabilities: postgresCapabilities,
  createQueryCompiler: () => new PostgresQueryCompiler(),
  createAdapter: () => new PostgresAdapter(),
  codec: postgresCodec,
  // The connection's readers have made the natural value already.
  decodeNatural: (raw: unknown) => raw,
  quote: quoteIdentifier,
  placeholders: numberPlaceholders,
  createTable: createPostgresTable,
  addColumn: addPostgresColumn,
  addForeignKeys: addPostgresForeignKeys,
  createGuard: createPostgresGuard,
  passGuard: passPostgresGuard,
  // Ends with the transaction, whose commit checks.
  deferReferences: { open: ["set constraints all deferred"], close: [] },
  mayUncheckReferences,
  gateSql: (federation: FederationModel, keys: number) => numberPlaceholders(gateSql(federation, keys)),
  // No read waits for a row that is not committed. These locks end with the transaction, so that they work behind a pooler, too.
  claims: {
    holdSql: "select pg_catalog.pg_advisory_xact_lock_shared($1)",
    waitSql: "select pg_catalog.pg_advisory_xact_lock($1)",
    waitSuffix: "",
  },
  transfer: postgresTransfer,
  replication: postgresReplication,
  dropTable: (name: string) => dropPostgresTable(name, guardFunctionNames(name)),
  listTablesSql:
    "select relname::text as name from pg_class where relkind in ('r', 'p') and relnamespace = (select oid from pg_namespace where nspname = current_schema()) order by relname",
  openTransactionsSql:
    "select concat('connection ', pid, ' of ', usename, case when state like 'idle%' then ' (idle)' else '' end) as who, extract(epoch from clock_timestamp() - xact_start)::int as seconds from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and xact_start < clock_timestamp() - interval '1 second' order by xact_start limit 3",
  listTriggersSql:
    "select tgname::text as name from pg_trigger join pg_class on pg_class.oid = tgrelid where not tgisinternal and relnamespace = (select oid from pg_namespace where nspname = current_schema()) order by tgname",
  classify: classifyPostgresError,
});

/** A superuser may, and since PostgreSQL 15 whom one has granted it: `grant set on parameter session_replication_role to …`. */
async function mayUncheckReferences(connection: Connection): Promise<boolean> {
  const ask = async (expression: string): Promise<unknown> => {
    const { rows } = await connection.run({ sql: `select ${expression} as value`, parameters: [] });
    return rows[0]?.["value"];
  };
  if (await ask("pg_catalog.current_setting('is_superuser')::bool")) return true;
  if (Number(await ask("pg_catalog.current_setting('server_version_num')")) < 150_000) return false;
  return (await ask("pg_catalog.has_parameter_privilege('session_replication_role', 'set')")) === true;
}

function numberPlaceholders(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}
