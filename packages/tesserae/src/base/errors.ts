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

/**
 * Why a shard's guard refused a write. `no_residence`: the shard never had the key, or it was purged. `not_here`: the key is arriving, frozen or gone.
 * `key_change`: an update of the distribution column. `residence_changed`: the residence was replaced while the guard waited for it.
 */
export type GuardReason = "no_residence" | "not_here" | "key_change" | "residence_changed";

export interface ErrorDetails extends ErrorPlace {
  /** For GUARD_REFUSED. */
  readonly reason?: GuardReason | undefined;
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
  /** Why the guard refused; undefined for every code but GUARD_REFUSED. */
  readonly reason: GuardReason | undefined;
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
    this.reason = details.reason;
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
    return this.#copy(this.message, {
      cluster: this.cluster ?? place.cluster,
      shard: this.shard ?? place.shard,
      federation: this.federation ?? place.federation,
      key: this.key ?? place.key,
      table: this.table ?? place.table,
      column: this.column ?? place.column,
      operation: this.operation ?? place.operation,
      sql: this.sql ?? place.sql,
      retryable: this.retryable,
      reason: this.reason,
      cause: this.cause,
    });
  }

  /** The same error for somebody who knows more: `sentence` is added to the message. */
  knowing(sentence: string, retryable: boolean): TesseraeError {
    // A driver's words come without a full stop.
    const said = /[.!?]$/.test(this.message) ? this.message : `${this.message}.`;
    return this.#copy(`${said} ${sentence}`, { ...this, retryable, cause: this.cause });
  }

  #copy(message: string, details: ErrorDetails): TesseraeError {
    const copy = new TesseraeError(this.code, message, details);
    if (this.stack !== undefined) copy.stack = this.stack.replace(this.message, message);
    return copy;
  }

  toJSON(): Record<string, unknown> {
    const {
      code,
      message,
      retryable,
      reason,
      cluster,
      shard,
      federation,
      key,
      table,
      column,
      operation,
      sql,
    } = this;
    return {
      code,
      message,
      retryable,
      reason,
      cluster,
      shard,
      federation,
      key,
      table,
      column,
      operation,
      sql,
    };
  }
}

/** True for an error of this library; with `code`, for that one alone. */
export function isTesseraeError(error: unknown, code?: ErrorCode): error is TesseraeError {
  return error instanceof TesseraeError && (code === undefined || error.code === code);
}
