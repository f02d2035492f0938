/**
 * DuckDB's values as logical ones, by the type that DuckDB gives the result's column. A type without a logical counterpart is refused: the SQL can cast it to one.
 */
import type {
  DuckDBArrayType,
  DuckDBArrayValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListType,
  DuckDBListValue,
  DuckDBStructType,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBType,
  DuckDBValue,
} from "@duckdb/node-api";
import { TesseraeError } from "../../../base/errors.ts";
import { parseJson } from "../../../engine/value-checks.ts";
import type { DuckDb } from "./driver.ts";

/** Takes no null. */
export type Reader = (value: DuckDBValue) => unknown;

const asIs: Reader = (value) => value;
const toBigint: Reader = (value) => BigInt(value as bigint | number);

export function readerOf(duckdb: DuckDb, type: DuckDBType, column: string): Reader {
  const { DuckDBTypeId: id } = duckdb;
  switch (type.typeId) {
    case id.BOOLEAN:
    case id.TINYINT:
    case id.SMALLINT:
    case id.INTEGER:
    case id.UTINYINT:
    case id.USMALLINT:
    case id.FLOAT:
    case id.DOUBLE:
    case id.ENUM:
    case id.SQLNULL:
      return asIs;
    case id.UINTEGER:
    case id.BIGINT:
    case id.UBIGINT:
    case id.HUGEINT:
    case id.UHUGEINT:
      return toBigint;
    case id.DECIMAL:
      return (value) => decimalText(value as DuckDBDecimalValue);
    case id.VARCHAR:
      return type.alias === "JSON" ? (value) => parseJson(value as string) : asIs;
    case id.UUID:
      return String;
    case id.BLOB:
      // A copy: DuckDB's memory is its own.
      return (value) => new Uint8Array((value as DuckDBBlobValue).bytes);
    case id.DATE:
      return (value) => readDate((value as DuckDBDateValue).days, column);
    case id.TIMESTAMP_S:
      return (value) => readDateTime((value as DuckDBTimestampSecondsValue).seconds * 1000n, column);
    case id.TIMESTAMP_MS:
      return (value) => readDateTime((value as DuckDBTimestampMillisecondsValue).millis, column);
    case id.TIMESTAMP:
    case id.TIMESTAMP_TZ:
      return (value) =>
        readMicroseconds((value as DuckDBTimestampValue | DuckDBTimestampTZValue).micros, column);
    case id.LIST:
    case id.ARRAY:
      return listReader(duckdb, (type as DuckDBListType | DuckDBArrayType).valueType, column);
    case id.STRUCT:
      return structReader(duckdb, type as DuckDBStructType, column);
    default:
      throw new TesseraeError(
        "GATHER_SQL",
        `The result's column "${column}" is of DuckDB's type ${type}, which no value of this library is. Cast it to text, a number, a timestamp or a list of these.`,
        { operation: "gather", column },
      );
  }
}

function listReader(duckdb: DuckDb, itemType: DuckDBType, column: string): Reader {
  const read = readerOf(duckdb, itemType, column);
  return (value) =>
    (value as DuckDBListValue | DuckDBArrayValue).items.map((item) => (item === null ? null : read(item)));
}

function structReader(duckdb: DuckDb, type: DuckDBStructType, column: string): Reader {
  const readers = type.entryNames.map(
    (name, index) => [name, readerOf(duckdb, type.entryTypes[index] as DuckDBType, column)] as const,
  );
  return (value) => {
    const { entries } = value as DuckDBStructValue;
    return Object.fromEntries(
      readers.map(([name, read]) => [name, entries[name] == null ? null : read(entries[name])]),
    );
  };
}

function decimalText({ value, scale }: DuckDBDecimalValue): string {
  if (scale === 0) return value.toString();
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const DAY_MS = 86_400_000;
const TIME_MIN = BigInt(Date.parse("0001-01-01T00:00:00.000Z"));
const TIME_MAX = BigInt(Date.parse("9999-12-31T23:59:59.999Z"));

function readDate(days: number, column: string): string {
  return readDateTime(BigInt(days) * BigInt(DAY_MS), column)
    .toISOString()
    .slice(0, 10);
}

function readDateTime(milliseconds: bigint, column: string): Date {
  if (milliseconds < TIME_MIN || milliseconds > TIME_MAX)
    throw new TesseraeError(
      "VALUE_INVALID",
      `The result's column "${column}" holds a moment outside of the years 0001 to 9999.`,
      { operation: "gather", column },
    );
  return new Date(Number(milliseconds));
}

function readMicroseconds(micros: bigint, column: string): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n;
  const iso = readDateTime((micros - rest) / 1000n, column).toISOString();
  return `${iso.slice(0, 23)}${rest.toString().padStart(3, "0")}Z`;
}
