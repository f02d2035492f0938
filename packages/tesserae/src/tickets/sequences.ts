/** The ticket sequences of an installation: those its schema's columns name, and those of the options. */
import { TesseraeError } from "../base/errors.ts";
import { idMax, type SchemaModel } from "../schema/model.ts";
import type { TicketSequence } from "./ticket-source.ts";

const BIGINT_MAX = idMax({ kind: "bigint" });

/** `blocks`: leased in advance, given from memory. `single`: each call is a round trip. */
export type TicketMode = "blocks" | "single";

export interface TicketSequenceOptions {
  /** The first id of the sequence, if it has given none yet; 1 unless said. */
  readonly start?: bigint;
  /** The last id that may be given. A sequence of a 32-bit column ends at 2^31 − 1 by itself. */
  readonly max?: bigint;
  /** `blocks` or `single`, where it differs from `ticketing.mode`. */
  readonly mode?: TicketMode;
}

/** A sequence as the configuration says it. */
export interface NamedSequence extends TicketSequence {
  readonly mode?: TicketMode | undefined;
}

/**
 * All sequences by name. Two columns may share one; the narrowest column bounds it. CONFIG_INVALID for bounds that make no sense.
 */
export function ticketSequences(
  schema: SchemaModel,
  options: Readonly<Record<string, TicketSequenceOptions>> = {},
): ReadonlyMap<string, NamedSequence> {
  const sequences = new Map<string, NamedSequence>();
  for (const table of schema.tables.values()) {
    for (const column of table.columns) {
      if (column.id?.kind !== "ticket") continue;
      const name = column.id.sequence;
      const max = idMax(column.type);
      const known = sequences.get(name)?.max ?? BIGINT_MAX;
      sequences.set(name, { name, start: 1n, max: max < known ? max : known });
    }
  }
  for (const [name, { start = 1n, max, mode }] of Object.entries(options)) {
    const bound = sequences.get(name)?.max ?? BIGINT_MAX;
    const sequence = { name, start, max: max ?? bound, mode };
    if (name.length === 0 || name.length > 120)
      throw invalid(name, "has a name that is empty or longer than 120 characters");
    if (start < 1n || start > sequence.max)
      throw invalid(name, `starts at ${start}, which is not between 1 and ${sequence.max}`);
    if (mode !== undefined && mode !== "blocks" && mode !== "single")
      throw invalid(name, `has the mode ${JSON.stringify(mode)}, which is neither "blocks" nor "single"`);
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
