/**
 * The logical types of functions, operators and casts: what they give, whichever engine computes it. Where the engines would give
 * different values, the type is the one to which each can be brought:
 *
 * - `sum` of int or bigint is a bigint, though PostgreSQL and MariaDB count in decimals; beyond 64 bits it is an error, as it is on SQLite.
 * - `avg` of int, bigint or decimal is a decimal with four more fraction digits than its argument: MariaDB's and PostgreSQL's is rounded to that where it is computed
 *   (`average-digits.ts`), and SQLite has an aggregate of the library's. A double would lose the digits of a decimal.
 * - Division of whole numbers has no type: PostgreSQL and SQLite cut the fraction, MariaDB does not.
 */
import type { LogicalType } from "../schema/logical-type.ts";

export const BIGINT: LogicalType = Object.freeze({ kind: "bigint" });
/** A bigint by its kind; apart from others by its identity, since an engine that sums in decimals may give more than 64 bits. */
export const SUM_OF_INTEGERS: LogicalType = Object.freeze({ kind: "bigint" });
export const BOOLEAN: LogicalType = Object.freeze({ kind: "boolean" });
export const DOUBLE: LogicalType = Object.freeze({ kind: "double" });
export const INT: LogicalType = Object.freeze({ kind: "int" });
export const TEXT: LogicalType = Object.freeze({ kind: "text", length: undefined, caseInsensitive: false });

const DECIMAL_DIGITS_MAX = 38;
const DECIMAL_SCALE_MAX = 30;
/** How many fraction digits an average has more than its argument. */
const AVERAGE_DIGITS = 4;

export function wideDecimal(scale: number): LogicalType {
  return { kind: "decimal", precision: DECIMAL_DIGITS_MAX, scale: Math.min(scale, DECIMAL_SCALE_MAX) };
}

/** The type of an average; undefined where it is no number. */
export function averageType(argument: LogicalType | undefined): LogicalType | undefined {
  switch (argument?.kind) {
    case "int":
    case "bigint":
      return wideDecimal(AVERAGE_DIGITS);
    case "decimal":
      return wideDecimal(argument.scale + AVERAGE_DIGITS);
    case "double":
      return DOUBLE;
    default:
      return undefined;
  }
}

function sumType(argument: LogicalType | undefined): LogicalType | undefined {
  switch (argument?.kind) {
    case "int":
    case "bigint":
      return SUM_OF_INTEGERS;
    case "decimal":
      return wideDecimal(argument.scale);
    case "double":
      return DOUBLE;
    default:
      return undefined;
  }
}

const TEXT_FUNCTIONS = new Set([
  "lower",
  "upper",
  "trim",
  "ltrim",
  "rtrim",
  "concat",
  "concat_ws",
  "replace",
  "substr",
  "substring",
  "lpad",
  "rpad",
  "reverse",
  "initcap",
  "group_concat",
  "string_agg",
]);
const LENGTH_FUNCTIONS = new Set([
  "length",
  "char_length",
  "character_length",
  "octet_length",
  "bit_length",
  "instr",
  "strpos",
  "locate",
  "ascii",
]);
const COUNTING_FUNCTIONS = new Set(["count", "row_number", "rank", "dense_rank", "ntile"]);
const SAME_TYPE_FUNCTIONS = new Set([
  "min",
  "max",
  "any_value",
  "nullif",
  "lag",
  "lead",
  "first_value",
  "last_value",
  "nth_value",
  "values",
  "any",
  "all",
  "some",
]);
const UNIFYING_FUNCTIONS = new Set(["coalesce", "ifnull", "nvl", "greatest", "least"]);

/** True for functions whose arguments and value are of one type. */
export function isUnifying(name: string): boolean {
  return UNIFYING_FUNCTIONS.has(name) || name === "nullif";
}

/** True for functions whose arguments are text. */
export function takesText(name: string): boolean {
  return name === "lower" || name === "upper" || name === "concat" || name === "replace" || name === "trim";
}

/** The type of a function's or an aggregate's value, by its name in lower case and its arguments' types. */
export function functionType(
  name: string,
  args: readonly (LogicalType | undefined)[],
): LogicalType | undefined {
  const [first] = args;
  if (TEXT_FUNCTIONS.has(name)) return first?.kind === "bytes" ? undefined : TEXT;
  if (LENGTH_FUNCTIONS.has(name)) return INT;
  if (COUNTING_FUNCTIONS.has(name)) return BIGINT;
  if (SAME_TYPE_FUNCTIONS.has(name)) return first;
  if (UNIFYING_FUNCTIONS.has(name)) return unify(args);
  switch (name) {
    case "sum":
    case "tesserae_decimal_sum":
      return sumType(first);
    case "avg":
    case "tesserae_decimal_avg":
      return averageType(first);
    case "abs":
      return first;
    case "bool_and":
    case "bool_or":
    case "every":
      return BOOLEAN;
    case "percent_rank":
    case "cume_dist":
      return DOUBLE;
    default:
      return undefined;
  }
}

