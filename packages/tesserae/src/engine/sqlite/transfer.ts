/**
 * Rows on their way to and from SQLite. Everything happens in this process, so that there is no way quicker than reading and writing them;
 * between two files the values are not even looked at. Digests are made of the values read.
 */
import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { piecesOf, TransferCodec, transferCodec } from "../transfer-values.ts";
import { sqliteCapabilities } from "./capabilities.ts";
import { sqliteCodec } from "./codecs.ts";
import { quoteIdentifier } from "./ddl.ts";

/** Rows of one statement: more make it no quicker. */
const ROWS_PER_INSERT = 50;
const INSERT_BYTES = 1 << 20;
const ROWS_PER_CHUNK = 500;

const names = (columns: readonly string[]): string => columns.map(quoteIdentifier).join(", ");

async function insert(
  connection: Connection,
  table: TableModel,
  rows: readonly TransferRow[],
): Promise<void> {
  const codec = new TransferCodec({ codec: sqliteCodec }, table.columns);
  await insertRaw(
    connection,
    table,
    rows.map((row) => codec.encode(row)),
  );
}

/** Rows of the driver's values. */
async function insertRaw(
  connection: Connection,
  table: TableModel,
  rows: readonly (readonly unknown[])[],
): Promise<void> {
  const rowsMax = Math.min(
    ROWS_PER_INSERT,
    Math.floor(sqliteCapabilities.parametersMax / table.columns.length),
  );
  for (const piece of piecesOf(rows, INSERT_BYTES, rowsMax)) {
    // Only full pieces have a text that comes again; the others go row by row.
    const together = piece.length === rowsMax ? [piece] : piece.map((row) => [row]);
    for (const part of together)
      await connection.run({ sql: insertSql(table, part.length), parameters: part.flat() });
  }
}

function insertSql(table: TableModel, rows: number): string {
  const row = `(${table.columns.map(() => "?").join(", ")})`;
  const values = Array.from({ length: rows }, () => row).join(", ");
  return `insert into ${quoteIdentifier(table.name)} (${names(table.columns.map(({ name }) => name))}) values ${values}`;
}

/** The driver's values go on as they are. */
async function copy(
  source: Connection,
  target: Connection,
  selection: RowSelection,
  rowBytesMax = 0,
): Promise<number> {
  const { table } = selection;
  const columns = table.columns.map(({ name }) => name);
  const parameters: unknown[] = [];
  const where = selection.where((type, value) => {
    parameters.push(transferCodec({ codec: sqliteCodec }, type).encode(value));
    return "?";
  });
  const sql = `select ${names(columns)} from ${quoteIdentifier(table.name)} where ${where}`;
  const chunkRows = Math.min(ROWS_PER_CHUNK, Math.max(1, Math.floor(INSERT_BYTES / (rowBytesMax + 1))));
  let copied = 0;
  for await (const rows of source.stream({ sql, parameters, readOnly: true }, chunkRows)) {
    await insertRaw(
      target,
      table,
      rows.map((row) => columns.map((name) => row[name])),
    );
    copied += rows.length;
  }
  return copied;
}

function deleteSome(table: TableModel, where: string, limit: number): string {
  const name = quoteIdentifier(table.name);
  const key = names(table.primaryKey);
  const left = table.primaryKey.length === 1 ? key : `(${key})`;
  return `delete from ${name} where ${left} in (select ${key} from ${name} where ${where} limit ${limit})`;
}

export const sqliteTransfer: EngineTransfer = Object.freeze({
  comparesRows: true,
  byCodePoint: (column: string) => `${column} collate binary`,
  byteLength: (column: string) => `octet_length(${column})`,
  deleteSome,
  insert,
  copy,
  digest: undefined,
});
