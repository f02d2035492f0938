/** The sources of one query's FROM as the planner sees them: where each row of theirs is, and which of their columns hold the distribution key. */
import type { OperationNode } from "kysely";
import type { KeyValue, LogicalType } from "../../schema/logical-type.ts";
import type { TableModel } from "../../schema/model.ts";
import { columnOf } from "./nodes.ts";

/** `always`: the row's key. `maybe`: the row's key, or null where an outer join found no row. */
export type KeyColumn = "always" | "maybe" | undefined;

export interface RelationColumn {
  readonly name: string;
  readonly type: LogicalType | undefined;
  readonly key: KeyColumn;
  /** Text that compares by code point on the engine. */
  readonly binaryText: boolean;
}

/**
 * What a query inside another one gives.
 *
 * - `keywise`: each of its rows is made of one key's rows (and of reference tables), so that the shards' results together are the whole.
 * - `here`: its rows are all on the shard that asks: they come of reference tables alone, or of the key of a row of the query around it.
 */
export interface Relation {
  readonly standing: "keywise" | "here";
  /** Undefined where the names are not known: a function in FROM. */
  readonly columns: readonly RelationColumn[] | undefined;
  /** The only keys that its rows can be of, where a condition tells. */
  readonly keys: readonly KeyValue[] | undefined;
}

export interface Source {
  readonly alias: string;
  readonly relation: Relation;
  /** An outer join may give nulls for its columns. */
  readonly nullable: boolean;
  /** `here` also where a keywise relation is bound to the key of a row outside. */
  standing: Relation["standing"];
}

export interface ResolvedColumn {
  readonly source: Source;
  readonly column: RelationColumn;
  readonly scope: Scope;
}

let scopes = 0;

export class Scope {
  readonly outer: Scope | undefined;
  readonly sources: Source[] = [];
  readonly #id = scopes++;
  /** Columns that a condition in WHERE keeps from being null. */
  readonly notNull = new Set<string>();

  constructor(outer: Scope | undefined) {
    this.outer = outer;
  }

  /**
   * What a column's name means here. Undefined where that is not certain: a name that two sources have, or one that an engine without regard to case could
   * find in a nearer source.
   */
  resolve(node: OperationNode): ResolvedColumn | undefined {
    const name = columnOf(node);
    return name === undefined ? undefined : this.#find(name.column, name.table);
  }

  /** The same, in this query's own sources alone. */
  resolveHere(node: OperationNode): ResolvedColumn | undefined {
    const found = this.resolve(node);
    return found?.scope === this ? found : undefined;
  }

  #find(column: string, table: string | undefined): ResolvedColumn | undefined {
    const matches: ResolvedColumn[] = [];
    for (const source of this.sources) {
      if (table !== undefined && source.alias.toLowerCase() !== table.toLowerCase()) continue;
      if (table !== undefined && source.alias !== table) return undefined;
      if (source.relation.columns === undefined) return undefined;
      for (const candidate of source.relation.columns)
        if (candidate.name.toLowerCase() === column.toLowerCase())
          matches.push({ source, column: candidate, scope: this });
      if (table !== undefined && matches.length === 0) return undefined;
    }
    if (matches.length === 0) return this.outer === undefined ? undefined : this.outer.#find(column, table);
    const [match] = matches;
    return matches.length === 1 && match?.column.name === column ? match : undefined;
  }

  id(source: Source, column: RelationColumn): string {
    return `${this.#id}.${source.alias}.${column.name}`;
  }

  idOf({ scope, source, column }: ResolvedColumn): string {
    return scope.id(source, column);
  }

  /** The columns of a source that hold its row's key. */
  keyIds(source: Source): string[] {
    return (source.relation.columns ?? [])
      .filter(({ key }) => key !== undefined)
      .map((column) => this.id(source, column));
  }

  /** Those of all queries around this one: rows of these keys are on the shard that asks. */
  outerKeyIds(): string[] {
    const ids: string[] = [];
    for (let scope = this.outer; scope !== undefined; scope = scope.outer)
      for (const source of scope.sources) ids.push(...scope.keyIds(source));
    return ids;
  }

  /** True for a column that holds the key of a row that is here, and is never null. */
  isKey(node: OperationNode): boolean {
    const found = this.resolve(node);
    return found !== undefined && keyStatus(found) === "always";
  }
}

/** What the column says about its row's key, after the joins and conditions of its query. */
export function keyStatus({ scope, source, column }: ResolvedColumn): KeyColumn {
  if (column.key === undefined) return undefined;
  if (scope.notNull.has(scope.id(source, column))) return "always";
  return source.nullable ? "maybe" : column.key;
}

export function tableRelation(table: TableModel): Relation {
  return {
    standing: table.kind === "federated" ? "keywise" : "here",
    columns: table.columns.map(({ name, type }) => ({
      name,
      type,
      key: table.kind === "federated" && name === table.keyColumn ? "always" : undefined,
      binaryText: type.kind === "text" && !type.caseInsensitive,
    })),
    keys: undefined,
  };
}

/** The CTEs that can be named, the newest first. */
export interface Ctes {
  readonly name: string;
  readonly relation: Relation;
  readonly outer: Ctes | undefined;
}
