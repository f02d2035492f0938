/**
 * The version of the control tables' layout, kept in `tesserae_meta`, and the steps from one version to the next.
 *
 * Creating and upgrading exclude each other by the lock of one row of `tesserae_meta`, held by a transaction of its own. Where the engine's DDL
 * is transactional it runs in that transaction, and a step takes effect as a whole or not at all. Elsewhere (MariaDB, MySQL) DDL commits what it meets, so
 * the lock stays on one connection while the statements run on another: a crash leaves a step half done and the version as it was, so the statements of
 * a step must bear being run again, and none may alter `tesserae_meta` itself, which the lock's transaction has in use.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Database, EngineDialect } from "../engine/contract.ts";
import {
  type ControlRunner,
  ControlStore,
  type ControlTransaction,
  RowCodec,
} from "../engine/control-store.ts";
import {
  CONTROL_VERSION,
  CONTROL_VERSION_WITH_LOOKUPS,
  LOOKUP_TABLE_PREFIX,
  META_TABLE,
  metaTable,
  TICKET_COLUMNS_OF_VERSION_3,
  TICKETS_TABLE,
} from "../engine/control-tables.ts";
import type { ColumnModel, TableModel } from "../schema/model.ts";
import { lockMeta } from "./change-feed.ts";

const VERSION_META = "control_version";
const LOCK_META = "control_lock";
/** Two processes that create the same table at once can collide even with IF NOT EXISTS (PostgreSQL): the second try finds it. */
const CREATE_ATTEMPTS_MAX = 5;

/** What leads from the version before to `version`. */
export interface ControlStep {
  readonly version: number;
  /** Statements that bear being run again. They may not alter `tesserae_meta`. */
  statements(dialect: EngineDialect): readonly string[];
  /** Columns that a table gets, where the database has it. One that is there already, since a run was cut off, is left as it is. */
  readonly columns?: { readonly table: string; readonly added: readonly ColumnModel[] };
}

/**
 * The steps of this library. Version 2 brings the moves: a table that is made by its model, and the state `moving` of the directory's rows, which a library
 * that knows only version 1 would take for a key without a shard. Version 3 brings ticket servers: a counter says for whom it counts, and in which steps.
 * Version 4 is main's where the schema has lookups, and no other's: their tables are made by their models.
 */
export const CONTROL_STEPS: readonly ControlStep[] = [
  { version: 2, statements: () => [] },
  {
    version: 3,
    statements: () => [],
    columns: { table: TICKETS_TABLE, added: TICKET_COLUMNS_OF_VERSION_3 },
  },
  { version: CONTROL_VERSION_WITH_LOOKUPS, statements: () => [] },
];

export interface ControlLayout {
  /** What the database is brought to. */
  readonly version: number;
  /** The highest version that the library knows, where that is another one. */
  readonly versionKnown?: number;
  readonly steps: readonly ControlStep[];
}

const meta = metaTable();

/** The layout of a database that has to hold these tables. */
function layoutOf(tables: readonly TableModel[]): ControlLayout {
  return {
    version: tables.some(({ name }) => name.startsWith(LOOKUP_TABLE_PREFIX))
      ? CONTROL_VERSION_WITH_LOOKUPS
      : CONTROL_VERSION,
    versionKnown: CONTROL_VERSION_WITH_LOOKUPS,
    steps: CONTROL_STEPS,
  };
}

const knownTo = ({ version, versionKnown }: ControlLayout): number => versionKnown ?? version;

/**
 * The version of the control tables in a database; undefined when there are none. CONTROL_VERSION_NEWER when a newer library laid them
 * out: this one would misread them.
 */
export async function checkControlVersion(
  database: Database,
  layout: ControlLayout = layoutOf([]),
): Promise<number | undefined> {
  const store = new ControlStore(database, { operation: "checkControlVersion" });
  const { rows } = await store.read(
    `select name from (${store.dialect.listTablesSql}) as listed where name = ?`,
    [new RowCodec(store.dialect, meta).encode("name", META_TABLE)],
  );
  if (rows.length === 0) return undefined;
  const version = await readVersion(store, store);
  if (version !== undefined && version > knownTo(layout)) throw newer(version, layout, store);
  return version;
}

/**
 * Creates the control tables, or brings those of an older version to this library's by its steps. Gives the version that was found; undefined
 * when there was none. Needs two connections.
 */
