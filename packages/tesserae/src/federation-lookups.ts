/** The lookups of one federation as an application uses them: finding a row without its key, and the operator's calls. */
import { isTesseraeError, TesseraeError } from "./base/errors.ts";
import type { LookupMarks } from "./lookups/lookup-marks.ts";
import type { LookupRows, LookupValue } from "./lookups/lookup-rows.ts";
import type { OpenedLookups } from "./open-lookups.ts";
import type { KeyValue } from "./schema/logical-type.ts";
import type { SchemaModel, TableModel } from "./schema/model.ts";
import { type RebuildResult, rebuildLookup } from "./session/lookup-rebuild.ts";
import { type SweepOptions, type SweepResult, sweepLookup } from "./session/lookup-sweep.ts";

/** A row by its id, or by a column and its value: `{ email: "ada@example.org" }`. */
export type FindBy<Row> = Row extends { readonly id: infer Id }
  ? Id | Partial<Row>
  : LookupValue | Partial<Row>;

export interface LookupStatus {
  readonly table: string;
  readonly column: string;
  /** False where rows may be there that it does not know: `rebuild`. */
  readonly complete: boolean;
  /** Values that no sweep has looked at since they were claimed. */
  readonly reserved: number;
  readonly confirmed: number;
}

/** The lookups of one federation of the schema, and how a key's rows are read: `fed.at(key)`. */
export interface LookupParts {
  readonly opened: OpenedLookups;
  readonly read: (
    key: KeyValue,
    table: string,
    column: string,
    value: LookupValue,
  ) => Promise<Record<string, unknown> | undefined>;
}

interface KnownLookup extends LookupParts {
  readonly rows: LookupRows;
}

/** What main knows of rows by their values alone. */
export class FederationLookups {
  readonly #schema: SchemaModel;
  readonly #all: readonly KnownLookup[];
  readonly #marks: LookupMarks;

  constructor(schema: SchemaModel, marks: LookupMarks, parts: readonly LookupParts[]) {
    this.#schema = schema;
    this.#marks = marks;
    this.#all = parts.flatMap((part) => part.opened.rows.map((rows) => ({ ...part, rows })));
  }

  /** The row, or undefined. LOOKUP_UNKNOWN, LOOKUP_INCOMPLETE. */
  async find(table: string, by: unknown): Promise<Record<string, unknown> | undefined> {
    const { rows, read, value } = this.#asked(table, by);
    const key = await this.#keyOf(rows, value);
    if (key === undefined) return undefined;
    const row = await read(key, table, rows.lookup.column.name, value).catch((error: unknown) => {
      // The key was removed, with its rows.
      if (isTesseraeError(error, "KEY_UNKNOWN")) return undefined;
      throw error;
    });
    // A claim without a row, and another key may have a row of before the lookup.
    if (row === undefined) await this.#refuseIncomplete(rows);
    return row;
  }

  /** The key that the value belongs to, as main knows it: the row may be gone, or not committed yet. */
  async keyOf(table: string, by: unknown): Promise<KeyValue | undefined> {
    const { rows, value } = this.#asked(table, by);
    return this.#keyOf(rows, value);
  }

  async status(): Promise<LookupStatus[]> {
    return Promise.all(
      this.#all.map(async ({ rows }) => {
        const { table, column } = rows.lookup;
        const [complete, counts] = await Promise.all([this.#marks.isComplete(rows.lookup), rows.count()]);
        return { table: table.name, column: column.name, complete, ...counts };
      }),
    );
  }

