/**
 * The engine contract: everything the floors above know about a database server. An engine is a folder with the same file
 * names as the others (`sqlite/`, `mysql/`, `postgres/`); what it can do is data (`EngineCapabilities`), so that no floor above asks which
 * engine it is.
 *
 * An `Engine` is an address with options, nothing opened. `open` gives a `Database`: one bounded pool, which connects on first use. A
 * `Connection` belongs to one caller between `acquire` and `release`. Rows come back raw, as the driver gives them, except that the driver is set up so that
 * nothing is lost (64-bit integers as bigint, decimals and timestamps as text): a `Codec` turns a raw value into the logical one.
 */
import type { DialectAdapter, QueryCompiler } from "kysely";
import type { ErrorCode } from "../base/error-codes.ts";
import type { GuardReason } from "../base/errors.ts";
import type { KeyValue, LogicalType } from "../schema/logical-type.ts";
import type { ColumnModel, FederationModel, ForeignKeyModel, TableModel } from "../schema/model.ts";

export type { GuardReason };

export type EngineName = "sqlite" | "mysql" | "postgres";

export interface DatabaseAddress {
  /** Two engines with the same identity are the same database. Holds no secret. */
  readonly identity: string;
  /** The server the database is on (`mysql://host:port`; a SQLite file is its own server): the connection budget is counted for each. */
  readonly server: string;
  /** For messages and logs: the URL with the password redacted. */
  readonly display: string;
  /** Each of several hosts, for a list in which the primary is found; undefined for one. */
  readonly hosts?: readonly HostAddress[] | undefined;
}

/** One host of a list: the database on it, and its server. */
export type HostAddress = Pick<DatabaseAddress, "identity" | "server">;

export interface PoolOptions {
  /** Connections at most, at the same time. */
  readonly connectionsMax: number;
  /** How long a caller waits for a free connection before CONNECTION_LIMIT. */
  readonly acquireTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** An unused connection is closed after this time. */
  readonly idleTimeoutMs: number;
  /** Prepared statements kept for each connection; the least recently used one is closed beyond it. */
  readonly statementCacheEntries: number;
}

export const POOL_DEFAULTS: PoolOptions = {
  connectionsMax: 10,
  acquireTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  statementCacheEntries: 256,
};

/** How a pool follows its primary from server to server. */
export interface FailoverOptions {
  /** How long what may safely be sent again waits for a server that takes writes. */
  readonly waitMs: number;
  /** How often the server is asked, while it is used, whether it still takes writes. */
  readonly checkMs: number;
}

export const FAILOVER_DEFAULTS: FailoverOptions = { waitMs: 5_000, checkMs: 1_000 };

/** A pool's part in failover, where somebody looks after it. */
export interface PoolWatch {
  /** Asked on each new connection: one whose server takes no writes is closed, with SERVER_READ_ONLY for who wanted it. */
  readonly statusSql: string;
  /** A connection was lost, or its server said that it takes no writes. */
  suspect(): void;
}

export interface Engine {
  readonly name: EngineName;
  readonly dialect: EngineDialect;
  readonly address: DatabaseAddress;
  /** True for a database that ends with this process: nobody else ever sees it. */
  readonly inMemory?: boolean;
  /** Where control state lives that must not share the caller's transaction: the same server on other connections, or a second SQLite file. */
  control(): Engine;
  /**
   * With `failover` the pool is on the server that takes writes, and follows it. Without, it is on whatever server is there, such as a replica; a list of hosts is
   * always looked through for the one that takes writes.
   */
  open(options: PoolOptions, failover?: FailoverOptions): Database;
  /** Room on the disk that the database is on, in bytes. Missing where no statement tells; undefined for a database in memory. */
  freeBytes?(): Promise<number | undefined>;
}

/** One database behind one bounded pool. Opens its first connection on first use. */
export interface Database {
  readonly engine: Engine;
  /** Acquires, runs one statement outside any transaction, releases: the hot path. Errors are the driver's own (see `EngineDialect.classify`). */
  run(statement: Statement): Promise<EngineResult>;
  acquire(options?: AcquireOptions): Promise<Connection>;
  /** Waits for connections in use to be released, at most `timeoutMs` (default 10 000), then closes all. Idempotent. */
  close(timeoutMs?: number): Promise<void>;
  readonly stats: PoolStats;
  /** `db-2:3306`: the one of several hosts that statements go to. Undefined where there is one host, where none is known to take writes, and while nobody uses the database. */
  readonly primary?: string | undefined;
}

export interface PoolStats {
  readonly open: number;
  readonly inUse: number;
  readonly waiting: number;
}

