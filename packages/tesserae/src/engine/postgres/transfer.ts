import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { piecesOf, TransferCodec } from "../transfer-values.ts";
import { postgresCapabilities } from "./capabilities.ts";
import { postgresCodec } from "./codecs.ts";
import { quoteIdentifier } from "./ddl.ts";

const INSERT_BYTES = 1 << 20;

async function insert(
  connection: Connection,
  table: TableModel,
  rows: readonly TransferRow[],
): Promise<void> {
  const codec = new TransferCodec({ codec: postgresCodec }, table.columns);
  const width = table.columns.length;
  const names = table.columns.map(({ name }) => quoteIdentifier(name)).join(", ");
  for (const piece of piecesOf(rows, INSERT_BYTES, Math.floor(postgresCapabilities.parametersMax / width))) {
    let count = 0;
    const values = piece.map(() => `(${table.columns.map(() => `$${++count}`).join(", ")})`).join(", ");
    await connection.run({
      sql: `insert into ${quoteIdentifier(table.name)} (${names}) values ${values}`,
      parameters: piece.flatMap((row) => codec.encode(row)),
      prepare: false,
    });
  }
}

async function copy(
  _source: Connection,
  _target: Connection,
  _selection: RowSelection,
): Promise<number | undefined> {
  return undefined;
}

/** By the rows' places in the table, which nobody changes while the statement runs. */
function deleteSome(table: TableModel, where: string, limit: number): string {
  const name = quoteIdentifier(table.name);
  return `delete from ${name} where ctid = any(array(select ctid from ${name} where ${where} limit ${limit}))`;
}

/** The text of a whole row tells null from empty and one column from the next; the sessions' settings make it exact. */
function digest(table: TableModel): string[] {
  const row = `row(${table.columns.map(({ name }) => quoteIdentifier(name)).join(", ")})::text`;
  const half = (from: number) => `sum(('x' || substr(md5(${row}), ${from}, 16))::bit(64)::bigint::numeric)`;
  return [half(1), half(17)];
}

export const postgresTransfer: EngineTransfer = Object.freeze({
  comparesRows: true,
  byCodePoint: (column: string) => `${column} collate "C"`,
  byteLength: (column: string) => `octet_length(${column}::text)`,
  deleteSome,
  insert,
  copy,
  digest,
});
