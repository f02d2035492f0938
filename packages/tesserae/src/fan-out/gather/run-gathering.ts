/**
 * One gathering, from the sources to the last row: tables are made, the SQL is checked against them, the sources' rows are brought in one after another, and the rest runs
 * on the embedded engine. Everything it took is given back when the last row was taken, when the caller stops, and when anything fails.
 */
import { isTesseraeError, TesseraeError } from "../../base/errors.ts";
import { untilAborted } from "../../base/until-aborted.ts";
import type { AnalyticalEngine, BoundParameter, GatheredRow, GatheredTable } from "./analytical-engine.ts";
import { openDuckDb } from "./duckdb/duckdb-engine.ts";
import { GATHER_DEFAULTS, type GatherOptions, type GatherSource } from "./gather-types.ts";
import { refuse } from "./source-columns.ts";
import { openSqlite } from "./sqlite/sqlite-engine.ts";

export interface OpenedSource {
  readonly table: GatheredTable;
  readonly source: GatherSource;
}

export interface GatherPlan {
  /** The sources may depend on what the SQL names, which the engine tells. */
  sources(engine: AnalyticalEngine): Promise<readonly OpenedSource[]>;
  readonly sql: string;
  readonly parameters: readonly BoundParameter[];
  /** The tables that the SQL may name, where it names them by itself. */
  readonly tables?: readonly string[] | undefined;
}

/** Rows that a source is asked for at a time. */
const FETCH_ROWS = 2048;

export async function* runGathering(plan: GatherPlan, options: GatherOptions): AsyncGenerator<GatheredRow[]> {
  const limits = { ...GATHER_DEFAULTS, ...withoutUndefined(options) };
  const end = new GatheringEnd(limits);
  const open = limits.engine === "sqlite" ? openSqlite : openDuckDb;
  let engine: AnalyticalEngine | undefined;
  try {
    end.signal?.throwIfAborted();
    engine = await open(limits, end.signal);
    const sources = await plan.sources(engine);
    for (const { table } of sources) await engine.createTable(table);
    await engine.check(plan.sql, plan.parameters.length).catch((error: unknown) => {
      throw namingTables(error, plan.tables);
    });
    const budget = new RowBudget(limits.rowsMax);
    for (const source of sources) await bringIn(engine, source, budget, end.signal);
    yield* engine.rows(plan.sql, plan.parameters);
  } finally {
    end.close();
    await engine?.close();
  }
}

/** An engine that knows no such table has seen those alone that the SQL names. */
function namingTables(error: unknown, tables: readonly string[] | undefined): unknown {
  if (tables === undefined || !isTesseraeError(error, "GATHER_SQL")) return error;
  if (!/no such table|table with name .* does not exist/i.test(error.message)) return error;
  return error.knowing(`The tables of the schema are: ${tables.join(", ")}.`, false);
}

async function bringIn(
  engine: AnalyticalEngine,
  { table, source }: OpenedSource,
  budget: RowBudget,
  signal: AbortSignal | undefined,
): Promise<void> {
  const loader = await engine.load(table);
  const rows = source.stream({ chunkSize: FETCH_ROWS, ...(signal === undefined ? {} : { signal }) });
  const names = table.columns.map(({ name }) => name);
  let first = true;
  try {
    for (;;) {
      const next = await untilAborted(rows.next(), signal);
      if (next.done === true) break;
      const row = next.value as GatheredRow;
      if (first) checkNames(table.name, names, row);
      first = false;
      budget.take(table.name);
      loader.append(row);
    }
  } catch (error) {
    // Not awaited: where a server does not answer, the stream ends when its connection does.
    rows.return?.(undefined)?.catch(() => {});
    throw error;
  }
  loader.end();
}

/** A plugin that renames columns gives other names than the query's tree says. */
function checkNames(source: string, names: readonly string[], row: GatheredRow): void {
  const given = Object.keys(row);
  const missing = names.find((name) => !(name in row));
  const unknown = given.find((name) => !names.includes(name));
  if (missing !== undefined)
    throw refuse(
      source,
      `gave rows without the column "${missing}" that its query selects. A session with a plugin that renames columns cannot be gathered: use one without`,
    );
  if (unknown !== undefined)
    throw refuse(
      source,
      `gave rows with a column "${unknown}" that its query does not select. A session with shardColumn cannot be gathered: use one without`,
    );
}

class RowBudget {
  readonly #rowsMax: number;
  #taken = 0;

  constructor(rowsMax: number) {
    this.#rowsMax = rowsMax;
  }

  take(source: string): void {
    this.#taken += 1;
    if (this.#taken > this.#rowsMax)
      throw new TesseraeError(
        "GATHER_TOO_LARGE",
        `More than ${this.#rowsMax} rows were to be gathered; the source "${source}" was being read. Narrow the sources by a where, group them on the shards, or raise rowsMax.`,
        { operation: "gather", table: source },
      );
  }
}

/** When the work must stop: the caller's signal, and the deadline. */
class GatheringEnd {
  readonly signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor({ deadlineMs, signal }: Pick<GatherOptions, "deadlineMs" | "signal">) {
    if (deadlineMs === undefined) {
      this.signal = signal;
      return;
    }
    const deadline = new AbortController();
    this.#timer = setTimeout(() => {
      deadline.abort(
        new TesseraeError("GATHER_DEADLINE", `The gathering did not end within ${deadlineMs} ms.`, {
          operation: "gather",
        }),
      );
    }, deadlineMs);
    this.signal = signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

function withoutUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
