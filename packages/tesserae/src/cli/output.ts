/** What a command prints: lines for people, or one JSON document with `--json`. */
import { ERROR_CODES } from "../base/error-codes.ts";
import { isTesseraeError } from "../base/errors.ts";

/** Exit codes; docs/cli.md lists them. */
export const EXIT = { done: 0, failed: 1, usage: 2, configuration: 3, unreachable: 4, left: 130 } as const;

/** Whoever reads may have enough, as `head` has: that is no error. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.done);
  throw error;
});

export function print(json: boolean, value: unknown, lines: () => readonly string[]): void {
  if (json) process.stdout.write(`${jsonText(value, 2)}\n`);
  else for (const line of lines()) process.stdout.write(`${line}\n`);
}

/** One of many documents, a line each. */
export function printLine(value: unknown): void {
  process.stdout.write(`${jsonText(value)}\n`);
}

function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_, field: unknown) => (typeof field === "bigint" ? field.toString() : field),
    indent,
  );
}

/** Columns as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(header), ...rows.map(line)];
}

/** No server answers, or none that may be used. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  "CONNECT_FAILED",
  "CONNECTION_LIMIT",
  "PRIMARY_NOT_FOUND",
  "PRIMARY_AMBIGUOUS",
  "TICKETS_UNAVAILABLE",
]);

/** Prints an error and gives the exit code it means. */
export function fail(json: boolean, error: unknown): number {
  if (!isTesseraeError(error)) {
    const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
    process.stderr.write(`${json ? JSON.stringify({ error: { message } }) : (stack ?? message)}\n`);
    return EXIT.failed;
  }
  if (json) process.stderr.write(`${JSON.stringify({ error })}\n`);
  else
    process.stderr.write(
      `${error.code}: ${error.message}\n${ERROR_CODES[error.code].retryable && error.retryable ? "Trying again may help.\n" : ""}`,
    );
  if (error.code === "CLI_USAGE") return EXIT.usage;
  if (error.code.startsWith("CONFIG_") || error.code.startsWith("SCHEMA_")) return EXIT.configuration;
  return UNREACHABLE.has(error.code) ? EXIT.unreachable : EXIT.failed;
}