/** The one type that holds all; undefined where there is none. Unknown ones (parameters, null) take the others' type. */
export function unify(types: readonly (LogicalType | undefined)[]): LogicalType | undefined {
  let result: LogicalType | undefined;
  for (const type of types) {
    if (type === undefined) continue;
    const next = result === undefined ? type : unifyPair(result, type);
    if (next === undefined) return undefined;
    result = next;
  }
  return result;
}

const NUMBER_ORDER = ["int", "bigint", "decimal", "double"];

function unifyPair(a: LogicalType, b: LogicalType): LogicalType | undefined {
  if (a.kind === "decimal" && b.kind === "decimal") {
    const scale = Math.max(a.scale, b.scale);
    const whole = Math.max(a.precision - a.scale, b.precision - b.scale);
    return { kind: "decimal", precision: Math.min(whole + scale, DECIMAL_DIGITS_MAX), scale };
  }
  if (a.kind === "text" && b.kind === "text") return a.length === b.length ? a : TEXT;
  if (a.kind === "timestamp" && b.kind === "timestamp") return a.precision === 6 ? a : b;
  if (a.kind === b.kind) return a;
  const ranks = [NUMBER_ORDER.indexOf(a.kind), NUMBER_ORDER.indexOf(b.kind)];
  if (ranks.includes(-1)) return undefined;
  return (ranks[0] as number) > (ranks[1] as number) ? a : b;
}

const COMPARISONS = new Set([
  "=",
  "==",
  "!=",
  "<>",
  ">",
  ">=",
  "<",
  "<=",
  "in",
  "not in",
  "is",
  "is not",
  "like",
  "not like",
  "ilike",
  "not ilike",
  "match",
  "regexp",
  "between",
  "between symmetric",
  "is distinct from",
  "is not distinct from",
  "<=>",
  "~",
  "~*",
  "!~",
  "!~*",
  "@>",
  "<@",
  "&&",
  "?",
  "?&",
  "?|",
  "@@",
  "^@",
  "exists",
  "not exists",
]);
const ARITHMETIC = new Set(["+", "-", "*", "/", "%"]);
const PATTERN_OPERATORS = new Set([
  "like",
  "not like",
  "ilike",
  "not ilike",
  "match",
  "regexp",
  "~",
  "~*",
  "!~",
  "!~*",
]);

export const isComparison = (operator: string): boolean => COMPARISONS.has(operator);
export const isArithmetic = (operator: string): boolean => ARITHMETIC.has(operator);
export const isPattern = (operator: string): boolean => PATTERN_OPERATORS.has(operator);

export function arithmeticType(
  operator: string,
  left: LogicalType | undefined,
  right: LogicalType | undefined,
): LogicalType | undefined {
  if (left === undefined || right === undefined) return undefined;
  const common = unify([left, right]);
  if (common === undefined || !NUMBER_ORDER.includes(common.kind)) return undefined;
  if (common.kind === "double") return DOUBLE;
  if (operator === "/") return undefined;
  if (common.kind !== "decimal") return common;
  const scale = (type: LogicalType) => (type.kind === "decimal" ? type.scale : 0);
  const digits = operator === "*" ? scale(left) + scale(right) : Math.max(scale(left), scale(right));
  return digits > DECIMAL_SCALE_MAX ? undefined : wideDecimal(digits);
}

const DATA_TYPES: Readonly<Record<string, LogicalType>> = {
  smallint: INT,
  int2: INT,
  integer: INT,
  int: INT,
  int4: INT,
  bigint: BIGINT,
  int8: BIGINT,
  signed: BIGINT,
  "signed integer": BIGINT,
  boolean: BOOLEAN,
  real: DOUBLE,
  "double precision": DOUBLE,
  double: DOUBLE,
  float8: DOUBLE,
  text: TEXT,
  varchar: TEXT,
  char: TEXT,
};

/** The logical type of `cast(… as name)`. Dates, UUIDs and JSON have none: their casts mean other things from engine to engine. */
export function castType(name: string): LogicalType | undefined {
  const plain = name.trim().toLowerCase();
  const sized = /^(decimal|numeric|varchar|char)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)$/.exec(plain);
  if (sized === null) return DATA_TYPES[plain];
  const [, kind, precision, scale] = sized;
  if (kind === "varchar" || kind === "char") return TEXT;
  return { kind: "decimal", precision: Number(precision), scale: Number(scale ?? 0) };
}

/** The type of a value compared with one of `type`: the same form, without the column's limits, which a comparison may exceed. */
export function comparable(type: LogicalType | undefined): LogicalType | undefined {
  switch (type?.kind) {
    case "text":
      return type.length === undefined ? type : { ...type, length: undefined };
    case "bytes":
      return { kind: "bytes", length: undefined };
    case "decimal": {
      // Up to fifteen digits SQLite keeps a decimal as a number, beyond as text: the parameter must have its column's form.
      const precision = type.precision <= 15 ? 15 : DECIMAL_DIGITS_MAX;
      return precision === type.precision ? type : { ...type, precision };
    }
    default:
      return type;
  }
}
