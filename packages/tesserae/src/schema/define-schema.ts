/**
 * `defineSchema`: turns the definitions into the checked model. Every rule of federation that can be broken in a definition
 * is checked here, so that a schema which passes can be spread over many servers without a change. The rules are in `rules.ts`.
 */
import { TesseraeError } from "../base/errors.ts";
import { Column, type IdSource } from "./column.ts";
import { checkLookups } from "./lookup-rules.ts";
import {
  type ColumnModel,
  DEFAULT_FEDERATION,
  type FederationModel,
  type ForeignKeyModel,
  type IdModel,
  type IndexModel,
  type SchemaModel,
  type TableModel,
} from "./model.ts";
import type { KeyColumn, Tables } from "./row-types.ts";
import { checkFederationKey, checkName, checkSchema, checkTable } from "./rules.ts";
import { checkTableSequences } from "./sequence-rules.ts";
import type { AnyColumn, FederatedOptions, TableDefinition } from "./table.ts";

/** A schema as `defineSchema` returns it: the model, and the definitions for the row types. */
export interface Schema<
  T extends Tables = Tables,
  F extends Readonly<Record<string, KeyColumn>> = Readonly<Record<string, KeyColumn>>,
> {
  readonly model: SchemaModel;
  /** Types only. */
  readonly $tables: T;
  /** Types only. */
  readonly $federations: F;
}

/**
 * Defines a schema with one federation (`key`), or with several (`federations`). Raises a `SCHEMA_…` error that names the table and the column
 * for each rule that is broken; the first one found is raised.
 *
 * @example
 * ```ts
 * import { bigint, defineSchema, federated, global, text } from "tesserae";
 *
 * const schema = defineSchema({
 *   key: bigint(),
 *   tables: {
 *     users: global({ id: bigint().ticket(), name: text(64).unique() }),
 *     notes: federated("user_id", { id: bigint().ticket(), user_id: bigint(), body: text() }),
 *   },
 * });
 * ```
 */
export function defineSchema<const T extends Tables, K extends KeyColumn>(definition: {
  readonly key: K;
  readonly tables: T;
}): Schema<T, { readonly default: K }>;
export function defineSchema<
  const T extends Tables,
  const F extends Readonly<Record<string, KeyColumn>>,
>(definition: { readonly federations: F; readonly tables: T }): Schema<T, F>;
export function defineSchema(definition: {
  readonly key?: KeyColumn;
  readonly federations?: Readonly<Record<string, KeyColumn>>;
  readonly tables: Tables;
}): Schema {
  checkDefinition(definition);
  const federations = readFederations(definition);
  const unordered = new Map<string, TableModel>();
  for (const [name, table] of Object.entries(definition.tables)) {
    checkName(name, { table: name });
    unordered.set(name, readTable(name, table));
  }
  const tables = new Map<string, TableModel>();
  for (const [name, table] of unordered) {
    const complete = Object.freeze({
      ...table,
      foreignKeys: readForeignKeys(table, definition.tables[name] as TableDefinition, unordered),
    });
    checkTable(complete, federations);
    checkLookups(complete);
    tables.set(name, complete);
  }
  const model: SchemaModel = Object.freeze({ federations, tables: inReferenceOrder(tables) });
  checkSchema(model);
  checkTableSequences(model);
  return Object.freeze({
    model,
    $tables: definition.tables,
    $federations: definition.federations ?? { default: definition.key as KeyColumn },
  });
}

const TABLE_OPTIONS: ReadonlySet<string> = new Set([
  "primaryKey",
  "indexes",
  "unique",
  "foreignKeys",
  "federation",
  "lookup",
]);

/** What TypeScript refuses, for callers without it: a misspelt option would otherwise be ignored. */
function checkDefinition(definition: Readonly<Record<string, unknown>>): void {
  const stray = Object.keys(definition).find(
    (name) => name !== "key" && name !== "federations" && name !== "tables",
  );
  if (stray !== undefined)
    throw invalid(`defineSchema takes key or federations, and tables; it knows no "${stray}".`);
  if (typeof definition["tables"] !== "object" || definition["tables"] === null)
    throw invalid("defineSchema needs tables: { … }.");
  for (const [name, table] of Object.entries(
    definition["tables"] as Readonly<Record<string, Partial<TableDefinition>>>,
  )) {
    if (table?.columns === undefined || table.options === undefined) {
      throw invalid(
        `Table "${name}" is no table. Make it with global(…), reference(…) or federated(…).`,
        name,
      );
    }
    const option = Object.keys(table.options).find((key) => !TABLE_OPTIONS.has(key));
    if (option !== undefined)
      throw invalid(
        `Table "${name}" has an option "${option}", which does not exist. Known: ${[...TABLE_OPTIONS].join(", ")}.`,
        name,
      );
    for (const [column, value] of Object.entries<unknown>(table.columns)) {
      if (!(value instanceof Column))
        throw invalid(
          `Column "${column}" of table "${name}" is no column. Write ${column}: text(64), bigint(), …`,
          name,
          column,
        );
    }
  }
}

function invalid(message: string, table?: string, column?: string): TesseraeError {
  return new TesseraeError("SCHEMA_DEFINITION_INVALID", message, { table, column });
}

function readFederations(definition: {
  readonly key?: KeyColumn;
  readonly federations?: Readonly<Record<string, KeyColumn>>;
}): Map<string, FederationModel> {
  const { key, federations } = definition;
  if ((key === undefined) === (federations === undefined)) {
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      "Give defineSchema either `key` (one federation) or `federations` (several, by name), not both and not neither.",
    );
  }
  const columns = federations ?? { [DEFAULT_FEDERATION]: key as KeyColumn };
  const result = new Map<string, FederationModel>();
  for (const [name, column] of Object.entries(columns)) {
    checkName(name, { federation: name });
    checkFederationKey(name, column.spec.type);
    result.set(name, Object.freeze({ name, key: column.spec.type }));
  }
  if (result.size === 0)
    throw new TesseraeError(
      "SCHEMA_KEY_TYPE",
      "`federations` names no federation. Name at least one: federations: { users: bigint() }.",
    );
  return result;
}

