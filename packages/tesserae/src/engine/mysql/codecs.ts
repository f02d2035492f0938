/**
 * Values to and from MariaDB and MySQL. A timestamp is a DATETIME in UTC (the type TIMESTAMP ends in 2038), a UUID its sixteen bytes (MariaDB's own
 * type sorts them differently), JSON its text.
 */
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
  decodeDecimal,
  decodeTimestamp,
  parseJson,
  stringifyJson,
  uuidToBytes,
} from "../value-checks.ts";
import { DecimalParameter } from "./parameters.ts";

export function mysqlCodec(type: LogicalType): Codec {
  switch (type.kind) {
    case "int":
      return { encode: checkInt, decode: Number };
    case "bigint":
      return { encode: checkBigint, decode: readBigint };
    case "decimal":
      return {
        encode: (value) => new DecimalParameter(checkDecimal(value, type.precision, type.scale)),
        decode: (raw) => decodeDecimal(readText(raw), type.scale),
      };
    case "double":
      return { encode: checkDouble, decode: Number };
    case "boolean":
      return { encode: (value) => (checkBoolean(value) ? 1 : 0), decode: (raw) => Number(raw) !== 0 };
    case "text":
      return { encode: (value) => checkText(value, type.length), decode: readText };
    case "json":
      return { encode: stringifyJson, decode: (raw) => parseJson(readText(raw)) };
    case "timestamp":
      return {
        encode: (value) => datetimeText(checkTimestamp(value, type.precision)),
        decode: type.precision === 6 ? (raw) => decodeTimestamp(raw as string, 6) : readDate,
      };
    case "date":
      return { encode: checkDate, decode: readText };
    case "uuid":
      return {
        encode: (value) => uuidToBytes(checkUuid(value)),
        decode: (raw) => bytesToUuid(raw as Uint8Array),
      };
    case "bytes":
      return { encode: (value) => checkBytes(value, type.length), decode: copyBytes };
  }
}

/** A sum comes as a decimal, that is as text. */
const readBigint = (raw: unknown): bigint =>
  typeof raw === "bigint" ? raw : BigInt(raw as string | number | boolean);

/** The session gives canonical text; an expression may give a day alone. Microseconds beyond the milliseconds are cut. */
const readDate = (raw: unknown): Date =>
  (raw as string).length < 19 ? new Date(raw as string) : (decodeTimestamp(raw as string, 3) as Date);

/** An expression over text may have lost its character set on the way: then it comes as bytes. */
const readText = (raw: unknown): string =>
  raw instanceof Uint8Array
    ? Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString()
    : String(raw);

/** The driver's bytes are a view into what the network brought, which one value would keep in memory as a whole. */
const copyBytes = (raw: unknown): Uint8Array =>
  typeof raw === "string" ? new TextEncoder().encode(raw) : new Uint8Array(raw as Uint8Array);

/** "2026-01-02T03:04:05.678Z" as the engine writes it. */
const datetimeText = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, -1)}`;

export function decodeNaturalMysql(raw: unknown): unknown {
  return raw instanceof Uint8Array ? copyBytes(raw) : raw;
}
