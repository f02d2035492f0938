/**
 * Rows on their way to and from MariaDB and MySQL.
 *
 * Between two servers of this kind the source writes each row as the text of an INSERT has it, and this process only puts such texts together, to statements of
 * about a mebibyte; one is written while the next is read. A million rows of about a hundred bytes (six columns, one index beside the primary key, the target's guard
 * in place, slices of 50 000 rows; both servers and this process on two cores): 9.5 to 15.8 s, of which 1.3 to 2.1 s in this process; mariadb-dump piped into mariadb takes
 * 17.6 to 27.8 s. LOAD DATA LOCAL was not taken: many servers forbid it, and this library's connections refuse it, so that no
 * server can ask them for a file. Numbers need no look: MariaDB's text of a double is the shortest that gives the same double again.
 *
 * A row whose text might be more than a server sends or takes (`max_allowed_packet`) goes by its values, alone, in a prepared statement.
 *
 * Digest: two rows have the same MD5 by chance once in 2^128, and two different slices of n rows the same pair of sums about as rarely: each sum is
 * of 64 bits, of independent halves. It is no protection against somebody who makes rows to that end. 0.36 million rows a second; of 2.8 s for a million, 0.5 are
 * MD5, 2 the way from hexadecimal digits to numbers, for which the servers have no quicker function. Rows sorted into a temporary table, to have each MD5
 * computed once, gain a seventh.
 */
import { TesseraeError } from "../../base/errors.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { bytesOfRow, piecesOf, TransferCodec, transferCodec } from "../transfer-values.ts";
import { mysqlCodec } from "./codecs.ts";
import { BINARY_COLLATION, quoteIdentifier, quoteText } from "./ddl.ts";

/** What one statement has at most, in bytes of its values; written as text they may double. */
const INSERT_BYTES = 1 << 19;
const ROWS_PER_INSERT = 5_000;
/** Of a statement that copies. */
const STATEMENT_BYTES = 1 << 20;
/** A larger row is read and written as it is: its text may be twice as long, and the server gives no text beyond `max_allowed_packet`, which is a mebibyte at least. */
const ROW_TEXT_BYTES_MAX = 1 << 18;
const STREAM_ROWS = 2_000;

const insertHead = (table: TableModel): string =>
  `insert into ${quoteIdentifier(table.name)} (${table.columns.map(({ name }) => quoteIdentifier(name)).join(", ")}) values `;

/** Many rows are written out as text; a row as large as that goes alone and as it is, since escapes could make it too large for the server. */
async function insert(
  connection: Connection,
  table: TableModel,
  rows: readonly TransferRow[],
): Promise<void> {
  const codec = new TransferCodec({ codec: mysqlCodec }, table.columns);
  const head = insertHead(table);
  for (const piece of piecesOf(rows, INSERT_BYTES, ROWS_PER_INSERT)) {
    const encoded = piece.map((row) => codec.encode(row));
    const [first] = encoded as [unknown[]];
    if (piece.length === 1 && bytesOfRow(first) > INSERT_BYTES) {
      await connection.run({ sql: `${head}(${first.map(() => "?").join(", ")})`, parameters: first });
    } else {
      const sql = head + encoded.map((row) => `(${row.map(literal).join(",")})`).join(",");
      await connection.run({ sql, parameters: [], prepare: false });
    }
  }
}

/** A driver value as SQL text. */
function literal(raw: unknown): string {
  if (raw === null) return "null";
  if (typeof raw === "string") return quoteText(raw);
  if (raw instanceof Uint8Array)
    return `x'${Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("hex")}'`;
  return String(raw);
}

