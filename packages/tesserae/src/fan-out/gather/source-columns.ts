/** The columns of a source, with their logical types: read off its tree, as its session reads them. */
import type { OperationNode } from "kysely";
import { TesseraeError } from "../../base/errors.ts";
import type { SchemaModel } from "../../schema/model.ts";
import { withDistinctNodes } from "../../session/parameter-order.ts";
import { TypeInference } from "../../session/type-inference.ts";
import type { GatheredTable } from "./analytical-engine.ts";
import type { GatherSource } from "./gather-types.ts";

export function gatheredTable(name: string, source: GatherSource, schema: SchemaModel): GatheredTable {
  const node = treeOf(name, source);
  const columns = new TypeInference(schema).statement(withDistinctNodes(node)).map((column) => {
    if (column.name === "") throw refuse(name, 'has a column without a name. Give it one with .as("name")');
    if (column.type === undefined)
      throw refuse(
        name,
        `has a column "${column.name}" whose type its query does not tell. Name it: typed(column, expression).as("${column.name}")`,
      );
    return { name: column.name, type: column.type };
  });
  if (columns.length === 0) throw refuse(name, "selects no column. Select what the rest of the SQL needs");
  // The embedded engines read names without their case.
  const seen = new Set<string>();
  for (const column of columns) {
    const folded = column.name.toLowerCase();
    if (seen.has(folded))
      throw refuse(name, `has two columns "${column.name}", which names tell apart without their case`);
    seen.add(folded);
  }
  return { name, columns };
}

function treeOf(name: string, source: GatherSource): OperationNode {
  if (typeof source?.toOperationNode !== "function" || typeof source.stream !== "function")
    throw refuse(
      name,
      "is no query. Give a select of fed.everywhere, fed.some, fed.main, fed.replica or fed.at(key), not executed",
    );
  const node = source.toOperationNode();
  if (node.kind !== "SelectQueryNode") throw refuse(name, "is no select. Only selects are gathered");
  return node;
}

export function refuse(source: string, what: string): TesseraeError {
  return new TesseraeError("GATHER_SOURCE", `The source "${source}" ${what}.`, { operation: "gather" });
}
