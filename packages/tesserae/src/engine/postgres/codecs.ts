/**
 * Values to and from PostgreSQL. All travel as text, except bytes on their way in. `readerOf` gives the raw values of results by the server's
 * type numbers, for each connection alone: the driver's own table of parsers is global to the process and belongs to the application.
 */
import type { QueryResult } from "pg";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { Codec, EngineResult, RawRow, Statement } from "../contract.ts";
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
  decodeDecimal,
  decodeTimestamp,
  parseJson,
  stringifyJson,
} from "../value-checks.ts";
import { postgresCapabilities } from "./capabilities.ts";

const asIs = (raw: unknown): unknown => raw;

export function postgresCodec(type: LogicalType): Codec {
  switch (type.kind) {
    case "int":
      return { encode: checkInt, decode: Number };
    case "bigint":
      return { encode: checkBigint, decode: readBigint };
    case "decimal":
      return {
        encode: (value) => checkDecimal(value, type.precision, type.scale),
        decode: (raw) => decodeDecimal(raw as string, type.scale),
      };
    case "double":
      return { encode: checkDouble, decode: Number };
    case "boolean":
      return { encode: checkBoolean, decode: asIs };
    case "text":
      return { encode: (value) => checkText(value, type.length), decode: asIs };
    case "json":
      return { encode: stringifyJson, decode: (raw) => parseJson(raw as string) };
    case "timestamp":
      return {
        encode: (value) => checkTimestamp(value, type.precision),
        decode: (raw) => decodeTimestamp(raw as string, type.precision),
      };
    case "date":
      return { encode: checkDate, decode: asIs };
    case "uuid":
      return { encode: checkUuid, decode: asIs };
    case "bytes":
      return { encode: (value) => checkBytes(value, type.length), decode: asIs };
  }
}

/** A sum or count may come as numeric, that is as text. */
const readBigint = (raw: unknown): bigint =>
  typeof raw === "bigint" ? raw : BigInt(raw as string | number | boolean);

/** Turns one field's text into the raw value. */
type FieldReader = (text: string) => unknown;

const readBytes = (text: string): Uint8Array => {
  // Not `Buffer.from(text, "hex")`: its memory is a slice of a pool that other values share.
  const bytes = new Uint8Array((text.length - 2) / 2);
  Buffer.from(bytes.buffer).write(text.slice(2), "hex");
  return bytes;
};

/** Canonical, as `timestamp(6)` has it. Infinity and years before Christ, which no codec writes, stay as the server says them. */
const readTimestamp = (text: string): unknown =>
  /^\d{4}-.*\d$/.test(text) ? decodeTimestamp(text, 6) : text;

/** By the type's object identifier, which is fixed for built-in types (pg_type.dat). Decimals, dates, UUIDs, JSON and all others are their text. */
const READERS: ReadonlyMap<number, FieldReader> = new Map<number, FieldReader>([
  [16, (text) => text === "t"],
  [17, readBytes],
  [20, BigInt],
  [21, Number],
  [23, Number],
  [26, Number],
  [700, Number],
  [701, Number],
  [1184, readTimestamp],
]);

export function readerOf(typeId: number): FieldReader {
  return READERS.get(typeId) ?? asIs;
}

/** A statement's values as `pg` takes them. It counts them in sixteen bits without looking: RangeError for more. */
export function valuesOf({ parameters }: Statement): unknown[] {
  const { parametersMax } = postgresCapabilities;
  if (parameters.length > parametersMax)
    throw new RangeError(
      `A statement has at most ${parametersMax} parameters; this one has ${parameters.length}.`,
    );
  return parameters as unknown[];
}

const COUNTED: ReadonlySet<string> = new Set(["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"]);

/** A read has a count, too, which is not one of affected rows. */
export function engineResult({ rows, command, rowCount }: QueryResult<RawRow>): EngineResult {
  const affectedRows = rowCount !== null && COUNTED.has(command) ? BigInt(rowCount) : undefined;
  return { rows, affectedRows, insertId: undefined };
}
