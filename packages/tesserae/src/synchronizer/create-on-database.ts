/**
 * Creates what is missing on one database. `tesserae_meta` keeps a row for each piece: its fingerprint, preceded by `creating ` from before its first statement until after
 * its last, so that a run that was cut off is taken up by the next one and a table that somebody else made is told from our own.
 */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { Connection, Database, EngineDialect } from "../engine/contract.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import { toEngineError } from "../engine/engine-error.ts";
import type { Piece } from "./create-plan.ts";

const CREATING = "creating ";

export interface CreatedPiece {
  readonly kind: "table" | "guard";
  readonly table: string;
}

export interface DatabasePieces {
  readonly database: Database;
  readonly place: ErrorPlace;
  readonly pieces: readonly Piece[];
}

/** Which pieces are missing; raises SCHEMA_CHANGED or SCHEMA_TABLE_EXISTS before anything is written. */
export async function missingPieces({ database, place, pieces }: DatabasePieces): Promise<Piece[]> {
  return withConnection(database, place, async (connection, dialect) => {
    const tables = await readNames(connection, dialect.listTablesSql);
    const meta = tables.has(META_TABLE) ? await readMeta(connection, dialect) : new Map<string, string>();
    const guards = await readNames(connection, dialect.listTriggersSql);
    return pieces.filter((piece) =>
      piece.kind === "guard"
        ? guardIsMissing(piece, meta, guards)
        : tableIsMissing(piece, meta, tables, place),
    );
  });
}

function guardIsMissing(
  piece: Piece,
  meta: ReadonlyMap<string, string>,
  triggers: ReadonlySet<string>,
): boolean {
  if (meta.get(metaName(piece)) !== piece.fingerprint) return true;
  // A guard that somebody dropped comes back: every trigger the statements create must be there.
  const named = piece.statements.flatMap(
    (statement) =>
      /create\s+(?:or\s+replace\s+)?trigger\s+(?:if\s+not\s+exists\s+)?["`]?([a-z0-9_]+)/i.exec(
        statement,
      )?.[1] ?? [],
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
    if (!exists || piece.table === META_TABLE) return true;
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
      `Table "${piece.table}" was made from another definition. This version creates tables and does not change them: bring the definition back, or change the table by hand together with its row in ${META_TABLE}.`,
      {
        ...place,
        table: piece.table,
      },
    );
  }
  return !exists || known.startsWith(CREATING);
}

/** Creates the pieces in their order. Runs again without harm. */
export async function createPieces(
  { database, place }: DatabasePieces,
  missing: readonly Piece[],
): Promise<CreatedPiece[]> {
  if (missing.length === 0) return [];
  return withConnection(database, place, async (connection, dialect) => {
    for (const statement of dialect.createTable(metaTable()))
      await connection.run({ sql: statement, parameters: [], prepare: false });
    for (const piece of missing) {
      await writeMeta(connection, dialect, metaName(piece), CREATING + piece.fingerprint);
      for (const statement of piece.statements)
        await runDdl(connection, dialect, statement, { ...place, table: piece.table });
      await writeMeta(connection, dialect, metaName(piece), piece.fingerprint);
    }
    return missing.map(({ kind, table }) => ({ kind, table }));
  });
}

async function runDdl(
  connection: Connection,
  dialect: EngineDialect,
  statement: string,
  place: ErrorPlace,
): Promise<void> {
  try {
    await connection.run({ sql: statement, parameters: [], prepare: false });
  } catch (error) {
    throw toEngineError(error, dialect, { ...place, operation: "schema.apply", sql: statement });
  }
}

const metaName = (piece: Piece): string => `${piece.kind}:${piece.table}`;

async function withConnection<T>(
  database: Database,
  place: ErrorPlace,
  body: (connection: Connection, dialect: EngineDialect) => Promise<T>,
): Promise<T> {
  const { dialect } = database.engine;
  let connection: Connection | undefined;
  try {
    connection = await database.acquire();
    return await body(connection, dialect);
  } catch (error) {
    throw toEngineError(error, dialect, { ...place, operation: "schema.apply" });
  } finally {
    connection?.release();
  }
}

async function readNames(connection: Connection, sql: string): Promise<Set<string>> {
  const { rows } = await connection.run({ sql, parameters: [], prepare: false });
  return new Set(rows.map((row) => String(row.name)));
}

async function readMeta(connection: Connection, dialect: EngineDialect): Promise<Map<string, string>> {
  const { rows } = await connection.run({
    sql: `select name, value from ${dialect.quote(META_TABLE)}`,
    parameters: [],
    prepare: false,
  });
  return new Map(rows.map((row) => [String(row.name), String(row.value)]));
}

async function writeMeta(
  connection: Connection,
  dialect: EngineDialect,
  name: string,
  value: string,
): Promise<void> {
  const table = dialect.quote(META_TABLE);
  const { verb, suffix } = dialect.capabilities.insertIgnore;
  await connection.run({
    sql: dialect.placeholders(`${verb} into ${table} (name, value) values (?, ?)${suffix}`),
    parameters: [name, value],
  });
  await connection.run({
    sql: dialect.placeholders(`update ${table} set value = ? where name = ?`),
    parameters: [value, name],
  });
}
