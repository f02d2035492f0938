/** Values that are given with a query, as ones that come from the database. */
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
} from "../../engine/value-checks.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { ValueExpression } from "../fan-out-plan.ts";
import { unsupported } from "./refusal.ts";

const DECIMAL_DIGITS = 38;

/** A value in the form in which one of its type comes from the database; VALUE_INVALID where it is none. */
export function constantOf(value: unknown, type: LogicalType | undefined): ValueExpression {
  return { kind: "constant", value: value === null ? null : logicalValue(value, type), type };
}

function logicalValue(value: unknown, type: LogicalType | undefined): unknown {
  switch (type?.kind) {
    case "int":
      return checkInt(value);
    case "bigint":
      return checkBigint(typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value);
    case "decimal":
      return checkDecimal(
        typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))
          ? `${value}`
          : value,
        Math.max(DECIMAL_DIGITS, type.precision),
        type.scale,
      );
    case "double":
      return checkDouble(value);
    case "boolean":
      return checkBoolean(value);
    case "text":
      return checkText(value);
    case "timestamp": {
      const text = checkTimestamp(value, type.precision);
      return type.precision === 3 ? new Date(text) : text;
    }
    case "date":
      return checkDate(value);
    case "uuid":
      return checkUuid(value);
    case "bytes":
      return checkBytes(value);
    default:
      throw unsupported(
        "A value stands over aggregates whose type the query does not tell.",
        'Name it, typed(int(), 1), or write the aggregate instead of its name in the result: .having((eb) => eb.fn.countAll(), ">", 1).',
      );
  }
}
