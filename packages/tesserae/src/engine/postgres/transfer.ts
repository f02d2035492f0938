/**
 * Rows on their way to and from PostgreSQL.
 *
 * Between two servers one COPY runs into another, unread, in the binary format. A million rows of about a hundred bytes (six columns, one index beside the
 * primary key, the target's guard in place, slices of 50 000 rows; both servers and this process on two cores): 3.8 s, and 2.5 s in a transaction that leaves references
 * unchecked, since that fires no triggers; psql into psql takes 4.2 s. This process takes 0.5 s of it. The text format takes up to half a second longer.
 *
 * The source needs statistics: on a table that was filled a moment ago and never analysed, the server sorts the whole tenant to find where a slice of
 * it ends (0.12 s instead of 0.01 s a slice).
 *
 * Digest: the sums, as whole numbers, of both halves of the MD5 of each row's text. Two rows have the same MD5 by chance once in 2^128, and two different slices the same pair
 * of sums about as rarely. It is no protection against somebody who makes rows to that end. 0.28 million rows a second. `hashtextextended` was not taken: its
 * values may differ from one version of the server to the next, and between two versions rows move, too.
 */
import type { LogicalType } from "../../schema/logical-type.ts";
import type { TableModel } from "../../schema/model.ts";
import type { Connection, EngineTransfer, RowSelection, TransferRow } from "../contract.ts";
import { piecesOf, TransferCodec, transferCodec } from "../transfer-values.ts";
import { postgresCodec } from "./codecs.ts";
import { PostgresConnection } from "./connection.ts";
import { CopyIn, pipeCopy } from "./copy.ts";
import { quoteIdentifier, quoteText } from "./ddl.ts";

/** Fewer rows go in one INSERT, which takes one trip to the server; COPY takes two. */
const COPY_ROWS_MIN = 8;
const COPY_BYTES = 1 << 18;
const FORMAT = "binary";

const nameList = (table: TableModel): string =>
  table.columns.map(({ name }) => quoteIdentifier(name)).join(", ");

async function insert(
  connection: Connection,
  table: TableModel,
  rows: readonly TransferRow[],
): Promise<void> {
  const codec = new TransferCodec({ codec: postgresCodec }, table.columns);
  if (rows.length >= COPY_ROWS_MIN && connection instanceof PostgresConnection) {
    await connection.lend(async (client) => {
      const into = new CopyIn(`copy ${quoteIdentifier(table.name)} (${nameList(table)}) from stdin`);
      client.query(into);
      await into.ready;
      try {
        for (const piece of piecesOf(rows, COPY_BYTES, rows.length))
          await into.write(Buffer.from(piece.map((row) => copyLine(codec.encode(row))).join("")));
      } catch (error) {
        // A value that is of no use here; the server must not wait for the rest.
        into.fail("The rows could not be written.");
        await into.done.catch(() => undefined);
        throw error;
      }
      into.end();
      await into.done;
    });
    return;
  }
  for (const piece of piecesOf(rows, COPY_BYTES, COPY_ROWS_MIN)) {
    let count = 0;
    const values = piece.map(() => `(${table.columns.map(() => `$${++count}`).join(", ")})`).join(", ");
    await connection.run({
      sql: `insert into ${quoteIdentifier(table.name)} (${nameList(table)}) values ${values}`,
      parameters: piece.flatMap((row) => codec.encode(row)),
    });
  }
}

/** A row in COPY's text format. */
const copyLine = (row: readonly unknown[]): string => `${row.map(copyText).join("\t")}\n`;

function copyText(raw: unknown): string {
  if (raw === null) return "\\N";
  if (typeof raw === "string") return SPECIAL.test(raw) ? raw.replace(SPECIALS, escapeCharacter) : raw;
  if (raw instanceof Uint8Array)
    return `\\\\x${Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("hex")}`;
  return String(raw);
}

const SPECIAL = /[\\\t\n\r]/;
const SPECIALS = /[\\\t\n\r]/g;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const escapeCharacter = (character: string): string => ESCAPES[character] as string;

async function copy(
  source: Connection,
  target: Connection,
  selection: RowSelection,
): Promise<number | undefined> {
  if (!(source instanceof PostgresConnection && target instanceof PostgresConnection)) return undefined;
  const { table } = selection;
  const name = quoteIdentifier(table.name);
  const out = `copy (select ${nameList(table)} from ${name} where ${selection.where(literal)}) to stdout (format ${FORMAT})`;
  const into = `copy ${name} (${nameList(table)}) from stdin (format ${FORMAT})`;
  return source.lend((from) =>
    target.lend((to) => pipeCopy({ client: from, sql: out }, { client: to, sql: into })),
  );
}

/** COPY takes no parameters. Without a type of its own the text is read as of the column's. */
function literal(type: LogicalType, value: unknown): string {
  const raw = transferCodec({ codec: postgresCodec }, type).encode(value);
  return raw instanceof Uint8Array
    ? `'\\x${Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("hex")}'`
    : quoteText(String(raw));
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
