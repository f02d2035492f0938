/**
 * A tenant's rows on its shard: whether there are any, and their deletion in bounded batches under a residence that is `gone`.
 *
 * The guard refuses every write of a key that is gone, so that nothing can be added while rows are deleted; the deletion itself passes the guard
 * as a mover does. Tables are emptied in reverse order of their references. Rows that refer to rows of their own table, or tables that refer to each other
 * in a circle, go from the leaves: a row goes when no row refers to it any more.
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

interface Reference {
  readonly from: TableModel;
  readonly foreignKey: ForeignKeyModel;
}

export class TenantRows {
  readonly #store: ControlStore;
  /** Tables that are referred to come first, as in the schema. */
  readonly #tables: readonly TableModel[];

  constructor(store: ControlStore, tables: readonly TableModel[]) {
    this.#store = store;
    this.#tables = tables;
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
  async purge(
    key: KeyValue,
    fence: PurgeFence,
    residences: ResidenceRows,
    batchRows: number,
    between: () => Promise<boolean>,
  ): Promise<boolean> {
    for (;;) {
      let deleted = 0;
      for (const table of this.#tables.toReversed()) {
        for (;;) {
          const batch = await this.#deleteBatch(table, key, fence, residences, batchRows);
          if (batch === undefined || !(await between())) return false;
          deleted += batch;
          if (batch < batchRows) break;
        }
      }
      const left = await this.firstTableWithRows(key);
      if (left === undefined) return true;
      // A pass that found no leaf, though rows are left: they refer to each other in a circle.
      if (deleted === 0 && !(await this.#deleteCircle(left, key, fence, residences))) return false;
    }
  }

  /** Rows deleted; undefined when the residence is no longer the caller's. */
  #deleteBatch(
    table: TableModel,
    key: KeyValue,
    fence: PurgeFence,
    residences: ResidenceRows,
    batchRows: number,
  ): Promise<number | undefined> {
    return this.#store.transaction(async (transaction) => {
      if (!(await this.#holds(transaction, fence, residences))) return undefined;
      const columns = table.primaryKey.filter((name) => name !== table.keyColumn);
      const limit = Math.max(
        1,
        Math.min(
          batchRows,
          Math.floor((this.#store.capabilities.parametersMax - 1) / Math.max(1, columns.length)),
        ),
      );
      const list = (columns.length === 0 ? [table.keyColumn as string] : columns)
        .map((name) => `t.${this.#quote(name)}`)
        .join(", ");
      const keyIs = `${this.#quote(table.keyColumn as string)} = ?`;
      const keyValue = this.#codec(table, table.keyColumn as string).encode(key);
      const { rows } = await transaction.run(
        `select ${list} from ${this.#quote(table.name)} t where t.${keyIs}${this.#leavesOnly(table)} limit ${limit}`,
        [keyValue],
      );
      if (rows.length === 0) return 0;
      const parameters = [keyValue];
      for (const row of rows)
        for (const name of columns) parameters.push(this.#again(table, name, row[name]));
      await this.#delete(
        transaction,
        fence.token,
        `delete from ${this.#quote(table.name)} where ${keyIs}${this.#oneOf(columns, rows.length)}`,
        parameters,
      );
      // A batch that the engine's parameters made smaller is not the last one.
      return rows.length === limit ? batchRows : rows.length;
    });
  }

  /** All that is left of a table at once: most engines check references at the end of the statement. */
  #deleteCircle(name: string, key: KeyValue, fence: PurgeFence, residences: ResidenceRows): Promise<boolean> {
    const table = this.#tables.find((candidate) => candidate.name === name) as TableModel;
    return this.#store.transaction(async (transaction) => {
      if (!(await this.#holds(transaction, fence, residences))) return false;
      const keyValue = this.#codec(table, table.keyColumn as string).encode(key);
      await this.#delete(
        transaction,
        fence.token,
        `delete from ${this.#quote(name)} where ${this.#quote(table.keyColumn as string)} = ?`,
        [keyValue],
      );
      return true;
    });
  }

  async #delete(
    transaction: ControlTransaction,
    token: bigint,
    sql: string,
    parameters: readonly unknown[],
  ): Promise<void> {
    await asMover(transaction.connection, this.#store.dialect, token, () => transaction.run(sql, parameters));
  }

  async #holds(
    transaction: ControlTransaction,
    fence: PurgeFence,
    residences: ResidenceRows,
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
    return this.#circularReferences(table)
      .map(({ from, foreignKey }) => {
        const matches = foreignKey.columns.map(
          (name, index) =>
            `r.${this.#quote(name)} = t.${this.#quote(foreignKey.referencedColumns[index] as string)}`,
        );
        // A row that refers to itself is in nobody's way.
        const other =
          from === table
            ? ` and not (${table.primaryKey.map((name) => `r.${this.#quote(name)} = t.${this.#quote(name)}`).join(" and ")})`
            : "";
        return ` and not exists (select 1 from ${this.#quote(from.name)} r where ${matches.join(" and ")}${other})`;
      })
      .join("");
  }

  /** References to the table from itself, or from tables that come before it: those are not empty yet when it is emptied. */
  #circularReferences(table: TableModel): Reference[] {
    const position = this.#tables.indexOf(table);
    return this.#tables
      .slice(0, position + 1)
      .flatMap((from) =>
        from.foreignKeys
          .filter((foreignKey) => foreignKey.table === table.name)
          .map((foreignKey) => ({ from, foreignKey })),
      );
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