export interface AcquireOptions {
  /** `read`: only reads outside a write transaction will run; an engine with one writer may give a reader. Default `write`. */
  readonly mode?: "read" | "write";
  readonly signal?: AbortSignal | undefined;
}

export interface Statement {
  readonly sql: string;
  /** Driver values, made by `Codec.encode` (or null). */
  readonly parameters: readonly unknown[];
  /** Prepared by default; false for statements that run once, such as DDL. */
  readonly prepare?: boolean;
  /** A plain read: an engine with one writer may run it on a reader. */
  readonly readOnly?: boolean;
  /** A read by its form, whose text calls what may write all the same. Where nothing must be written it runs in a transaction that is read only. */
  readonly mayWrite?: boolean;
  /**
   * In a stream: the server may work for the whole answer as it does for `run`, and is stopped where the rows are not read to their end. A cursor of PostgreSQL's, which
   * others get, takes two trips more and no parallel workers. In a transaction it says nothing, since stopping a statement there would end the transaction.
   */
  readonly streamWhole?: boolean;
  /**
   * Inside a transaction: having waited so long for a lock, the statement ends with LOCK_TIMEOUT, in ms, less than a second too. It may take back what the
   * statement did, or fail the transaction: roll back. An engine with one writer has all its locks since the begin, and nothing to wait for.
   */
  readonly lockWaitMs?: number | undefined;
}

/** A raw row: the driver's values by column name. The receiver may change it in place. */
export type RawRow = Record<string, unknown>;

export interface EngineResult {
  readonly rows: RawRow[];
  /** Rows inserted, changed (matched, not only altered) or deleted; undefined for a read. */
  readonly affectedRows: bigint | undefined;
  /** The auto-incremented id of a single-row insert, where the driver tells it. */
  readonly insertId: bigint | undefined;
}

export type IsolationLevel =
  | "read uncommitted"
  | "read committed"
  | "repeatable read"
  | "serializable"
  | "snapshot";

export interface BeginOptions {
  readonly isolation?: IsolationLevel | undefined;
  readonly readOnly?: boolean | undefined;
  /**
   * `unchecked`: to its end the transaction neither checks foreign keys nor cascades. PostgreSQL fires no triggers either then, the guard's included, and needs a
   * right for it (`EngineDialect.mayUncheckReferences`). Default `checked`.
   */
  readonly references?: "checked" | "unchecked" | undefined;
  /** A read-only transaction whose rows are read slowly: the limit to idling in a transaction does not end it. MariaDB has sent its rows, and idles, long before they are read. */
  readonly slowReader?: boolean | undefined;
}

export interface Connection {
  run(statement: Statement): Promise<EngineResult>;
  /** Rows in chunks of at most `chunkRows`; ending the iteration early closes the cursor. */
  stream(statement: Statement, chunkRows: number): AsyncIterable<RawRow[]>;
  /** A write transaction takes its write lock at once on an engine with one writer. */
  begin(options?: BeginOptions): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  savepoint(name: string): Promise<void>;
  rollbackToSavepoint(name: string): Promise<void>;
  releaseSavepoint(name: string): Promise<void>;
  /**
   * Stops the statement that runs on the connection, where the server runs it: its own call then fails, unless it was over already. Resolves when the order was given and
   * cannot hit a later statement of the connection; rejects where it could not be given. Missing where a statement cannot be stopped between two of its chunks.
   */
  interrupt?(): Promise<void>;
  /** Back to the pool; `broken` closes it instead. An open transaction is rolled back. Idempotent. */
  release(broken?: boolean): void;
}

/** Between a logical value and the driver's. Null never reaches a codec. */
export interface Codec {
  /** The driver's value; VALUE_INVALID (without place: the caller adds it) when the value is not of the type or out of its range. */
  encode(value: unknown): unknown;
  /** The logical value of what the driver gave. */
  decode(raw: unknown): unknown;
}

