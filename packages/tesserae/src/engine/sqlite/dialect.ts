import { SqliteAdapter, SqliteQueryCompiler } from "kysely";
import type { EngineDialect } from "../contract.ts";
import { sqliteCapabilities } from "./capabilities.ts";
import { decodeNaturalSqlite, sqliteCodec } from "./codecs.ts";
import { addSqliteColumn, createSqliteTable, dropSqliteTable, quoteIdentifier } from "./ddl.ts";
import { classifySqliteError } from "./errors.ts";
import { createSqliteGuard, passSqliteGuard } from "./guard.ts";
import { sqliteTransfer } from "./transfer.ts";

export const sqliteDialect: EngineDialect = Object.freeze({
  name: "sqlite",
  capabilities: sqliteCapabilities,
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createAdapter: () => new SqliteAdapter(),
  codec: sqliteCodec,
  decodeNatural: decodeNaturalSqlite,
  quote: quoteIdentifier,
  placeholders: (sql: string) => sql,
  createTable: createSqliteTable,
  addColumn: addSqliteColumn,
  addForeignKeys: undefined,
  createGuard: createSqliteGuard,
  passGuard: passSqliteGuard,
  // Ends with the transaction, whose commit checks.
  deferReferences: { open: ["pragma defer_foreign_keys = on"], close: [] },
  mayUncheckReferences: async () => true,
  // Writers come one after the other.
  gateSql: () => undefined,
  claims: { holdSql: undefined, waitSql: undefined, waitSuffix: "" },
  transfer: sqliteTransfer,
  // A file has no replicas of its own.
  replication: undefined,
  dropTable: dropSqliteTable,
  listTablesSql:
    "select name from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name",
  openTransactionsSql: undefined,
  listTriggersSql: "select name from sqlite_schema where type = 'trigger' order by name",
  classify: classifySqliteError,
});
