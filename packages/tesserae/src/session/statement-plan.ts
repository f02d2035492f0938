/**
 * What it takes to run one compiled statement on one engine: how each parameter is encoded and each result column decoded. Deriving
 * that from the query's tree costs more than the query's own building, so it is done once for each SQL text and kept, bounded.
 */
import type { CompiledQuery, RootOperationNode } from "kysely";
import { isTesseraeError, TesseraeError } from "../base/errors.ts";
import { LruMap } from "../base/lru.ts";
import type { Codec, EngineDialect, EngineResult, RawRow, Statement } from "../engine/contract.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { SchemaModel } from "../schema/model.ts";
import { deriveTypes, type StatementTypes } from "./column-types.ts";
import { SUM_OF_INTEGERS } from "./expression-types.ts";
import { mayWrite } from "./function-calls.ts";
import { writesLookups } from "./lookup-claims.ts";
import { refuseHiddenLookups, refuseLookupText } from "./lookup-raw.ts";
import { parameterColumns, rawParameterTypes } from "./raw-statement.ts";
import { isReadOnly, type Unguarded, whenUnguarded } from "./read-only.ts";

type Decode = (raw: unknown) => unknown;

export class StatementPlan {
  readonly readOnly: boolean;
  readonly mayWrite: boolean;
  /** When the guard hears nothing of the statement. */
  readonly unguarded: Unguarded;
  /** How many rows the statement writes, where the engine's own count says something else. */
  readonly rowsWritten: bigint | undefined;
  /** It may write a column that has a lookup. */
  readonly writesLookups: boolean;
  readonly #dialect: EngineDialect;
  readonly #schema: SchemaModel;
  readonly #encoders: readonly (Codec | undefined)[];
  readonly #parameterTypes: readonly (LogicalType | undefined)[];
  readonly #columnCodecs: ReadonlyMap<string, Codec>;
  /** The result's columns with their decoders, known from the first row on. */
  #columns: readonly (readonly [name: string, decode: Decode])[] | undefined;

  constructor(
    dialect: EngineDialect,
    schema: SchemaModel,
    types: StatementTypes,
    effect: Pick<StatementPlan, "readOnly" | "mayWrite" | "unguarded" | "rowsWritten" | "writesLookups">,
  ) {
    this.#dialect = dialect;
    this.#schema = schema;
    this.readOnly = effect.readOnly;
    this.mayWrite = effect.mayWrite;
    this.unguarded = effect.unguarded;
    this.rowsWritten = effect.rowsWritten;
    this.writesLookups = effect.writesLookups;
    this.#parameterTypes = types.parameters;
    this.#encoders = types.parameters.map((type) => (type === undefined ? undefined : dialect.codec(type)));
    this.#columnCodecs = new Map(
      [...types.columns].map(([name, type]) => [
        name,
        type === SUM_OF_INTEGERS ? boundedSum(dialect.codec(type)) : dialect.codec(type),
      ]),
    );
  }

  /** The statement for these logical parameter values; VALUE_INVALID for one that is not of its column's type. */
  statement(sql: string, values: readonly unknown[]): Statement {
    const parameters = new Array<unknown>(values.length);
    let i = 0;
    try {
      for (; i < values.length; i++) parameters[i] = this.encode(i, values[i]);
    } catch (error) {
      throw isTesseraeError(error, "VALUE_INVALID") ? this.#refusedValue(error, sql, i) : error;
    }
    return { sql, parameters, readOnly: this.readOnly, mayWrite: this.mayWrite };
  }

  encode(index: number, value: unknown): unknown {
    if (value === null || value === undefined) return null;
    const codec = this.#encoders[index] ?? naturalCodec(this.#dialect, value);
    return codec === undefined ? value : codec.encode(value);
  }

  /** The logical type of a parameter, where the query's tree tells it. */
  parameterType(index: number): LogicalType | undefined {
    return this.#parameterTypes[index];
  }

  /** What makes the logical value of a result column's raw one, which is not null. */
  decoderOf(column: string): Decode {
    const codec = this.#columnCodecs.get(column);
    return codec === undefined
      ? (raw) => this.#dialect.decodeNatural(raw)
      : (raw: unknown) => codec.decode(raw);
  }

  /** Turns raw rows into logical ones, in place. */
  decode(rows: RawRow[]): RawRow[] {
    const first = rows[0];
    if (first === undefined) return rows;
    const columns = this.#columnsOf(first);
    for (const row of rows) {
      for (const [name, decode] of columns) {
        const raw = row[name];
        if (raw === undefined || raw === null) row[name] = null;
        else row[name] = decode(raw);
      }
    }
    return rows;
  }

  /** The codec knows what was expected; to which column the value goes, or its number, the statement's text tells. */
  #refusedValue(error: TesseraeError, sql: string, index: number): TesseraeError {
    const found = parameterColumns(sql, this.#schema, this.#dialect.name).get(index);
    const [table, column] = [found?.table.name, found?.column.name];
    const where =
      found === undefined
        ? `Parameter ${index + 1} of the statement`
        : `Column "${column}" of table "${table}"`;
    const { message, cause } = error;
    return new TesseraeError("VALUE_INVALID", `${where}: ${message}`, { table, column, sql, cause });
  }

  #columnsOf(row: RawRow): readonly (readonly [string, Decode])[] {
    const known = this.#columns;
    // A `select *` may have grown a column since: the count tells.
    if (known !== undefined && known.length === Object.keys(row).length) return known;
    const columns = Object.keys(row).map((name) => [name, this.decoderOf(name)] as const);
    this.#columns = columns;
    return columns;
  }
}

