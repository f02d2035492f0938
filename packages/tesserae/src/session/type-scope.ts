/** Which columns, of which logical types, a name can mean at a place of a query. */
import type { LogicalType } from "../schema/logical-type.ts";
import type { TableModel } from "../schema/model.ts";

export interface TypedColumn {
  readonly name: string;
  /** Undefined where it cannot be derived. */
  readonly type: LogicalType | undefined;
}

export type TypedColumns = readonly TypedColumn[];

export function columnsOf(table: TableModel): TypedColumns {
  return table.columns.map(({ name, type }) => ({ name, type }));
}

/** The CTEs in scope, the newest first. */
export interface CteTypes {
  readonly name: string;
  readonly columns: TypedColumns;
  readonly outer: CteTypes | undefined;
}

/** The sources of one query's FROM; `outer` are those of the query around it. */
export class TypeScope {
  readonly #sources = new Map<string, TypedColumns>();
  readonly #outer: TypeScope | undefined;

  constructor(outer: TypeScope | undefined) {
    this.#outer = outer;
  }

  add(alias: string, columns: TypedColumns): void {
    this.#sources.set(alias, columns);
  }

  resolve(name: string, qualifier: string | undefined): LogicalType | undefined {
    for (const [alias, columns] of this.#sources) {
      if (qualifier !== undefined && alias !== qualifier) continue;
      const found = columns.find((column) => column.name === name);
      if (found !== undefined) return found.type;
      if (qualifier !== undefined) return undefined;
    }
    return this.#outer?.resolve(name, qualifier);
  }

  /** What `*` stands for, or `alias.*`. */
  all(qualifier: string | undefined): TypedColumns {
    if (qualifier !== undefined) return this.#sources.get(qualifier) ?? this.#outer?.all(qualifier) ?? [];
    return [...this.#sources.values()].flat();
  }
}
