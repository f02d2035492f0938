/**
 * Rows on their way from one database to another, in slices: copied, compared, looked at one by one, deleted. Between two databases of one engine the
 * engine's own quick way is taken and digests are computed by the servers; otherwise the rows come through this process as logical values.
 *
 * It runs its statements on the connections it is given, in whatever transactions they have open; tokens, residences and the guard are the caller's business. Memory stays
 * bounded: rows travel in pieces of about a mebibyte, or one row where that is more. Errors are TesseraeErrors; CONSTRAINT_UNIQUE for a row that is in the way.
 */
import { createHash } from "node:crypto";
import type { ColumnModel, TableModel } from "../schema/model.ts";
import type { Connection, EngineDialect, EngineResult, RawRow, RowSlice, TransferRow } from "./contract.ts";
import { toEngineError } from "./engine-error.ts";
import { nameList, rowsOf, run, sliceOf, widestRow } from "./slice-reader.ts";
import { SliceText } from "./slice-text.ts";
import {
  canonicalRow,
  parsePrimaryKey,
  primaryKeyText,
  TransferCodec,
  transferCodec,
} from "./transfer-values.ts";

export type { KeyScope, RowSlice, TransferRow } from "./contract.ts";

export type TransferEnd = "source" | "target";

export interface RowDigest {
  readonly rows: number;
  /** Comparable between both ends of one pair alone. */
  readonly digest: string;
}

/** Rows that one statement names by their primary keys. */
const KEYS_PER_STATEMENT = 100;

export class RowTransfer {
  readonly #source: EngineDialect;
  readonly #target: EngineDialect;
  readonly #sameEngine: boolean;

  constructor(source: EngineDialect, target: EngineDialect) {
    this.#source = source;
    this.#target = target;
    this.#sameEngine = source.name === target.name;
  }

