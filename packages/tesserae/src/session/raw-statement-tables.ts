/** Which of the schema's tables the names in a statement's text can mean. */
import type { SchemaModel, TableModel } from "../schema/model.ts";
import type { StatementToken } from "./raw-statement-tokens.ts";
import { FROM_SYNTAX } from "./raw-words.ts";

/** Words that follow a table's name without being its alias. */
// biome-ignore format: a list of words reads better in lines.
const NO_ALIAS = new Set([
  "where", "on", "using", "join", "inner", "left", "right", "full", "cross", "natural", "straight_join", "set", "values", "value",
  "order", "group", "limit", "union", "having", "returning", "for", "window", "except", "intersect", "offset", "fetch", "default",
  "select", "force", "use", "ignore", "partition", "lateral", "indexed", "not", "tablesample", "with", "lock", "overriding", "outer",
]);

const SOURCE_WORDS = new Set(["from", "join", "straight_join", "into", "update", "using"]);

export class RawStatementTables {
  readonly #tokens: readonly StatementToken[];
  readonly #byName = new Map<string, TableModel[]>();
  /** By the names that may stand before a column's: the tables' own and their aliases. */
  readonly #sources = new Map<string, TableModel[]>();
  /** Names that the statement gives to expressions: such a name need not be a table's column. */
  readonly #made = new Set<string>();
  readonly #ctes = new Set<string>();
  #target: TableModel | undefined;
  /** A source whose columns are not known may have any. */
  #unknownSource = false;

  constructor(tokens: readonly StatementToken[], schema: SchemaModel) {
    this.#tokens = tokens;
    for (const table of schema.tables.values()) push(this.#byName, table.name.toLowerCase(), table);
    tokens.forEach((token, at) => {
      if (token.kind === "word" && token.text === "as") this.#namesMade(at);
      // `count(*) hits`: an alias without `as`.
      else if (tokens[at - 1]?.text === ")" || tokens[at - 1]?.kind === "literal") this.#made.add(token.text);
    });
    const calls: string[] = [];
    tokens.forEach((token, at) => {
      if (token.text === "(" && token.kind === "symbol") calls[token.depth + 1] = this.#text(at - 1);
      if (token.kind !== "word" || !SOURCE_WORDS.has(token.text)) return;
      if (this.#isSeparator(at, calls[token.depth] ?? "")) return;
      this.#sourceList(at + 1, token.text === "from" || token.text === "update" || token.text === "using");
      if (token.text === "into") this.#target = this.named(tokens[at + 1]);
    });
  }

  /** The table that a token names; undefined for none, or for two that differ in upper and lower case alone. */
  named(token: StatementToken | undefined): TableModel | undefined {
    if (token?.kind !== "word" && token?.kind !== "name") return undefined;
    const tables = this.#byName.get(token.text);
    return tables?.length === 1 && !this.#ctes.has(token.text) ? tables[0] : undefined;
  }

  /** Every table whose column a name can be; none where it can also be something else. */
  meant(qualifier: string | undefined, column: string): readonly TableModel[] {
    if (qualifier === "excluded" && this.#target !== undefined) return [this.#target];
    if (qualifier !== undefined) return this.#sources.get(qualifier) ?? [];
    if (this.#unknownSource || this.#made.has(column)) return [];
    return [...new Set([...this.#sources.values()].flat())];
  }

  /** `expression as name`, and `name as (…)` or `name (columns) as (…)` of a CTE. */
  #namesMade(at: number): void {
    this.#made.add(this.#text(at + 1));
    const next = this.#text(at + 1);
    if (next !== "(" && next !== "materialized" && next !== "not") return;
    const before = this.#tokens[at - 1];
    if (before?.text !== ")") {
      this.#ctes.add(before?.text ?? "");
      return;
    }
    let open = at - 2;
    while (open >= 0 && (this.#tokens[open] as StatementToken).depth > before.depth) {
      this.#made.add(this.#text(open));
      open--;
    }
    this.#ctes.add(this.#text(open - 1));
  }

  /** `extract(year from …)`, `is distinct from`, and the words where they begin no source. */
  #isSeparator(at: number, call: string): boolean {
    const { text } = this.#tokens[at] as StatementToken;
    const before = this.#text(at - 1);
    if (text === "from") return FROM_SYNTAX.has(call) || (before === "distinct" && this.#isDistinct(at));
    // `for update`, `on update`, `do update set`, `on duplicate key update`.
    if (text === "update") return /^(?:for|on|do|key)$/.test(before);
    return text === "using" && this.#text(at + 1) === "(";
  }

  #isDistinct(at: number): boolean {
    return /^(?:is|not)$/.test(this.#text(at - 2));
  }

  #sourceList(begin: number, several: boolean): void {
    let at = begin;
    for (;;) {
      while (/^(?:only|lateral|low_priority|ignore)$/.test(this.#text(at))) at++;
      at = this.#source(at);
      if (!several || this.#text(at) !== ",") return;
      at++;
    }
  }

  /** One source from its first token; gives the place behind it and its alias. */
  #source(begin: number): number {
    let at = begin;
    const token = this.#tokens[at];
    const table = this.named(token);
    if (this.#text(at) === "(") at = this.#behindBrackets(at);
    else {
      at++;
      // A column list belongs to an insert; brackets behind any other name make it a function.
      if (table === undefined && !this.#ctes.has(token?.text ?? "")) this.#unknownSource = true;
      if (this.#text(at) === ".") {
        this.#unknownSource = true;
        return at + 2;
      }
    }
    if (table !== undefined) push(this.#sources, table.name.toLowerCase(), table);
    const said = this.#text(at) === "as";
    const alias = this.#tokens[said ? at + 1 : at];
    const named = alias?.kind === "name" || (alias?.kind === "word" && (said || !NO_ALIAS.has(alias.text)));
    if (!named) return at;
    if (table !== undefined) push(this.#sources, alias.text, table);
    at = said ? at + 2 : at + 1;
    // An alias with columns renames them.
    if (this.#text(at) === "(" && this.#text(begin - 1) !== "into") this.#unknownSource = true;
    return at;
  }

  #behindBrackets(open: number): number {
    const { depth } = this.#tokens[open] as StatementToken;
    let at = open + 1;
    while (at < this.#tokens.length && (this.#tokens[at] as StatementToken).depth > depth) at++;
    return at + 1;
  }

  #text(at: number): string {
    return this.#tokens[at]?.text ?? "";
  }
}

function push(map: Map<string, TableModel[]>, name: string, table: TableModel): void {
  const tables = map.get(name);
  if (tables === undefined) map.set(name, [table]);
  else if (!tables.includes(table)) tables.push(table);
}
