/**
 * What has to exist on each database, and the fingerprints by which a second run knows that it does. Pure.
 */
import { createHash } from "node:crypto";
import type { EngineDialect } from "../engine/contract.ts";
import { describeType } from "../schema/logical-type.ts";
import type { ColumnModel, ForeignKeyModel, SchemaModel, TableModel } from "../schema/model.ts";

/** One thing to create: a table with its indexes, its foreign keys to tables that come after it, or its guard. */
export type PieceKind = "table" | "foreign keys" | "guard";

export interface Piece {
  readonly kind: PieceKind;
  readonly table: string;
  readonly statements: readonly string[];
  readonly fingerprint: string;
}

/** The pieces of the tables given: tables, then what closes circles of references between them, then guards. */
export function piecesFor(
  dialect: EngineDialect,
  schema: SchemaModel,
  tables: readonly TableModel[],
): Piece[] {
  const created = tables.map(
    (table): Piece => ({
      kind: "table",
      table: table.name,
      statements: dialect.createTable(withoutKeys(table, laterKeys(dialect, table, tables))),
      fingerprint: tableFingerprint(table),
    }),
  );
  const circles = tables.flatMap((table): Piece[] => {
    const later = laterKeys(dialect, table, tables);
    if (later.length === 0 || dialect.addForeignKeys === undefined) return [];
    const statements = dialect.addForeignKeys(table, later);
    return [
      { kind: "foreign keys", table: table.name, statements, fingerprint: digest(statements.join(";\n")) },
    ];
  });
  const guards = tables.flatMap((table): Piece[] => {
    const federation = table.federation === undefined ? undefined : schema.federations.get(table.federation);
    if (federation === undefined) return [];
    const statements = dialect.createGuard(table, federation);
    return [{ kind: "guard", table: table.name, statements, fingerprint: digest(statements.join(";\n")) }];
  });
  return [...created, ...circles, ...guards];
}

/** The foreign keys that cannot be created with their table, because it comes before the one they refer to. */
function laterKeys(
  dialect: EngineDialect,
  table: TableModel,
  tables: readonly TableModel[],
): ForeignKeyModel[] {
  if (dialect.addForeignKeys === undefined) return [];
  const position = tables.indexOf(table);
  return table.foreignKeys.filter((key) => tables.findIndex((other) => other.name === key.table) > position);
}

function withoutKeys(table: TableModel, keys: readonly ForeignKeyModel[]): TableModel {
  return keys.length === 0
    ? table
    : { ...table, foreignKeys: table.foreignKeys.filter((key) => !keys.includes(key)) };
}

/** The same for the same definition on every engine and in every version of the library that lays it out alike. */
export function tableFingerprint(table: TableModel): string {
  const { kind, federation, keyColumn, primaryKey, uniques, indexes, foreignKeys } = table;
  const text = JSON.stringify({
    kind,
    federation,
    keyColumn,
    columns: table.columns.map(columnText),
    primaryKey,
    uniques,
    indexes,
    foreignKeys,
  });
  return digest(text);
}

function columnText(column: ColumnModel): string {
  const value =
    column.default?.kind === "value"
      ? `default ${String(column.default.value)}`
      : (column.default?.kind ?? "");
  return [
    column.name,
    describeType(column.type),
    column.nullable ? "null" : "not null",
    value,
    column.id?.kind === "autoIncrement" ? "auto" : "",
  ].join(" ");
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
