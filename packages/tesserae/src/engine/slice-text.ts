/**
 * The SQL text of a slice: the rows of some keys between two primary keys, in primary-key order. The condition on the key stands first, and the interval is
 * written as each engine reads it from an index: as a comparison of rows, or column by column, since MariaDB takes no range from `(a, b) > (x, y)`.
 * Where the scope is one key, its column is left out of the comparison; so what remains is one range of the index.
 */
import type { LogicalType } from "../schema/logical-type.ts";
import type { TableModel } from "../schema/model.ts";
import type { EngineDialect, RowSelection, RowSlice } from "./contract.ts";
import { residenceTableName } from "./control-tables.ts";

type Write = (type: LogicalType, value: unknown) => string;

interface KeyColumn {
  readonly index: number;
  readonly text: string;
  readonly type: LogicalType;
}

export class SliceText implements RowSelection {
  readonly table: TableModel;
  readonly #slice: RowSlice;
  readonly #dialect: EngineDialect;
  /** The columns of the primary key that the slice's rows differ in. */
  readonly #columns: readonly KeyColumn[];

  constructor(dialect: EngineDialect, slice: RowSlice) {
    this.table = slice.table;
    this.#slice = slice;
    this.#dialect = dialect;
    const fixed = this.#isOneKey() ? slice.table.keyColumn : undefined;
    this.#columns = slice.table.primaryKey.flatMap((name, index) => {
      const type = slice.table.column.get(name)?.type as LogicalType;
      const quoted = dialect.quote(name);
      const folds = type.kind === "text" && type.caseInsensitive;
      const text = folds ? dialect.transfer.byCodePoint(quoted) : quoted;
      return name === fixed ? [] : [{ index, text, type }];
    });
  }

  where(write: Write): string {
    const { after, upTo } = this.#slice;
    const conditions = [this.#keyCondition(write)];
    if (after !== undefined) conditions.push(this.#compare(after, ">", write));
    if (upTo !== undefined) conditions.push(this.#compare(upTo, "<=", write));
    return conditions.join(" and ");
  }

  get orderBy(): string {
    return this.#columns.length === 0
      ? ""
      : ` order by ${this.#columns.map((column) => column.text).join(", ")}`;
  }

  /** The same order from its end. */
  get orderByDescending(): string {
    return this.#columns.length === 0
      ? ""
      : ` order by ${this.#columns.map((column) => `${column.text} desc`).join(", ")}`;
  }

  /** One key, and the interval's ends are of that key. */
  #isOneKey(): boolean {
    const { scope, table, after, upTo } = this.#slice;
    if (scope.kind !== "points" || scope.keys.length !== 1) return false;
    const position = table.primaryKey.indexOf(table.keyColumn as string);
    return [after, upTo].every((end) => end === undefined || sameKey(end[position], scope.keys[0]));
  }

  #keyCondition(write: Write): string {
    const { scope, table } = this.#slice;
    const key = this.#dialect.quote(table.keyColumn as string);
    const type = table.column.get(table.keyColumn as string)?.type as LogicalType;
    if (scope.kind === "points") {
      if (scope.keys.length === 0) return "1 = 0";
      const values = scope.keys.map((value) => write(type, value));
      return values.length === 1 ? `${key} = ${values[0]}` : `${key} in (${values.join(", ")})`;
    }
    const residence = this.#dialect.quote(residenceTableName(scope.federation));
    // In the order of the text: each value that is written takes the next place.
    const low = `${key} >= ${write(type, scope.low)}`;
    const high = scope.high === null ? "" : ` and ${key} < ${write(type, scope.high)}`;
    const own = `select 1 from ${residence} tesserae_p where tesserae_p.kind = 'p' and tesserae_p.low = ${this.#dialect.quote(table.name)}.${key}`;
    return `${low}${high} and not exists (${own})`;
  }

  /** The primary key compared with another, in the order of its columns. */
  #compare(values: readonly unknown[], operator: ">" | "<=", write: Write): string {
    const [first] = this.#columns;
    // Of a single key without other columns there is but one row.
    if (first === undefined) return operator === ">" ? "1 = 0" : "1 = 1";
    const value = ({ type, index }: KeyColumn) => write(type, values[index]);
    if (this.#columns.length === 1) return `${first.text} ${operator} ${value(first)}`;
    if (this.#dialect.transfer.comparesRows) {
      const texts = this.#columns.map(({ text }) => text).join(", ");
      return `(${texts}) ${operator} (${this.#columns.map(value).join(", ")})`;
    }
    return this.#compareByColumn(this.#columns, values, operator, write);
  }

  /** a > x or (a = x and (b > y or …)). Values are written in the order in which they stand in the text, which is that of the parameters. */
  #compareByColumn(
    columns: readonly KeyColumn[],
    values: readonly unknown[],
    operator: ">" | "<=",
    write: Write,
  ): string {
    const [{ text, type, index }, ...others] = columns as [KeyColumn, ...KeyColumn[]];
    if (others.length === 0) return `${text} ${operator} ${write(type, values[index])}`;
    const beyond = `${text} ${operator.slice(0, 1)} ${write(type, values[index])}`;
    const same = `${text} = ${write(type, values[index])}`;
    return `(${beyond} or (${same} and ${this.#compareByColumn(others, values, operator, write)}))`;
  }
}

function sameKey(a: unknown, b: unknown): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) === 0 : a === b;
}
