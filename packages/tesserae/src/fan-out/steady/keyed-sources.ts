/**
 * A condition on the distribution key of every federated table that a query reads, wherever it reads it: in FROM and joins, subqueries, CTEs, derived tables and the arms of
 * set operations. The query then sees each of these tables as if it held only the keys that the condition lets through. Where the condition goes under outer joins is
 * the tenant filter's knowledge (`session/source-walk.ts`).
 *
 * The query was checked before, so that nothing is checked again here: fragments of raw SQL pass, and so do tables that the schema does not have, such as the residences
 * in a condition that was put there earlier. A query may therefore be given several conditions, one after the other.
 */
import type { OperationNode, SelectQueryNode, TableNode } from "kysely";
import type { FederationModel, SchemaModel } from "../../schema/model.ts";
import { refuse } from "../../session/expression-walk.ts";
import { SourceWalk, tableName } from "../../session/source-walk.ts";
import { type KeyCondition, reference } from "./key-conditions.ts";

export interface KeyedOptions {
  readonly schema: SchemaModel;
  readonly federation: Pick<FederationModel, "name">;
}

/** The query with the condition on all its federated sources. Parts that hold none keep their identity. */
export function keyedSources(
  node: SelectQueryNode,
  options: KeyedOptions,
  condition: KeyCondition,
): SelectQueryNode {
  return new KeyedWalk(options, condition).run(node);
}

class KeyedWalk extends SourceWalk {
  readonly #federation: string;
  readonly #condition: KeyCondition;

  constructor({ schema, federation }: KeyedOptions, condition: KeyCondition) {
    super(schema);
    this.#federation = federation.name;
    this.#condition = condition;
  }

  run(node: SelectQueryNode): SelectQueryNode {
    return this.select(node);
  }

  protected override statement(node: OperationNode): OperationNode {
    if (node.kind === "SelectQueryNode") return this.select(node as SelectQueryNode);
    throw refuse(`A ${node.kind} cannot stand in a query over all shards, which reads only.`);
  }

  protected override fragment(): void {}

  protected override source(node: TableNode, alias: string) {
    const name = tableName(node);
    const isCte = node.table.schema === undefined && this.isCte(name);
    const table = isCte ? undefined : this.schema.tables.get(name);
    const keyed = table?.kind === "federated" && table.federation === this.#federation;
    return {
      table,
      condition: keyed ? this.#condition(reference(alias, table.keyColumn as string)) : undefined,
    };
  }
}
