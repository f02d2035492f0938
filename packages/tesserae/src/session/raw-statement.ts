/**
 * Which columns the parameters of a statement's text go to: `column = ?` and the other comparisons, `column in (?, …)`, `column between ? and ?`,
 * `set column = ?`, `insert into table (columns) values (?, …)`. Anything else stays unknown; nothing is guessed.
 */
import type { EngineName } from "../engine/contract.ts";
import type { LogicalType } from "../schema/logical-type.ts";
import type { ColumnModel, SchemaModel, TableModel } from "../schema/model.ts";
import { comparable } from "./expression-types.ts";
import { RawStatementTables } from "./raw-statement-tables.ts";
import { readStatement, type StatementToken } from "./raw-statement-tokens.ts";

export interface ParameterColumn {
  readonly table: TableModel;
  readonly column: ColumnModel;
  /** It is written to the column, not compared with it. */
  readonly written: boolean;
}

const COMPARISONS = new Set(["=", "==", "<>", "!=", "<", ">", "<=", ">=", "<=>"]);
const CLAUSES = new Set(["set", "where", "values", "from", "on", "returning", "having", "order", "select"]);

/** By the parameter's index. */
export function parameterColumns(
  sql: string,
  schema: SchemaModel,
  engine: EngineName,
): ReadonlyMap<number, ParameterColumn> {
  const tokens = readStatement(sql, engine);
  return tokens === undefined ? new Map() : new StatementText(tokens, schema).columns();
}

/** The types of a raw statement's parameters. JSON is left out: raw SQL gives it as text as often as as a value. */
export function rawParameterTypes(
  sql: string,
  count: number,
  schema: SchemaModel,
  engine: EngineName,
): (LogicalType | undefined)[] {
  const types = new Array<LogicalType | undefined>(count).fill(undefined);
  if (count === 0) return types;
  for (const [index, { column, written }] of parameterColumns(sql, schema, engine)) {
    if (index >= count || column.type.kind === "json") continue;
    types[index] = written ? column.type : comparable(column.type);
  }
  return types;
}

class StatementText {
  readonly #tokens: readonly StatementToken[];
  readonly #tables: RawStatementTables;
  readonly #found = new Map<number, ParameterColumn>();
  /** Parameters that stand at several places (`$1`) which do not agree. */
  readonly #torn = new Set<number>();

  constructor(tokens: readonly StatementToken[], schema: SchemaModel) {
    this.#tokens = tokens;
    this.#tables = new RawStatementTables(tokens, schema);
  }

