/**
 * Tables as SQLite statements. All tables are STRICT, so that no value of another type gets in, at a plain SQL prompt either; checks hold
 * the rest of a logical type that SQLite can say.
 *
 * A table of small rows is WITHOUT ROWID: its rows lie in the order of the primary key, those of one distribution key beside each other, with one
 * tree to write instead of two (a page of 100 rows of one key: 0.1 instead of 0.5 ms). A row beyond a quarter of a page would spill into pages of
 * its own (rows of 1.5 KB: twice the file, inserts three times as long), so tables of large rows keep the rowid. What they must not keep is
 * `INTEGER PRIMARY KEY` as another name of the rowid, which invents an id where none was given: `desc` prevents it, by a quirk that SQLite has
 * promised to keep.
 */
import type { LogicalType } from "../../schema/logical-type.ts";
import type { ColumnModel, DefaultModel, ForeignKeyModel, TableModel } from "../../schema/model.ts";
import { REAL_DECIMAL_DIGITS, sqliteCodec } from "./codecs.ts";

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const nameList = (names: readonly string[]): string => names.map(quoteIdentifier).join(", ");

export function createSqliteTable(table: TableModel): string[] {
  const autoIncrement = table.columns.find((column) => column.id?.kind === "autoIncrement");
  const clustered = autoIncrement === undefined && hasSmallRows(table);
  const idName = clustered || table.primaryKey.length > 1 ? undefined : table.primaryKey[0];
  const parts = table.columns.map((column) => {
    const definition = columnDefinition(table.name, column);
    return column.name === idName && column !== autoIncrement ? `${definition} primary key desc` : definition;
  });
  if (idName === undefined) parts.push(`primary key (${nameList(table.primaryKey)})`);
  parts.push(...table.foreignKeys.map(foreignKeyDefinition));
  const options = clustered ? "strict, without rowid" : "strict";
  const indexes = [
    ...table.uniques.map((index) => ({ ...index, verb: "create unique index" })),
    ...table.indexes.map((index) => ({ ...index, verb: "create index" })),
  ];
  return [
    `create table if not exists ${quoteIdentifier(table.name)} (\n  ${parts.join(",\n  ")}\n) ${options}`,
    ...indexes.map(
      ({ verb, name, columns }) =>
        `${verb} if not exists ${quoteIdentifier(name)} on ${quoteIdentifier(table.name)} (${nameList(columns)})`,
    ),
  ];
}

/** A quarter of a page of 4 KiB, less what a row and its page need for themselves. */
const SMALL_ROW_BYTES = 900;
/** What is taken for the length of a value of any length: JSON is mostly short, text and bytes without a limit are mostly there to be long. */
const JSON_BYTES = 300;

function hasSmallRows(table: TableModel): boolean {
  return table.columns.reduce((sum, { type }) => sum + typicalBytes(type), 0) <= SMALL_ROW_BYTES;
}

function typicalBytes(type: LogicalType): number {
  switch (type.kind) {
    case "text":
    case "bytes":
      return type.length === undefined
        ? Number.POSITIVE_INFINITY
        : Math.min(type.length, 8 + type.length / 2);
    case "json":
      return JSON_BYTES;
    case "timestamp":
    case "decimal":
    case "uuid":
      return 25;
    default:
      return 8;
  }
}

export function addSqliteColumn(table: string, column: ColumnModel): string {
  return `alter table ${quoteIdentifier(table)} add column ${columnDefinition(table, column)}`;
}

export function dropSqliteTable(name: string): string[] {
  return [`drop table if exists ${quoteIdentifier(name)}`];
}

function columnDefinition(table: string, column: ColumnModel): string {
  const name = quoteIdentifier(column.name);
  // Only this very type and place makes the rowid, and with it AUTOINCREMENT.
  if (column.id?.kind === "autoIncrement") return `${name} INTEGER primary key autoincrement`;
  const parts = [name, storageType(column.type)];
  if (!column.nullable) parts.push("not null");
  if (column.default !== undefined) parts.push(`default ${defaultExpression(column.default, column.type)}`);
  if (column.type.kind === "text" && column.type.caseInsensitive) parts.push("collate nocase");
  const check = checkExpression(name, column.type);
  if (check !== undefined)
    parts.push(`constraint ${quoteIdentifier(`${table}_${column.name}_check`)} check (${check})`);
  return parts.join(" ");
}

/** The declared type also tells the pool which result columns need bigints: INT never does. */
function storageType(type: LogicalType): string {
  switch (type.kind) {
    case "int":
    case "boolean":
      return "INT";
    case "bigint":
      return "INTEGER";
    case "decimal":
      return type.precision <= REAL_DECIMAL_DIGITS ? "REAL" : "TEXT";
    case "double":
      return "REAL";
    case "uuid":
    case "bytes":
      return "BLOB";
    default:
      return "TEXT";
  }
}

const DATE_GLOB = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]";
const TIME_GLOB = "T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].";

function checkExpression(name: string, type: LogicalType): string | undefined {
  switch (type.kind) {
    case "int":
      return `${name} between -2147483648 and 2147483647`;
    case "boolean":
      return `${name} in (0, 1)`;
    case "decimal":
      return decimalCheck(name, type.precision, type.scale);
    case "double":
      // Infinities; NaN is null to SQLite.
      return `${name} between -1.7976931348623157e308 and 1.7976931348623157e308`;
    case "text":
      return type.length === undefined ? undefined : `length(${name}) <= ${type.length}`;
    case "json":
      return `json_valid(${name})`;
    case "timestamp":
      return `${name} glob '${DATE_GLOB}${TIME_GLOB}${"[0-9]".repeat(type.precision)}Z'`;
    case "date":
      return `${name} glob '${DATE_GLOB}'`;
    case "uuid":
      return `length(${name}) = 16`;
    case "bytes":
      return type.length === undefined ? undefined : `length(${name}) <= ${type.length}`;
    case "bigint":
      return undefined;
  }
}

function decimalCheck(name: string, precision: number, scale: number): string {
  if (precision > REAL_DECIMAL_DIGITS) return `${name} glob '[np][0-9][0-9]*'`;
  const digits = "9".repeat(precision);
  const largest =
    scale === 0
      ? `${digits}.0`
      : `${digits.slice(0, precision - scale) || "0"}.${digits.slice(precision - scale)}`;
  return `${name} between -${largest} and ${largest}`;
}

function defaultExpression(value: DefaultModel, type: LogicalType): string {
  if (value.kind === "value") return literal(sqliteCodec(type).encode(value.value));
  // SQLite's clock ticks in milliseconds.
  const micro = type.kind === "timestamp" && type.precision === 6 ? "000" : "";
  return `(strftime('%Y-%m-%dT%H:%M:%f${micro}Z', 'now'))`;
}

function literal(raw: unknown): string {
  if (typeof raw === "string") return quoteText(raw);
  if (raw instanceof Uint8Array) return `x'${Buffer.from(raw).toString("hex")}'`;
  return String(raw);
}

function foreignKeyDefinition(key: ForeignKeyModel): string {
  const target = `${quoteIdentifier(key.table)} (${nameList(key.referencedColumns)})`;
  return `constraint ${quoteIdentifier(key.name)} foreign key (${nameList(key.columns)}) references ${target} on delete ${key.onDelete} on update ${key.onUpdate}`;
}
