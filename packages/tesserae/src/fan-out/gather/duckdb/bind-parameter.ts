/** Binds a parameter: by its logical type where that is known, else by what it is in JavaScript. */
import type { DuckDBPreparedStatement, DuckDBType, DuckDBValue } from "@duckdb/node-api";
import { TesseraeError } from "../../../base/errors.ts";
import type { LogicalType } from "../../../schema/logical-type.ts";
import type { BoundParameter } from "../analytical-engine.ts";
import type { DuckDb } from "./driver.ts";
import { toDuckDb } from "./to-duckdb.ts";

export function bindParameter(
  duckdb: DuckDb,
  statement: DuckDBPreparedStatement,
  place: number,
  { value, type }: BoundParameter,
): void {
  if (value === null || value === undefined) {
    statement.bindNull(place);
    return;
  }
  try {
    const [bound, as] = boundValue(duckdb, value, type ?? naturalType(value));
    statement.bindValue(place, bound, as);
  } catch (error) {
    if (!(error instanceof TesseraeError)) throw error;
    throw new TesseraeError("VALUE_INVALID", `Parameter ${place} of a gathering's SQL: ${error.message}`, {
      operation: "gather",
    });
  }
}

function boundValue(duckdb: DuckDb, value: unknown, type: LogicalType): [DuckDBValue, DuckDBType] {
  const to = toDuckDb(duckdb, type);
  return [to.encode(value), to.type];
}

function naturalType(value: unknown): LogicalType {
  switch (typeof value) {
    case "bigint":
      return { kind: "bigint" };
    case "boolean":
      return { kind: "boolean" };
    case "number":
      return Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? { kind: "int" } : { kind: "double" };
    case "string":
      return { kind: "text", length: undefined, caseInsensitive: false };
    default:
      if (value instanceof Date) return { kind: "timestamp", precision: 3 };
      if (value instanceof Uint8Array) return { kind: "bytes", length: undefined };
      throw new TesseraeError(
        "VALUE_INVALID",
        "is no string, number, bigint, boolean, Date, Uint8Array or null. Name its type: typed(json(), value).",
      );
  }
}
