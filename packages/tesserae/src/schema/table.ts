/** Table definitions: which cluster a table belongs to is said here, once. */
import type { Column } from "./column.ts";
import type { ForeignKeyAction } from "./model.ts";

// biome-ignore lint/suspicious/noExplicitAny: a column of any value; the parameters are invariant otherwise.
export type AnyColumn = Column<any, boolean, boolean, boolean>;
export type Columns = Readonly<Record<string, AnyColumn>>;

export interface ForeignKeyOptions<Name extends string = string> {
  readonly columns: readonly Name[];
  readonly references: { readonly table: string; readonly columns: readonly string[] };
  readonly onDelete?: ForeignKeyAction;
  readonly onUpdate?: ForeignKeyAction;
}

export interface TableOptions<Name extends string = string> {
  /** `id` unless said; on a federated table the distribution column and `id`. */
  readonly primaryKey?: readonly Name[];
  readonly indexes?: readonly (readonly Name[])[];
  /** Unique over several columns; on a federated table each must contain the distribution column. */
  readonly unique?: readonly (readonly Name[])[];
  readonly foreignKeys?: readonly ForeignKeyOptions<Name>[];
}

export interface FederatedOptions<Name extends string = string, Federation extends string = string>
  extends TableOptions<Name> {
  /** Columns by which `fed.find` finds a row without its key: main keeps the key of each value. Each must be unique within a key. */
  readonly lookup?: readonly Name[];
  /** Which federation, where the schema defines several. */
  readonly federation?: Federation;
}

export interface GlobalTable<C extends Columns = Columns> {
  readonly kind: "global";
  readonly columns: C;
  readonly options: TableOptions;
}

export interface ReferenceTable<C extends Columns = Columns> {
  readonly kind: "reference";
  readonly columns: C;
  readonly options: TableOptions;
}

export interface FederatedTable<
  C extends Columns = Columns,
  On extends string = string,
  Federation extends string = string,
> {
  readonly kind: "federated";
  readonly on: On;
  readonly columns: C;
  readonly options: FederatedOptions<string, Federation>;
}

export type TableDefinition = GlobalTable | ReferenceTable | FederatedTable;

/** A table of the main cluster. */
export function global<const C extends Columns>(
  columns: C,
  options: TableOptions<keyof C & string> = {},
): GlobalTable<C> {
  return { kind: "global", columns, options };
}

/** A small table that every shard has a copy of. Written on main, read anywhere. */
export function reference<const C extends Columns>(
  columns: C,
  options: TableOptions<keyof C & string> = {},
): ReferenceTable<C> {
  return { kind: "reference", columns, options };
}

/** A table whose rows live on the shard of their key: the value of the column `on`. */
export function federated<
  const C extends Columns,
  const On extends keyof C & string,
  const Federation extends string = "default",
>(
  on: On,
  columns: C,
  options: FederatedOptions<keyof C & string, Federation> = {},
): FederatedTable<C, On, Federation> {
  return { kind: "federated", on, columns, options };
}
