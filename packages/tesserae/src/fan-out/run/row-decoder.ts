/** The rows of a shard as arrays of logical values, in the order of the plan's columns: what the merge works on. */
import type { EngineDialect, RawRow } from "../../engine/contract.ts";
import { SUM_OF_INTEGERS } from "../../session/expression-types.ts";
import type { StatementPlan } from "../../session/statement-plan.ts";
import type { PlanColumn } from "../fan-out-plan.ts";

export type RowDecoder = (rows: readonly RawRow[]) => unknown[][];

/** `shard` is put behind the other values, where its number is asked for. */
export function rowDecoder(
  columns: readonly PlanColumn[],
  plan: StatementPlan,
  dialect: EngineDialect,
  shard: number | undefined,
): RowDecoder {
  const width = columns.length;
  const length = shard === undefined ? width : width + 1;
  const readers = columns.map(({ name, type }) => {
    // A whole sum must fit into 64 bits, which the statement's own plan sees to; a shard's part of one need not, and has another type.
    const codec = type === undefined || type === SUM_OF_INTEGERS ? undefined : dialect.codec(type);
    const decode = codec === undefined ? plan.decoderOf(name) : (raw: unknown) => codec.decode(raw);
    return { name, decode };
  });
  return (rows) => {
    const decoded = new Array<unknown[]>(rows.length);
    for (let row = 0; row < rows.length; row++) {
      const values = new Array<unknown>(length);
      if (shard !== undefined) values[width] = shard;
      decoded[row] = values;
    }
    // Column by column, so that the engine of JavaScript meets one name and one type of value for a while.
    for (let column = 0; column < width; column++) {
      const { name, decode } = readers[column] as (typeof readers)[number];
      for (let row = 0; row < rows.length; row++) {
        const raw = (rows[row] as RawRow)[name];
        (decoded[row] as unknown[])[column] = raw === undefined || raw === null ? null : decode(raw);
      }
    }
    return decoded;
  };
}
