/**
 * What writers wanted and what was acknowledged, kept outside the databases: one file a writer process, one line an event. The intent is written
 * before the write begins, the outcome after it. A killed process leaves an intent without an outcome; that its lines reach
 * the file is the operating system's promise, since only processes are killed here, not the machine.
 *
 * Each row belongs to the one writer that made it, so that its history is the order of that writer's lines. A writer never again touches a row
 * of a write whose outcome it does not know.
 */
import { appendFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ChaosTable } from "./chaos-schema.ts";

/** A row by table, key and id, and its text after the write; null: it is gone. */
export interface RowChange {
  readonly table: ChaosTable;
  readonly key: string;
  readonly id: string;
  readonly after: string | null;
}

/** refused: it had no effect, by the library's word. unknown: it may have had its whole effect, or none. */
export type Outcome = "acknowledged" | "refused" | "unknown";

type Line =
  | { readonly write: number; readonly operation: string; readonly changes: readonly RowChange[] }
  | { readonly write: number; readonly outcome: Outcome; readonly code?: string }
  | { readonly strange: string };

export class LedgerWriter {
  readonly #path: string;
  #writes = 0;

  constructor(folder: string, name: string) {
    this.#path = join(folder, `${name}.ledger`);
  }

  /** Before a write begins. Gives the write's number. */
  intend(operation: string, changes: readonly RowChange[]): number {
    this.#writes += 1;
    this.#append({ write: this.#writes, operation, changes });
    return this.#writes;
  }

  end(write: number, outcome: Outcome, code?: string): void {
    this.#append({ write, outcome, ...(code === undefined ? {} : { code }) });
  }

  /** Something that a writer saw and that must never be. */
  strange(what: string): void {
    this.#append({ strange: what });
  }

  #append(line: Line): void {
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`);
  }
}

/** A write with what each of its rows was before it, by the acknowledged writes. */
export interface LedgerWrite {
  readonly name: string;
  readonly operation: string;
  readonly changes: readonly (RowChange & { readonly before: string | null })[];
  readonly outcome: Outcome;
}

export interface LedgerContents {
  /** Rows by name, after all acknowledged writes. */
  readonly rows: ReadonlyMap<string, { readonly change: RowChange; readonly write: string }>;
  /** Writes of unknown outcome, and whose process was killed. */
  readonly open: readonly LedgerWrite[];
  readonly strange: readonly string[];
  readonly counts: Readonly<Record<Outcome, number>>;
}

export const rowName = ({ table, key, id }: Pick<RowChange, "table" | "key" | "id">): string =>
  `${table} ${key}/${id}`;

/** Reads all ledgers of a folder. */
export function readLedgers(folder: string): LedgerContents {
  const rows = new Map<string, { change: RowChange; write: string }>();
  const open: LedgerWrite[] = [];
  const strange: string[] = [];
  const counts = { acknowledged: 0, refused: 0, unknown: 0 };
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith(".ledger")) continue;
    const lines = readLines(join(folder, file));
    const outcomes = new Map<number, Outcome>();
    for (const line of lines) if ("outcome" in line) outcomes.set(line.write, line.outcome);
    for (const line of lines) {
      if ("strange" in line) strange.push(`${file}: ${line.strange}`);
      if (!("changes" in line)) continue;
      const outcome = outcomes.get(line.write) ?? "unknown";
      counts[outcome] += 1;
      const name = `${file} ${line.write} (${line.operation})`;
      if (outcome === "unknown") {
        const before = (change: RowChange) => rows.get(rowName(change))?.change.after ?? null;
        open.push({
          name,
          operation: line.operation,
          outcome,
          changes: line.changes.map((change) => ({ ...change, before: before(change) })),
        });
      }
      if (outcome === "acknowledged")
        for (const change of line.changes) rows.set(rowName(change), { change, write: name });
    }
  }
  return { rows, open, strange, counts };
}

/** A process that was killed while it wrote may leave half a line at the end: that line never began to count. */
function readLines(path: string): Line[] {
  const lines = readFileSync(path, "utf8").split("\n");
  lines.pop();
  return lines.map((line) => JSON.parse(line) as Line);
}
