/**
 * Reads the text of a whole statement as its own engine does, with its parameters in their places. What cannot be read for sure makes the whole
 * text unread: nothing is then known of its parameters.
 */
import type { EngineName } from "../engine/contract.ts";

export interface StatementToken {
  /** Names and words in lower case; strings, numbers and parameters without their text. */
  readonly kind: "word" | "name" | "literal" | "symbol" | "parameter";
  readonly text: string;
  /** Of a parameter: its index in the statement's list. */
  readonly index: number;
  /** How many brackets are open around it; a bracket itself stands outside. */
  readonly depth: number;
}

const SPACE = /\s+/y;
const WORD = /[A-Za-z_]\w*/y;
const NUMBER = /0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const SYMBOL = /[-+*/%<>=!~^&|(),.@:;[\]?]/y;
const DOUBLE_QUOTED = /"(?:[^"\u0000]|"")*"/y;
const BACKTICK_QUOTED = /`(?:[^`\u0000]|``)*`/y;
const STRING = /'(?:[^'\u0000]|'')*'/y;
const STRING_WITH_ESCAPES = /'(?:[^'\\\u0000]|\\[\s\S]|'')*'|"(?:[^"\\\u0000]|\\[\s\S]|"")*"/y;
const DOLLAR_PARAMETER = /\$(\d+)/y;
const LINE_COMMENT = /--[^\n]*/y;
const MYSQL_LINE_COMMENT = /--(?=\s|$)[^\n]*|#[^\n]*/y;
/** Without a second opening, which nests on PostgreSQL alone, and without the mark of MariaDB's executable comments. */
const COMMENT = /\/\*(?![!M])(?:[^*/]|\*(?!\/)|\/(?!\*))*\*\//y;

/** Undefined where the text cannot be read for sure. */
export function readStatement(sql: string, engine: EngineName): StatementToken[] | undefined {
  const tokens: StatementToken[] = [];
  let at = 0;
  let depth = 0;
  let parameters = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(sql)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const add = (kind: StatementToken["kind"], text: string, index = -1): void => {
    tokens.push({ kind, text, index, depth });
  };
  while (at < sql.length) {
    if (take(SPACE) ?? take(engine === "mysql" ? MYSQL_LINE_COMMENT : LINE_COMMENT) ?? take(COMMENT))
      continue;
    if (sql.startsWith("--", at) || sql.startsWith("/*", at)) return undefined;
    const word = take(WORD);
    if (word !== undefined) {
      // e'…', U&'…', N'…', x'…': strings with rules of their own.
      if (sql[at] === "'" || (sql[at] === "&" && /^u$/i.test(word))) return undefined;
      add("word", word.toLowerCase());
      continue;
    }
    if (engine === "postgres") {
      const parameter = take(DOLLAR_PARAMETER);
      if (parameter !== undefined) {
        add("parameter", "", Number(parameter.slice(1)) - 1);
        continue;
      }
    } else if (sql[at] === "?") {
      at++;
      // SQLite's `?1`.
      if (/\w/.test(sql[at] ?? " ")) return undefined;
      add("parameter", "", parameters++);
      continue;
    }
    if (take(NUMBER) !== undefined || take(engine === "mysql" ? STRING_WITH_ESCAPES : STRING) !== undefined) {
      add("literal", "");
      continue;
    }
    const name = engine === "postgres" ? take(DOUBLE_QUOTED) : (take(DOUBLE_QUOTED) ?? take(BACKTICK_QUOTED));
    if (name !== undefined) {
      add("name", name.slice(1, -1).toLowerCase());
      continue;
    }
    const symbol = take(SYMBOL);
    if (symbol === undefined || isNamedParameter(engine, symbol, sql[at])) return undefined;
    if (symbol === ")" || symbol === "]") depth--;
    add("symbol", symbol);
    if (symbol === "(" || symbol === "[") depth++;
  }
  return depth === 0 ? tokens : undefined;
}

/** `:name`, `@name` and `[name]` on SQLite. */
function isNamedParameter(engine: EngineName, symbol: string, next: string | undefined): boolean {
  if (engine !== "sqlite") return false;
  return symbol === "[" || ((symbol === ":" || symbol === "@") && /\w/.test(next ?? " "));
}