function readTable(name: string, table: TableDefinition): TableModel {
  const columns = Object.entries<AnyColumn>(table.columns).map(([columnName, column]) =>
    readColumn(name, columnName, column),
  );
  const keyColumn = table.kind === "federated" ? table.on : undefined;
  const primaryKey =
    table.options.primaryKey ?? (keyColumn === undefined || keyColumn === "id" ? ["id"] : [keyColumn, "id"]);
  const unique = Object.entries<AnyColumn>(table.columns)
    .filter(([, column]) => column.spec.unique)
    .map(([columnName]) => columnName);
  // On a federated table a shard keeps the value unique within the key, and main among the keys.
  const acrossKeys = keyColumn === undefined ? [] : unique.filter((columnName) => columnName !== keyColumn);
  const uniqueColumns = unique
    .map((columnName) => (acrossKeys.includes(columnName) ? [keyColumn as string, columnName] : [columnName]))
    .filter((list) => keyColumn === undefined || list.join() !== primaryKey.join());
  return Object.freeze({
    name,
    kind: table.kind,
    federation: table.kind === "federated" ? (table.options.federation ?? DEFAULT_FEDERATION) : undefined,
    keyColumn,
    columns,
    column: new Map(columns.map((column) => [column.name, column])),
    primaryKey,
    uniques: [...uniqueColumns, ...(table.options.unique ?? [])].map((list) => readIndex(name, list, "key")),
    indexes: (table.options.indexes ?? []).map((list) => readIndex(name, list, "idx")),
    foreignKeys: [],
    lookups: Object.freeze([
      ...new Set([...((table.options as FederatedOptions).lookup ?? []), ...acrossKeys]),
    ]),
  });
}

function readColumn(table: string, name: string, column: AnyColumn): ColumnModel {
  checkName(name, { table, column: name });
  const { type, nullable, id } = column.spec;
  return Object.freeze({ name, type, nullable, default: column.spec.default, id: readId(table, name, id) });
}

function readId(table: string, column: string, id: IdSource | undefined): IdModel | undefined {
  if (id?.kind === "ticket") return { kind: "ticket", sequence: id.sequence ?? table };
  if (id?.kind !== "table") return id;
  const whole = (name: "start" | "step"): bigint => {
    const value = id[name] ?? 1n;
    if (typeof value === "bigint" || Number.isSafeInteger(value)) return BigInt(value);
    throw invalid(
      `Column "${column}" of table "${table}": the ${name} of .table() is ${String(value)}. Give a whole number.`,
      table,
      column,
    );
  };
  return { kind: "table", sequence: id.sequence ?? table, start: whole("start"), step: whole("step") };
}

function readIndex(table: string, columns: readonly string[], suffix: string): IndexModel {
  return Object.freeze({ name: derivedName([table, ...columns, suffix]), columns });
}

/**
 * `references("sheets")` on a federated table carries the key: (user_id, sheet_id) → (user_id, id), since `id` alone is unique
 * nowhere on a shard.
 */
function readForeignKeys(
  table: TableModel,
  definition: TableDefinition,
  tables: ReadonlyMap<string, TableModel>,
): ForeignKeyModel[] {
  const fromColumns = Object.entries<AnyColumn>(definition.columns).flatMap(([name, column]) => {
    const reference = column.spec.references;
    if (reference === undefined) return [];
    const target = tables.get(reference.table);
    const referenced = reference.column ?? "id";
    const carriesKey =
      target?.kind === "federated" &&
      table.kind === "federated" &&
      target.federation === table.federation &&
      name !== table.keyColumn;
    return [
      {
        columns: carriesKey ? [table.keyColumn as string, name] : [name],
        table: reference.table,
        referencedColumns: carriesKey ? [target.keyColumn as string, referenced] : [referenced],
        onDelete: reference.onDelete,
        onUpdate: reference.onUpdate,
      },
    ];
  });
  const fromOptions = (definition.options.foreignKeys ?? []).map((key) => ({
    columns: key.columns,
    table: key.references.table,
    referencedColumns: key.references.columns,
    onDelete: key.onDelete ?? ("no action" as const),
    onUpdate: key.onUpdate ?? ("no action" as const),
  }));
  return [...fromColumns, ...fromOptions].map((key) =>
    Object.freeze({ name: derivedName([table.name, ...key.columns, "fkey"]), ...key }),
  );
}

/** A name of at most 60 characters; a longer one is cut and ends with a checksum of the whole, so that two long names stay two. */
export function derivedName(parts: readonly string[]): string {
  const name = parts.join("_");
  if (name.length <= 60) return name;
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return `${name.slice(0, 51)}_${hash.toString(16).padStart(8, "0")}`;
}

/** Tables after those they refer to; tables that refer to each other keep the order of the definition. */
function inReferenceOrder(tables: ReadonlyMap<string, TableModel>): Map<string, TableModel> {
  const ordered = new Map<string, TableModel>();
  const visiting = new Set<string>();
  const visit = (table: TableModel): void => {
    if (ordered.has(table.name) || visiting.has(table.name)) return;
    visiting.add(table.name);
    for (const key of table.foreignKeys) {
      const target = tables.get(key.table);
      if (target !== undefined) visit(target);
    }
    ordered.set(table.name, table);
  };
  for (const table of tables.values()) visit(table);
  return ordered;
}
