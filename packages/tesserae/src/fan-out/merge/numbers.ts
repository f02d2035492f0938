/** Values of the whole and decimal types, brought to another of them; and moments to the other precision. */
import { TesseraeError } from "../../base/errors.ts";
import { describeType, type LogicalType } from "../../schema/logical-type.ts";
import { type Decimal, decimalText, toDecimal } from "./decimals.ts";

/** An exact number of any type: `number`, `bigint` or a decimal's text. */
export function readDecimal(value: unknown): Decimal {
  if (typeof value === "string") return toDecimal(value);
  return { units: BigInt(value as number | bigint), scale: 0 };
}

/** The value of an exact type. VALUE_INVALID where the engines would say that it is out of range. */
export function writeDecimal(value: Decimal, type: LogicalType): unknown {
  switch (type.kind) {
    case "decimal":
      return decimalText(value, type.scale);
    case "bigint":
      return bounded(wholeUnits(value), type);
    case "int": {
      const number = Number(wholeUnits(value));
      if (Number.isSafeInteger(number)) return number;
      throw outOfRange(type);
    }
    default:
      throw new TypeError(`${describeType(type)} is no exact number.`);
  }
}

function bounded(value: bigint, type: LogicalType): bigint {
  if (BigInt.asIntN(64, value) === value) return value;
  throw outOfRange(type);
}

function wholeUnits({ units, scale }: Decimal): bigint {
  return scale === 0 ? units : BigInt(decimalText({ units, scale }, 0));
}

function outOfRange(type: LogicalType): TesseraeError {
  return new TesseraeError(
    "VALUE_INVALID",
    `A number computed from the shards' rows is out of the range of ${describeType(type)}. Compute with a decimal(38, 0) column instead.`,
  );
}

/** A value as one of `type`, where it is of a type that compares with it or unifies to it. Null stays null. */
export function asType(value: unknown, type: LogicalType): unknown {
  if (value === null) return null;
  switch (type.kind) {
    case "int":
      return typeof value === "number" ? value : writeDecimal(readDecimal(value), type);
    case "bigint":
      return typeof value === "bigint" ? value : writeDecimal(readDecimal(value), type);
    case "decimal":
      return decimalText(readDecimal(value), type.scale);
    case "double":
      return Number(value);
    case "timestamp":
      return asMoment(value, type.precision);
    default:
      return value;
  }
}

function asMoment(value: unknown, precision: 3 | 6): unknown {
  if (precision === 3) return value instanceof Date ? value : new Date(value as string);
  if (value instanceof Date) return `${value.toISOString().slice(0, 23)}000Z`;
  const text = value as string;
  return text.length === 27 ? text : `${text.slice(0, 19)}.${text.slice(20, -1).padEnd(6, "0")}Z`;
}

/** For comparisons only: what `asType` would give, but a decimal keeps all its digits. */
export function asComparable(value: unknown, type: LogicalType): unknown {
  if (type.kind === "decimal") return typeof value === "string" ? value : String(value);
  if (type.kind === "int" || type.kind === "bigint") return value;
  return asType(value, type);
}
