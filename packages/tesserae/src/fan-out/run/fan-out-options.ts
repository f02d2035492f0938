/** What a session over all shards may be told, and its defaults. */
import { TesseraeError } from "../../base/errors.ts";

/** What a shard does, told as it happens. */
export interface ShardEvent {
  readonly shard: number;
  /** `began`: its statement is sent. `rows`: a batch came. `done`: that was all. `failed`: it gives no more. */
  readonly kind: "began" | "rows" | "done" | "failed";
  /** With `rows`, those of the batch; with `done` and `failed`, all that came. */
  readonly rows?: number;
  /** Since it began. */
  readonly ms?: number;
  readonly error?: TesseraeError;
}

/** Defaults of the whole federation. */
export interface FanOutDefaults {
  /** How long a query may take from its call to its last row, in milliseconds; then it fails with FAN_OUT_DEADLINE. Default: as long as it takes. */
  readonly deadlineMs?: number;
  /** Shards that work at the same time, each until its first rows come. Default 16. */
  readonly concurrency?: number;
  /** Rows in memory, over all shards, that were read and not yet used. Default 10 000. */
  readonly rowsInFlight?: number;
  /** Groups, or different values, that are held where the shards' order does not make it one at a time. Beyond it, the query is refused. Default 100 000. */
  readonly groupsMax?: number;
}

export interface FanOutOptions extends FanOutDefaults {
  /** `complete` (default): one failed shard fails the query. `partial`: the rows of the others are the answer; `run()` and `onShard` tell which are missing. */
  readonly mode?: "complete" | "partial";
  /** How long one shard may be waited for, in milliseconds, over all its rows; then it has failed. Default: as long as it takes. */
  readonly shardDeadlineMs?: number;
  /** The name of a column that each row gets besides: the number of the shard it came from. Not for grouped or distinct answers. */
  readonly shardColumn?: string;
  /** Asks the shards' replicas, which may lag behind. */
  readonly replica?: boolean;
  /** Hears what each shard does. What it throws ends the query. */
  readonly onShard?: (event: ShardEvent) => void;
  /**
   * Lets `updateTable` and `deleteFrom` write the rows of every tenant, each shard in a transaction of its own. Without it they are refused. Default false.
   */
  readonly allowEverywhere?: boolean;
  /** Ends the query, and the statements on the shards' servers, when it is aborted. */
  readonly signal?: AbortSignal;
}

/** The options of one session, with every default in its place. */
export interface FanOutSettings {
  readonly deadlineMs: number | undefined;
  readonly shardDeadlineMs: number | undefined;
  readonly concurrency: number;
  readonly rowsInFlight: number;
  readonly groupsMax: number;
  readonly partial: boolean;
  readonly shardColumn: string | undefined;
  readonly replica: boolean;
  readonly allowEverywhere: boolean;
  readonly onShard: ((event: ShardEvent) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

const CONCURRENCY_DEFAULT = 16;
const ROWS_IN_FLIGHT_DEFAULT = 10_000;
const GROUPS_MAX_DEFAULT = 100_000;

/** Numbers that timers take. */
const NUMBER_MAX = 2 ** 31;

type Kind = "number" | "boolean" | "text" | "function" | "signal" | readonly string[];

const KINDS: Readonly<Record<keyof FanOutOptions, Kind>> = {
  deadlineMs: "number",
  shardDeadlineMs: "number",
  concurrency: "number",
  rowsInFlight: "number",
  groupsMax: "number",
  mode: ["complete", "partial"],
  shardColumn: "text",
  replica: "boolean",
  allowEverywhere: "boolean",
  onShard: "function",
  signal: "signal",
};

export function fanOutSettings(defaults: FanOutDefaults, options: FanOutOptions): FanOutSettings {
  return {
    deadlineMs: options.deadlineMs ?? defaults.deadlineMs,
    shardDeadlineMs: options.shardDeadlineMs,
    concurrency: options.concurrency ?? defaults.concurrency ?? CONCURRENCY_DEFAULT,
    rowsInFlight: options.rowsInFlight ?? defaults.rowsInFlight ?? ROWS_IN_FLIGHT_DEFAULT,
    groupsMax: options.groupsMax ?? defaults.groupsMax ?? GROUPS_MAX_DEFAULT,
    partial: options.mode === "partial",
    shardColumn: options.shardColumn,
    replica: options.replica ?? false,
    allowEverywhere: options.allowEverywhere ?? false,
    onShard: options.onShard,
    signal: options.signal,
  };
}

/** CONFIG_INVALID for an option that does not exist or has a value that makes no sense. */
export function checkFanOutOptions(options: unknown): asserts options is FanOutOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('using() takes options, such as fed.everywhere.using({ mode: "partial" })');
  for (const [name, value] of Object.entries(options)) {
    const kind = (KINDS as Readonly<Record<string, Kind | undefined>>)[name];
    if (kind === undefined)
      throw invalid(`there is no option "${name}". Known: ${Object.keys(KINDS).join(", ")}`);
    if (value !== undefined) checkValue(name, value, kind);
  }
}

function checkValue(name: string, value: unknown, kind: Kind): void {
  switch (kind) {
    case "number":
      if (!Number.isInteger(value) || Number(value) < 1 || Number(value) >= NUMBER_MAX)
        throw invalid(`${name} is a whole number${name.endsWith("Ms") ? " of milliseconds" : ""} from 1 on`);
      return;
    case "boolean":
      if (typeof value !== "boolean") throw invalid(`${name} is true or false`);
      return;
    case "text":
      if (typeof value !== "string" || value === "") throw invalid(`${name} is a name`);
      return;
    case "function":
      if (typeof value !== "function") throw invalid(`${name} is a function`);
      return;
    case "signal":
      if (!(value instanceof AbortSignal)) throw invalid(`${name} is an AbortSignal`);
      return;
    default:
      if (!kind.includes(String(value)))
        throw invalid(`${name} is ${kind.map((word) => `"${word}"`).join(" or ")}`);
  }
}

function invalid(problem: string): TesseraeError {
  return new TesseraeError("CONFIG_INVALID", `The options of a query over all shards: ${problem}.`);
}
