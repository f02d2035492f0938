/** The checked schema as frozen values: what every higher floor works with. `defineSchema` makes it. */
import type { LogicalType } from "./logical-type.ts";

export type TableKind = "global" | "reference" | "federated";

/** A column's default: a literal of the logical type, or the moment of the insert. */
export type DefaultModel = { readonly kind: "value"; readonly value: unknown } | { readonly kind: "now" };

/** Where a column's ids come from; undefined for a natural value. */
export type IdModel =
  | { readonly kind: "ticket"; readonly sequence: string }
  | { readonly kind: "uuidv7" }
  | { readonly kind: "table"; readonly sequence: string; readonly start: bigint; readonly step: bigint }
  | { readonly kind: "autoIncrement" };

/** The last id that a column of the type takes. One less than the 64-bit type's: a counter holds the id after the last one, in such a column. */
export function idMax(type: LogicalType): bigint {
  return type.kind === "int" ? 2n ** 31n - 1n : 2n ** 63n - 2n;
}

export interface ColumnModel {
  readonly name: string;
  readonly type: LogicalType;
  readonly nullable: boolean;
  readonly default: DefaultModel | undefined;
  readonly id: IdModel | undefined;
}

export interface IndexModel {
  readonly name: string;
  readonly columns: readonly string[];
}

export type ForeignKeyAction = "no action" | "restrict" | "cascade" | "set null";

export interface ForeignKeyModel {
  readonly name: string;
  readonly columns: readonly string[];
  readonly table: string;
  readonly referencedColumns: readonly string[];
  readonly onDelete: ForeignKeyAction;
  readonly onUpdate: ForeignKeyAction;
}

export interface TableModel {
  readonly name: string;
  readonly kind: TableKind;
  /** The federation's name and the distribution column, of a federated table alone. */
  readonly federation: string | undefined;
  readonly keyColumn: string | undefined;
  readonly columns: readonly ColumnModel[];
  readonly column: ReadonlyMap<string, ColumnModel>;
  readonly primaryKey: readonly string[];
  readonly uniques: readonly IndexModel[];
  readonly indexes: readonly IndexModel[];
  readonly foreignKeys: readonly ForeignKeyModel[];
  /** Columns whose values main knows the keys of: no value is in two keys' rows. Of federated tables alone. */
  readonly lookups: readonly string[];
}

export interface FederationModel {
  readonly name: string;
  readonly key: LogicalType;
}

export interface SchemaModel {
  /** By name; the short form's one federation is called `default`. */
  readonly federations: ReadonlyMap<string, FederationModel>;
  /** By name, in an order in which every table comes after those it refers to (itself excepted). */
  readonly tables: ReadonlyMap<string, TableModel>;
}

export const DEFAULT_FEDERATION = "default";
