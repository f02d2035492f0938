/**
 * Creates what is missing on one database. `tesserae_meta` keeps a row for each piece: its fingerprint, preceded by `creating ` from before its
 * first statement until after its last, so that a run that was cut off is taken up by the next one, and a table that somebody else made is told
 * from our own.
 *
 * Two processes that apply at once take turns by the lock of one meta row. Where DDL is transactional it runs in the transaction that holds the lock,
 * and takes effect as a whole; elsewhere (MariaDB, MySQL) it would commit that transaction, and runs beside it.
 */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import { lockMeta } from "../directory/change-feed.ts";
import { upgradeControlTables } from "../directory/control-version.ts";
import type { Database, EngineDialect, EngineResult, Statement } from "../engine/contract.ts";
import { ControlStore } from "../engine/control-store.ts";
import { META_TABLE } from "../engine/control-tables.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { TableModel } from "../schema/model.ts";
import type { Piece, PieceKind } from "./create-plan.ts";

const CREATING = "creating ";
const LOCK_META = "schema_lock";

export interface CreatedPiece {
  readonly kind: PieceKind;
  readonly table: string;
}

/** What one database has to hold. */
export interface DatabasePieces {
  readonly database: Database;
  readonly place: ErrorPlace;
  readonly controlTables: readonly TableModel[];
  readonly pieces: readonly Piece[];
}

