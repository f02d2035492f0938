import type { LogicalType } from "../../schema/logical-type.ts";
import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { bytesOfRow, piecesOf, TransferCodec } from "../transfer-values.ts";
import { mysqlCodec } from "./codecs.ts";
import { BINARY_COLLATION, quoteIdentifier, quoteText } from "./ddl.ts";

/** What one statement has at most, in bytes of its values; written as text they may double. */
const INSERT_BYTES = 1 << 19;
const ROWS_PER_INSERT = 5_000;

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

async function copy(
  _source: Connection,
  _target: Connection,
  _selection: RowSelection,
): Promise<number | undefined> {
  return undefined;
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