  /** The primary key of the slice's `rows`-th row, when there are more behind it: where the slice may be cut. Undefined when it has no more than `rows` rows. */
  async boundary(source: Connection, slice: RowSlice, rows: number): Promise<readonly unknown[] | undefined> {
    const { table } = slice;
    const { text, parameters, order } = sliceOf(this.#source, slice);
    const columns = primaryKeyColumns(table);
    const sql = `select ${nameList(this.#source, table.primaryKey)} from ${this.#source.quote(table.name)} where ${text}${order} limit 2 offset ${whole(rows) - 1}`;
    const result = await run(this.#source, source, { sql, parameters, readOnly: true });
    const [last, next] = result.rows;
    return last === undefined || next === undefined
      ? undefined
      : new TransferCodec(this.#source, columns).decode(last);
  }

  /** The primary key of the slice's last row; undefined when it has none. */
  async last(
    end: TransferEnd,
    connection: Connection,
    slice: RowSlice,
  ): Promise<readonly unknown[] | undefined> {
    const dialect = this.#dialect(end);
    const { table } = slice;
    const { text, parameters, descending } = sliceOf(dialect, slice);
    const sql = `select ${nameList(dialect, table.primaryKey)} from ${dialect.quote(table.name)} where ${text}${descending} limit 1`;
    const { rows } = await run(dialect, connection, { sql, parameters, readOnly: true });
    return rows[0] === undefined
      ? undefined
      : new TransferCodec(dialect, primaryKeyColumns(table)).decode(rows[0]);
  }

  /** Copies the slice's rows, and gives their number. CONSTRAINT_UNIQUE when one of them, or another in the way of a unique key, is at the target. */
  async copy(source: Connection, target: Connection, slice: RowSlice): Promise<number> {
    const widest = await widestRow(this.#source, source, slice);
    if (this.#sameEngine) {
      const selection = new SliceText(this.#source, slice);
      const copied = await this.#guarded(this.#target, () =>
        this.#target.transfer.copy(source, target, selection, widest),
      );
      if (copied !== undefined) return copied;
    }
    let copied = 0;
    let writing: Promise<void> = Promise.resolve();
    for await (const rows of rowsOf(this.#source, source, slice, widest)) {
      // One piece is written while the next is read.
      await writing;
      writing = this.write(target, slice.table, rows);
      writing.catch(() => undefined);
      copied += rows.length;
    }
    await writing;
    return copied;
  }

  async count(end: TransferEnd, connection: Connection, slice: RowSlice): Promise<number> {
    const dialect = this.#dialect(end);
    const { text, parameters } = sliceOf(dialect, slice);
    const sql = `select count(*) as n from ${dialect.quote(slice.table.name)} where ${text}`;
    const { rows } = await run(dialect, connection, { sql, parameters, readOnly: true });
    return Number(rows[0]?.["n"]);
  }

  /**
   * Equal at both ends when the rows are. On two servers of one engine they compute it (see each engine's `transfer.ts` for the odds that different rows
   * have the same); otherwise it is the SHA-256 of all values in primary-key order.
   */
  async digest(end: TransferEnd, connection: Connection, slice: RowSlice): Promise<RowDigest> {
    const dialect = this.#dialect(end);
    const aggregates = this.#sameEngine ? dialect.transfer.digest?.(slice.table) : undefined;
    if (aggregates === undefined) return this.#digestHere(dialect, connection, slice);
    const { text, parameters } = sliceOf(dialect, slice);
    const list = aggregates.map((aggregate, index) => `, ${aggregate} as d${index}`).join("");
    const sql = `select count(*) as n${list} from ${dialect.quote(slice.table.name)} where ${text}`;
    const { rows } = await run(dialect, connection, { sql, parameters, readOnly: true });
    const row = rows[0] as RawRow;
    return {
      rows: Number(row["n"]),
      digest: aggregates.map((_, index) => String(row[`d${index}`])).join("/"),
    };
  }

  async #digestHere(dialect: EngineDialect, connection: Connection, slice: RowSlice): Promise<RowDigest> {
    const hash = createHash("sha256");
    let count = 0;
    const widest = await widestRow(dialect, connection, slice);
    for await (const rows of rowsOf(dialect, connection, slice, widest)) {
      hash.update(rows.map(canonicalRow).join("\n"));
      hash.update("\n");
      count += rows.length;
    }
    return { rows: count, digest: hash.digest("hex") };
  }

  /** The rows that there are of these primary keys, in no order. */
  async read(
    end: TransferEnd,
    connection: Connection,
    table: TableModel,
    primaryKeys: readonly (readonly unknown[])[],
  ): Promise<TransferRow[]> {
    const dialect = this.#dialect(end);
    const codec = new TransferCodec(dialect, table.columns);
    const columns = nameList(
      dialect,
      table.columns.map(({ name }) => name),
    );
    const found: TransferRow[] = [];
    for (const keys of batches(primaryKeys, KEYS_PER_STATEMENT)) {
      const { text, parameters } = anyOf(dialect, keys, primaryKeyColumns(table));
      const sql = `select ${columns} from ${dialect.quote(table.name)} where ${text}`;
      const { rows } = await run(dialect, connection, { sql, parameters, readOnly: true });
      for (const row of rows) found.push(codec.decode(row));
    }
    return found;
  }

  async write(target: Connection, table: TableModel, rows: readonly TransferRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#guarded(this.#target, () => this.#target.transfer.insert(target, table, rows));
  }

  /** Deletes the rows of these primary keys, and gives the number of those that were there. */
  async delete(
    connection: Connection,
    end: TransferEnd,
    table: TableModel,
    primaryKeys: readonly (readonly unknown[])[],
  ): Promise<number> {
    const dialect = this.#dialect(end);
    let deleted = 0;
    for (const keys of batches(primaryKeys, KEYS_PER_STATEMENT)) {
      const { text, parameters } = anyOf(dialect, keys, primaryKeyColumns(table));
      const sql = `delete from ${dialect.quote(table.name)} where ${text}`;
      deleted += affected(await run(dialect, connection, { sql, parameters }));
    }
    return deleted;
  }

  /** Deletes the rows at the target that have a unique key of one of `rows` under another primary key, and gives their number. */
  async deleteOccupants(
    target: Connection,
    table: TableModel,
    rows: readonly TransferRow[],
  ): Promise<number> {
    const dialect = this.#target;
    const positions = new Map(table.columns.map(({ name }, index) => [name, index]));
    const pick = (row: TransferRow, names: readonly string[]) =>
      names.map((name) => row[positions.get(name) as number]);
    let deleted = 0;
    for (const { columns: names } of table.uniques) {
      const columns = names.map((name) => table.column.get(name) as ColumnModel);
      const withKey = rows.filter((row) => pick(row, names).every((value) => value !== null));
      for (const batch of batches(withKey, KEYS_PER_STATEMENT)) {
        const parameters: unknown[] = [];
        const texts = batch.map((row) => {
          const held = equal(dialect, columns, pick(row, names), parameters);
          const own = equal(dialect, primaryKeyColumns(table), pick(row, table.primaryKey), parameters);
          return `(${held} and not (${own}))`;
        });
        const sql = `delete from ${dialect.quote(table.name)} where ${texts.join(" or ")}`;
        deleted += affected(await run(dialect, target, { sql, parameters }));
      }
    }
    return deleted;
  }

  /** Deletes at most `limit` rows of the slice, and gives their number: 0 when none is left. */
  async deleteSlice(
    end: TransferEnd,
    connection: Connection,
    slice: RowSlice,
    limit: number,
  ): Promise<number> {
    const dialect = this.#dialect(end);
    const { text, parameters } = sliceOf(dialect, slice);
    const sql = dialect.transfer.deleteSome(slice.table, text, whole(limit));
    return affected(await run(dialect, connection, { sql, parameters }));
  }

  /** A hash of each row of the slice, by its primary key as `primaryKeyText` writes it. */
  async primaryKeysOf(
    end: TransferEnd,
    connection: Connection,
    slice: RowSlice,
  ): Promise<Map<string, string>> {
    const dialect = this.#dialect(end);
    const { table } = slice;
    const positions = table.primaryKey.map((name) =>
      table.columns.findIndex((column) => column.name === name),
    );
    const hashes = new Map<string, string>();
    const widest = await widestRow(dialect, connection, slice);
    for await (const rows of rowsOf(dialect, connection, slice, widest)) {
      for (const row of rows) {
        const key = primaryKeyText(positions.map((position) => row[position]));
        hashes.set(key, createHash("sha256").update(canonicalRow(row)).digest("base64"));
      }
    }
    return hashes;
  }

  /** A primary key as one text: the same for the same key at both ends, read again by `parseLogKey`. */
  primaryKeyText(primaryKey: readonly unknown[]): string {
    return primaryKeyText(primaryKey);
  }

  /** The logical values of a primary key from a guard's log. */
  parseLogKey(table: TableModel, jsonText: string): readonly unknown[] {
    return parsePrimaryKey(table, jsonText);
  }

  #dialect(end: TransferEnd): EngineDialect {
    return end === "source" ? this.#source : this.#target;
  }

  async #guarded<T>(dialect: EngineDialect, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toEngineError(error, dialect, {});
    }
  }
}

function primaryKeyColumns(table: TableModel): ColumnModel[] {
  return table.primaryKey.map((name) => table.column.get(name) as ColumnModel);
}

/**
 * One of several tuples of values. Written out, since MariaDB does not read `(a, b) in (…)` from an index in each version; those that differ in the last column only
 * share one list, which is planned and read as one range of the index.
 */
function anyOf(
  dialect: EngineDialect,
  tuples: readonly (readonly unknown[])[],
  columns: readonly ColumnModel[],
) {
  const last = columns.length - 1;
  const { name, type } = columns[last] as ColumnModel;
  const groups = Map.groupBy(tuples, (tuple) => primaryKeyText(tuple.slice(0, last)));
  const parameters: unknown[] = [];
  const texts = [...groups.values()].map((group) => {
    const prefix = columns.slice(0, last);
    const same = equal(dialect, prefix, (group[0] as readonly unknown[]).slice(0, last), parameters);
    for (const tuple of group) parameters.push(transferCodec(dialect, type).encode(tuple[last]));
    const list = `${dialect.quote(name)} in (${group.map(() => "?").join(", ")})`;
    return same === "" ? `(${list})` : `(${same} and ${list})`;
  });
  return { text: texts.join(" or "), parameters };
}

function equal(
  dialect: EngineDialect,
  columns: readonly ColumnModel[],
  values: readonly unknown[],
  parameters: unknown[],
): string {
  return columns
    .map(({ name, type }, index) => {
      parameters.push(transferCodec(dialect, type).encode(values[index]));
      return `${dialect.quote(name)} = ?`;
    })
    .join(" and ");
}

function* batches<T>(items: readonly T[], size: number): Generator<readonly T[], void, undefined> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}

const affected = ({ affectedRows }: EngineResult): number => Number(affectedRows ?? 0n);

function whole(count: number): number {
  if (!Number.isSafeInteger(count) || count < 1)
    throw new RangeError(`A number of rows is at least 1, not ${count}.`);
  return count;
}
