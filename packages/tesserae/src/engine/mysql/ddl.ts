/**
 * Tables as MariaDB and MySQL statements. The text is made without a connection, so where the two differ it carries both: MariaDB reads
 * comments that begin with M and an exclamation mark, and leaves out MySQL's with a version number of MySQL 8 and later.
 *
 * Always InnoDB. Columns that hold more than an index could are LONGTEXT and LONGBLOB with a check of the length: a row's VARCHARs share 65,535 bytes.
 */
import { derivedName } from "../../schema/define-schema.ts";
import type { LogicalType } from "../../schema/logical-type.ts";
import type { ColumnModel, DefaultModel, ForeignKeyModel, TableModel } from "../../schema/model.ts";
import { mysqlCodec } from "./codecs.ts";

export function quoteIdentifier(name: string): string {
  return `\`${name.replaceAll("`", "``")}\``;
}

/** A text literal; the engine's sessions and triggers have a backslash escape, whatever the server's default. */
export const quoteText = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

const nameList = (names: readonly string[]): string => names.map(quoteIdentifier).join(", ");

/** By code point, and a blank at the end counts: `utf8mb4_bin` itself pads, so that 'a' and 'a ' would be one key. */
export const BINARY_COLLATION = "/*M!100203 utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */";
/** Without case, with accents. MariaDB has such a one since 10.10. */
const CASE_INSENSITIVE_COLLATION = "/*M!101001 utf8mb4_uca1400_nopad_as_ci */ /*!80017 utf8mb4_0900_as_ci */";

const VARCHAR_LENGTH_MAX = 1_000;
const VARBINARY_LENGTH_MAX = 4_000;

export function createMysqlTable(table: TableModel): string[] {
  const parts = [
    ...table.columns.map((column) => columnDefinition(column)),
    `primary key (${nameList(table.primaryKey)})`,
    ...table.uniques.map((index) => `unique key ${quoteIdentifier(index.name)} (${nameList(index.columns)})`),
    ...table.indexes.map((index) => `key ${quoteIdentifier(index.name)} (${nameList(index.columns)})`),
    ...table.columns.flatMap((column) => checkDefinition(table.name, column)),
    ...table.foreignKeys.map(foreignKeyDefinition),
  ];
  const options = `engine = InnoDB row_format = dynamic default character set utf8mb4 collate ${BINARY_COLLATION}`;
  return [
    `create table if not exists ${quoteIdentifier(table.name)} (\n  ${parts.join(",\n  ")}\n) ${options}`,
  ];
}

export function addMysqlColumn(table: string, column: ColumnModel): string {
  return `alter table ${quoteIdentifier(table)} add column ${columnDefinition(column)}`;
}

export function dropMysqlTable(name: string): string[] {
  return [`drop table if exists ${quoteIdentifier(name)}`];
}

function columnDefinition(column: ColumnModel): string {
  const parts = [
    quoteIdentifier(column.name),
    storageType(column.type),
    column.nullable ? "null" : "not null",
  ];
  if (column.default !== undefined) parts.push(`default ${defaultExpression(column.default, column.type)}`);
  if (column.id?.kind === "autoIncrement") parts.push("auto_increment");
  return parts.join(" ");
}

export function storageType(type: LogicalType): string {
  switch (type.kind) {
    case "decimal":
      return `decimal(${type.precision}, ${type.scale})`;
    case "boolean":
      return "tinyint(1)";
    case "text": {
      const collation = type.caseInsensitive ? CASE_INSENSITIVE_COLLATION : BINARY_COLLATION;
      const short = type.length !== undefined && type.length <= VARCHAR_LENGTH_MAX;
      return `${short ? `varchar(${type.length})` : "longtext"} character set utf8mb4 collate ${collation}`;
    }
    case "json":
      // Not MySQL's type JSON, which sorts the names of an object and rounds long numbers.
      return `longtext character set utf8mb4 collate ${BINARY_COLLATION}`;
    case "timestamp":
      return `datetime(${type.precision})`;
    case "uuid":
      return "binary(16)";
    case "bytes":
      return type.length !== undefined && type.length <= VARBINARY_LENGTH_MAX
        ? `varbinary(${type.length})`
        : "longblob";
    default:
      return type.kind;
  }
}

/** What the column's type cannot say by itself. */
function checkDefinition(table: string, column: ColumnModel): string[] {
  const { type } = column;
  const name = quoteIdentifier(column.name);
  let condition: string | undefined;
  if (type.kind === "json") condition = `json_valid(${name})`;
  if (type.kind === "boolean") condition = `${name} in (0, 1)`;
  if (type.kind === "text" && type.length !== undefined && type.length > VARCHAR_LENGTH_MAX)
    condition = `char_length(${name}) <= ${type.length}`;
  if (type.kind === "bytes" && type.length !== undefined && type.length > VARBINARY_LENGTH_MAX)
    condition = `length(${name}) <= ${type.length}`;
  if (condition === undefined) return [];
  return [`constraint ${quoteIdentifier(derivedName([table, column.name, "check"]))} check (${condition})`];
}

/** In brackets: MySQL takes a default of a LONGTEXT or a function as an expression only. UTC whatever the session's time zone. */
function defaultExpression(value: DefaultModel, type: LogicalType): string {
  if (value.kind === "now") return `(utc_timestamp(${type.kind === "timestamp" ? type.precision : 6}))`;
  return `(${literal(mysqlCodec(type).encode(value.value))})`;
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
