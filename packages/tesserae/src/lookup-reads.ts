/** What the lookups read on shards by the federation's own means: a row of a key, and whether tables had rows before their lookups. */
import type { Kysely } from "kysely";
import type { Database } from "./engine/contract.ts";
import { toEngineError } from "./engine/engine-error.ts";
import type { LookupMarks } from "./lookups/lookup-marks.ts";
import type { LookupValue } from "./lookups/lookup-rows.ts";
import { absentLookupsOf, lookupsOf } from "./lookups/lookup-table.ts";
import type { SchemaModel, TableModel } from "./schema/model.ts";
import type { ApplyResult } from "./synchronizer/synchronizer.ts";

/** The key's row with the value. */
export async function readRow(
  session: Kysely<unknown>,
  table: string,
  column: string,
  value: LookupValue,
): Promise<Record<string, unknown> | undefined> {
  const db = session as Kysely<Record<string, Record<string, unknown>>>;
  return db.selectFrom(table).selectAll().where(column, "=", value).executeTakeFirst();
}

interface ListedShard {
  readonly id: number;
  readonly database: Database;
}

/** A lookup knows every row if its table had none: it was just made, or is empty on every shard. One that the schema has no more is not told of new rows, and knows every row no more. */
export async function markComplete(
  schema: SchemaModel,
  marks: LookupMarks,
  shards: readonly ListedShard[],
  { created }: ApplyResult,
): Promise<void> {
  await marks.forget(absentLookupsOf(schema));
  for (const lookup of lookupsOf(schema)) {
    if (await marks.isComplete(lookup)) continue;
    const isNew = ({ id }: ListedShard) =>
      created.some(
        (piece) => piece.kind === "table" && piece.table === lookup.table.name && piece.shard === id,
      );
    const known = await Promise.all(
      shards.map(async (shard) => isNew(shard) || (await isEmpty(shard, lookup.table))),
    );
    if (known.every((empty) => empty)) await marks.setComplete(lookup);
  }
}

async function isEmpty({ id, database }: ListedShard, { name }: TableModel): Promise<boolean> {
  const { dialect } = database.engine;
  const sql = `select 1 as found from ${dialect.quote(name)} limit 1`;
  try {
    return (await database.run({ sql, parameters: [], readOnly: true })).rows.length === 0;
  } catch (error) {
    throw toEngineError(error, dialect, { cluster: "shards", shard: id, table: name, sql });
  }
}
