import { PostgresAdapter, PostgresQueryCompiler } from "kysely";
import type { EngineDialect } from "../contract.ts";
import { postgresCapabilities } from "./capabilities.ts";
import { postgresCodec } from "./codecs.ts";
import { addPostgresForeignKeys, createPostgresTable, dropPostgresTable, quoteIdentifier } from "./ddl.ts";
import { classifyPostgresError } from "./errors.ts";
import { createPostgresGuard, guardFunctionNames, passPostgresGuard } from "./guard.ts";

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
  addForeignKeys: addPostgresForeignKeys,
  createGuard: createPostgresGuard,
  passGuard: passPostgresGuard,
  // Ends with the transaction, whose commit checks.
  deferReferences: { open: ["set constraints all deferred"], close: [] },
  dropTable: (name: string) => dropPostgresTable(name, guardFunctionNames(name)),
  listTablesSql:
    "select relname::text as name from pg_class where relkind in ('r', 'p') and relnamespace = (select oid from pg_namespace where nspname = current_schema()) order by relname",
  listTriggersSql:
    "select tgname::text as name from pg_trigger join pg_class on pg_class.oid = tgrelid where not tgisinternal and relnamespace = (select oid from pg_namespace where nspname = current_schema()) order by tgname",
  classify: classifyPostgresError,
});

function numberPlaceholders(sql: string): string {
  let count = 0;
  return sql.replaceAll("?", () => `$${++count}`);
}
