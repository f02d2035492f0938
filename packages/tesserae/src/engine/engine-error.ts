/** A driver's error as the library's: code and retryability by the engine's own classification, the driver's error as the cause. */
import { type ErrorPlace, TesseraeError } from "../base/errors.ts";
import type { EngineDialect, GuardReason } from "./contract.ts";

const GUARD_SENTENCES: Record<GuardReason, string> = {
  no_residence: "does not live on this shard",
  not_here: "does not live on this shard now (it is arriving, frozen or gone)",
  key_change:
    "may not change: the distribution key of a row is fixed. Insert the row under the other key and delete this one",
  residence_changed: "changed its residence while the statement waited; run the transaction again",
};

const LOST =
  "The connection broke while the statement ran. A write may have taken effect or not: look before you send it again.";

/** The three engines' words for a table that is not there. */
const MISSING_TABLE = /no such table|table .* doesn't exist|relation .* does not exist/i;

/** Gives TesseraeErrors back with `place` added, and turns anything else into one. */
export function toEngineError(error: unknown, dialect: EngineDialect, place: ErrorPlace): TesseraeError {
  if (error instanceof TesseraeError) return error.at(place);
  const reason = dialect.classify(error);
  const text = error instanceof Error ? error.message : String(error);
  if (reason.guard !== undefined) {
    const { guard } = reason;
    const message = `The guard of table "${guard.table}" refused the write: key ${guard.key} ${GUARD_SENTENCES[guard.reason]}.`;
    const retryable = guard.reason !== "key_change";
    return new TesseraeError("GUARD_REFUSED", message, {
      ...place,
      table: guard.table,
      key: guard.key,
      reason: guard.reason,
      retryable,
      cause: error,
    });
  }
  if (reason.code === "QUERY_FAILED" && MISSING_TABLE.test(text)) {
    // Control tables are asked for before any table of the application, so their absence means that nothing was created yet.
    const code = text.includes("tesserae_") ? "SCHEMA_NOT_APPLIED" : "QUERY_FAILED";
    return new TesseraeError(
      code,
      `${text}. Create what the schema says first: await fed.schema.apply(), or "tesserae schema apply".`,
      { ...place, cause: error },
    );
  }
  const advice = reason.advice ?? (reason.code === "CONNECTION_LOST" ? LOST : undefined);
  const message = advice === undefined ? text : `${text}. ${advice}`;
  return new TesseraeError(reason.code, message, { ...place, cause: error });
}
