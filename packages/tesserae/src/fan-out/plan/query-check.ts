/**
 * The first look at a query over all shards: that it reads and nothing else, names only tables that are on the shards, and holds nothing that a filtered session would refuse. Which
 * of its parts can be taken apart is the analysis' to say.
 */
import type { OperationNode, RawNode, SelectModifierNode, SelectQueryNode, TableNode } from "kysely";
import type { SchemaModel, TableModel } from "../../schema/model.ts";
import { checkFragment } from "../../session/raw-fragment.ts";
import { SourceWalk, tableName } from "../../session/source-walk.ts";
import { unsupported } from "./refusal.ts";

/** Refuses what no plan is made for. Gives the federated tables that the query names. */
export function checkQuery(
  node: SelectQueryNode,
  schema: SchemaModel,
  federation: string,
): ReadonlySet<TableModel> {
  const walk = new EverywhereCheck(schema, federation);
  walk.run(node);
  return walk.federated;
}

class EverywhereCheck extends SourceWalk {
  readonly federated = new Set<TableModel>();
  readonly #federation: string;

  constructor(schema: SchemaModel, federation: string) {
    super(schema);
    this.#federation = federation;
  }

  run(node: SelectQueryNode): void {
    this.select(node);
  }

  protected override statement(node: OperationNode): OperationNode {
    if (node.kind === "SelectQueryNode") return this.select(node as SelectQueryNode);
    throw unsupported(
      "A query over all shards reads and does not write.",
      "Leave the writing query out of with(…); write to all shards by a session with allowEverywhere.",
    );
  }

  protected override select(node: SelectQueryNode): SelectQueryNode {
    if (node.explain !== undefined)
      throw unsupported("Explain tells of one database.", "Ask it on fed.at(key).");
    if (node.fetch !== undefined || node.top !== undefined)
      throw unsupported("fetch() and top() are not taken apart.", "Use limit(…).");
    return super.select(node);
  }

  protected override fragment(node: RawNode, commas: boolean): void {
    checkFragment(node, this.schema, { commas });
  }

  protected override selectModifier(node: SelectModifierNode, place: "front" | "end"): SelectModifierNode {
    if (node.modifier !== "Distinct" || node.rawModifier !== undefined)
      throw unsupported(
        place === "end"
          ? "A query over all shards locks no rows: there is no transaction over several shards."
          : "A raw modifier after select is not taken apart.",
        place === "end" ? "Lock them on fed.at(key)." : "Use distinct().",
      );
    return node;
  }

  protected override source(node: TableNode) {
    const name = tableName(node);
    if (node.table.schema === undefined && this.isCte(name)) return NOTHING;
    const table = node.table.schema === undefined ? this.schema.tables.get(name) : undefined;
    if (table === undefined)
      throw unsupported(`The schema has no table "${name}".`, "Name a federated or a reference table.", name);
    if (table.kind === "global")
      throw unsupported(
        `The global table "${name}" is on main, not on the shards.`,
        "Read it with fed.main and give its values as parameters, or make it a reference table.",
        name,
      );
    if (table.kind === "federated") {
      if (table.federation !== this.#federation)
        throw unsupported(
          `The table "${name}" belongs to the federation "${table.federation}", and this session to "${this.#federation}".`,
          `Ask it by fed.in("${table.federation}").everywhere.`,
          name,
        );
      this.federated.add(table);
    }
    return NOTHING;
  }
}

const NOTHING = { table: undefined, condition: undefined };
