/** The rules of lookups: which columns main can know the keys of. */
import { TesseraeError } from "../base/errors.ts";
import { describeType, type LogicalKind } from "./logical-type.ts";
import type { TableModel } from "./model.ts";

/** Types whose values are equal on all engines or on none. */
const LOOKUP_KINDS: ReadonlySet<LogicalKind> = new Set(["int", "bigint", "text", "uuid", "bytes", "date"]);

export function checkLookups(table: TableModel): void {
  for (const name of table.lookups) {
    const fail = (problem: string) =>
      new TesseraeError(
        "SCHEMA_LOOKUP_INVALID",
        `Table "${table.name}" cannot be looked up by "${name}": ${problem}`,
        {
          table: table.name,
          column: name,
        },
      );
    if (table.kind !== "federated")
      throw fail(`it is a ${table.kind} table, whose rows need no key. Remove the option "lookup".`);
    const column = table.column.get(name);
    if (column === undefined) throw fail("it has no such column. Add it, or correct the name.");
    if (name === table.keyColumn) throw fail("it is the distribution column. Use fed.at(key).");
    const { type } = column;
    if (
      !LOOKUP_KINDS.has(type.kind) ||
      ((type.kind === "text" || type.kind === "bytes") && type.length === undefined)
    )
      throw fail(
        `it is ${describeType(type)}. A lookup's column is int(), bigint(), text(n), uuid(), bytes(n) or date().`,
      );
    if (column.default?.kind === "now")
      throw fail("the database gives its default, which main would not know.");
    if (!isUniqueInKey(table, name))
      throw fail(
        `two rows of one key may have the same value. Add unique: [["${table.keyColumn}", "${name}"]], or write .unique() on the column.`,
      );
  }
}

function isUniqueInKey(table: TableModel, column: string): boolean {
  return [table.primaryKey, ...table.uniques.map(({ columns }) => columns)].some(
    (columns) =>
      columns.length === 2 && columns.includes(column) && columns.includes(table.keyColumn as string),
  );
}
