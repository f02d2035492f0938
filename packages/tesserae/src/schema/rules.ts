/**
 * The rules of federation, each with its own code. A rule is refused at definition time, in poor man's mode too: what would
 * break on many servers must not work on one.
 */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import { describeType, KEY_BYTES_MAX, KEY_KINDS, type LogicalType, sameType } from "./logical-type.ts";
import type { ColumnModel, FederationModel, ForeignKeyModel, SchemaModel, TableModel } from "./model.ts";

/** InnoDB's limit on an index's bytes, with four bytes a character: the narrowest of the engines. */
const INDEX_BYTES_MAX = 3072;
const NAME_LENGTH_MAX = 60;
/** A federation's name is part of its control tables' names, which must fit too. */
const FEDERATION_NAME_LENGTH_MAX = 40;
const NAME_SHAPE = /^[a-z][a-z0-9_]*$/i;
const RESERVED_PREFIX = "tesserae_";

export function checkName(name: string, place: ErrorPlace): void {
  const lengthMax = place.federation === undefined ? NAME_LENGTH_MAX : FEDERATION_NAME_LENGTH_MAX;
  const problem = !NAME_SHAPE.test(name)
    ? "must begin with a letter and hold letters, digits and underscores only"
    : name.length > lengthMax
      ? `is longer than ${lengthMax} characters`
      : name.toLowerCase().startsWith(RESERVED_PREFIX)
        ? `begins with ${RESERVED_PREFIX}, which is kept for control tables`
        : undefined;
  if (problem === undefined) return;
  const where =
    place.column !== undefined
      ? `Column "${name}" of table "${place.table}"`
      : place.table !== undefined
        ? `Table "${name}"`
        : `Federation "${name}"`;
  throw new TesseraeError("SCHEMA_NAME_INVALID", `${where} ${problem}. Choose another name.`, place);
}

export function checkFederationKey(name: string, type: LogicalType): void {
  const place = { federation: name };
  if (!KEY_KINDS.has(type.kind)) {
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      `The key of federation "${name}" is ${describeType(type)}. A key is bigint(), text(n), uuid() or bytes(n).`,
      place,
    );
  }
  if (type.kind === "text" && type.caseInsensitive) {
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      `The key of federation "${name}" is case-insensitive. A key compares by its exact value; fold the case before you use it.`,
      place,
    );
  }
  const size = indexBytes(type);
  if (size === undefined || size > KEY_BYTES_MAX) {
    const advice = type.kind === "text" ? `text(${KEY_BYTES_MAX / 4})` : `bytes(${KEY_BYTES_MAX})`;
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      `The key of federation "${name}" may take more than ${KEY_BYTES_MAX} bytes. Give it a length: at most ${advice}.`,
      place,
    );
  }
}

export function checkTable(table: TableModel, federations: ReadonlyMap<string, FederationModel>): void {
  for (const column of table.columns) checkColumn(table, column);
  if (table.kind === "federated") checkDistributionColumn(table, federations);
  checkKeysAndIndexes(table);
  if (table.kind === "federated") checkKeyInUniques(table);
}

function checkColumn(table: TableModel, column: ColumnModel): void {
  const place = { table: table.name, column: column.name };
  const fail = (problem: string) =>
    new TesseraeError(
      "SCHEMA_COLUMN_INVALID",
      `Column "${column.name}" of table "${table.name}": ${problem}`,
      place,
    );
  const { type } = column;
  if (type.kind === "decimal") {
    const { precision, scale } = type;
    if (!Number.isInteger(precision) || precision < 1 || precision > 38)
      throw fail("a decimal's precision is a whole number from 1 to 38.");
    if (!Number.isInteger(scale) || scale < 0 || scale > precision || scale > 30)
      throw fail("a decimal's scale is a whole number from 0 to its precision, at most 30.");
  }
  if ((type.kind === "text" || type.kind === "bytes") && type.length !== undefined) {
    const max = type.kind === "text" ? 16_000 : 60_000;
    if (!Number.isInteger(type.length) || type.length < 1 || type.length > max)
      throw fail(`a length is a whole number from 1 to ${max}; leave it out for values of any length.`);
  }
  if (column.default?.kind === "now" && type.kind !== "timestamp")
    throw fail("defaultNow() is for timestamp columns.");
  if (
    column.default?.kind === "value" &&
    ((type.kind === "text" && type.length === undefined) ||
      (type.kind === "bytes" && type.length === undefined) ||
      type.kind === "json")
  ) {
    throw fail(
      `${describeType(type)} takes no default on every engine. Give the value on insert${type.kind === "json" ? "" : ", or the column a length"}.`,
    );
  }
  if (column.id?.kind === "autoIncrement" && table.kind !== "global") {
    throw new TesseraeError(
      "SCHEMA_AUTO_INCREMENT",
      `Column "${column.name}" of the ${table.kind} table "${table.name}" is auto-incremented: two shards would give the same id. Use .ticket(), .uuidv7() or a natural id.`,
      place,
    );
  }
  if (
    column.id?.kind === "autoIncrement" &&
    (table.primaryKey.length !== 1 || table.primaryKey[0] !== column.name)
  ) {
    throw fail("an auto-incremented column must be the whole primary key.");
  }
}

