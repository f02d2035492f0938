/**
 * What has to exist on each database, and the fingerprints by which a second run knows that it does. Pure.
 */
import { createHash } from "node:crypto";
import type { EngineDialect } from "../engine/contract.ts";
import { describeType } from "../schema/logical-type.ts";
import type { ColumnModel, SchemaModel, TableModel } from "../schema/model.ts";

/** One thing to create: a table with its indexes, or a table's guard. */
export interface Piece {
  readonly kind: "table" | "guard";
  readonly table: string;
  readonly statements: readonly string[];
  readonly fingerprint: string;
}

/** The pieces of the tables given, guards after all tables. */
export function piecesFor(
  dialect: EngineDialect,
  schema: SchemaModel,
  tables: readonly TableModel[],
): Piece[] {
  const created = tables.map(
    (table): Piece => ({
      kind: "table",
      table: table.name,
      statements: dialect.createTable(table),
      fingerprint: tableFingerprint(table),
    }),
  );
  const guards = tables.flatMap((table): Piece[] => {
    const federation = table.federation === undefined ? undefined : schema.federations.get(table.federation);
    if (federation === undefined) return [];
    const statements = dialect.createGuard(table, federation);
    return [{ kind: "guard", table: table.name, statements, fingerprint: digest(statements.join(";\n")) }];
  });
  return [...created, ...guards];
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