export async function upgradeControlTables(
  database: Database,
  tables: readonly TableModel[],
  layout: ControlLayout = layoutOf(tables),
): Promise<number | undefined> {
  const store = new ControlStore(database, { operation: "upgradeControlTables" });
  await createTolerantly(database, store.dialect.createTable(meta));
  return store.transaction(async (transaction) => {
    await lockMeta(transaction, store, LOCK_META, "", "alone");
    const found = await readVersion(store, transaction);
    if (found !== undefined && found > knownTo(layout)) throw newer(found, layout, store);
    const runDdl = (statements: readonly string[]) =>
      runStatements(store.capabilities.transactionalDdl ? transaction : database, statements);
    for (const step of found === undefined ? [] : stepsAfter(found, layout)) {
      await runDdl(step.statements(store.dialect));
      if (tables.some(({ name }) => name === step.columns?.table))
        await runDdl(await columnsToAdd(step, database, store));
      await writeVersion(store, transaction, step.version);
    }
    // Also on the current version: the schema may have a federation more than last time.
    for (const table of tables) if (table.name !== META_TABLE) await runDdl(store.dialect.createTable(table));
    if (found === undefined) await writeVersion(store, transaction, layout.version);
    return found;
  });
}

/** Where DDL commits by itself a column may be there already; elsewhere a step is made as a whole or not at all, and a query that fails would end it. */
async function columnsToAdd(step: ControlStep, database: Database, store: ControlStore): Promise<string[]> {
  const { dialect, capabilities } = store;
  const { table, added } = step.columns as NonNullable<ControlStep["columns"]>;
  const missing: ColumnModel[] = [];
  for (const column of added) {
    const look = `select ${dialect.quote(column.name)} from ${dialect.quote(table)} where 1 = 0`;
    const isThere =
      !capabilities.transactionalDdl &&
      (await database.run({ sql: look, parameters: [], prepare: false }).then(
        () => true,
        (error: unknown) => {
          if (dialect.classify(error).code === "QUERY_FAILED") return false;
          throw error;
        },
      ));
    if (!isThere) missing.push(column);
  }
  return missing.map((column) => dialect.addColumn(table, column));
}

function stepsAfter(found: number, layout: ControlLayout): ControlStep[] {
  const wanted: ControlStep[] = [];
  for (let version = found + 1; version <= layout.version; version++) {
    const step = layout.steps.find((candidate) => candidate.version === version);
    if (step === undefined)
      throw new Error(`The library has no step to version ${version} of the control tables.`);
    wanted.push(step);
  }
  return wanted;
}

async function createTolerantly(database: Database, statements: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await runStatements(database, statements);
      return;
    } catch (error) {
      if (attempt === CREATE_ATTEMPTS_MAX) throw error;
    }
  }
}

async function runStatements(
  target: Database | ControlTransaction,
  statements: readonly string[],
): Promise<void> {
  const runner = "connection" in target ? target.connection : target;
  for (const sql of statements) await runner.run({ sql, parameters: [], prepare: false });
}

async function readVersion(store: ControlStore, runner: ControlRunner): Promise<number | undefined> {
  const codec = new RowCodec(store.dialect, meta);
  const { rows } = await runner.run(`select value from ${META_TABLE} where name = ?`, [
    codec.encode("name", VERSION_META),
  ]);
  return rows[0] === undefined ? undefined : Number(codec.decode("value", rows[0]["value"]));
}

async function writeVersion(
  store: ControlStore,
  transaction: ControlTransaction,
  version: number,
): Promise<void> {
  const codec = new RowCodec(store.dialect, meta);
  const name = codec.encode("name", VERSION_META);
  const value = codec.encode("value", String(version));
  const { rows } = await transaction.run(`select name from ${META_TABLE} where name = ?`, [name]);
  if (rows.length > 0)
    await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [value, name]);
  else await transaction.run(`insert into ${META_TABLE} (name, value) values (?, ?)`, [name, value]);
}

function newer(found: number, layout: ControlLayout, store: ControlStore): TesseraeError {
  return new TesseraeError(
    "CONTROL_VERSION_NEWER",
    `The control tables of ${store.database.engine.address.display} have layout ${found}; this version of the library knows layouts up to ${knownTo(layout)}. Update the library in this application: other processes already run a newer one.`,
    { operation: "checkControlVersion" },
  );
}
