/**
 * Reads a raw fragment as tokens that mean the same to all three engines. Where the engines would read a text differently (a `#`
 * comments on MariaDB and is an operator on PostgreSQL, a backslash escapes here and not there, `[` quotes on SQLite), one of the readings could
 * hide SQL from us, so such a text is refused instead of being understood for one engine.
 */
import type { OperationNode, RawNode, ValueNode } from "kysely";
import { TesseraeError } from "../base/errors.ts";

export type Token =
  /** An unquoted word, in lower case. */
  | { readonly kind: "word"; readonly text: string }
  /** A quoted name, in lower case. MariaDB reads double quotes as a string; for us it is a name all the same. */
  | { readonly kind: "name"; readonly text: string }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "symbol"; readonly text: string }
  /** A node of the query's tree in the fragment's midst. */
  | { readonly kind: "hole"; readonly text: ""; readonly node: OperationNode };

/** Stands in the joined text where a node stands; refused as a character of the text itself. */
const HOLE = "\u0001";

const SPACE = /[ \t\r\n\f]+/y;
const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
/** Without NUL, which ends a statement for SQLite, and without a hole. */
const STRING = /'(?:[^'\\\u0000\u0001]|'')*'/y;
const NAME = /"(?:[^"\\\u0000\u0001]|"")*"/y;
/** Only a plain name: PostgreSQL would read what stands between as SQL. */
const BACKTICK_NAME = /`\w+`/y;
const SYMBOL = /::|[-+*/%<>=!~^&|(),.@:[\]]/y;

const ADVICE: Readonly<Record<string, string>> = {
  ";": "a semicolon; send one statement at a time",
  "\\": "a backslash, which the engines read differently; give the text as a parameter: ${value}",
  "#": "a #, which begins a comment on MariaDB; use a function instead of the operator",
  "?": 'a question mark, which is a parameter\'s place on SQLite and MariaDB; give the value as ${value}, or use eb(left, "?", right)',
  $: "a dollar sign (a parameter's place or a dollar quote); give the value as ${value}",
  "{": "a brace; write the expression without it",
  "}": "a brace; write the expression without it",
  "`": "a backtick that does not quote a plain name; use ${sql.ref(name)}",
  "'": "a string that does not end, or that holds a parameter; give the whole text as a parameter: ${value}",
  '"': "a quoted name that does not end, or that holds a parameter; use ${sql.ref(name)}",
  "\u0000": "a NUL character",
  [HOLE]: "a control character",
};

export function refuseRaw(problem: string): TesseraeError {
  return new TesseraeError(
    "RAW_REFUSED",
    `A fragment of raw SQL holds ${problem}. Or send it as a whole statement with unfiltered(), which takes the responsibility for the key.`,
  );
}

/** The fragment with those nested in it, as the compiler would write it. Nodes beyond the last fragment are never written, and not read here. */
export function tokenize(node: RawNode): Token[] {
  const holes: OperationNode[] = [];
  const text = flatten(node, holes);
  const tokens: Token[] = [];
  let at = 0;
  let hole = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  while (at < text.length) {
    if (take(SPACE) !== undefined) continue;
    if (text[at] === HOLE) {
      const node = holes[hole++] as OperationNode;
      if ((text[at - 1] === "-" || text[at - 1] === "/") && mayBeginWithSign(node))
        throw refuseRaw(
          "a sign directly before an expression that may begin with one; put a space between them",
        );
      at++;
      tokens.push({ kind: "hole", text: "", node });
      continue;
    }
    refuseComment(text, at);
    const token = readToken(take);
    if (token === undefined) throw refuseCharacter(text[at] as string);
    if (token.kind === "number" && /\w/.test(text[at] ?? " "))
      throw refuseRaw("a number that runs into a word; put a space between them");
    if (token.text === "@" && /[\w'"`]/.test(text[at] ?? " "))
      throw refuseRaw("a variable or a named parameter (@…); give the value as ${value}");
    if (token.text === "u" && text[at] === "&")
      throw refuseRaw("a string or name with Unicode escapes (U&…); give the text as a parameter: ${value}");
    tokens.push(token);
  }
  return tokens;
}

function flatten(node: RawNode, holes: OperationNode[]): string {
  let text = "";
  node.sqlFragments.forEach((fragment, index) => {
    if (fragment.includes(HOLE)) throw refuseCharacter(HOLE);
    text += fragment;
    const parameter = node.parameters[index];
    if (parameter === undefined) return;
    if (parameter.kind === "RawNode") {
      text += flatten(parameter as RawNode, holes);
      return;
    }
    holes.push(parameter);
    text += HOLE;
  });
  return text;
}

/** `-${eb.neg(x)}` would be written `--x`: a comment, which hides the rest of the statement. */
export function mayBeginWithSign(node: OperationNode): boolean {
  return !(
    node.kind === "ReferenceNode" ||
    node.kind === "FunctionNode" ||
    node.kind === "ParensNode" ||
    (node.kind === "ValueNode" && (node as ValueNode).immediate !== true)
  );
}

function refuseComment(text: string, at: number): void {
  if (text.startsWith("--", at) || text.startsWith("/*", at))
    throw refuseRaw("a comment; leave it out (and write - -1 with a space)");
}

function readToken(take: (pattern: RegExp) => string | undefined): Token | undefined {
  const word = take(WORD);
  if (word !== undefined) return { kind: "word", text: word.toLowerCase() };
  const number = take(NUMBER);
  if (number !== undefined) return { kind: "number", text: number };
  const string = take(STRING);
  if (string !== undefined) return { kind: "string", text: string };
  const name = take(NAME) ?? take(BACKTICK_NAME);
  if (name !== undefined)
    return { kind: "name", text: name.slice(1, -1).replaceAll('""', '"').toLowerCase() };
  const symbol = take(SYMBOL);
  return symbol === undefined ? undefined : { kind: "symbol", text: symbol };
}

function refuseCharacter(character: string): TesseraeError {
  const advice =
    ADVICE[character] ??
    `the character ${JSON.stringify(character)} outside a string; give the text as a parameter: \${value}`;
  return refuseRaw(advice);
}
