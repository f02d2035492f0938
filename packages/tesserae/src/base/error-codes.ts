/** The catalogue of error codes. docs/ERRORS.md has an entry for each; a test holds both together. Alphabetical. */

interface CodeEntry {
  /** May the same call succeed when it is made again as a whole? */
  readonly retryable: boolean;
  /** One sentence: what the code means. */
  readonly summary: string;
}

const catalogue = {
  CHOOSER_INVALID: {
    retryable: false,
    summary: "A shard chooser that is none, or whose settings make no sense.",
  },
  CLI_USAGE: { retryable: false, summary: "A command line that is none: an unknown command or option." },
  CLOSED: { retryable: false, summary: "The federation was closed; no more work is taken." },
  COLUMN_UNKNOWN: {
    retryable: false,
    summary: "A write names a column that the schema does not give the table.",
  },
  CONFIG_BUDGET: {
    retryable: false,
    summary: "The pools may open more connections on a server than it grants.",
  },
  CONFIG_CLUSTER_EMPTY: { retryable: false, summary: "A cluster's block names no database." },
  CONFIG_CONTRADICTION: { retryable: false, summary: "A poor man's switch contradicts a cluster's block." },
  CONFIG_ENV_MISSING: {
    retryable: false,
    summary: "The configuration names an environment variable that is not set.",
  },
  CONFIG_FILE_EXISTS: { retryable: false, summary: '"tesserae init" found a file where it would write.' },
  CONFIG_FILE_MISSING: { retryable: false, summary: "No configuration file was found." },
  CONFIG_INVALID: { retryable: false, summary: "The configuration is not of the expected form." },
  CONFIG_LISTS_MISMATCH: {
    retryable: false,
    summary: "Lists of hosts and names do not have the same shard ids.",
  },
  CONFIG_MAIN_MISSING: { retryable: false, summary: "The configuration has no main cluster." },
  CONFIG_SAME_DATABASE: { retryable: false, summary: "A cluster names the same database twice." },
  CONFIG_REPLICA: {
    retryable: false,
    summary: "A replica whose engine has no replication, or is not its primary's.",
  },
  CONFIG_SHARD_DUPLICATE: { retryable: false, summary: "Two shards have the same id." },
  CONFIG_SHARD_ID: {
    retryable: false,
    summary: "A shard without an id, or with one that is no whole number from 1.",
  },
  CONFIG_SHARD_IS_MAIN_TWICE: { retryable: false, summary: "Two shards are main itself." },
  CONFIG_SHARD_SAME_DATABASE: { retryable: false, summary: "Two shards are the same database." },
  CONFIG_TARGET_INVALID: { retryable: false, summary: "A database is neither a URL nor an engine." },
  CONNECTION_LIMIT: { retryable: true, summary: "No connection came free within the acquire time-out." },
  CONNECTION_LOST: {
    retryable: true,
    summary: "The connection to the database broke while a statement ran; whether it took effect is unknown.",
  },
  CONNECT_FAILED: { retryable: true, summary: "The database could not be reached or refused the login." },
  CONSTRAINT_CHECK: { retryable: false, summary: "A check constraint refused the row." },
  CONSTRAINT_FOREIGN_KEY: { retryable: false, summary: "A foreign key refused the row." },
  CONSTRAINT_NOT_NULL: { retryable: false, summary: "A column that must have a value got none." },
  CONSTRAINT_UNIQUE: { retryable: false, summary: "A row with the same unique value exists." },
  CONTROL_VERSION_NEWER: {
    retryable: false,
    summary: "The control tables were laid out by a newer version of the library than this one.",
  },
  DEADLOCK: { retryable: true, summary: "The database ended this transaction to resolve a deadlock." },
  DECIMAL_ARITHMETIC: {
    retryable: false,
    summary: "Arithmetic on decimals that the engine could not do exactly.",
  },
  DISK_FULL: { retryable: false, summary: "The database has no room left for what is to be written." },
  DRIVER_MISSING: { retryable: false, summary: "The driver package of an engine is not installed." },
  FAN_OUT_DEADLINE: {
    retryable: true,
    summary: "A query over all shards, or one shard of it, took longer than its deadline.",
  },
  FAN_OUT_FAILED: {
    retryable: false,
    summary: "A shard failed, and with it a query over all shards.",
  },
  FAN_OUT_ORDER: {
    retryable: false,
    summary: "A shard's rows do not come in the order that it was asked for.",
  },
  FAN_OUT_READ_ONLY: {
    retryable: false,
    summary: "A statement over all shards that is no plain select, or a transaction over them.",
  },
  FAN_OUT_TOO_MANY_GROUPS: {
    retryable: false,
    summary: "An answer over all shards would hold more rows than groupsMax.",
  },
  FAN_OUT_UNSTEADY: {
    retryable: true,
    summary: "Tenants moved in every moment in which a query over all shards could have been answered.",
  },
  FAN_OUT_UNSUPPORTED: {
    retryable: false,
    summary: "A query over all shards that cannot be answered exactly from the shards' own answers.",
  },
  FAN_OUT_WRITE_FAILED: {
    retryable: false,
    summary: "A write over all shards was made on some of them and failed on others.",
  },
  FEDERATION_UNKNOWN: {
    retryable: false,
    summary: "A federation that the schema does not define, or none named where it defines several.",
  },
  FRESHNESS_TOKEN_INVALID: {
    retryable: false,
    summary: "A freshness token that is none: it was cut or changed on its way.",
  },
  GATHER_DEADLINE: { retryable: true, summary: "A gathering did not end within its deadline." },
  GATHER_ENGINE_MISSING: {
    retryable: false,
    summary: "The embedded engine that fed.gather runs on is not installed.",
  },
  GATHER_SOURCE: {
    retryable: false,
    summary: "A source of fed.gather is no select whose columns and types are known.",
  },
  GATHER_SQL: {
    retryable: false,
    summary: "The embedded engine refused the SQL of fed.gather, or what it gives is no value.",
  },
  GATHER_TOO_LARGE: {
    retryable: false,
    summary: "A gathering needs more rows, memory or temporary space than it may have.",
  },
  GUARD_REFUSED: {
    retryable: true,
    summary: "The shard's guard refused a write because the key does not live there (now).",
  },
  ID_COLUMN_AMBIGUOUS: {
    retryable: false,
    summary: "A table has several columns with generated ids, and the call does not say which.",
  },
  ID_NATURAL: {
    retryable: false,
    summary: "An id was asked for a column whose values the library does not make.",
  },
  INSERT_SELECT_COLUMNS: {
    retryable: false,
    summary: "An insert of a query's rows whose columns are not all named.",
  },
  KEY_IMMUTABLE: {
    retryable: false,
    summary: "An assignment to the distribution column: the key of a row never changes.",
  },
  KEY_MISMATCH: { retryable: false, summary: "A row is inserted with another key than the session's." },
  KEY_NULL: { retryable: false, summary: "A distribution key that is null or undefined." },
  KEY_TYPE: {
    retryable: false,
    summary: "A distribution key that is not of its federation's key type, or too long.",
  },
  KEY_UNKNOWN: { retryable: false, summary: "The directory knows no shard for the key." },
  LOCK_TIMEOUT: { retryable: true, summary: "A lock was not granted in time." },
  LOOKUP_BUSY: {
    retryable: true,
    summary: "A value that must be unique among all keys is being written, and its transaction does not end.",
  },
  LOOKUP_INCOMPLETE: {
    retryable: false,
    summary: "A lookup does not know the rows that were written before it was there.",
  },
  LOOKUP_UNKNOWN: { retryable: false, summary: "A table that has no lookup by the column asked for." },
  LOOKUP_VALUE_UNKNOWN: {
    retryable: false,
    summary: "A write whose value for a lookup's column only the database would know.",
  },
  MOVE_ABORTED: { retryable: false, summary: "The move was aborted; the key is where it was." },
  MOVE_PAUSED: { retryable: false, summary: "The move was paused; resume it when you like." },
  MOVE_REFERENCE_MISSING: {
    retryable: false,
    summary: "Rows that move refer to rows of a reference table that the target does not have.",
  },
  MOVE_RIGHTS: { retryable: false, summary: "The login lacks a right that the move needs." },
  MOVE_SAME_SHARD: { retryable: false, summary: "The key lives on the shard that it is to move to." },
  MOVE_SCHEMA: {
    retryable: false,
    summary: "The two shards of a move do not both have the tables that the schema says.",
  },
  MOVE_STEP: { retryable: false, summary: "The move is past the step at which this can be done." },
  MOVE_TAKEN_OVER: {
    retryable: false,
    summary: "Another process has taken the move over and goes on with it.",
  },
  MOVE_TARGET_NOT_EMPTY: {
    retryable: false,
    summary: "The target has rows of the key that no move has left there.",
  },
  MOVE_UNDER_WAY: {
    retryable: true,
    summary: "The key or range is being moved, and nothing else may be done with it until that has ended.",
  },
  MOVE_UNKNOWN: { retryable: false, summary: "There is no move with this id." },
  MOVE_VERIFY: {
    retryable: false,
    summary: "A row at the target differs from the source's, and no change under way explains it.",
  },
  PARAMETER_MISSING: {
    retryable: false,
    summary: "A prepared query was called without a value for one of its parameters.",
  },
  POOLER_SETTINGS: {
    retryable: false,
    summary: "By way of its pooler the server has settings under which values would be read wrongly.",
  },
  POOLER_TRANSACTION: {
    retryable: false,
    summary: "A pooler stands between, and the options do not say so.",
  },
  PREPARE_RUNS_NOTHING: {
    retryable: false,
    summary: "The function given to fed.prepare() executed a query instead of returning it.",
  },
  PRIMARY_AMBIGUOUS: {
    retryable: false,
    summary: "More than one host of a database takes writes: which one is the primary, nobody can tell.",
  },
  PRIMARY_NOT_FOUND: {
    retryable: true,
    summary: "No host of a database takes writes, or none answers. Nothing was written.",
  },
  QUERY_FAILED: { retryable: false, summary: "The database refused the statement." },
  QUERY_OF_OTHER_SESSION: {
    retryable: false,
    summary: "A compiled query was executed in the session of another key or cluster.",
  },
  RANGE_INVALID: { retryable: false, summary: "A range of keys whose end is not above its beginning." },
  RANGE_OVERLAP: {
    retryable: false,
    summary: "A range of keys that overlaps another range, or holds keys that have a place of their own.",
  },
  RANGE_UNKNOWN: { retryable: false, summary: "There is no such range of keys." },
  RAW_REFUSED: { retryable: false, summary: "Raw SQL that could reach beyond the session's key." },
  READ_STALE: {
    retryable: true,
    summary: "What was read may be out of date, because its key moved to another shard meanwhile.",
  },
  REFERENCE_READ_ONLY: { retryable: false, summary: "A write of a reference table on a shard." },
  REPLICAS_UNAVAILABLE: {
    retryable: true,
    summary: "No replica can be read, and the configuration says that the primary is not to be asked.",
  },
  REPLICA_LOST: {
    retryable: true,
    summary: "A replica was lost in the midst of a stream, or of a transaction that had read there.",
  },
  REPLICA_READ_ONLY: {
    retryable: false,
    summary: "A statement other than a plain select was sent to a replica.",
  },
  REPLICA_WITHOUT_KEY: {
    retryable: true,
    summary: "A key joined a transaction on a replica that does not have its rows yet.",
  },
  RESIDENCE_CONFLICT: {
    retryable: false,
    summary:
      "A shard's residence is newer than what the directory says: one of the two was restored from an older state.",
  },
  RETURNING_UNSUPPORTED: {
    retryable: false,
    summary: "The engine has no RETURNING for this kind of statement.",
  },
  SCHEMA_AUTO_INCREMENT: {
    retryable: false,
    summary: "An auto-increment column on a federated or reference table.",
  },
  SCHEMA_CASCADE: {
    retryable: false,
    summary: "A cascade between federated tables on an engine whose cascades fire no triggers.",
  },
  SCHEMA_CHANGED: {
    retryable: false,
    summary: "A table that exists was made from another definition than the schema now has.",
  },
  SCHEMA_COLUMN_INVALID: {
    retryable: false,
    summary: "A column's type, length, precision or default is out of bounds.",
  },
  SCHEMA_DEFINITION_INVALID: {
    retryable: false,
    summary: "The schema's definition is not of the expected form.",
  },
  SCHEMA_FEDERATION_UNKNOWN: {
    retryable: false,
    summary: "A table names a federation that the schema does not define.",
  },
  SCHEMA_FOREIGN_KEY_CLUSTERS: {
    retryable: false,
    summary: "A foreign key between tables that can live on different servers.",
  },
  SCHEMA_FOREIGN_KEY_COLUMNS: {
    retryable: false,
    summary: "A foreign key's columns do not match a key of the table it refers to.",
  },
  SCHEMA_FOREIGN_KEY_TARGET: {
    retryable: false,
    summary: "A foreign key refers to a table that the schema does not define.",
  },
  SCHEMA_FOREIGN_KEY_WITHOUT_KEY: {
    retryable: false,
    summary: "A foreign key between federated tables that leaves the distribution key out.",
  },
  SCHEMA_INDEX_INVALID: {
    retryable: false,
    summary:
      "An index or key names no column, a column twice, an unknown one, or one that cannot be indexed.",
  },
  SCHEMA_KEY_COLUMN_MISSING: {
    retryable: false,
    summary: "A federated table without its distribution column.",
  },
  SCHEMA_KEY_COLUMN_NULLABLE: { retryable: false, summary: "A distribution column that may be null." },
  SCHEMA_KEY_NOT_IN_PRIMARY_KEY: {
    retryable: false,
    summary: "A federated table whose primary key leaves the distribution column out.",
  },
  SCHEMA_KEY_NOT_IN_UNIQUE: {
    retryable: false,
    summary: "A unique index of a federated table that leaves the distribution column out.",
  },
  SCHEMA_KEY_TYPE: {
    retryable: false,
    summary:
      "A distribution column whose type is not the federation's key type, or a key type that cannot be one.",
  },
  SCHEMA_LOOKUP_INVALID: { retryable: false, summary: "A lookup by a column that cannot have one." },
  SCHEMA_NAME_INVALID: {
    retryable: false,
    summary: "A name that not every engine takes, or that is reserved.",
  },
  SCHEMA_NOT_APPLIED: { retryable: false, summary: "A database has no control tables yet." },
  SCHEMA_PRIMARY_KEY_MISSING: { retryable: false, summary: "A table without a primary key." },
  SCHEMA_SEQUENCE_CONFLICT: {
    retryable: false,
    summary: "Two columns share a table sequence and say different things about it.",
  },
  SCHEMA_TABLE_EXISTS: {
    retryable: false,
    summary: "A table of the schema's name exists that this library did not make.",
  },
  SERIALIZATION: { retryable: true, summary: "The transaction could not be serialized with others." },
  SERVER_READ_ONLY: {
    retryable: true,
    summary: "The server takes no writes: it is a replica, or was made read-only. Nothing was written.",
  },
  SERVER_SETTING: {
    retryable: false,
    summary: "A setting of the database server is in the way. Nothing was written.",
  },
  SERVER_VERSION: { retryable: false, summary: "The database server is older than the library needs." },
  SHARD_IDENTITY: {
    retryable: false,
    summary: "A database is not the shard that the configuration says it is.",
  },
  SHARD_SWITCH_IN_TRANSACTION: {
    retryable: false,
    summary: "A shard manager was asked for another shard while a transaction is open.",
  },
  SHARD_UNKNOWN: { retryable: false, summary: "A shard that the configuration does not have." },
  STATEMENT_REFUSED: {
    retryable: false,
    summary: "A kind or part of a statement that a session does not take.",
  },
  TABLE_NOT_HERE: {
    retryable: false,
    summary: "A statement names a table that does not live where the session reaches.",
  },
  TENANT_BUSY: {
    retryable: true,
    summary: "Another process is adding or removing the key and did not finish in time.",
  },
  TENANT_ELSEWHERE: {
    retryable: false,
    summary: "The key is to be added to one shard but lives on another.",
  },
  TENANT_NOT_EMPTY: {
    retryable: false,
    summary: "The key still has rows, and its removal was not asked to delete them.",
  },
  TICKETS_MOVED: {
    retryable: false,
    summary: "Ids come from ticket servers that this process's configuration does not name.",
  },
  TICKETS_UNAVAILABLE: { retryable: true, summary: "No ticket server gives ids now. Nothing was written." },
  TICKET_COUNTER_BEHIND: {
    retryable: false,
    summary: "A ticket counter is behind an id that is in use, or that it gave before.",
  },
  TICKET_OFFSET: {
    retryable: false,
    summary: "Two ticket servers have the same offset, or one gives ids that are another's.",
  },
  TICKET_SEQUENCE_EXHAUSTED: { retryable: false, summary: "A ticket sequence has given its last id." },
  TICKET_SEQUENCE_UNKNOWN: {
    retryable: false,
    summary: "A ticket sequence that neither the schema nor the options name.",
  },
  TICKET_SERVER_IDENTITY: {
    retryable: false,
    summary: "A database is not the ticket server that the configuration says it is.",
  },
  TICKET_SET_BEHIND: {
    retryable: false,
    summary: "Main knows an older set of ticket servers than the servers do: main was restored.",
  },
  TICKET_STEP: {
    retryable: false,
    summary: "The step of the ticket servers does not match their number.",
  },
  TICKET_UNSAFE: {
    retryable: false,
    summary: "An id is above 2^53 - 1, beyond what a number of JavaScript holds exactly.",
  },
  TRANSACTION_NESTED: { retryable: false, summary: "A transaction was begun inside an open one." },
  TRANSACTION_NONE: {
    retryable: false,
    summary: "A commit or rollback without a transaction that it could end.",
  },
  TRANSACTION_OPEN: {
    retryable: false,
    summary: "A call that works on several databases was made inside an open transaction.",
  },
  TRANSACTION_OTHER_KEY: {
    retryable: false,
    summary: "A statement of another key inside an open transaction, where main is the one shard.",
  },
  TRANSACTION_OTHER_SHARD: {
    retryable: false,
    summary: "A statement for another shard, or for main, inside an open transaction.",
  },
  UPSERT_UNSUPPORTED: {
    retryable: false,
    summary: "An upsert that the engine has no exact form for.",
  },
  VALUE_INVALID: {
    retryable: false,
    summary: "A value is not of its column's logical type, or outside its range.",
  },
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof catalogue;

export const ERROR_CODES: Readonly<Record<ErrorCode, CodeEntry>> = catalogue;