/** The source's server writes the text of its rows, and this process puts as many of them behind an INSERT as a statement may have. */
async function copy(
  source: Connection,
  target: Connection,
  selection: RowSelection,
  rowBytesMax = 0,
): Promise<number | undefined> {
  // Such a row's text could be more than the server gives or takes.
  if (rowBytesMax > ROW_TEXT_BYTES_MAX) return undefined;
  const { table } = selection;
  const sql = `select ${rowText(table)} as r from ${quoteIdentifier(table.name)} where ${selection.where(selectionLiteral)}`;
  const head = insertHead(table);
  const statementBytes = await statementBytesOf(target);
  let copied = 0;
  let texts: string[] = [];
  let bytes = 0;
  let writing: Promise<unknown> = Promise.resolve();
  // While a statement is under way the next is read; more than two are never in memory.
  const flush = async () => {
    const statement = head + texts.join(",");
    copied += texts.length;
    texts = [];
    bytes = 0;
    await writing;
    writing = target.run({ sql: statement, parameters: [], prepare: false });
    writing.catch(() => undefined);
  };
  for await (const rows of source.stream(
    { sql, parameters: [], prepare: false, readOnly: true },
    STREAM_ROWS,
  )) {
    for (const { r } of rows) {
      if (typeof r !== "string") throw tooLarge(table);
      texts.push(r);
      bytes += r.length + 1;
      if (bytes >= statementBytes) await flush();
    }
  }
  if (texts.length > 0) await flush();
  await writing;
  return copied;
}

/** A letter of the text may take three bytes on its way. */
async function statementBytesOf(target: Connection): Promise<number> {
  const { rows } = await target.run({ sql: "select @@max_allowed_packet as n", parameters: [] });
  return Math.min(STATEMENT_BYTES, Number(rows[0]?.["n"]) / 4);
}

/** The server gives null for a text that is longer than it sends. */
function tooLarge(table: TableModel): TesseraeError {
  return new TesseraeError(
    "QUERY_FAILED",
    `A row of table "${table.name}" is larger than the source's max_allowed_packet. Raise max_allowed_packet on both servers.`,
    { table: table.name },
  );
}

function selectionLiteral(type: LogicalType, value: unknown): string {
  return literal(transferCodec({ codec: mysqlCodec }, type).encode(value));
}

/** An expression that gives a row as the INSERT of it has it. */
function rowText(table: TableModel): string {
  const values = table.columns.map(({ name, type, nullable }) => {
    const text = valueText(quoteIdentifier(name), type);
    return nullable ? `ifnull(${text}, 'null')` : text;
  });
  return `concat('(', ${values.join(", ',', ")}, ')')`;
}

function valueText(column: string, type: LogicalType): string {
  switch (type.kind) {
    case "text":
    case "json":
      return `quote(${column})`;
    case "bytes":
    case "uuid":
      return `concat('x''', hex(${column}), '''')`;
    case "timestamp":
    case "date":
      return `concat('''', ${column}, '''')`;
    default:
      return column;
  }
}

/**
 * The sums of both halves of each row's MD5, as whole numbers. Text and bytes stand with their length before them, the others end where the comma begins, and null is a
 * letter: no two rows have the same text.
 */
function digest(table: TableModel): string[] {
  const parts = table.columns.map(({ name, type, nullable }) => {
    const column = quoteIdentifier(name);
    const text = digestText(column, type);
    return nullable ? `ifnull(${text}, 'n')` : text;
  });
  const half = (from: number) =>
    `sum(cast(conv(substr(md5(concat(${parts.join(", ',', ")})), ${from}, 16), 16, 10) as unsigned))`;
  return [half(1), half(17)];
}

function digestText(column: string, type: LogicalType): string {
  switch (type.kind) {
    case "text":
    case "json":
      // As bytes: columns of two collations would not go into one text.
      return `concat(length(${column}), ':', cast(${column} as binary))`;
    case "bytes":
    case "uuid":
      return `concat(length(${column}), ':', ${column})`;
    default:
      return column;
  }
}

export const mysqlTransfer: EngineTransfer = Object.freeze({
  comparesRows: false,
  byCodePoint: (column: string) => `${column} collate ${BINARY_COLLATION}`,
  byteLength: (column: string) => `length(${column})`,
  deleteSome: (table: TableModel, where: string, limit: number) =>
    `delete from ${quoteIdentifier(table.name)} where ${where} limit ${limit}`,
  insert,
  copy,
  digest,
});
