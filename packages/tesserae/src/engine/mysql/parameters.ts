/**
 * How parameters travel: an exact number by its own type, wherever it stands. mysql2 would send a bigint or a decimal as text and any number as a
 * double, and an expression would count with both in floating point (`balance + '1'` is wrong beyond 2^53).
 */
import type { ExecuteValues, QueryValues } from "mysql2";
import type { Driver } from "./driver.ts";

/** A decimal on its way to the server: text that is a number wherever it stands. */
export class DecimalParameter {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }

  /** In a statement that is not prepared the driver writes it as it is, without quotes. */
  toSqlString(): string {
    return this.text;
  }
}

/** For a prepared statement. */
export function binaryParameters(
  parameters: readonly unknown[],
  types: Driver["TypedParameter"],
): ExecuteValues[] {
  return parameters.map((value) => {
    if (typeof value === "bigint") return types.LONGLONG(value);
    if (typeof value === "number" && Number.isSafeInteger(value))
      return value === (value | 0) ? types.LONG(value) : types.LONGLONG(value);
    if (value instanceof DecimalParameter) return types.NEWDECIMAL(value.text);
    return (value instanceof Uint8Array ? asBuffer(value) : value) as ExecuteValues;
  });
}

/** For a statement that the driver writes out with its values. */
export function textParameters(parameters: readonly unknown[]): QueryValues {
  return parameters.map((value) => (value instanceof Uint8Array ? asBuffer(value) : value)) as QueryValues;
}

const asBuffer = (value: Uint8Array): Buffer =>
  Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
