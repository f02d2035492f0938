/** Values on their way between two databases: logical values, but JSON as its text, which is not parsed on the way. */
import type { LogicalType } from "../schema/logical-type.ts";
import type { TableModel } from "../schema/model.ts";
import type { Codec, EngineDialect, TransferRow } from "./contract.ts";
import { parseJson } from "./value-checks.ts";

const jsonText: Codec = {
  encode: (value) => value,
  decode: (raw) => (raw instanceof Uint8Array ? Buffer.from(raw).toString() : raw),
};

export function transferCodec(dialect: Pick<EngineDialect, "codec">, type: LogicalType): Codec {
  return type.kind === "json" ? jsonText : dialect.codec(type);
}

/** The codecs of a table's columns, which leave null alone. */
export class TransferCodec {
  readonly #codecs: readonly Codec[];
  readonly #names: readonly string[];

  constructor(
    dialect: Pick<EngineDialect, "codec">,
    columns: readonly { name: string; type: LogicalType }[],
  ) {
    this.#codecs = columns.map(({ type }) => transferCodec(dialect, type));
    this.#names = columns.map(({ name }) => name);
  }

  decode(raw: Readonly<Record<string, unknown>>): unknown[] {
    return this.#names.map((name, index) => {
      const value = raw[name];
      return value === null || value === undefined ? null : (this.#codecs[index] as Codec).decode(value);
    });
  }

  encode(row: TransferRow): unknown[] {
    return row.map((value, index) => (value === null ? null : (this.#codecs[index] as Codec).encode(value)));
  }
}

/** About the memory that a row takes, in bytes. */
export function bytesOfRow(row: TransferRow): number {
  let bytes = 16 * row.length;
  for (const value of row)
    if (typeof value === "string" || value instanceof Uint8Array) bytes += value.length;
  return bytes;
}

/** Rows in pieces of at most `bytesMax` bytes and `rowsMax` rows, and at least one row. */
export function* piecesOf(
  rows: readonly TransferRow[],
  bytesMax: number,
  rowsMax: number,
): Generator<readonly TransferRow[], void, undefined> {
  let start = 0;
  let bytes = 0;
  for (let end = 0; end < rows.length; end++) {
    const size = bytesOfRow(rows[end] as TransferRow);
    if (end > start && (bytes + size > bytesMax || end - start >= rowsMax)) {
      yield rows.slice(start, end);
      start = end;
      bytes = 0;
    }
    bytes += size;
  }
  if (start < rows.length) yield rows.slice(start);
}

/** A row as text that no other row has, the same whichever engine the values came from: each value with its length before it, null without. */
export function canonicalRow(row: TransferRow): string {
  let text = "";
  for (const value of row) {
    if (value === null) {
      text += "~";
    } else {
      const part = canonicalValue(value);
      text += `${part.length}:${part}`;
    }
  }
  return text;
}

function canonicalValue(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex");
  return String(value);
}

/** A primary key as JSON text in the form of the guards' logs, one text for one key. */
export function primaryKeyText(primaryKey: readonly unknown[]): string {
  const parts = primaryKey.map((value) =>
    typeof value === "bigint" || typeof value === "number" || typeof value === "boolean"
      ? String(value)
      : JSON.stringify(canonicalValue(value)),
  );
  return `[${parts.join(",")}]`;
}

/** The logical values of a primary key as a guard has logged it, or `primaryKeyText` has written it. */
export function parsePrimaryKey(table: TableModel, text: string): readonly unknown[] {
  const values = parseJson(text) as readonly unknown[];
  return table.primaryKey.map((name, index) => {
    const type = table.column.get(name)?.type as LogicalType;
    return logicalValue(values[index], type);
  });
}

function logicalValue(value: unknown, type: LogicalType): unknown {
  switch (type.kind) {
    case "bigint":
      return BigInt(value as number | bigint);
    case "int":
    case "double":
      return Number(value);
    case "boolean":
      // MariaDB's booleans are the numbers 0 and 1.
      return Boolean(value);
    case "timestamp":
      return type.precision === 3 ? new Date(value as string) : value;
    case "bytes":
      return new Uint8Array(Buffer.from(value as string, "hex"));
    default:
      return value;
  }
}
