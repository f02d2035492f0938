/** The rules of columns whose ids come from a named counter: `.table({ sequence, start, step })`. */
import { TesseraeError } from "../base/errors.ts";
import { type IdModel, idMax, type SchemaModel } from "./model.ts";

type TableSequence = IdModel & { readonly kind: "table" };

/** What the counters' table has room for. */
const SEQUENCE_NAME_LENGTH_MAX = 120;

/** Each sequence fits its column, and columns that share one say the same of it: otherwise whoever came first would decide. */
export function checkTableSequences(model: SchemaModel): void {
  const known = new Map<string, { readonly where: string; readonly id: TableSequence }>();
  for (const table of model.tables.values()) {
    for (const { name, type, id } of table.columns) {
      if (id?.kind !== "table") continue;
      const place = { table: table.name, column: name };
      const problem = problemOf(id, idMax(type));
      if (problem !== undefined)
        throw new TesseraeError(
          "SCHEMA_COLUMN_INVALID",
          `Column "${name}" of table "${table.name}": ${problem}`,
          place,
        );
      const where = `"${table.name}.${name}"`;
      const other = known.get(id.sequence);
      if (other === undefined) known.set(id.sequence, { where, id });
      else if (other.id.start !== id.start || other.id.step !== id.step)
        throw new TesseraeError(
          "SCHEMA_SEQUENCE_CONFLICT",
          `Columns ${other.where} (${describe(other.id)}) and ${where} (${describe(id)}) share the table sequence "${id.sequence}". Give both the same start and step, or one of them a sequence of its own: .table({ sequence: "…" }).`,
          place,
        );
    }
  }
}

function problemOf({ sequence, start, step }: TableSequence, max: bigint): string | undefined {
  if (sequence.length === 0 || sequence.length > SEQUENCE_NAME_LENGTH_MAX)
    return `the name of a table sequence has 1 to ${SEQUENCE_NAME_LENGTH_MAX} characters.`;
  if (start < 1n || start > max) return `.table() starts at ${start}, which is not between 1 and ${max}.`;
  if (step < 1n || step > max) return `.table() has the step ${step}, which is not between 1 and ${max}.`;
  return undefined;
}

const describe = ({ start, step }: TableSequence) => `start ${start}, step ${step}`;
