import { MysqlAdapter, MysqlQueryCompiler } from "kysely";
import type { EngineDialect } from "../contract.ts";
import { mysqlCapabilities } from "./capabilities.ts";
import { decodeNaturalMysql, mysqlCodec } from "./codecs.ts";
import { addMysqlColumn, createMysqlTable, dropMysqlTable, quoteIdentifier } from "./ddl.ts";
import { classifyMysqlError } from "./errors.ts";
import { createMysqlGuard, passMysqlGuard } from "./guard.ts";
import { mysqlReplication } from "./replication.ts";
import { mysqlTransfer } from "./transfer.ts";

/** Kysely's adapter knows MySQL, which has no RETURNING; its compiler writes it all the same, as MariaDB reads it. */
class MariaDbAdapter extends MysqlAdapter {
  override get supportsReturning(): boolean {
    return true;
  }
}

export const mysqlDialect: EngineDialect = Object.freeze({
  name: "mysql",
  capabilities: mysqlCapabilities,
  createQueryCompiler: () => new MysqlQueryCompiler(),
  createAdapter: () => new MariaDbAdapter(),
  codec: mysqlCodec,
  decodeNatural: decodeNaturalMysql,
  quote: quoteIdentifier,
  placeholders: (sql: string) => sql,
  createTable: createMysqlTable,
  addColumn: addMysqlColumn,
  // With foreign_key_checks off a table may refer to one that does not exist yet.
  addForeignKeys: undefined,
  createGuard: createMysqlGuard,
  passGuard: passMysqlGuard,
  deferReferences: { open: ["set foreign_key_checks = 0"], close: ["set foreign_key_checks = 1"] },
  mayUncheckReferences: async () => true,
  // InnoDB's locks are a queue: who comes later waits behind who waits already.
  gateSql: () => undefined,
  // A locking read of a unique key waits for the transaction that inserted or deleted it.
  claims: { holdSql: undefined, waitSql: undefined, waitSuffix: " lock in share mode" },
  transfer: mysqlTransfer,
  replication: mysqlReplication,
  dropTable: dropMysqlTable,
  listTablesSql:
    "select table_name as name from information_schema.tables where table_schema = database() and table_type = 'BASE TABLE' order by table_name",
  openTransactionsSql:
    "select concat('connection ', trx_mysql_thread_id, coalesce(concat(' of ', user), '')) as who, timestampdiff(second, trx_started, now()) as seconds from information_schema.innodb_trx left join information_schema.processlist on id = trx_mysql_thread_id where trx_started < now() - interval 1 second order by trx_started limit 3",
  listTriggersSql:
    "select trigger_name as name from information_schema.triggers where trigger_schema = database() order by trigger_name",
  classify: classifyMysqlError,
});