/** PostgreSQL and MariaDB sum beyond 64 bits, SQLite raises: an error on all of them. */
function boundedSum(codec: Codec): Codec {
  return {
    encode: codec.encode,
    decode: (raw) => {
      const sum = codec.decode(raw) as bigint;
      if (BigInt.asIntN(64, sum) === sum) return sum;
      throw new TesseraeError(
        "VALUE_INVALID",
        "A sum of whole numbers is beyond 64 bits. Sum a decimal(38, 0) column instead.",
      );
    },
  };
}

/** For a value whose column is unknown: by what it is in JavaScript. Numbers and strings go to the driver as they are. */
function naturalCodec(dialect: EngineDialect, value: unknown): Codec | undefined {
  switch (typeof value) {
    case "bigint":
      return dialect.codec({ kind: "bigint" });
    case "boolean":
      return dialect.codec({ kind: "boolean" });
    case "object":
      if (value instanceof Date) return dialect.codec({ kind: "timestamp", precision: 3 });
      if (value instanceof Uint8Array) return dialect.codec({ kind: "bytes", length: undefined });
      return dialect.codec({ kind: "json" });
    case "number":
    case "string":
      return undefined;
    default:
      throw new TesseraeError(
        "VALUE_INVALID",
        `A ${typeof value} cannot be a statement's parameter. Give a string, number, bigint, boolean, Date, Uint8Array, JSON value or null.`,
      );
  }
}

/** The plans of one engine's statements by SQL text, the least recently used one gone beyond the limit. */
export class StatementPlans {
  readonly #plans: LruMap<string, StatementPlan>;
  readonly #dialect: EngineDialect;
  readonly #schema: SchemaModel;

  constructor(dialect: EngineDialect, schema: SchemaModel, entriesMax: number) {
    this.#dialect = dialect;
    this.#schema = schema;
    this.#plans = new LruMap(entriesMax);
  }

  /** `signature` tells apart statements of the same text whose results were named different types. */
  planFor(compiled: CompiledQuery, signature: string, rowsWritten?: bigint): StatementPlan {
    const query = compiled.query as RootOperationNode;
    // A built statement of the same text has columns of known types, a raw one has not.
    const kind = query.kind === "RawNode" ? `raw ${signature}` : `${rowsWritten ?? ""}${signature}`;
    const key = kind === "" ? compiled.sql : `${kind}\n${compiled.sql}`;
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    if (query.kind === "RawNode") refuseLookupText(compiled.sql, this.#schema, this.#dialect.name);
    else refuseHiddenLookups(query, compiled.sql, this.#schema, this.#dialect.name);
    const types = deriveTypes(query, this.#schema, this.#dialect);
    const readOnly = isReadOnly(query);
    const plan = new StatementPlan(
      this.#dialect,
      this.#schema,
      query.kind === "RawNode" ? this.#withTextTypes(types, compiled) : types,
      {
        readOnly,
        mayWrite: !readOnly || mayWrite(compiled.sql, this.#dialect.name),
        unguarded: whenUnguarded(query),
        rowsWritten,
        writesLookups: writesLookups(query, this.#schema),
      },
    );
    this.#plans.set(key, plan);
    return plan;
  }

  /** Where a raw statement's tree does not tell a parameter's type, its text may. */
  #withTextTypes({ parameters, columns }: StatementTypes, { sql, parameters: values }: CompiledQuery) {
    const fromText = rawParameterTypes(sql, values.length, this.#schema, this.#dialect.name);
    return { parameters: fromText.map((type, index) => parameters[index] ?? type), columns };
  }
}

/** What a statement did, as Kysely tells it. */
export function toQueryResult(
  result: EngineResult,
  plan: StatementPlan,
): { rows: never[]; numAffectedRows?: bigint; insertId?: bigint } {
  const rows = plan.decode(result.rows) as never[];
  if (result.affectedRows === undefined) return { rows };
  const numAffectedRows = plan.rowsWritten ?? result.affectedRows;
  return result.insertId === undefined
    ? { rows, numAffectedRows }
    : { rows, numAffectedRows, insertId: result.insertId };
}