export interface EngineCapabilities {
  /** INSERT … RETURNING (and DELETE … RETURNING); `update` tells whether UPDATE … RETURNING works too. */
  readonly returning: { readonly insert: boolean; readonly update: boolean; readonly delete: boolean };
  /** Foreign-key cascades fire the guard's triggers. */
  readonly cascadesFireTriggers: boolean;
  readonly transactionalDdl: boolean;
  /** Writers of different rows run at the same time; false: one writer a database. */
  readonly concurrentWriters: boolean;
  readonly parametersMax: number;
  /** What locks the rows of a select; "" where the write transaction alone locks. */
  readonly forUpdate: " for update" | "";
  readonly forShare: " for share" | " lock in share mode" | "";
  /** `insert` + this + `into … values …` + suffix: a row whose primary or unique key exists is left as it is. */
  readonly insertIgnore: { readonly verb: string; readonly suffix: string };
  /** How a row that conflicts with an existing one updates it. */
  readonly upsert: "on conflict" | "on duplicate key";
  /**
   * How an UPDATE of one row tells a number that it raised: as a returned row with the new value, or as the statement's insert id with the value
   * that was given to `last_insert_id(…)`.
   */
  readonly raisedNumber: "returning" | "last insert id";
  /** The sum of decimals is exact in SQL (SQLite needs its own aggregates). */
  readonly exactDecimals: boolean;
  /** The digits of the widest decimal, where `avg` gives a value of another length than its type and must be brought to that. Undefined where the engine's own is right. */
  readonly averageDigits: number | undefined;
  /** Null comes before all values in ascending order, and behind them in descending order; false: the other way round. */
  readonly nullsFirst: boolean;
  /** `order by x nulls first` and `nulls last` are known. */
  readonly nullsClause: boolean;
}

/** Why a driver's error happened, in the library's words. */
export interface ErrorReason {
  readonly code: ErrorCode;
  /** For GUARD_REFUSED. */
  readonly guard?: { readonly reason: GuardReason; readonly table: string; readonly key: string };
  /** The constraint, where the driver names it. */
  readonly constraint?: string | undefined;
  /** What to do about it, in whole sentences, where the server's own text does not say. */
  readonly advice?: string | undefined;
  /** The connection cannot be used any more. */
  readonly fatal: boolean;
}

/**
 * What a server tells of its part in replication. A position is text of the engine's own form (a set of GTIDs, an LSN): on a primary everything that is
 * committed there, on a replica everything that a query there sees.
 */
export interface EngineReplication {
  /**
   * A SELECT of one row: `position`, text, empty or null where the server keeps none (its log is off); on a primary, where they are there and not null, `written`: the
   * end of its log, with what is not committed yet, and `sent`: how much of that replicas can have been sent by now; `writable`, 1 for a primary and 0 for a replica or a server that was made read-only. Any login may run it.
   */
  readonly statusSql: string;
  /** Whether everything at `wanted` is in `position`. False where one of the two is no position of this engine. */
  covers(position: string, wanted: string): boolean;
  /**
   * Whether a replica at `position` has what a primary at `primary` has not, so that the two have parted and the one can never follow the other, however far it seems
   * to be. False where positions that have parted do not cover each other anyway.
   */
  hasParted(position: string, primary: string): boolean;
}

/**
 * How somebody who looks for a row waits for those who are about to write it: transactions that wrote it and have not ended. Where writers come one after the
 * other, a write transaction has waited for all of them.
 */
export interface EngineClaims {
  /** What a writer runs in its transaction, with a 64-bit number for what it writes; undefined where its rows' own locks tell. */
  readonly holdSql: string | undefined;
  /** What waits, in a transaction, for everybody who holds that number. */
  readonly waitSql: string | undefined;
  /** Behind a select of rows by a unique key: waits for whoever has written them, and sees what they leave. */
  readonly waitSuffix: string;
}

