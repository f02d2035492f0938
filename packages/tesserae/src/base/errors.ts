/**
 * One error class for the whole library. What went wrong is in `code` (docs/ERRORS.md lists each), where it happened in
 * `cluster`, `shard`, `federation`, `key` and `operation`, whether trying again can help in `retryable`, and the driver's own
 * error in `cause`. The catalogue of codes is `error-codes.ts`.
 */
import { ERROR_CODES, type ErrorCode } from "./error-codes.ts";

/** Where an error happened. Every field is optional: an error carries what is known at the place that raised it. */
export interface ErrorPlace {
  /** `main`, `replicas`, `shards` or `tickets`. */
  readonly cluster?: string | undefined;
  readonly shard?: number | undefined;
  readonly federation?: string | undefined;
  /** The distribution key, as text. */
  readonly key?: string | undefined;
  readonly table?: string | undefined;
  readonly column?: string | undefined;
  /** What was being done, in words: `insert`, `connect`, `tenants.add`, … */
  readonly operation?: string | undefined;
  /** The statement, with parameter places and without parameter values. */
  readonly sql?: string | undefined;
}

export interface ErrorDetails extends ErrorPlace {
  readonly cause?: unknown;
  /** Overrides the catalogue's answer, where one occurrence is different from the rule. */
  readonly retryable?: boolean | undefined;
}

/**
 * The error of every refusal and failure.
 *
 * @example
 * ```ts
 * import { isTesseraeError } from "tesserae";
 *
 * try {
 *   await fed.at(12n).selectFrom("sheets").selectAll().execute();
 * } catch (error) {
 *   if (isTesseraeError(error, "KEY_UNKNOWN")) console.log(error.key);
 *   else throw error;
 * }
 * ```
 */
export class TesseraeError extends Error {
  readonly code: ErrorCode;
  /** True when the same call may succeed if it is made again as a whole. */
  readonly retryable: boolean;
  readonly cluster: string | undefined;
  readonly shard: number | undefined;
  readonly federation: string | undefined;
  readonly key: string | undefined;
  readonly table: string | undefined;
  readonly column: string | undefined;
  readonly operation: string | undefined;
  readonly sql: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "TesseraeError";
    this.code = code;
    this.retryable = details.retryable ?? ERROR_CODES[code].retryable;
    this.cluster = details.cluster;
    this.shard = details.shard;
    this.federation = details.federation;
    this.key = details.key;
    this.table = details.table;
    this.column = details.column;
    this.operation = details.operation;
    this.sql = details.sql;
  }

  /** The same error with what a higher floor knows about the place; what is known already is kept. */
  at(place: ErrorPlace): TesseraeError {
    const merged: ErrorDetails = {
      cluster: this.cluster ?? place.cluster,
      shard: this.shard ?? place.shard,
      federation: this.federation ?? place.federation,
      key: this.key ?? place.key,
      table: this.table ?? place.table,
      column: this.column ?? place.column,
      operation: this.operation ?? place.operation,
      sql: this.sql ?? place.sql,
      retryable: this.retryable,
      cause: this.cause,
    };
    const copy = new TesseraeError(this.code, this.message, merged);
    if (this.stack !== undefined) copy.stack = this.stack;
    return copy;
  }

  toJSON(): Record<string, unknown> {
    const { code, message, retryable, cluster, shard, federation, key, table, column, operation, sql } = this;
    return { code, message, retryable, cluster, shard, federation, key, table, column, operation, sql };
  }
}

/** True for an error of this library; with `code`, for that one alone. */
export function isTesseraeError(error: unknown, code?: ErrorCode): error is TesseraeError {
  return error instanceof TesseraeError && (code === undefined || error.code === code);
}
