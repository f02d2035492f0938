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
/** A larger row is read and written as it is; its text may be twice as long, or three times with three bytes a letter. */
const ROW_TEXT_BYTES_MAX = 1 << 20;
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
      texts.push(r as string);
      bytes += (r as string).length + 1;
      if (bytes >= STATEMENT_BYTES) await flush();
    }
  }
  if (texts.length > 0) await flush();
  await writing;
  return copied;
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

/** Each value as its bytes with their number before it, null as a letter: no two rows have the same text. */
function digest(table: TableModel): string[] {
  const parts = table.columns.map(({ name, type }) => {
    const value = asBytes(quoteIdentifier(name), type);
    return `ifnull(concat(length(${value}), ':', ${value}), 'n')`;
  });
  const half = (from: number) =>
    `sum(cast(conv(substr(md5(concat(${parts.join(", ")})), ${from}, 16), 16, 10) as unsigned))`;
  return [half(1), half(17)];
}

function asBytes(column: string, type: LogicalType): string {
  return type.kind === "bytes" || type.kind === "uuid" ? column : `cast(${column} as binary)`;
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
