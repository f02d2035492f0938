/**
 * Rows on their way to and from SQLite. Everything happens in this process, so that there is no way quicker than reading and writing them;
 * between two files the values are not even looked at. Digests are made of the values read.
 */
import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { piecesOf, TransferCodec } from "../transfer-values.ts";
import { sqliteCapabilities } from "./capabilities.ts";
import { sqliteCodec } from "./codecs.ts";
import { quoteIdentifier } from "./ddl.ts";

/** Rows of one statement: more make it no quicker. */
const ROWS_PER_INSERT = 50;
const INSERT_BYTES = 1 << 20;

const names = (columns: readonly string[]): string => columns.map(quoteIdentifier).join(", ");

async function insert(
  connection: Connection,
  table: TableModel,
  rows: readonly TransferRow[],
): Promise<void> {
  const codec = new TransferCodec({ codec: sqliteCodec }, table.columns);
  const rowsMax = Math.min(
    ROWS_PER_INSERT,
    Math.floor(sqliteCapabilities.parametersMax / table.columns.length),
  );
  for (const piece of piecesOf(rows, INSERT_BYTES, rowsMax)) {
    // Only full pieces have a text that comes again; the others go row by row.
    const together = piece.length === rowsMax ? [piece] : piece.map((row) => [row]);
    for (const part of together)
      await connection.run({
        sql: insertSql(table, part.length),
        parameters: part.flatMap((row) => codec.encode(row)),
      });
  }
}

function insertSql(table: TableModel, rows: number): string {
  const row = `(${table.columns.map(() => "?").join(", ")})`;
  const values = Array.from({ length: rows }, () => row).join(", ");
  return `insert into ${quoteIdentifier(table.name)} (${names(table.columns.map(({ name }) => name))}) values ${values}`;
}

async function copy(
  _source: Connection,
  _target: Connection,
  _selection: RowSelection,
): Promise<number | undefined> {
  return undefined;
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
