/** What is looked at before a move writes anything: that both shards have the schema, the rights, the room, and that nothing is in the way at the target. */

import { TesseraeError } from "../base/errors.ts";
import type { ResidenceRow } from "../directory/residence-rows.ts";
import { logTableName, residenceTableName } from "../engine/control-tables.ts";
import { toEngineError } from "../engine/engine-error.ts";
import { bytesOfRow } from "../engine/transfer-values.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import { scopeOf } from "./member-condition.ts";
import type { Member } from "./move-record.ts";
import type { MoveParts, ShardEnd } from "./move-work.ts";
import { refuseOverlaps } from "./range-overlaps.ts";
import { scopeCondition } from "./scope-condition.ts";
import { withConnection } from "./shard-ends.ts";

export interface PreflightOptions {
  /** Rejects when a shard is not the one that it should be, or lacks tables of the schema. */
  checkShard(shard: number): Promise<void>;
}

/** MOVE_SAME_SHARD is the caller's to look for: what is to move may be there in part. */
export async function preflight(
  parts: MoveParts,
  members: readonly Member[],
  ends: { readonly source: number; readonly target: number },
  options: PreflightOptions,
): Promise<void> {
  await Promise.all([options.checkShard(ends.source), options.checkShard(ends.target)]);
  const source = parts.end(ends.source);
  const target = parts.end(ends.target);
  await checkRights(parts, source);
  await checkRights(parts, target);
  await checkReferencesRight(parts, target);
  await checkReferencesRight(parts, source);
  await checkTarget(parts, members, target);
  await checkRoom(parts, members, source, target);
}

/** Statements that change nothing need the same rights as those that do. */
async function checkRights(parts: MoveParts, end: ShardEnd): Promise<void> {
  const { dialect } = end.store;
  const names = [
    residenceTableName(parts.federation.name),
    logTableName(parts.federation.name),
    ...parts.tables.map(({ name }) => name),
  ];
  for (const name of names) {
    const table = dialect.quote(name);
    for (const sql of [
      `delete from ${table} where 1 = 0`,
      `insert into ${table} select * from ${table} where 1 = 0`,
    ]) {
      try {
        await end.database.run({ sql, parameters: [], prepare: false });
      } catch (error) {
        const failure = toEngineError(error, dialect, { cluster: "shards", shard: end.shard, table: name });
        // Somebody writes, and the move itself waits for that.
        if (failure.code === "LOCK_TIMEOUT") continue;
        if (failure.code !== "QUERY_FAILED") throw failure;
        throw new TesseraeError(
          "MOVE_RIGHTS",
          `Shard ${end.shard} does not let this login write table "${name}": ${failure.message}. A move needs select, insert, update and delete on it.`,
          { cluster: "shards", shard: end.shard, table: name, cause: failure.cause },
        );
      }
    }
  }
}

/** Rows arrive in an order in which references hold only in the end; where the login cannot leave their check out, tables that refer to each other cannot move. */
async function checkReferencesRight(parts: MoveParts, end: ShardEnd): Promise<void> {
  const referring = parts.tables.find(({ foreignKeys }) => foreignKeys.length > 0);
  if (referring === undefined || (await parts.uncheckedReferences(end))) return;
  throw new TesseraeError(
    "MOVE_RIGHTS",
    `Table "${referring.name}" has foreign keys, and on shard ${end.shard} this login may not leave their check to the end of a move. As a superuser of that server, run: grant set on parameter session_replication_role to <the login> (PostgreSQL 15 or later).`,
    { cluster: "shards", shard: end.shard, table: referring.name },
  );
}

/** Rows of a table that are looked at to guess the size of all. */
const SAMPLE_ROWS = 200;