function checkDistributionColumn(table: TableModel, federations: ReadonlyMap<string, FederationModel>): void {
  const federation = federations.get(table.federation as string);
  if (federation === undefined) {
    const known = [...federations.keys()].map((name) => `"${name}"`).join(", ");
    throw new TesseraeError(
      "SCHEMA_FEDERATION_UNKNOWN",
      `Table "${table.name}" is on federation "${table.federation}", which the schema does not define. Known: ${known}. Say which with { federation: … }.`,
      { table: table.name, federation: table.federation },
    );
  }
  const place = { table: table.name, column: table.keyColumn, federation: federation.name };
  const column = table.column.get(table.keyColumn as string);
  if (column === undefined) {
    throw new TesseraeError(
      "SCHEMA_KEY_COLUMN_MISSING",
      `Table "${table.name}" is federated on "${table.keyColumn}" but has no such column. Add it: ${table.keyColumn}: ${describeType(federation.key)}.`,
      place,
    );
  }
  if (column.nullable) {
    throw new TesseraeError(
      "SCHEMA_KEY_COLUMN_NULLABLE",
      `Column "${column.name}" of table "${table.name}" is the distribution column and may not be null: a row without a key would live nowhere. Remove .nullable().`,
      place,
    );
  }
  if (!sameType(column.type, federation.key)) {
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      `Column "${column.name}" of table "${table.name}" is ${describeType(column.type)}, the key of federation "${federation.name}" is ${describeType(federation.key)}. Give both the same type.`,
      place,
    );
  }
}

function checkKeysAndIndexes(table: TableModel): void {
  if (table.primaryKey.length === 0 || table.primaryKey.some((name) => !table.column.has(name))) {
    const missing = table.primaryKey.find((name) => !table.column.has(name)) ?? "id";
    throw new TesseraeError(
      "SCHEMA_PRIMARY_KEY_MISSING",
      `Table "${table.name}" has no column "${missing}" for its primary key. Add the column, or say { primaryKey: [...] }.`,
      {
        table: table.name,
        column: missing,
      },
    );
  }
  const nullable = table.primaryKey.find((name) => table.column.get(name)?.nullable);
  if (nullable !== undefined)
    throw indexError(table, nullable, "is in the primary key and may not be null. Remove .nullable()");
  checkIndexColumns(table, "primary key", table.primaryKey);
  for (const index of table.uniques) checkIndexColumns(table, "unique key", index.columns);
  for (const index of table.indexes) checkIndexColumns(table, "index", index.columns);
  const names = new Set<string>();
  for (const { name, columns } of [...table.uniques, ...table.indexes]) {
    if (names.has(name))
      throw indexError(
        table,
        columns[0] as string,
        `begins two indexes over the same columns (${columns.join(", ")}). Remove one`,
      );
    names.add(name);
  }
}

function checkIndexColumns(table: TableModel, what: string, columns: readonly string[]): void {
  if (columns.length === 0)
    throw indexError(table, undefined, `has a ${what} without columns. Name at least one`);
  let size = 0;
  for (const name of columns) {
    const column = table.column.get(name);
    if (column === undefined)
      throw indexError(
        table,
        name,
        `is in the table's ${what}, but the table has no such column. Add it, or correct the name`,
      );
    const bytes = indexBytes(column.type);
    if (bytes === undefined)
      throw indexError(
        table,
        name,
        `is ${describeType(column.type)}, which not every engine can index. Give it a length, or leave it out of the ${what}`,
      );
    size += bytes;
  }
  if (new Set(columns).size !== columns.length)
    throw indexError(table, columns[0], `belongs to a ${what} that names a column twice. Name each once`);
  if (size > INDEX_BYTES_MAX)
    throw indexError(
      table,
      columns[0],
      `belongs to a ${what} of up to ${size} bytes; an index holds ${INDEX_BYTES_MAX} at most. Shorten its columns`,
    );
}

function indexError(table: TableModel, column: string | undefined, problem: string): TesseraeError {
  const subject =
    column === undefined ? `Table "${table.name}"` : `Column "${column}" of table "${table.name}"`;
  return new TesseraeError("SCHEMA_INDEX_INVALID", `${subject} ${problem}.`, { table: table.name, column });
}

function checkKeyInUniques(table: TableModel): void {
  const key = table.keyColumn as string;
  if (!table.primaryKey.includes(key)) {
    throw new TesseraeError(
      "SCHEMA_KEY_NOT_IN_PRIMARY_KEY",
      `The primary key (${table.primaryKey.join(", ")}) of federated table "${table.name}" leaves out "${key}": no shard could keep it unique. Use (${[key, ...table.primaryKey].join(", ")}).`,
      { table: table.name, column: key },
    );
  }
  for (const { columns } of table.uniques) {
    if (columns.includes(key)) continue;
    throw new TesseraeError(
      "SCHEMA_KEY_NOT_IN_UNIQUE",
      `The unique key (${columns.join(", ")}) of federated table "${table.name}" leaves out "${key}": one shard cannot see another's rows. ` +
        `Write unique: [[${[key, ...columns].map((name) => `"${name}"`).join(", ")}]] for unique within a key; for one column that is unique among all keys, .unique() on the column itself.`,
      { table: table.name, column: columns[0] },
    );
  }
}

