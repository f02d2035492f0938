/**
 * Column builders. A builder is immutable: each method gives a new one. The type parameters carry the row types that
 * `row-types.ts` hands to Kysely, so that no second declaration of a table exists.
 */
import type { LogicalType } from "./logical-type.ts";
import type { DefaultModel, ForeignKeyAction } from "./model.ts";

export type IdSource =
  | { readonly kind: "ticket"; readonly sequence: string | undefined }
  | { readonly kind: "uuidv7" }
  | ({ readonly kind: "table" } & TableSequenceOptions)
  | { readonly kind: "autoIncrement" };

export interface TableSequenceOptions {
  /** The sequence's name; the table's name unless said. */
  readonly sequence?: string | undefined;
  /** The first id; 1 unless said. */
  readonly start?: bigint | number | undefined;
  /** How far an id is from the one before it; 1 unless said. */
  readonly step?: bigint | number | undefined;
}

export interface ColumnReference {
  readonly table: string;
  readonly column: string | undefined;
  readonly onDelete: ForeignKeyAction;
  readonly onUpdate: ForeignKeyAction;
}

export interface ColumnSpec {
  readonly type: LogicalType;
  readonly nullable: boolean;
  readonly default: DefaultModel | undefined;
  readonly unique: boolean;
  readonly id: IdSource | undefined;
  readonly references: ColumnReference | undefined;
}

export interface ReferenceOptions {
  /** The column referred to; `id` unless said. */
  readonly column?: string;
  readonly onDelete?: ForeignKeyAction;
  readonly onUpdate?: ForeignKeyAction;
}

/**
 * A column of a table. `Value` is its JavaScript value, `Null` whether it may be null, `Optional` whether an insert may
 * leave it out, `Generated` whether `fed.ids` makes its values.
 */
export class Column<
  Value,
  Null extends boolean = false,
  Optional extends boolean = false,
  Generated extends boolean = false,
> {
  declare readonly $value: Value;
  declare readonly $null: Null;
  declare readonly $optional: Optional;
  declare readonly $generated: Generated;
  readonly spec: ColumnSpec;

  constructor(spec: ColumnSpec) {
    this.spec = Object.freeze(spec);
  }

  /** The column may be null; an insert may leave it out. */
  nullable(): Column<Value, true, true, Generated> {
    return new Column({ ...this.spec, nullable: true });
  }

  /** The value of an insert that leaves the column out. */
  default(value: Value): Column<Value, Null, true, Generated> {
    return new Column({ ...this.spec, default: { kind: "value", value } });
  }

  /** The moment of the insert (in UTC, by the database's clock) for an insert that leaves the column out. Timestamps only. */
  defaultNow(
    this: Column<Date, Null, Optional, Generated> | Column<string, Null, Optional, Generated>,
  ): Column<Value, Null, true, Generated> {
    return new Column({ ...this.spec, default: { kind: "now" } });
  }

  /** No two rows have the same value, on a federated table among all keys (main reserves it); for unique within a key write `unique: [["user_id", "name"]]`. */
  unique(): Column<Value, Null, Optional, Generated> {
    return new Column({ ...this.spec, unique: true });
  }

  /** Refers to a row of another table. Between federated tables the reference carries the key by itself. */
  references(table: string, options: ReferenceOptions = {}): Column<Value, Null, Optional, Generated> {
    const { column, onDelete = "no action", onUpdate = "no action" } = options;
    return new Column({ ...this.spec, references: { table, column, onDelete, onUpdate } });
  }

  /** Ids are tickets: `await fed.tickets.next(sequence)`, or `await fed.ids.next(table)`. The sequence has the table's name unless said. */
  ticket(
    this: Column<bigint, Null, Optional> | Column<number, Null, Optional>,
    sequence?: string,
  ): Column<Value, Null, Optional, true> {
    return new Column({ ...this.spec, id: { kind: "ticket", sequence } });
  }

  /** Ids are UUIDs of version 7, made by `uuidv7()`, or `await fed.ids.next(table)`. */
  uuidv7(this: Column<string, Null, Optional>): Column<Value, Null, Optional, true> {
    return new Column({ ...this.spec, id: { kind: "uuidv7" } });
  }

  /** Ids come from a named counter in main's control database, one after the other over all processes: `await fed.ids.next(table)`. */
  table(
    this: Column<bigint, Null, Optional> | Column<number, Null, Optional>,
    options: TableSequenceOptions = {},
  ): Column<Value, Null, Optional, true> {
    return new Column({ ...this.spec, id: { kind: "table", ...options } });
  }

  /** Ids are given by the database. Global tables only: on many shards they would collide. */
  autoIncrement(
    this: Column<bigint, Null, Optional> | Column<number, Null, Optional>,
  ): Column<Value, Null, true> {
    return new Column({ ...this.spec, id: { kind: "autoIncrement" } });
  }

  /** Text that compares without regard to case. */
  caseInsensitive(this: Column<string, Null, Optional, Generated>): Column<Value, Null, Optional, Generated> {
    const type = this.spec.type;
    return new Column({
      ...this.spec,
      type: type.kind === "text" ? { ...type, caseInsensitive: true } : type,
    });
  }
}

function column<Value>(type: LogicalType): Column<Value> {
  return new Column<Value>({
    type: Object.freeze(type),
    nullable: false,
    default: undefined,
    unique: false,
    id: undefined,
    references: undefined,
  });
}

/** A 32-bit integer; `number`. */
export const int = (): Column<number> => column({ kind: "int" });

/** A 64-bit integer; `bigint`. */
export const bigint = (): Column<bigint> => column({ kind: "bigint" });

/** An exact decimal of `precision` digits (1 to 38), `scale` of them after the point; `string`. */
export const decimal = (precision: number, scale: number): Column<string> =>
  column({ kind: "decimal", precision, scale });

/** A 64-bit floating point number; NaN and infinities are refused. */
export const double = (): Column<number> => column({ kind: "double" });

export const boolean = (): Column<boolean> => column({ kind: "boolean" });

/** Text of at most `length` code points; without a length, of any length, but then it cannot be in an index. */
export const text = (length?: number): Column<string> =>
  column({ kind: "text", length, caseInsensitive: false });

/** Any JSON value. Whole numbers beyond ±(2^53−1) are `bigint`. */
export const json = <Value = unknown>(): Column<Value> => column({ kind: "json" });

/** A moment in UTC: `timestamp()` is a `Date` (milliseconds), `timestamp(6)` an ISO string with microseconds. */
export function timestamp(precision?: 3): Column<Date>;
export function timestamp(precision: 6): Column<string>;
export function timestamp(precision: 3 | 6 = 3): Column<Date> | Column<string> {
  return precision === 6
    ? column<string>({ kind: "timestamp", precision: 6 })
    : column<Date>({ kind: "timestamp", precision: 3 });
}

/** A calendar day, "YYYY-MM-DD". */
export const date = (): Column<string> => column({ kind: "date" });

/** A UUID; lower-case text in JavaScript, sixteen bytes in order and comparison. */
export const uuid = (): Column<string> => column({ kind: "uuid" });

/** Bytes, at most `length` of them; without a length, any number, but then they cannot be in an index. */
export const bytes = (length?: number): Column<Uint8Array> => column({ kind: "bytes", length });