/** The pure part of an engine: text, types and classification. No connection is needed for any of it. */
export interface EngineDialect {
  readonly name: EngineName;
  readonly capabilities: EngineCapabilities;
  /** Kysely's own compiler and adapter for the engine, new at each call. */
  createQueryCompiler(): QueryCompiler;
  createAdapter(): DialectAdapter;
  codec(type: LogicalType): Codec;
  /** The codec's raw value for a result column whose logical type is unknown: the engine's natural JavaScript value by the library's rules (64-bit integers bigint, decimals text, …). */
  decodeNatural(raw: unknown): unknown;
  /** A name as an identifier: quoted. */
  quote(name: string): string;
  /** SQL written with `?` for parameters, in the engine's own placeholders. The text holds no `?` besides. */
  placeholders(sql: string): string;
  /** CREATE TABLE IF NOT EXISTS with its keys, checks and foreign keys, and its indexes; each statement may run again without harm. Control tables are TableModels too. */
  createTable(table: TableModel): string[];
  /** ALTER TABLE … ADD COLUMN of a table that exists. It fails where the column is there already. */
  addColumn(table: string, column: ColumnModel): string;
  /**
   * Foreign keys of a table that exists, to tables that are created after it: tables that refer to each other. Each statement may run again without harm.
   * Undefined where `createTable` may name tables that do not exist yet (with `deferReferences` open).
   */
  readonly addForeignKeys: ((table: TableModel, keys: readonly ForeignKeyModel[]) => string[]) | undefined;
  /** The guard of one federated table (move-protocol): triggers and functions, each created only if missing or replaced as a whole. */
  createGuard(table: TableModel, federation: FederationModel): string[];
  /**
   * What a mover runs around its writes, inside its transaction, so that the guard lets it pass on residences with this token. `close` comes
   * also after an error, lest a connection go back to the pool with the guard open.
   */
  passGuard(token: bigint): { readonly open: readonly string[]; readonly close: readonly string[] };
  /**
   * What a mover runs, inside its transaction, around writes that break foreign keys until all of them are done. Where the engine can only switch
   * the check off (MariaDB, MySQL), nothing is checked afterwards: whoever uses it knows that the rows fit.
   */
  readonly deferReferences: { readonly open: readonly string[]; readonly close: readonly string[] };
  /** Whether this connection may `begin({ references: "unchecked" })`. */
  mayUncheckReferences(connection: Connection): Promise<boolean>;
  /**
   * What whoever is about to lock residences alone runs first, in the same transaction, with the keys (a range's `low`) as parameters, encoded: a gate
   * that writers pass too, so that they cannot overtake for ever. Undefined where the engine's locks are a queue anyway.
   */
  gateSql(federation: FederationModel, keys: number): string | undefined;
  readonly claims: EngineClaims;
  readonly transfer: EngineTransfer;
  /** Undefined where the engine has no replication. */
  readonly replication: EngineReplication | undefined;
  dropTable(name: string): string[];
  /** A SELECT giving one column `name`: the tables of the connected database (or schema), ours and others'. */
  readonly listTablesSql: string;
  /**
   * A SELECT of the transactions that have been open for more than a second, the oldest first: `who`, in words, and `seconds`. It needs rights that not every login
   * has. Undefined where transactions of others cannot be seen.
   */
  readonly openTransactionsSql: string | undefined;
  /** A SELECT giving one column `name`: its triggers. */
  readonly listTriggersSql: string;
  classify(error: unknown): ErrorReason;
}

/** A row's values in the order of the table's columns: logical ones, but JSON as its text. */
export type TransferRow = readonly unknown[];

/**
 * Whose rows: those of some keys, or those of a range. A range leaves out the keys that have a point of their own in the residences of the database that is asked
 * (`tesserae_residence_<federation>`, kind `p`).
 */
export type KeyScope =
  | { readonly kind: "points"; readonly keys: readonly KeyValue[] }
  | {
      readonly kind: "range";
      readonly low: KeyValue;
      readonly high: KeyValue | null;
      readonly federation: string;
    };

/** The rows of `scope` whose primary key (logical values) is behind `after` and not behind `upTo`. */
export interface RowSlice {
  readonly table: TableModel;
  readonly scope: KeyScope;
  readonly after?: readonly unknown[] | undefined;
  readonly upTo?: readonly unknown[] | undefined;
}

/** Some rows of a table, as the condition that picks them. */
export interface RowSelection {
  readonly table: TableModel;
  /** The text behind `where`. Each value in it goes through `write`, which says what stands in its place. */
  where(write: (type: LogicalType, value: unknown) => string): string;
}

/** What each engine does in its own way when rows move from database to database; `RowTransfer` does the rest. */
export interface EngineTransfer {
  /** `(a, b) > (x, y)` is a range of an index; otherwise it must be written out column by column. */
  readonly comparesRows: boolean;
  /** A text column that compares by code point, though it may fold case by itself. */
  byCodePoint(column: string): string;
  /** How many bytes a text or bytes value has. */
  byteLength(column: string): string;
  /** A DELETE of at most `limit` of the rows for which `where` holds. */
  deleteSome(table: TableModel, where: string, limit: number): string;
  /** Rows of values that the engine's own codecs have checked or another engine kept; in statements of bounded size. */
  insert(connection: Connection, table: TableModel, rows: readonly TransferRow[]): Promise<void>;
  /**
   * Copies rows between two databases of this engine without reading their values, and gives their number; undefined when it cannot with these
   * connections or rows. `rowBytesMax` is the size of the largest row, where the table's definition does not bound it.
   */
  copy(
    source: Connection,
    target: Connection,
    selection: RowSelection,
    rowBytesMax: number | undefined,
  ): Promise<number | undefined>;
  /** Aggregates whose values, taken together with the number of rows, differ when the rows do; undefined where the rows have to be read. */
  readonly digest: ((table: TableModel) => readonly string[]) | undefined;
}