/** DISK_FULL where the target tells how much room it has, and the rows' values alone take more. */
async function checkRoom(
  parts: MoveParts,
  members: readonly Member[],
  source: ShardEnd,
  target: ShardEnd,
): Promise<void> {
  const free = await target.database.engine.freeBytes?.();
  if (free === undefined) return;
  const transfer = parts.transferBetween(source, target);
  const scope = scopeOf(parts.federation.name, members);
  const place = { cluster: "shards", shard: source.shard, federation: parts.federation.name };
  const bytes = await withConnection(source.database, place, async (connection) => {
    let sum = 0;
    for (const table of parts.tables) {
      const slice = { table, scope };
      const upTo = await transfer.boundary(connection, slice, SAMPLE_ROWS);
      const keys = [...(await transfer.primaryKeysOf("source", connection, { ...slice, upTo })).keys()];
      const rows = await transfer.read(
        "source",
        connection,
        table,
        keys.map((key) => transfer.parseLogKey(table, key)),
      );
      if (rows.length === 0) continue;
      const sampled = rows.reduce((total, row) => total + bytesOfRow(row), 0);
      sum += (sampled / rows.length) * (await transfer.count("source", connection, slice));
    }
    return sum;
  });
  if (bytes <= free) return;
  const mebibytes = (value: number) => `${(value / 2 ** 20).toFixed(1)} MiB`;
  throw new TesseraeError(
    "DISK_FULL",
    `Shard ${target.shard} has ${mebibytes(free)} of room, and what is to move there takes at least ${mebibytes(bytes)}. Make room on its disk, or move less.`,
    { cluster: "shards", shard: target.shard, federation: parts.federation.name },
  );
}

async function checkTarget(parts: MoveParts, members: readonly Member[], target: ShardEnd): Promise<void> {
  const { keys, federation } = parts;
  const present = await target.residences.find(members);
  for (const row of present) {
    if (row.state === "gone" || row.state === "arriving") continue;
    throw new TesseraeError(
      "RESIDENCE_CONFLICT",
      `Key ${keys.show(row.low)} is ${row.state} on shard ${target.shard}, and main's directory says it lives elsewhere: main was restored from an older state, or the shard belongs to another installation. Compare them before you go on.`,
      { cluster: "shards", shard: target.shard, federation: federation.name, key: keys.toText(row.low) },
    );
  }
  for (const member of members)
    if (member.kind === "r") await refuseOverlaps(parts, target, target.store, member);
  // What a residence tells of was left by an earlier move, and goes when this one begins. Other rows are somebody's.
  const known = new Set(present.map(({ low }) => keys.cacheKey(low)));
  const unexplained = members.filter(({ low }) => !known.has(keys.cacheKey(low)));
  const unknown = await withoutRangesThatLeft(parts, unexplained, target);
  if (unknown.length === 0) return;
  const scope = scopeOf(parts.federation.name, unknown);
  for (const table of parts.tables) {
    const column = target.store.dialect.quote(table.keyColumn as string);
    const { sql, parameters } = scopeCondition({ end: () => target, parts, scope }, "target", column);
    const found = await target.store.run(
      `select 1 as found from ${target.store.dialect.quote(table.name)} where ${sql} limit 1`,
      parameters,
    );
    if (found.rows.length === 0) continue;
    throw new TesseraeError(
      "MOVE_TARGET_NOT_EMPTY",
      `Shard ${target.shard} has rows in table "${table.name}" of what is to move there, and no move has left them: they were restored or written past the guard. Look at them, and delete them or keep them elsewhere, before you move.`,
      { cluster: "shards", shard: target.shard, federation: federation.name, table: table.name },
    );
  }
}

/** The members around which the target has no range that has `gone`: what it has left, its purge still to come, goes when the move begins. */
async function withoutRangesThatLeft(
  { keys }: MoveParts,
  members: readonly Member[],
  target: ShardEnd,
): Promise<readonly Member[]> {
  const [lowest] = [...members].sort((a, b) => keys.compare(a.low, b.low));
  if (lowest === undefined) return [];
  const ranges = await target.residences.overlapping(target.store, lowest.low, null);
  const left = ranges.filter(({ state }) => state === "gone");
  const isAround = ({ low, high }: ResidenceRow, key: KeyValue) =>
    keys.compare(low, key) <= 0 && (high === null || keys.compare(key, high) < 0);
  return members.filter((member) => !left.some((range) => isAround(range, member.low)));
}
