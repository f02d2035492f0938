/**
 * Logical values into DuckDB:
 *
 * | logical | DuckDB |
 * |---|---|
 * | int, bigint | INTEGER, BIGINT |
 * | decimal(p, s) | DECIMAL(p, s) |
 * | double, boolean | DOUBLE, BOOLEAN |
 * | text | VARCHAR, compared by bytes, that is by code point; `caseInsensitive` is COLLATE NOCASE |
 * | json | JSON |
 * | timestamp, timestamp(6) | TIMESTAMP_MS, TIMESTAMP: two types, so that each comes back as what it was |
 * | date, uuid, bytes | DATE, UUID (ordered by bytes), BLOB |
 */
import type { DuckDBType, DuckDBValue } from "@duckdb/node-api";
import {
  checkBigint,
  checkBoolean,
  checkBytes,
  checkDate,
  checkDecimal,
  checkDouble,
  checkInt,
  checkText,
  checkTimestamp,
  checkUuid,
  stringifyJson,
} from "../../../engine/value-checks.ts";
import type { LogicalType } from "../../../schema/logical-type.ts";
import type { DuckDb } from "./driver.ts";

const DAY_MS = 86_400_000;
const TIME_MIN = Date.parse("0001-01-01T00:00:00.000Z");
const TIME_MAX = Date.parse("9999-12-31T23:59:59.999Z");

export interface ToDuckDb {
  /** As a column of `create table`. */
  readonly declaration: string;
  readonly type: DuckDBType;
  /** VALUE_INVALID for what is no value of the type. */
  encode(value: unknown): DuckDBValue;
}

export function toDuckDb(duckdb: DuckDb, type: LogicalType): ToDuckDb {
  switch (type.kind) {
    case "int":
      return { declaration: "INTEGER", type: duckdb.INTEGER, encode: checkInt };
    case "bigint":
      return { declaration: "BIGINT", type: duckdb.BIGINT, encode: checkBigint };
    case "decimal":
      return decimalTo(duckdb, type.precision, type.scale);
    case "double":
      return { declaration: "DOUBLE", type: duckdb.DOUBLE, encode: checkDouble };
    case "boolean":
      return { declaration: "BOOLEAN", type: duckdb.BOOLEAN, encode: checkBoolean };
    case "text":
      return {
        declaration: type.caseInsensitive ? "VARCHAR COLLATE NOCASE" : "VARCHAR",
        type: duckdb.VARCHAR,
        encode: (value) => checkText(value),
      };
    case "json":
      return { declaration: "JSON", type: duckdb.VARCHAR, encode: stringifyJson };
    case "timestamp":
      return type.precision === 3 ? millisecondsTo(duckdb) : microsecondsTo(duckdb);
    case "date":
      return {
        declaration: "DATE",
        type: duckdb.DATE,
        encode: (value) => new duckdb.DuckDBDateValue(Date.parse(`${checkDate(value)}T00:00:00Z`) / DAY_MS),
      };
    case "uuid":
      return {
        declaration: "UUID",
        type: duckdb.UUID,
        encode: (value) =>
          duckdb.DuckDBUUIDValue.fromUint128(BigInt(`0x${checkUuid(value).replaceAll("-", "")}`)),
      };
    case "bytes":
      return {
        declaration: "BLOB",
        type: duckdb.BLOB,
        encode: (value) => new duckdb.DuckDBBlobValue(checkBytes(value)),
      };
  }
}

function decimalTo(duckdb: DuckDb, precision: number, scale: number): ToDuckDb {
  return {
    declaration: `DECIMAL(${precision}, ${scale})`,
    type: duckdb.DECIMAL(precision, scale),
    encode: (value) => {
      const digits = checkDecimal(value, precision, scale).replace(".", "");
      return new duckdb.DuckDBDecimalValue(BigInt(digits), precision, scale);
    },
  };
}

function millisecondsTo(duckdb: DuckDb): ToDuckDb {
  return {
    declaration: "TIMESTAMP_MS",
    type: duckdb.TIMESTAMP_MS,
    encode: (value) => {
      const time = value instanceof Date ? value.getTime() : Number.NaN;
      // To check it is to write it out, which takes longer than all else here.
      if (!(time >= TIME_MIN && time <= TIME_MAX)) checkTimestamp(value, 3);
      return new duckdb.DuckDBTimestampMillisecondsValue(BigInt(time));
    },
  };
}

function microsecondsTo(duckdb: DuckDb): ToDuckDb {
  return {
    declaration: "TIMESTAMP",
    type: duckdb.TIMESTAMP,
    encode: (value) => {
      const text = checkTimestamp(value, 6);
      const milliseconds = BigInt(Date.parse(`${text.slice(0, 23)}Z`));
      return new duckdb.DuckDBTimestampValue(milliseconds * 1000n + BigInt(text.slice(23, 26)));
    },
  };
}