/** MariaDB and MySQL read `or replace` and `if not exists` in comments of their own. */
const COMMENT = /\/\*.*?\*\//gs;
const CREATE_TRIGGER = /create\s+(?:or\s+replace\s+)?trigger\s+(?:if\s+not\s+exists\s+)?["`]?(\w+)/gi;

interface Runner {
  run(statement: Statement): Promise<EngineResult>;
}

/** Which pieces are missing; raises SCHEMA_CHANGED or SCHEMA_TABLE_EXISTS. Writes nothing. */
export async function missingPieces(
  target: DatabasePieces,
  runner: Runner = target.database,
): Promise<Piece[]> {
  const { dialect } = target.database.engine;
  try {
    const tables = await readNames(runner, dialect.listTablesSql);
    const meta = tables.has(META_TABLE) ? await readMeta(runner, dialect) : new Map<string, string>();
    const triggers = await readNames(runner, dialect.listTriggersSql);
    return target.pieces.filter((piece) => {
      if (piece.kind === "guard") return guardIsMissing(piece, meta, triggers);
      if (piece.kind === "foreign keys") return meta.get(metaName(piece)) !== piece.fingerprint;
      return tableIsMissing(piece, meta, tables, target.place);
    });
  } catch (error) {
    throw toEngineError(error, dialect, { ...target.place, operation: "schema.apply" });
  }
}

/** Tables of the database that have a guard of the library's, and are none of the pieces. */
export async function unknownGuarded(target: DatabasePieces): Promise<string[]> {
  const { dialect } = target.database.engine;
  try {
    const meta = await readMeta(target.database, dialect);
    const tables = await readNames(target.database, dialect.listTablesSql);
    const known = new Set(target.pieces.filter(({ kind }) => kind === "guard").map(({ table }) => table));
    return [...meta.keys()]
      .filter((name) => name.startsWith("guard:"))
      .map((name) => name.slice("guard:".length))
      .filter((table) => !known.has(table) && tables.has(table));
  } catch (error) {
    throw toEngineError(error, dialect, { ...target.place, operation: "moves" });
  }
}

function guardIsMissing(
  piece: Piece,
  meta: ReadonlyMap<string, string>,
  triggers: ReadonlySet<string>,
): boolean {
  if (meta.get(metaName(piece)) !== piece.fingerprint) return true;
  // A guard that somebody dropped comes back: every trigger that the statements create must be there.
  const named = piece.statements.flatMap((statement) =>
    [...statement.replace(COMMENT, " ").matchAll(CREATE_TRIGGER)].map((match) => match[1] as string),
  );
  return named.some((name) => !triggers.has(name));
}

function tableIsMissing(
  piece: Piece,
  meta: ReadonlyMap<string, string>,
  tables: ReadonlySet<string>,
  place: ErrorPlace,
): boolean {
  const known = meta.get(metaName(piece));
  const exists = tables.has(piece.table);
  if (known === undefined) {
    if (!exists) return true;
    throw new TesseraeError(
      "SCHEMA_TABLE_EXISTS",
      `A table "${piece.table}" exists already and was not made by this library. Rename one of them, or move its rows through the application.`,
      { ...place, table: piece.table },
    );
  }
  const fingerprint = known.startsWith(CREATING) ? known.slice(CREATING.length) : known;
  if (exists && fingerprint !== piece.fingerprint) {
    throw new TesseraeError(
      "SCHEMA_CHANGED",
      `Table "${piece.table}" was made from another definition. This version creates tables and does not change them: bring the definition back, ` +
        "or change the table by hand as docs/schema.md tells.",
      { ...place, table: piece.table },
    );
  }
  return !exists || known.startsWith(CREATING);
}

/** Brings the control tables to this library's layout and creates what is missing, in its order. Runs again without harm. */
export async function createMissing(target: DatabasePieces): Promise<CreatedPiece[]> {
  const { database, place } = target;
  await upgradeControlTables(database, target.controlTables).catch((error: unknown) => {
    throw toEngineError(error, database.engine.dialect, { ...place, operation: "schema.apply" });
  });
  // The usual second run ends here, without a lock.
  if ((await missingPieces(target)).length === 0) return [];
  const store = new ControlStore(database, { ...place, operation: "schema.apply" });
  return store.transaction(async (transaction) => {
    await lockMeta(transaction, store, LOCK_META, "", "alone");
    const create = async (runner: Runner) => {
      const missing = await missingPieces(target, runner);
      for (const piece of missing) await createPiece(runner, store.dialect, piece, place);
      return missing.map(({ kind, table }) => ({ kind, table }));
    };
    return store.capabilities.transactionalDdl ? create(transaction.connection) : besideLock(store, create);
  });
}

/** Where DDL would commit the lock's transaction: on a connection of its own, on which tables may refer to ones that come later. */
async function besideLock<T>(store: ControlStore, create: (runner: Runner) => Promise<T>): Promise<T> {
  const connection = await store.database.acquire();
  const { open, close } = store.dialect.deferReferences;
  let broken = true;
  try {
    for (const sql of open) await connection.run({ sql, parameters: [], prepare: false });
    const result = await create(connection);
    for (const sql of close) await connection.run({ sql, parameters: [], prepare: false });
    broken = false;
    return result;
  } finally {
    connection.release(broken);
  }
}

async function createPiece(
  runner: Runner,
  dialect: EngineDialect,
  piece: Piece,
  place: ErrorPlace,
): Promise<void> {
  await writeMeta(runner, dialect, metaName(piece), CREATING + piece.fingerprint);
  for (const sql of piece.statements) {
    try {
      await runner.run({ sql, parameters: [], prepare: false });
    } catch (error) {
      throw toEngineError(error, dialect, { ...place, table: piece.table, operation: "schema.apply", sql });
    }
  }
  await writeMeta(runner, dialect, metaName(piece), piece.fingerprint);
}

const metaName = (piece: Piece): string => `${piece.kind}:${piece.table}`;

async function readNames(runner: Runner, sql: string): Promise<Set<string>> {
  const { rows } = await runner.run({ sql, parameters: [], prepare: false });
  return new Set(rows.map((row) => String(row["name"])));
}

async function readMeta(runner: Runner, dialect: EngineDialect): Promise<Map<string, string>> {
  const { rows } = await runner.run({
    sql: `select name, value from ${dialect.quote(META_TABLE)}`,
    parameters: [],
    prepare: false,
  });
  return new Map(rows.map((row) => [String(row["name"]), String(row["value"])]));
}

async function writeMeta(runner: Runner, dialect: EngineDialect, name: string, value: string): Promise<void> {
  const table = dialect.quote(META_TABLE);
  const { affectedRows } = await runner.run({
    sql: dialect.placeholders(`update ${table} set value = ? where name = ?`),
    parameters: [value, name],
  });
  if (affectedRows === 0n)
    await runner.run({
      sql: dialect.placeholders(`insert into ${table} (name, value) values (?, ?)`),
      parameters: [name, value],
    });
}
