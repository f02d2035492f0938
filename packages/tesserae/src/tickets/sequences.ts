/** The ticket sequences of an installation: those its schema's columns name, and those of the options. */
import { TesseraeError } from "../base/errors.ts";
import type { SchemaModel } from "../schema/model.ts";
import type { TicketSequence } from "./ticket-source.ts";

const INT_MAX = 2n ** 31n - 1n;
/** One less than the type's: the counter holds the id after the last one, and must fit its own column. */
const BIGINT_MAX = 2n ** 63n - 2n;

export interface TicketSequenceOptions {
  /** The first id of the sequence, if it has given none yet; 1 unless said. */
  readonly start?: bigint;
  /** The last id that may be given. A sequence of a 32-bit column ends at 2^31 − 1 by itself. */
  readonly max?: bigint;
}

/**
 * All sequences by name. Two columns may share one; the narrowest column bounds it. CONFIG_INVALID for bounds that make no sense.
 */
export function ticketSequences(
  schema: SchemaModel,
  options: Readonly<Record<string, TicketSequenceOptions>> = {},
): ReadonlyMap<string, TicketSequence> {
  const sequences = new Map<string, TicketSequence>();
  for (const table of schema.tables.values()) {
    for (const column of table.columns) {
      if (column.id?.kind !== "ticket") continue;
      const name = column.id.sequence;
      const max = column.type.kind === "int" ? INT_MAX : BIGINT_MAX;
      const known = sequences.get(name)?.max ?? BIGINT_MAX;
      sequences.set(name, { name, start: 1n, max: max < known ? max : known });
    }
  }
  for (const [name, { start = 1n, max }] of Object.entries(options)) {
    const bound = sequences.get(name)?.max ?? BIGINT_MAX;
    const sequence = { name, start, max: max ?? bound };
    if (name.length === 0 || name.length > 120)
      throw invalid(name, "has a name that is empty or longer than 120 characters");
    if (start < 1n || start > sequence.max)
      throw invalid(name, `starts at ${start}, which is not between 1 and ${sequence.max}`);
    if (sequence.max > bound)
      throw invalid(name, `may give ids up to ${sequence.max}, but its column takes no more than ${bound}`);
    sequences.set(name, sequence);
  }
  return sequences;
}

function invalid(name: string, problem: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", `The ticket sequence "${name}" ${problem}.`, {
    cluster: "tickets",
  });
}