  /** Settles claims whose transactions never came to an end. Safe at any time, by any number of processes; nothing is wrong without it. */
  async sweep(options: SweepOptions = {}): Promise<SweepResult[]> {
    const results: SweepResult[] = [];
    for (const { rows, opened } of this.#all) results.push(await sweepLookup(rows, opened.holders, options));
    return results;
  }

  /**
   * Fills the lookups of a table from the rows that are there, while applications go on. Needed once for a table that is older than its lookup, and after rows were written
   * past the library. It may be cut off and run again. A value that two keys have is named in the result, and is the application's to change.
   */
  async rebuild(table: string): Promise<RebuildResult[]> {
    const wanted = this.#all.filter(({ rows }) => rows.lookup.table.name === table);
    if (wanted.length === 0)
      throw unknownLookup(this.#schema.tables.get(table), table, undefined, "lookups.rebuild");
    const results: RebuildResult[] = [];
    for (const { rows, opened } of wanted) {
      const result = await rebuildLookup({ ...opened, rows });
      if (result.complete) await this.#marks.setComplete(rows.lookup);
      results.push(result);
    }
    return results;
  }

  async #keyOf(rows: LookupRows, value: LookupValue): Promise<KeyValue | undefined> {
    const [row] = await rows.read([value]);
    if (row === undefined) await this.#refuseIncomplete(rows);
    return row?.key;
  }

  async #refuseIncomplete(rows: LookupRows): Promise<void> {
    if (await this.#marks.isComplete(rows.lookup)) return;
    const { table, column } = rows.lookup;
    throw new TesseraeError(
      "LOOKUP_INCOMPLETE",
      `Main knows no row with this value of "${column.name}", but table "${table.name}" may have rows of before the lookup was there. Run: tesserae lookups rebuild ${table.name}`,
      { federation: table.federation, table: table.name, column: column.name, operation: "find" },
    );
  }

  #asked(table: string, by: unknown): KnownLookup & { readonly value: LookupValue } {
    const model = this.#schema.tables.get(table);
    const [column, value] = isRecord(by) ? oneOf(by, table) : [idColumn(model), by];
    const known = this.#all.find(
      ({ rows: { lookup } }) => lookup.table.name === table && lookup.column.name === column,
    );
    if (known !== undefined) return { ...known, value: canonical(known.rows, value) };
    throw unknownLookup(model, table, column, "find");
  }
}

function unknownLookup(
  model: TableModel | undefined,
  table: string,
  column: string | undefined,
  operation: string,
): TesseraeError {
  if (model !== undefined && model.kind !== "federated")
    throw new TesseraeError(
      "LOOKUP_UNKNOWN",
      `Table "${table}" is a ${model.kind} table, whose rows are found without a key: read it with fed.main.`,
      { table, column, operation },
    );
  const others = model?.lookups.length ? ` It is looked up by: ${model.lookups.join(", ")}.` : "";
  const name = column ?? "id";
  return new TesseraeError(
    "LOOKUP_UNKNOWN",
    `Table "${table}" has no lookup${column === undefined ? "" : ` by "${column}"`}.${others} Add the column to the table's option lookup: ["${name}"], or read with fed.at(key) or fed.everywhere.`,
    { table, column, operation },
  );
}

function canonical(rows: LookupRows, value: unknown): LookupValue {
  const { table, column } = rows.lookup;
  try {
    return rows.canonical(value);
  } catch (error) {
    if (!isTesseraeError(error, "VALUE_INVALID")) throw error;
    throw new TesseraeError(
      "VALUE_INVALID",
      `Column "${column.name}" of table "${table.name}": ${error.message}`,
      {
        table: table.name,
        column: column.name,
        operation: "find",
      },
    );
  }
}

function isRecord(by: unknown): by is Readonly<Record<string, unknown>> {
  return typeof by === "object" && by !== null && !(by instanceof Uint8Array);
}

function oneOf(by: Readonly<Record<string, unknown>>, table: string): [string, unknown] {
  const entries = Object.entries(by).filter(([, value]) => value !== undefined);
  const [only] = entries;
  if (only !== undefined && entries.length === 1) return only;
  throw new TesseraeError(
    "LOOKUP_UNKNOWN",
    `Name one column to find a row of "${table}" by: fed.find("${table}", { column: value }).`,
    { table, operation: "find" },
  );
}

/** What a bare value means: the id; in a table without one, the one column it is looked up by. */
function idColumn(model: TableModel | undefined): string | undefined {
  const { lookups = [] } = model ?? {};
  return model?.column.has("id") === true || lookups.length !== 1 ? "id" : lookups[0];
}
