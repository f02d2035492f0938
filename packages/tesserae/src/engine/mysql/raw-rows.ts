/** The driver's rows as the engine's raw rows. */
import type { FieldPacket } from "mysql2";
import type { RawRow } from "../contract.ts";
import { decodeTimestamp } from "../value-checks.ts";

/** The protocol's column types (https://mariadb.com/docs/server/reference/clientserver-protocol, "Field types"). */
const TIMESTAMP = 7;
const LONGLONG = 8;
const DATETIME = 12;

/**
 * Makes, in place, 64-bit integers bigint (the driver gives a number while it is exact, else text) and moments canonical UTC text. The rest is
 * right as the driver's options have it: decimals, days and JSON as text.
 */
export function convertRows(rows: readonly RawRow[], fields: readonly FieldPacket[]): void {
  for (const field of fields) {
    const { columnType } = field;
    if (columnType === LONGLONG) {
      const { name } = field;
      for (const row of rows) {
        const value = row[name];
        if (value !== null) row[name] = BigInt(value as number | string);
      }
    } else if (columnType === DATETIME || columnType === TIMESTAMP) {
      const { name } = field;
      for (const row of rows) {
        const value = row[name];
        if (value !== null) row[name] = decodeTimestamp(value as string, 6);
      }
    }
  }
}
