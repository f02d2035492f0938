/**
 * A tenant's rows on its shard: whether there are any, and their deletion in bounded batches under a residence that is `gone`.
 *
 * The guard refuses every write of a key that is gone, so that nothing can be added while rows are deleted; the deletion itself passes the guard
 * as a mover does. Tables are emptied in reverse order of their references. Where rows refer to rows of their own table, or tables to each other in a circle,
 * no order would do: such references are set to null first, where they may be, and otherwise rows go from the leaves, when no row refers to them any more.
 * What then is left goes all at once.
 */
import { TesseraeError } from "../base/errors.ts";
import type { Codec } from "../engine/contract.ts";
import type { ControlStore, ControlTransaction } from "../engine/control-store.ts";
import { asMover } from "../engine/mover.ts";
import type { KeyValue } from "../schema/logical-type.ts";
import type { ForeignKeyModel, TableModel } from "../schema/model.ts";
import type { ResidenceRow, ResidenceRows } from "./residence-rows.ts";

export const PURGE_BATCH_ROWS_DEFAULT = 500;

/** Who deletes: the residence as it must be found, with the deleter's token. */
export type PurgeFence = Pick<ResidenceRow, "kind" | "low" | "token">;

/** One purge: of which key, by whom, how much at a time. */
export interface Purge {
  readonly key: KeyValue;
  readonly fence: PurgeFence;
  readonly residences: ResidenceRows;
  readonly batchRows: number;
  /** After each batch; false ends the purge. */
  between(): Promise<boolean>;
}

interface CircularReference {
  readonly from: TableModel;
  readonly foreignKey: ForeignKeyModel;
  /** The column that may be set to null, and then refers to nothing. */
  readonly clear: string | undefined;
}

export class TenantRows {
  readonly #store: ControlStore;
  /** Tables that are referred to come first, as in the schema. */
  readonly #tables: readonly TableModel[];
  readonly #circular: ReadonlyMap<TableModel, readonly CircularReference[]>;

  constructor(store: ControlStore, tables: readonly TableModel[]) {
    this.#store = store;
    this.#tables = tables;
    this.#circular = new Map(tables.map((table) => [table, circularReferences(tables, table)]));
  }

