/** DuckDB's errors are told apart by their first words alone. */
import { TesseraeError } from "../../../base/errors.ts";

/** The appender leaves the kind of error out. */
const OUT_OF_SPACE =
  /^Out of Memory Error|^Failed to append: (?:failed to (?:offload|pin|allocate)|could not allocate)/;

export function duckDbError(error: unknown, sql?: string): unknown {
  if (error instanceof TesseraeError || !(error instanceof Error)) return error;
  const { message } = error;
  if (OUT_OF_SPACE.test(message))
    return new TesseraeError(
      "GATHER_TOO_LARGE",
      "The embedded engine ran out of the memory or the temporary space it was given. Gather less (select fewer columns, add a where), or raise memoryLimitBytes or spillLimitBytes.",
      { operation: "gather", sql, cause: error },
    );
  // What comes behind the first paragraph is a drawing of the place in the SQL, or advice about settings that are locked.
  const [said = message] = message.split("\n\n");
  return new TesseraeError("GATHER_SQL", `DuckDB refused the SQL of a gathering. ${said}`, {
    operation: "gather",
    sql,
    cause: error,
  });
}
