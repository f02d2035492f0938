/** The statements that read a slice: its condition with its parameters, its largest row, and its rows in pieces of bounded size. */
import type { LogicalType } from "../schema/logical-type.ts";
import type {
  Connection,
  EngineDialect,
  EngineResult,
  RowSlice,
  Statement,
  TransferRow,
} from "./contract.ts";
import { toEngineError } from "./engine-error.ts";
import { SliceText } from "./slice-text.ts";
import { bytesOfRow, TransferCodec, transferCodec } from "./transfer-values.ts";

/** What one piece of rows may take in memory, in bytes. */
const PIECE_BYTES = 1 << 20;
const PIECE_ROWS_MAX = 1_000;
/** What the driver may hold of rows that are all as large as the largest. */
const CHUNK_BYTES_MAX = 8 << 20;

/** The bytes of the slice's largest row, as far as they are not bounded by the table's definition; undefined where they are. */
export async function widestRow(
  dialect: EngineDialect,
  connection: Connection,
  slice: RowSlice,
): Promise<number | undefined> {
  const unbounded = slice.table.columns.filter(({ type }) => boundOf(type) === undefined);
  if (unbounded.length === 0) return undefined;
  const sizes = unbounded.map(
    ({ name }) => `coalesce(${dialect.transfer.byteLength(dialect.quote(name))}, 0)`,
  );
  const { text, parameters } = sliceOf(dialect, slice);
  const sql = `select max(${sizes.join(" + ")}) as n from ${dialect.quote(slice.table.name)} where ${text}`;
  const { rows } = await run(dialect, connection, { sql, parameters, readOnly: true });
  return Number(rows[0]?.["n"] ?? 0);
}

/** The slice's rows in primary-key order, in pieces of bounded size. */
export async function* rowsOf(
  dialect: EngineDialect,
  connection: Connection,
  slice: RowSlice,
  widest: number | undefined,
): AsyncGenerator<TransferRow[], void, undefined> {
  const { table } = slice;
  const { text, parameters, order } = sliceOf(dialect, slice);
  const columns = nameList(
    dialect,
    table.columns.map(({ name }) => name),
  );
  const statement: Statement = {
    sql: dialect.placeholders(`select ${columns} from ${dialect.quote(table.name)} where ${text}${order}`),
    parameters,
    readOnly: true,
  };
  const codec = new TransferCodec(dialect, table.columns);
  const bounded = table.columns.reduce((sum, { type }) => sum + (boundOf(type) ?? 0), 0);
  const chunkRows = Math.floor(CHUNK_BYTES_MAX / (bounded + (widest ?? 0) + 1));
  let piece: TransferRow[] = [];
  let bytes = 0;
  try {
    for await (const rows of connection.stream(statement, Math.min(PIECE_ROWS_MAX, Math.max(1, chunkRows)))) {
      for (const raw of rows) {
        const row = codec.decode(raw);
        piece.push(row);
        bytes += bytesOfRow(row);
        if (bytes < PIECE_BYTES && piece.length < PIECE_ROWS_MAX) continue;
        yield piece;
        piece = [];
        bytes = 0;
      }
    }
    if (piece.length > 0) yield piece;
  } catch (error) {
    throw toEngineError(error, dialect, {});
  }
}

/** How many bytes a value of the type has at most; undefined for no limit. */
function boundOf(type: LogicalType): number | undefined {
  switch (type.kind) {
    case "json":
      return undefined;
    case "text":
      return type.length === undefined ? undefined : 4 * type.length;
    case "bytes":
      return type.length;
    default:
      return 40;
  }
}

export function sliceOf(dialect: EngineDialect, slice: RowSlice) {
  const parameters: unknown[] = [];
  const selection = new SliceText(dialect, slice);
  const text = selection.where((type, value) => {
    parameters.push(transferCodec(dialect, type).encode(value));
    return "?";
  });
  return { text, parameters, order: selection.orderBy, descending: selection.orderByDescending };
}

export const nameList = (dialect: EngineDialect, names: readonly string[]): string =>
  names.map((name) => dialect.quote(name)).join(", ");

/** SQL with `?`, and the error as the library's. */
export async function run(
  dialect: EngineDialect,
  connection: Connection,
  statement: Statement,
): Promise<EngineResult> {
  try {
    return await connection.run({ ...statement, sql: dialect.placeholders(statement.sql) });
  } catch (error) {
    throw toEngineError(error, dialect, {});
  }
}
