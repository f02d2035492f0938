/** The row types of a schema, in Kysely's terms: select, insert and update types of every column, by cluster. */
import type { ColumnType } from "kysely";
import type { Column } from "./column.ts";
import type { KeyValue } from "./logical-type.ts";
import type { Columns, FederatedTable, GlobalTable, ReferenceTable, TableDefinition } from "./table.ts";

export type Tables = Readonly<Record<string, TableDefinition>>;
// biome-ignore lint/suspicious/noExplicitAny: see AnyColumn.
export type KeyColumn = Column<any, false, boolean, boolean>;

export type ValueOf<C> =
  C extends Column<infer V, infer N, boolean, boolean> ? (N extends true ? V | null : V) : never;
type InsertOf<C> =
  C extends Column<infer V, infer N, infer O, boolean>
    ? (N extends true ? V | null : V) | (O extends true ? undefined : never)
    : never;

type Writable<C extends Columns> = {
  [K in keyof C]: ColumnType<ValueOf<C[K]>, InsertOf<C[K]>, ValueOf<C[K]>>;
};
type ReadOnly<C extends Columns> = { [K in keyof C]: ColumnType<ValueOf<C[K]>, never, never> };
/** The distribution column fills itself on insert and never changes. */
type Keyed<C extends Columns, On> = {
  [K in keyof C]: K extends On
    ? ColumnType<ValueOf<C[K]>, ValueOf<C[K]> | undefined, never>
    : ColumnType<ValueOf<C[K]>, InsertOf<C[K]>, ValueOf<C[K]>>;
};

/** The tables `fed.main` can name: global ones, and the authoritative copy of reference tables. */
export type MainDatabase<T extends Tables> = {
  [N in keyof T as T[N] extends GlobalTable | ReferenceTable ? N : never]: T[N] extends GlobalTable<infer C>
    ? Writable<C>
    : T[N] extends ReferenceTable<infer C>
      ? Writable<C>
      : never;
};

/** The tables `fed.at(key)` can name: those of its federation, and reference tables to read. */
export type ShardDatabase<T extends Tables, Federation extends string> = {
  [N in keyof T as T[N] extends FederatedTable<Columns, string, infer F>
    ? Federation extends F
      ? N
      : never
    : T[N] extends ReferenceTable
      ? N
      : never]: T[N] extends FederatedTable<infer C, infer On, string>
    ? Keyed<C, On>
    : T[N] extends ReferenceTable<infer C>
      ? ReadOnly<C>
      : never;
};

/** The tables that can have lookups. */
export type FederatedTables<T extends Tables> = {
  [N in keyof T & string]: T[N] extends FederatedTable ? N : never;
}[keyof T & string];

/** A row of a table as a select gives it. */
export type RowOf<T extends Tables, N extends keyof T> = {
  [K in keyof ColumnsOf<T[N]>]: ValueOf<ColumnsOf<T[N]>[K]>;
};

/** A federation's key as JavaScript value. */
export type KeyOf<C> = C extends Column<infer V, false, boolean, boolean> ? Extract<V, KeyValue> : never;

type ColumnsOf<T> = T extends { readonly columns: infer C extends Columns } ? C : never;
/** The columns of a table whose ids `fed.ids` makes. */
export type GeneratedColumn<T extends Tables, N extends keyof T> = {
  [K in keyof ColumnsOf<T[N]> & string]: true extends ColumnsOf<T[N]>[K]["$generated"] ? K : never;
}[keyof ColumnsOf<T[N]> & string];

type IsOne<U, All = U> = [U] extends [never]
  ? false
  : U extends unknown
    ? [All] extends [U]
      ? true
      : false
    : never;

/** The tables with exactly one such column. */
export type TableWithId<T extends Tables> = {
  [N in keyof T & string]: IsOne<GeneratedColumn<T, N>> extends true ? N : never;
}[keyof T & string];

/** The tables with at least one. */
export type TableWithIds<T extends Tables> = {
  [N in keyof T & string]: [GeneratedColumn<T, N>] extends [never] ? never : N;
}[keyof T & string];

/** The JavaScript value of such a column's ids. */
export type IdOf<T extends Tables, N extends keyof T, C extends keyof ColumnsOf<T[N]>> = ColumnsOf<
  T[N]
>[C]["$value"];
