import { parse } from "csv-parse";
import { type ColumnRoles, columnNames, findColumns } from "./columns.ts";
import { makePlace } from "./make-place.ts";
import { FileRefused, type Reading, type ReadingLimits } from "./place.ts";

export type Delimiter = "," | ";" | "\t" | "|";

/**
 * Which sign separates the cells: the one found most often in the first line outside of quotes.
 * A tie goes to the earlier one of comma, semicolon, tab, bar.
 */
export function detectDelimiter(text: string): Delimiter {
  const counts = new Map<string, number>([
    [",", 0],
    [";", 0],
    ["\t", 0],
    ["|", 0],
  ]);
  let inQuotes = false;
  let seen = false;
  for (const sign of text) {
    if (sign === '"') inQuotes = !inQuotes;
    else if (inQuotes) continue;
    else if ((sign === "\n" || sign === "\r") && seen) break;
    else if (counts.has(sign)) counts.set(sign, counts.get(sign)! + 1);
    if (!/\s/.test(sign)) seen = true;
  }
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0] as Delimiter;
}

/** A table of places: the names of its details, and its rows as they stream by. */
export interface DelimitedTable {
  readonly columns: readonly string[];
  readonly rows: AsyncIterable<Reading>;
}

/** Reads the header of a delimited text and promises its rows; refuses it when the coordinates' columns are missing. */
export async function readDelimited(
  text: AsyncIterable<string>,
  delimiter: Delimiter,
  limits: ReadingLimits,
): Promise<DelimitedTable> {
  const records = readRecords(text, delimiter, limits);
  const header = await records.next();
  if (header.done) throw new FileRefused("The file is empty.");
  const { cells } = header.value;
  if (cells.length > limits.columnsMax) {
    throw new FileRefused(
      `The file has ${cells.length} columns; ${limits.columnsMax} is the most that is read.`,
    );
  }
  const columns = columnNames(cells);
  try {
    const roles = findColumns(columns);
    const own = ownColumns(roles);
    return {
      columns: columns.filter((_, index) => !own.has(index)),
      rows: readRows(records, columns, roles, limits),
    };
  } catch (error) {
    await records.return(undefined);
    throw error;
  }
}

interface TableRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

/** Records with the line they begin on; blank ones are passed over. */
async function* readRecords(
  text: AsyncIterable<string>,
  delimiter: Delimiter,
  limits: ReadingLimits,
): AsyncGenerator<TableRecord, undefined> {
  const parser = parse({
    delimiter,
    info: true,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: limits.recordCharactersMax,
  });
  const feeding = feed(text, parser);
  // Inside quotes the parser counts \r\n as two lines; what it has counted too much is taken off from there on.
  let surplus = 0;
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      surplus += breaks(record, /\r\n/g);
      if (record.every((cell) => cell.trim() === "")) continue;
      yield { line: info.lines - surplus - breaks(record, /\r\n|\n|\r/g), cells: record };
    }
    await feeding;
  } catch (error) {
    throw explained(error);
  } finally {
    parser.destroy();
    await feeding.catch(() => undefined);
  }
}

function breaks(cells: readonly string[], kind: RegExp): number {
  return cells.reduce((count, cell) => count + (cell.match(kind)?.length ?? 0), 0);
}

/** Passes the text on as fast as the parser takes it; what goes wrong with the text comes out of the parser. */
async function feed(text: AsyncIterable<string>, parser: ReturnType<typeof parse>): Promise<void> {
  try {
    for await (const piece of text) {
      if (parser.destroyed) return;
      if (!parser.write(piece)) await drained(parser);
    }
    parser.end();
  } catch (error) {
    parser.destroy(error as Error);
  }
}

function drained(parser: ReturnType<typeof parse>): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      parser.off("drain", done).off("close", done).off("error", done);
      resolve();
    };
    parser.on("drain", done).on("close", done).on("error", done);
  });
}

function explained(error: unknown): unknown {
  const { code, lines } = error as { code?: string; lines?: number };
  if (code === "CSV_QUOTE_NOT_CLOSED") {
    return new FileRefused(`A quoted cell is never closed; the file ends inside it, in line ${lines}.`);
  }
  if (code === "CSV_MAX_RECORD_SIZE") {
    return new FileRefused(
      `A row is longer than can be read, near line ${lines}. Perhaps a quoted cell is opened and never closed.`,
    );
  }
  return error;
}

async function* readRows(
  records: AsyncGenerator<TableRecord>,
  columns: readonly string[],
  roles: ColumnRoles,
  limits: ReadingLimits,
): AsyncGenerator<Reading> {
  const own = ownColumns(roles);
  for await (const { line, cells } of records) {
    if (cells.slice(columns.length).some((cell) => cell.trim() !== "")) {
      yield {
        line,
        problem: `there are ${cells.length} cells where the first line names ${columns.length} columns`,
      };
      continue;
    }
    const details: Record<string, unknown> = {};
    columns.forEach((name, index) => {
      if (!own.has(index)) setOwn(details, name, cells[index]?.trim() ?? "");
    });
    const raw = {
      latitude: cells[roles.latitude],
      longitude: cells[roles.longitude],
      label: roles.label.map((index) => cells[index] ?? "").join(" "),
      happened: roles.happened === undefined ? null : cells[roles.happened],
      details,
    };
    yield makePlace(line, raw, limits);
  }
}

/** The columns that are no details, because a dot has them as its own. A name joined of two columns keeps both as details. */
function ownColumns(roles: ColumnRoles): ReadonlySet<number> {
  return new Set([roles.latitude, roles.longitude, ...(roles.label.length === 1 ? roles.label : [])]);
}

/** Sets a property whatever its name is: a column called `__proto__` is a column. */
function setOwn(target: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}