  /** The first table that has a row of the key. */
  async firstTableWithRows(key: KeyValue): Promise<string | undefined> {
    for (const table of this.#tables) {
      const sql = `select 1 as found from ${this.#quote(table.name)} where ${this.#quote(table.keyColumn as string)} = ? limit 1`;
      const { rows } = await this.#store.run(sql, [
        this.#codec(table, table.keyColumn as string).encode(key),
      ]);
      if (rows.length > 0) return table.name;
    }
    return undefined;
  }

  /**
   * Deletes all rows of the key, a batch a transaction; `between` runs after each. False when the residence is no longer the caller's.
   */
  async purge(purge: Purge): Promise<boolean> {
    for (const table of this.#tables) {
      for (const { from, clear } of this.#circularReferencesTo(table)) {
        if (clear === undefined) continue;
        const column = this.#quote(clear);
        const update = `update ${this.#quote(from.name)} set ${column} = null`;
        if ((await this.#inBatches(purge, from, ` and t.${column} is not null`, update)) === undefined)
          return false;
      }
    }
    for (;;) {
      let deleted = 0;
      for (const table of this.#tables.toReversed()) {
        const batch = await this.#inBatches(
          purge,
          table,
          this.#leavesOnly(table),
          `delete from ${this.#quote(table.name)}`,
        );
        if (batch === undefined) return false;
        deleted += batch;
      }
      if ((await this.firstTableWithRows(purge.key)) === undefined) return true;
      // A pass that found no leaf, though rows are left: they refer to each other in a circle.
      if (deleted === 0 && !(await this.#deleteCircle(purge))) return false;
    }
  }

  /** Runs a statement on the key's rows that meet `condition`, until there are none. Rows it ran on; undefined when the residence is no longer the caller's. */
  async #inBatches(
    purge: Purge,
    table: TableModel,
    condition: string,
    statement: string,
  ): Promise<number | undefined> {
    for (let total = 0; ; ) {
      const rows = await this.#batch(purge, table, condition, statement);
      if (rows === undefined || !(await purge.between())) return undefined;
      total += rows;
      if (rows === 0) return total;
    }
  }

  #batch(purge: Purge, table: TableModel, condition: string, statement: string): Promise<number | undefined> {
    const columns = table.primaryKey.filter((name) => name !== table.keyColumn);
    const { dialect, capabilities } = this.#store;
    const limit = Math.max(
      1,
      Math.min(purge.batchRows, Math.floor((capabilities.parametersMax - 1) / Math.max(1, columns.length))),
    );
    const list = (columns.length === 0 ? [table.keyColumn as string] : columns)
      .map((name) => `t.${this.#quote(name)}`)
      .join(", ");
    const keyIs = `${this.#quote(table.keyColumn as string)} = ?`;
    const keyValue = this.#codec(table, table.keyColumn as string).encode(purge.key);
    return this.#store.transaction(async (transaction) => {
      if (!(await this.#holds(transaction, purge))) return undefined;
      const { rows } = await transaction.run(
        `select ${list} from ${this.#quote(table.name)} t where t.${keyIs}${condition} limit ${limit}`,
        [keyValue],
      );
      if (rows.length === 0) return 0;
      const parameters = [
        keyValue,
        ...rows.flatMap((row) => columns.map((name) => this.#again(table, name, row[name]))),
      ];
      const deferReferences = this.#circularReferencesTo(table).length > 0;
      await asMover(transaction.connection, { dialect, token: purge.fence.token, deferReferences }, () =>
        transaction.run(`${statement} where ${keyIs}${this.#oneOf(columns, rows.length)}`, parameters),
      );
      return rows.length;
    });
  }

  /** All that is left of the key at once: rows that refer to each other must go together. */
  #deleteCircle({ key, fence, residences }: Purge): Promise<boolean> {
    return this.#store.transaction(async (transaction) => {
      if (!(await this.#holds(transaction, { fence, residences }))) return false;
      const { dialect } = this.#store;
      await asMover(
        transaction.connection,
        { dialect, token: fence.token, deferReferences: true },
        async () => {
          for (const table of this.#tables) {
            const keyColumn = table.keyColumn as string;
            const sql = `delete from ${this.#quote(table.name)} where ${this.#quote(keyColumn)} = ?`;
            await transaction.run(sql, [this.#codec(table, keyColumn).encode(key)]);
          }
        },
      );
      return true;
    });
  }

  async #holds(
    transaction: ControlTransaction,
    { fence, residences }: Pick<Purge, "fence" | "residences">,
  ): Promise<boolean> {
    const residence = await residences.lock(transaction, fence.kind, fence.low);
    return residence !== undefined && residence.state === "gone" && residence.token === fence.token;
  }

  /** `and (id in (?, …))`, or with a longer key `and ((a = ? and b = ?) or …)`. */
  #oneOf(columns: readonly string[], count: number): string {
    if (columns.length === 0) return "";
    if (columns.length === 1)
      return ` and ${this.#quote(columns[0] as string)} in (${Array(count).fill("?").join(", ")})`;
    const one = `(${columns.map((name) => `${this.#quote(name)} = ?`).join(" and ")})`;
    return ` and (${Array(count).fill(one).join(" or ")})`;
  }

  /** For a table that is in a circle of references: no row that may still be there refers to it. */
  #leavesOnly(table: TableModel): string {
    return this.#circularReferencesTo(table)
      .filter(({ clear }) => clear === undefined)
      .map(({ from, foreignKey }) => {
        const matches = foreignKey.columns.map(
          (name, index) =>
            `r.${this.#quote(name)} = t.${this.#quote(foreignKey.referencedColumns[index] as string)}`,
        );
        // A row that refers to itself is in nobody's way.
        const same = table.primaryKey
          .map((name) => `r.${this.#quote(name)} = t.${this.#quote(name)}`)
          .join(" and ");
        const other = from === table ? ` and not (${same})` : "";
        return ` and not exists (select 1 from ${this.#quote(from.name)} r where ${matches.join(" and ")}${other})`;
      })
      .join("");
  }

  #circularReferencesTo(table: TableModel): readonly CircularReference[] {
    return this.#circular.get(table) ?? [];
  }

  #codec(table: TableModel, column: string): Codec {
    const model = table.column.get(column);
    if (model === undefined)
      throw new TesseraeError("QUERY_FAILED", `Table "${table.name}" has no column "${column}".`, {
        table: table.name,
      });
    return this.#store.dialect.codec(model.type);
  }

  #again(table: TableModel, column: string, raw: unknown): unknown {
    const codec = this.#codec(table, column);
    return codec.encode(codec.decode(raw));
  }

  #quote(name: string): string {
    return this.#store.dialect.quote(name);
  }
}

/** The references to a table that lead back to it: from itself, or from a table that it refers to, over however many steps. */
function circularReferences(tables: readonly TableModel[], table: TableModel): CircularReference[] {
  const byName = new Map(tables.map((each) => [each.name, each]));
  const reached = new Set<TableModel>([table]);
  for (const each of reached) {
    for (const { table: name } of each.foreignKeys) {
      const next = byName.get(name);
      if (next !== undefined) reached.add(next);
    }
  }
  return [...reached].flatMap((from) =>
    from.foreignKeys
      .filter((foreignKey) => foreignKey.table === table.name)
      .map((foreignKey) => ({
        from,
        foreignKey,
        clear: foreignKey.columns.find((name) => from.column.get(name)?.nullable === true),
      })),
  );
}
