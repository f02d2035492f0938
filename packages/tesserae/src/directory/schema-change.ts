/**
 * A change of the schema and a move exclude each other: a move knows the tables that were there when it began. Whoever changes the schema writes a mark
 * and then looks for moves; a move is written and then looks for the mark. So at least one of the two sees the other.
 */
import { isTesseraeError } from "../base/errors.ts";
import { type ControlStore, RowCodec } from "../engine/control-store.ts";
import { META_TABLE, metaTable } from "../engine/control-tables.ts";
import { lockMeta } from "./change-feed.ts";

const SCHEMA_CHANGE_META = "schema_change";
const meta = metaTable();

/** Sets or takes away the mark. Where there are no control tables yet there are no moves either. */
export async function markSchemaChange(control: ControlStore, changing: boolean): Promise<void> {
  const codec = new RowCodec(control.dialect, meta);
  try {
    await control.transaction(async (transaction) => {
      await lockMeta(transaction, control, SCHEMA_CHANGE_META, "", "alone");
      await transaction.run(`update ${META_TABLE} set value = ? where name = ?`, [
        codec.encode("value", changing ? new Date().toISOString() : ""),
        codec.encode("name", SCHEMA_CHANGE_META),
      ]);
    });
  } catch (error) {
    if (!isTesseraeError(error, "SCHEMA_NOT_APPLIED")) throw error;
  }
}

/** Since when somebody changes the schema, as text; undefined: nobody does. */
export async function schemaChangesSince(control: ControlStore): Promise<string | undefined> {
  const codec = new RowCodec(control.dialect, meta);
  const { rows } = await control.read(`select value from ${META_TABLE} where name = ?`, [
    codec.encode("name", SCHEMA_CHANGE_META),
  ]);
  const value = rows[0] === undefined ? "" : (codec.decode("value", rows[0]["value"]) as string);
  return value === "" ? undefined : value;
}
