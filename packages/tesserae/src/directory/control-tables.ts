/**
 * The control tables of main, as table models. `tesserae_directory_<federation>` is the only authority on where a key lives: points (one
 * key, in `low`) and ranges (`low` inclusive to `high` exclusive, null unbounded). `tesserae_feed` tells every process which keys' routes
 * changed. `tesserae_tickets` holds the ticket counters of poor man's mode, `tesserae_sequences` the counters of columns with `.table()`. `tesserae_meta` holds versions, the feed's last number and the rows that are
 * locked to change the layout of a federation.
 */
import {
  controlColumn,
  controlTable,
  metaTable,
  sequencesTable,
  ticketsTable,
} from "../engine/control-tables.ts";
import { derivedName } from "../schema/define-schema.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { FederationModel, TableModel } from "../schema/model.ts";

export const FEED_TABLE = "tesserae_feed";

export const directoryTableName = (federation: string): string => `tesserae_directory_${federation}`;

/** The row of `tesserae_meta` that holds the feed's last number, and is locked to draw the next. */
export const FEED_META = "feed";

/** The row of `tesserae_meta` that is locked for sharing to add a key, and alone to add a range: so neither misses the other. */
export const layoutMeta = (federation: string): string => `directory_layout_${federation}`;

const shortText = (length: number): LogicalType => ({ kind: "text", length, caseInsensitive: false });
const bigintType: LogicalType = { kind: "bigint" };

export function directoryTable(federation: FederationModel): TableModel {
  const name = directoryTableName(federation.name);
  return controlTable(
    name,
    [
      controlColumn("kind", shortText(1)),
      controlColumn("low", federation.key),
      controlColumn("high", federation.key, { nullable: true }),
      controlColumn("shard", { kind: "int" }),
      controlColumn("epoch", bigintType),
      controlColumn("state", shortText(10)),
      controlColumn("token", bigintType),
      controlColumn("updated", { kind: "timestamp", precision: 3 }),
    ],
    ["kind", "low"],
    // By shard and state: lists and counts of a shard, and what is under way, without reading the whole table.
    [{ name: derivedName([name, "shard"]), columns: ["shard", "state", "kind", "low"] }],
  );
}

export function feedTable(): TableModel {
  return controlTable(
    FEED_TABLE,
    [
      controlColumn("number", bigintType),
      controlColumn("federation", shortText(60)),
      controlColumn("kind", shortText(1)),
      // The key as text (`KeyCodec.toText`): one table serves federations of every key type.
      controlColumn("low", { kind: "text", length: undefined, caseInsensitive: false }),
      controlColumn("at", { kind: "timestamp", precision: 3 }),
    ],
    ["number"],
  );
}

export const MOVES_TABLE = "tesserae_moves";

/** The row of `tesserae_meta` that moves draw their tokens from; the first token of a move is its id. */
export const MOVE_TOKEN_META = "move_token";

/** The moves of all federations, under way and ended. What is under way has no `finished`. */
export function movesTable(): TableModel {
  const longText: LogicalType = { kind: "text", length: undefined, caseInsensitive: false };
  const moment: LogicalType = { kind: "timestamp", precision: 3 };
  return controlTable(
    MOVES_TABLE,
    [
      controlColumn("id", bigintType),
      controlColumn("federation", shortText(60)),
      controlColumn("kind", shortText(10)),
      controlColumn("source", { kind: "int" }),
      controlColumn("target", { kind: "int" }),
      controlColumn("step", shortText(10)),
      controlColumn("token", bigintType),
      // What somebody wants of whoever runs the move: run, pause or abort.
      controlColumn("wanted", shortText(10)),
      // Who runs it; null: nobody, and whoever likes may take it up.
      controlColumn("runner", shortText(100), { nullable: true }),
      controlColumn("members", longText),
      controlColumn("progress", longText),
      controlColumn("error", longText, { nullable: true }),
      controlColumn("created", moment),
      controlColumn("updated", moment),
      controlColumn("finished", moment, { nullable: true }),
    ],
    ["id"],
    [{ name: derivedName([MOVES_TABLE, "finished"]), columns: ["finished", "id"] }],
  );
}

/** All control tables of main. */
export function mainControlTables(federations: Iterable<FederationModel>): TableModel[] {
  return [
    metaTable(),
    feedTable(),
    ticketsTable(),
    sequencesTable(),
    movesTable(),
    ...[...federations].map(directoryTable),
  ];
}