  columns(): ReadonlyMap<number, ParameterColumn> {
    const clause: string[] = [];
    this.#tokens.forEach((token, at) => {
      if (token.kind === "word" && CLAUSES.has(token.text)) clause[token.depth] = token.text;
      if (token.text === "(") clause[token.depth + 1] = "";
      if (token.kind === "word" && token.text === "into") this.#inserted(at + 1);
      if (token.kind !== "parameter") return;
      const found = this.#columnBefore(at, clause[token.depth] === "set") ?? this.#columnAfter(at);
      if (found !== undefined) this.#note(token.index, found);
    });
    // The same `$1` may also stand where nothing is known of it; PostgreSQL gives a parameter one type.
    for (const index of this.#torn) this.#found.delete(index);
    return this.#found;
  }

  #note(index: number, found: ParameterColumn): void {
    const known = this.#found.get(index);
    if (known !== undefined && !sameForm(known.column.type, found.column.type)) this.#torn.add(index);
    else if (known === undefined || !known.written) this.#found.set(index, found);
  }

  /** `column = ?`, `column in (…, ?`, `column between ?`, `column between … and ?` */
  #columnBefore(at: number, inSet: boolean): ParameterColumn | undefined {
    if (!this.#endsOperand(at + 1)) return undefined;
    const sign = this.#signBefore(at);
    if (sign < at) {
      const name = this.#nameEndingAt(sign - 1);
      if (name === undefined) return undefined;
      const written = inSet && this.#tokens[sign]?.text === "=" && this.#beginsAssignment(name.begin);
      return this.#column(name, written);
    }
    let operand = this.#listBefore(at) ?? this.#betweenBefore(at);
    if (operand === undefined) return undefined;
    if (this.#text(operand) === "not") operand--;
    const name = this.#nameEndingAt(operand);
    return name && this.#column(name, false);
  }

  /** `? = column` */
  #columnAfter(at: number): ParameterColumn | undefined {
    if (!this.#beginsOperand(at)) return undefined;
    let end = at + 1;
    while (/^[=<>!]$/.test(this.#text(end))) end++;
    if (!COMPARISONS.has(this.#joined(at + 1, end))) return undefined;
    const qualified = this.#text(end + 1) === ".";
    const last = qualified ? end + 2 : end;
    if (!this.#isName(end) || !this.#isName(last) || !this.#endsOperand(last + 1)) return undefined;
    const column = this.#text(last);
    return this.#column(qualified ? { column, qualifier: this.#text(end) } : { column }, false);
  }

  /** Where the comparison sign before a place begins; the place itself where there is none. */
  #signBefore(at: number): number {
    let begin = at;
    while (/^[=<>!]$/.test(this.#text(begin - 1))) begin--;
    return COMPARISONS.has(this.#joined(begin, at)) ? begin : at;
  }

  /** For a parameter that is an item of `in (…)` for itself: the token before `in`. */
  #listBefore(at: number): number | undefined {
    const { depth } = this.#tokens[at] as StatementToken;
    const before = this.#text(at - 1);
    if (before !== "(" && before !== ",") return undefined;
    let open = at - 1;
    while (open >= 0 && (this.#tokens[open] as StatementToken).depth >= depth) open--;
    return this.#text(open) === "(" && this.#text(open - 1) === "in" ? open - 2 : undefined;
  }

  #betweenBefore(at: number): number | undefined {
    if (this.#text(at - 1) === "between") return at - 2;
    return this.#text(at - 1) === "and" && this.#text(at - 3) === "between" ? at - 4 : undefined;
  }

  /** The rows of `into table (columns) values (…), (…)`, from the table's name on. */
  #inserted(at: number): void {
    const table = this.#tables.named(this.#tokens[at]);
    if (table === undefined) return;
    let next = at + 1;
    if (this.#text(next) === "as") next += 2;
    if (this.#text(next) !== "(") return;
    const columns: (ColumnModel | undefined)[] = [];
    for (next++; this.#text(next) !== ")"; next++) {
      const token = this.#tokens[next];
      if (token === undefined) return;
      if (token.text !== ",") columns.push(columnNamed(table, token.text));
    }
    next++;
    if (this.#text(next) !== "values" && this.#text(next) !== "value") return;
    for (next++; this.#text(next) === "("; next++) {
      next = this.#insertedRow(next, table, columns);
      if (this.#text(next) !== ",") return;
    }
  }

  /** From the row's opening bracket; gives the place behind its closing one. */
  #insertedRow(open: number, table: TableModel, columns: readonly (ColumnModel | undefined)[]): number {
    const { depth } = this.#tokens[open] as StatementToken;
    let position = 0;
    for (let at = open + 1; at < this.#tokens.length; at++) {
      const token = this.#tokens[at] as StatementToken;
      if (token.depth === depth) return at + 1;
      if (token.depth > depth + 1) continue;
      if (token.text === ",") position++;
      const column = columns[position];
      const alone = /^[(,]$/.test(this.#text(at - 1)) && /^[),]$/.test(this.#text(at + 1));
      if (token.kind === "parameter" && alone && column !== undefined)
        this.#note(token.index, { table, column, written: true });
    }
    return this.#tokens.length;
  }

  /** A plain name, qualified at most once, that is the whole operand. */
  #nameEndingAt(
    end: number,
  ): { readonly begin: number; readonly column: string; readonly qualifier?: string } | undefined {
    if (!this.#isName(end)) return undefined;
    const qualified = this.#text(end - 1) === "." && this.#isName(end - 2);
    const begin = qualified ? end - 2 : end;
    if (!this.#beginsOperand(begin)) return undefined;
    const column = this.#text(end);
    return qualified ? { begin, column, qualifier: this.#text(begin) } : { begin, column };
  }

  #column(
    name: { readonly column: string; readonly qualifier?: string },
    written: boolean,
  ): ParameterColumn | undefined {
    const tables = this.#tables.meant(name.qualifier, name.column);
    const found = tables.flatMap((table) => {
      const column = columnNamed(table, name.column);
      return column === undefined ? [] : [{ table, column, written }];
    });
    const [first] = found;
    return first !== undefined && found.every(({ column }) => sameForm(column.type, first.column.type))
      ? first
      : undefined;
  }

  /** What stands before is no operator that would take part of the operand to itself. */
  #beginsOperand(at: number): boolean {
    const before = this.#tokens[at - 1];
    return before === undefined || before.kind === "word" || /^[(,;]$/.test(before.text);
  }

  #endsOperand(at: number): boolean {
    const after = this.#tokens[at];
    return after === undefined || after.kind === "word" || /^[),;]$/.test(after.text);
  }

  #beginsAssignment(at: number): boolean {
    return this.#text(at - 1) === "set" || this.#text(at - 1) === ",";
  }

  #isName(at: number): boolean {
    const kind = this.#tokens[at]?.kind;
    return kind === "word" || kind === "name";
  }

  #text(at: number): string {
    return this.#tokens[at]?.text ?? "";
  }

  #joined(begin: number, end: number): string {
    return this.#tokens
      .slice(begin, end)
      .map(({ text }) => text)
      .join("");
  }
}

function columnNamed(table: TableModel, name: string): ColumnModel | undefined {
  return table.column.get(name) ?? table.columns.find((column) => column.name.toLowerCase() === name);
}

/** The types encode a value alike when it is compared. */
function sameForm(a: LogicalType, b: LogicalType): boolean {
  const [left, right] = [comparable(a), comparable(b)] as [LogicalType, LogicalType];
  return describe(left) === describe(right);
}

function describe(type: LogicalType): string {
  return JSON.stringify(type);
}
