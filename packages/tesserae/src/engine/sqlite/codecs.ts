/**
 * Between logical values and what SQLite keeps:
 *
 * | logical | column | raw value |
 * |---|---|---|
 * | int | INT | number |
 * | bigint | INTEGER | bigint |
 * | decimal, precision ≤ 15 | REAL | number: each decimal of at most 15 digits has a binary number of its own, in the same order |
 * | decimal, precision > 15 | TEXT | sortable text (`wide-decimal.ts`) |
 * | double | REAL | number |
 * | boolean | INT | 0 or 1 |
 * | text | TEXT | string; `caseInsensitive` is COLLATE NOCASE, which folds the letters A to Z alone |
 * | json | TEXT | JSON text |
 * | timestamp | TEXT | "YYYY-MM-DDTHH:MM:SS.fffZ", or with six fraction digits |
 * | date | TEXT | "YYYY-MM-DD" |
 * | uuid | BLOB | 16 bytes |
 * | bytes | BLOB | bytes |
 *
 * Comparison, order, keys, min, max and count of a decimal column are exact as they are. What is not, whoever compiles a query must
 * rewrite or refuse (`capabilities.exactDecimals` is false):
 * - `sum(x)` → `tesserae_decimal_sum(x)`, `avg(x)` → `tesserae_decimal_avg(x, scale)`; their value is of the logical type decimal(38, s);
 * - `total`, arithmetic, `round`, `abs`, casts and comparison between a column of at most 15 digits and a wider one: refuse. SQLite would
 *   compute with binary fractions or, of a wide decimal, with text.
 */
import { TesseraeError } from "../../base/errors.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { Codec } from "../contract.ts";
import {
  bytesToUuid,
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
  decodeTimestamp,
  parseJson,
  stringifyJson,
  uuidToBytes,
} from "../value-checks.ts";
import { fromWideDecimal, toWideDecimal } from "./wide-decimal.ts";

/** Digits up to which a decimal is stored as REAL: every decimal of 15 digits survives the way to a binary double and back. */
export const REAL_DECIMAL_DIGITS = 15;

const asIs = (raw: unknown): unknown => raw;

const intCodec: Codec = {
  encode: checkInt,
  decode: (raw) => (typeof raw === "bigint" ? Number(raw) : raw),
};

const bigintCodec: Codec = {
  encode: checkBigint,
  decode: (raw) => (typeof raw === "number" ? BigInt(raw) : raw),
};

const doubleCodec: Codec = {
  encode: checkDouble,
  decode: (raw) => (typeof raw === "bigint" ? Number(raw) : raw),
};

const booleanCodec: Codec = {
  encode: (value) => (checkBoolean(value) ? 1 : 0),
  // biome-ignore lint/suspicious/noDoubleEquals: 0 as a number or as a bigint, whichever the driver gave.
  decode: (raw) => raw != 0,
};

const jsonCodec: Codec = { encode: stringifyJson, decode: (raw) => parseJson(raw as string) };
const dateCodec: Codec = { encode: checkDate, decode: asIs };

const uuidCodec: Codec = {
  encode: (value) => uuidToBytes(checkUuid(value)),
  decode: (raw) => bytesToUuid(raw as Uint8Array),
};

const millisecondsCodec: Codec = {
  encode: (value) => checkTimestamp(value, 3),
  decode: (raw) => new Date(raw as string),
};

const microsecondsCodec: Codec = {
  encode: (value) => checkTimestamp(value, 6),
  decode: (raw) => ((raw as string).length === 27 ? raw : decodeTimestamp(raw as string, 6)),
};

function decimalCodec(precision: number, scale: number): Codec {
  return {
    encode: (value) => {
      const text = checkDecimal(value, precision, scale);
      return precision <= REAL_DECIMAL_DIGITS ? Number(text) : toWideDecimal(text);
    },
    // The result of an aggregate may be in the other form than the column.
    decode: (raw) => {
      if (typeof raw === "number") return withoutMinusZero(raw.toFixed(scale));
      const text =
        typeof raw === "string"
          ? fromWideDecimal(raw, scale)
          : typeof raw === "bigint"
            ? withFraction(raw, scale)
            : undefined;
      if (text === undefined)
        throw new TesseraeError(
          "VALUE_INVALID",
          `The database holds a value that is no decimal with ${scale} fraction digits: ${JSON.stringify(String(raw))}.`,
        );
      return text;
    },
  };
}

const withFraction = (whole: bigint, scale: number): string =>
  scale === 0 ? `${whole}` : `${whole}.${"0".repeat(scale)}`;

/** A number that rounds to nothing, stored by another hand, must not read as "-0.00". */
function withoutMinusZero(text: string): string {
  return text.charCodeAt(0) === 45 && Number(text) === 0 ? text.slice(1) : text;
}

export function sqliteCodec(type: LogicalType): Codec {
  switch (type.kind) {
    case "int":
      return intCodec;
    case "bigint":
      return bigintCodec;
    case "decimal":
      return decimalCodec(type.precision, type.scale);
    case "double":
      return doubleCodec;
    case "boolean":
      return booleanCodec;
    case "text":
      return { encode: (value) => checkText(value, type.length), decode: asIs };
    case "json":
      return jsonCodec;
    case "timestamp":
      return type.precision === 3 ? millisecondsCodec : microsecondsCodec;
    case "date":
      return dateCodec;
    case "uuid":
      return uuidCodec;
    case "bytes":
      return { encode: (value) => checkBytes(value, type.length), decode: asIs };
  }
}

/** Numbers, bigints, text and bytes are natural as they come: the pool reads 64-bit integers as bigint and 32-bit columns as number. */
export const decodeNaturalSqlite = asIs;
