/**
 * Whether keys move, of any federation. While a move is not finished its rows may lie on two shards. Two markers that are equal, with nothing under way, say that every row was in one
 * place from the one to the other: a move that began in between has a larger id, and keeps its row when it has ended.
 */
import { MOVES_TABLE, movesTable } from "../directory/control-tables.ts";
import { type ControlStore, RowCodec } from "../engine/control-store.ts";

export interface MovesMarker {
  /** The largest id of all moves, 0 before the first. */
  readonly last: bigint;
  /** One of the moves under way. */
  readonly underWay: bigint | undefined;
}

export async function readMovesMarker(control: ControlStore): Promise<MovesMarker> {
  const codec = new RowCodec(control.dialect, movesTable());
  const sql =
    `select (select max(id) from ${MOVES_TABLE}) as last_id, ` +
    `(select min(id) from ${MOVES_TABLE} where finished is null) as under_way`;
  const [row] = (await control.read(sql, [])).rows;
  const id = (raw: unknown) =>
    raw === null || raw === undefined ? undefined : (codec.decode("id", raw) as bigint);
  return { last: id(row?.["last_id"]) ?? 0n, underWay: id(row?.["under_way"]) };
}
