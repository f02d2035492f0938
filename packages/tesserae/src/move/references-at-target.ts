/** Rows that refer to a reference table need its rows at the target: the move's own writes are not checked by foreign keys, so it is asked before the cut-over. */
import { TesseraeError } from "../base/errors.ts";
import type { ForeignKeyModel, TableModel } from "../schema/model.ts";
import type { MoveWork } from "./move-work.ts";
import { scopeCondition } from "./scope-condition.ts";

/** MOVE_REFERENCE_MISSING when a row at the target refers to nothing. */
export async function checkReferences(work: MoveWork): Promise<void> {
  const ownTables = new Set(work.parts.tables.map(({ name }) => name));
  for (const table of work.parts.tables) {
    for (const key of table.foreignKeys) {
      if (ownTables.has(key.table) || !(await hasOrphan(work, table, key))) continue;
      throw new TesseraeError(
        "MOVE_REFERENCE_MISSING",
        `Rows of table "${table.name}" refer to rows of the reference table "${key.table}" that shard ${work.target.shard} does not have. Publish it first: await fed.references.publish("${key.table}"). Move ${work.record.id} was turned back and the keys are served where they were.`,
        {
          cluster: "shards",
          shard: work.target.shard,
          table: table.name,
          federation: work.parts.federation.name,
        },
      );
    }
  }
}

async function hasOrphan(work: MoveWork, table: TableModel, key: ForeignKeyModel): Promise<boolean> {
  const { store } = work.target;
  const quote = (name: string) => store.dialect.quote(name);
  const { sql, parameters } = scopeCondition(work, "target", `t.${quote(table.keyColumn as string)}`);
  const isSet = key.columns.map((name) => `t.${quote(name)} is not null`).join(" and ");
  const same = key.columns
    .map((name, index) => `r.${quote(key.referencedColumns[index] as string)} = t.${quote(name)}`)
    .join(" and ");
  const { rows } = await store.run(
    `select 1 as found from ${quote(table.name)} t where ${sql} and ${isSet} and not exists (select 1 from ${quote(key.table)} r where ${same}) limit 1`,
    parameters,
  );
  return rows.length > 0;
}
