/** What an embedded engine must do for `fed.gather`: hold tables of logical values, and answer one select over them. */
import type { LogicalType } from "../../schema/logical-type.ts";

export interface GatheredColumn {
  readonly name: string;
  readonly type: LogicalType;
}

export interface GatheredTable {
  readonly name: string;
  readonly columns: readonly GatheredColumn[];
}

/** A logical value, and its type where it is known. */
export interface BoundParameter {
  readonly value: unknown;
  readonly type: LogicalType | undefined;
}

export type GatheredRow = Record<string, unknown>;

/** Takes a table's rows one by one and hands them on in batches. */
export interface TableLoader {
  append(row: GatheredRow): void;
  /** Hands on what is left. */
  end(): void;
}

/** Which tables a statement names, and which columns it can mean; all of them where the text does not tell. */
export interface NamedParts {
  /** Lower case. */
  readonly tables: ReadonlySet<string>;
  /** Lower case; undefined for all. */
  readonly columns: ReadonlySet<string> | undefined;
}

export interface AnalyticalEngine {
  /** What a select names, before any table was made. GATHER_SQL for what is no SQL. */
  namedParts(sql: string): Promise<NamedParts>;
  createTable(table: GatheredTable): Promise<void>;
  /** Checks the select against the tables: before rows are brought here for nothing. GATHER_SQL for what is refused. */
  check(sql: string, parameters: number): Promise<void>;
  load(table: GatheredTable): Promise<TableLoader>;
  /** The select's answer, in batches of rows of logical values. No table is loaded afterwards. */
  rows(sql: string, parameters: readonly BoundParameter[]): AsyncGenerator<GatheredRow[]>;
  /** Frees the memory and removes the temporary folder. */
  close(): Promise<void>;
}

/** An identifier as both engines read it. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