/** Bytes a value of the type may take in an index; undefined where it cannot be in one on every engine. */
function indexBytes(type: LogicalType): number | undefined {
  switch (type.kind) {
    case "text":
      return type.length === undefined ? undefined : type.length * 4;
    case "bytes":
      return type.length;
    case "json":
      return undefined;
    case "decimal":
    case "uuid":
      return 20;
    default:
      return 8;
  }
}

export function checkSchema(model: SchemaModel): void {
  const lower = new Map<string, string>();
  for (const table of model.tables.values()) {
    const other = lower.get(table.name.toLowerCase());
    if (other !== undefined)
      throw new TesseraeError(
        "SCHEMA_NAME_INVALID",
        `Tables "${other}" and "${table.name}" differ in case only, which not every engine can tell apart. Rename one.`,
        { table: table.name },
      );
    lower.set(table.name.toLowerCase(), table.name);
    const columns = new Map<string, string>();
    for (const { name } of table.columns) {
      const twin = columns.get(name.toLowerCase());
      if (twin !== undefined)
        throw new TesseraeError(
          "SCHEMA_NAME_INVALID",
          `Columns "${twin}" and "${name}" of table "${table.name}" differ in case only. Rename one.`,
          { table: table.name, column: name },
        );
      columns.set(name.toLowerCase(), name);
    }
    for (const key of table.foreignKeys) checkForeignKey(model, table, key);
  }
}

function checkForeignKey(model: SchemaModel, table: TableModel, key: ForeignKeyModel): void {
  const place = { table: table.name, column: key.columns.at(-1) };
  const what = `The foreign key (${key.columns.join(", ")}) of table "${table.name}"`;
  const target = model.tables.get(key.table);
  if (target === undefined)
    throw new TesseraeError(
      "SCHEMA_FOREIGN_KEY_TARGET",
      `${what} refers to table "${key.table}", which the schema does not define.`,
      place,
    );
  checkForeignKeyClusters(table, target, what, place);
  checkForeignKeyColumns(table, target, key, what, place);
  if (table.kind === "federated" && target.kind === "federated") {
    const position = key.columns.indexOf(table.keyColumn as string);
    if (position < 0 || key.referencedColumns[position] !== target.keyColumn) {
      throw new TesseraeError(
        "SCHEMA_FOREIGN_KEY_WITHOUT_KEY",
        `${what} must carry the distribution key at the same position on both sides: ("${table.keyColumn}", …) → ("${target.keyColumn}", …). .references("${target.name}") does it by itself.`,
        place,
      );
    }
  }
}

function checkForeignKeyClusters(
  table: TableModel,
  target: TableModel,
  what: string,
  place: ErrorPlace,
): void {
  const allowed =
    table.kind === "federated"
      ? target.kind === "reference" || (target.kind === "federated" && target.federation === table.federation)
      : table.kind === target.kind;
  if (allowed) return;
  const detail =
    table.kind === "federated" && target.kind === "federated"
      ? `of federation "${target.federation}"`
      : `which is ${target.kind}`;
  throw new TesseraeError(
    "SCHEMA_FOREIGN_KEY_CLUSTERS",
    `${what} (${table.kind}) refers to table "${target.name}", ${detail}: they can live on different servers, where no database can check it. Keep the id without .references().`,
    place,
  );
}

function checkForeignKeyColumns(
  table: TableModel,
  target: TableModel,
  key: ForeignKeyModel,
  what: string,
  place: ErrorPlace,
): void {
  const fail = (problem: string) =>
    new TesseraeError("SCHEMA_FOREIGN_KEY_COLUMNS", `${what} ${problem}`, place);
  if (key.columns.length === 0 || key.columns.length !== key.referencedColumns.length)
    throw fail("must name as many columns as it refers to, at least one.");
  key.columns.forEach((name, index) => {
    const own = table.column.get(name);
    const other = target.column.get(key.referencedColumns[index] as string);
    if (own === undefined) throw fail(`names the column "${name}", which the table does not have.`);
    if (other === undefined)
      throw fail(`refers to "${target.name}.${key.referencedColumns[index]}", which does not exist.`);
    if (!sameType(own.type, other.type))
      throw fail(
        `compares "${name}" (${describeType(own.type)}) with "${target.name}.${other.name}" (${describeType(other.type)}). Give both the same type.`,
      );
    if (own.nullable === false && key.onDelete === "set null")
      throw fail(`sets "${name}" to null on delete, but the column may not be null.`);
  });
  const candidates = [target.primaryKey, ...target.uniques.map((index) => index.columns)];
  // The engines differ on column order and on partial matches; the exact list works on all.
  if (!candidates.some((columns) => columns.join() === key.referencedColumns.join())) {
    throw fail(
      `refers to (${key.referencedColumns.join(", ")}), which is neither the primary key nor a unique key of "${target.name}".`,
    );
  }
}
