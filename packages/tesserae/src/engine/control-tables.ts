/**
 * The control tables of a shard, as table models: the same DDL writer makes them. They stand here, on the engine's floor,
 * because the guard's triggers read them.
 *
 * `tesserae_residence_<federation>`: the shard's own copy of what lives here. `kind` is `p` (a point: one key, in `low`) or `r` (a range from
 * `low`, inclusive, to `high`, exclusive; null is unbounded). A range without lower bound has the smallest value of the key's type as `low`. A
 * point wins over the range around it.
 * `tesserae_log_<federation>`: the guard's change log of keys in state `leaving`: table and primary key (as JSON text) of each changed row.
 * `tesserae_meta`: versions and fingerprints by name.
 */
import { derivedName } from "../schema/define-schema.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { ColumnModel, FederationModel, IndexModel, TableModel } from "../schema/model.ts";

/** The version of all control tables; raised with each change of their layout. */
export const CONTROL_VERSION = 3;

/** The version where main has lookups. A library that knows none would write rows without them, and must refuse; without lookups it does no harm. */
export const CONTROL_VERSION_WITH_LOOKUPS = 4;

export const META_TABLE = "tesserae_meta";

/** The lookups' tables in main: this, and the names of table and column. */
export const LOOKUP_TABLE_PREFIX = "tesserae_lookup";

/** The row of main's `tesserae_meta` with the id of the installation. */
export const INSTALLATION_META = "installation";
/** Which shard of which installation a database is. */
export const SHARD_META = "shard";

export const residenceTableName = (federation: string): string => `tesserae_residence_${federation}`;
export const logTableName = (federation: string): string => `tesserae_log_${federation}`;

/** `arriving` → `here` → `leaving` → `frozen` → `gone`. Writes pass in `here` and `leaving` alone. */
export type ResidenceState = "arriving" | "here" | "leaving" | "frozen" | "gone";

const shortText = (length: number): LogicalType => ({ kind: "text", length, caseInsensitive: false });

function column(name: string, type: LogicalType, options: Partial<ColumnModel> = {}): ColumnModel {
  return { name, type, nullable: false, default: undefined, id: undefined, ...options };
}

/** A control table's model from its columns; control tables are global tables without foreign keys. */
export function controlTable(
  name: string,
  columns: readonly ColumnModel[],
  primaryKey: readonly string[],
  indexes: readonly IndexModel[] = [],
): TableModel {
  return Object.freeze({
    name,
    kind: "global" as const,
    federation: undefined,
    keyColumn: undefined,
    columns,
    column: new Map(columns.map((entry) => [entry.name, entry])),
    primaryKey,
    uniques: [],
    indexes,
    foreignKeys: [],
    lookups: [],
  });
}

export const controlColumn = column;

export function metaTable(): TableModel {
  return controlTable(
    META_TABLE,
    [column("name", shortText(120)), column("value", shortText(4000))],
    ["name"],
  );
}

export function residenceTable(federation: FederationModel): TableModel {
  return controlTable(
    residenceTableName(federation.name),
    [
      column("kind", shortText(1)),
      column("low", federation.key),
      column("high", federation.key, { nullable: true }),
      column("epoch", { kind: "bigint" }),
      column("state", shortText(10)),
      column("token", { kind: "bigint" }, { default: { kind: "value", value: 0n } }),
    ],
    ["kind", "low"],
  );
}

export function logTable(federation: FederationModel): TableModel {
  return controlTable(
    logTableName(federation.name),
    [
      column("id", { kind: "bigint" }, { id: { kind: "autoIncrement" } }),
      column("key_value", federation.key),
      column("table_name", shortText(64)),
      column("primary_key", { kind: "text", length: undefined, caseInsensitive: false }),
    ],
    ["id"],
    // A move reads its own keys' entries, beside those of other moves.
    [{ name: derivedName([logTableName(federation.name), "key"]), columns: ["key_value", "id"] }],
  );
}

export const TICKETS_TABLE = "tesserae_tickets";

/** What version 3 of the control tables added to `tesserae_tickets`. A counter of before is one of generation 0, which counts in steps of 1. */
export const TICKET_COLUMNS_OF_VERSION_3: readonly ColumnModel[] = [
  column("step", { kind: "bigint" }, { default: { kind: "value", value: 1n } }),
  column("generation", { kind: "bigint" }, { default: { kind: "value", value: 0n } }),
  column("closed_id", { kind: "bigint" }, { nullable: true }),
];

/**
 * The ticket counters of main, or of a ticket server: one row a sequence, with the next id that nobody has leased. `generation` says which set of servers may
 * lease from the row; below 0 nobody may. `closed_id` is the `next_id` that the row had when it was closed.
 */
export function ticketsTable(): TableModel {
  return controlTable(
    TICKETS_TABLE,
    [column("name", shortText(120)), column("next_id", { kind: "bigint" }), ...TICKET_COLUMNS_OF_VERSION_3],
    ["name"],
  );
}

export const SEQUENCES_TABLE = "tesserae_sequences";

/** The counters of columns with `.table()`, in main alone: one row a sequence, with the next id that nobody has taken. */
export function sequencesTable(): TableModel {
  return controlTable(
    SEQUENCES_TABLE,
    [column("name", shortText(120)), column("next_id", { kind: "bigint" })],
    ["name"],
  );
}

/** All control tables of a ticket server. */
export function ticketServerTables(): TableModel[] {
  return [metaTable(), ticketsTable()];
}

/** All control tables of a shard. */
export function shardControlTables(federations: Iterable<FederationModel>): TableModel[] {
  return [
    metaTable(),
    ...[...federations].flatMap((federation) => [residenceTable(federation), logTable(federation)]),
  ];
}

/** The smallest value of a key type: the `low` of a range that is unbounded below. */
export function smallestKey(type: LogicalType): bigint | string | Uint8Array {
  switch (type.kind) {
    case "bigint":
      return -(2n ** 63n);
    case "uuid":
      return "00000000-0000-0000-0000-000000000000";
    case "bytes":
      return new Uint8Array(0);
    default:
      return "";
  }
}
