/** `tesserae lookups`: what main knows of rows by their values alone. */
import type { Command } from "commander";
import { onFederation, optionsOf } from "./command-context.ts";
import { EXIT, print, table } from "./output.ts";

export function addLookups(program: Command): void {
  const lookups = program
    .command("lookups")
    .description("rows that are found without their key, and unique values");
  lookups
    .command("status", { isDefault: true })
    .description("which lookups there are, and whether they know every row")
    .action(async (_options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const status = await federation.lookups.status();
        print(optionsOf(command).json === true, status, () =>
          table(
            ["table", "column", "knows every row", "settled", "not looked at yet"],
            status.map((one) => [
              one.table,
              one.column,
              one.complete ? "yes" : "no: rebuild",
              String(one.confirmed),
              String(one.reserved),
            ]),
          ),
        );
      });
    });
  lookups
    .command("sweep")
    .description("settle values whose transactions never came to an end")
    .option("--all", "look at every value, and forget those whose rows are gone")
    .action(async (options: { all?: boolean }, command: Command) => {
      await onFederation(command, async (federation) => {
        const results = await federation.lookups.sweep({ all: options.all === true });
        print(optionsOf(command).json === true, results, () =>
          table(
            ["table", "column", "checked", "with a row", "forgotten", "being written"],
            results.map((one) => [
              one.table,
              one.column,
              ...[one.checked, one.confirmed, one.released, one.busy].map(String),
            ]),
          ),
        );
      });
    });
  lookups
    .command("rebuild <table>")
    .description("fill a table's lookups from its rows, while applications go on")
    .action(async (name: string, _options: unknown, command: Command) => {
      await onFederation(command, async (federation) => {
        const results = await federation.lookups.rebuild(name);
        print(optionsOf(command).json === true, results, () =>
          results.flatMap(({ column, rows, added, doubles, complete }) => [
            `${name}.${column}: ${rows} values, ${added} of them new${complete ? "" : "; it does not know every row yet"}`,
            ...doubles.map(
              ({ value, keys }) => `in two keys: ${String(value)} (${keys.map(String).join(", ")})`,
            ),
          ]),
        );
        if (results.some(({ complete }) => !complete)) process.exitCode = EXIT.failed;
      });
    });
}
