/**
 * What a fragment of raw SQL inside a built query may hold. A fragment stays where it stands: balanced, without a query, a table or
 * a join of its own, so that it can read only what the query around it reads, and that the filter has bounded. A fragment is refused for what it
 * could mean on any engine, so that a query which passes on one passes on all.
 */
import type { IdentifierNode, OperationNode, RawNode, ValueNode } from "kysely";
import type { SchemaModel } from "../schema/model.ts";
import { refuseRaw, type Token, tokenize } from "./raw-tokens.ts";
import {
  AFTER_WITH,
  END_MODIFIERS,
  FROM_SYNTAX,
  FRONT_MODIFIERS,
  isRefusedFunction,
  REFUSED_WORDS,
  USING_SYNTAX,
} from "./raw-words.ts";

export interface FragmentRules {
  /** The fragment stands in a list: a comma outside parentheses begins the list's next item and nothing else. */
  readonly commas: boolean;
}

/** Checks one fragment with those nested in it. The nodes in its midst are the caller's to check. */
export function checkFragment(node: RawNode, schema: SchemaModel, rules: FragmentRules): void {
  const names = knownNames(schema);
  const passed = rules.commas ? names.passedWithCommas : names.passed;
  const plain = hasPlainHoles(node);
  if (plain && passed.has(node.sqlFragments)) return;
  checkTokens(tokenize(node), names.tables, rules);
  // The text of a template literal is one frozen list for each place in the source: it is read once.
  if (plain && Object.isFrozen(node.sqlFragments)) passed.add(node.sqlFragments);
}

/** Columns and values are written alike wherever they stand: with these alone the text decides. */
function hasPlainHoles({ sqlFragments, parameters }: RawNode): boolean {
  for (let i = 0; i < parameters.length && i < sqlFragments.length; i++) {
    const hole = unwrap(parameters[i] as OperationNode);
    if (
      hole.kind !== "ReferenceNode" &&
      (hole.kind !== "ValueNode" || (hole as ValueNode).immediate === true)
    )
      return false;
  }
  return true;
}

function checkTokens(tokens: readonly Token[], names: ReadonlySet<string>, rules: FragmentRules): void {
  /** The open brackets, each with the function that opened it, "" for none. */
  const open: { readonly bracket: string; readonly call: string }[] = [];
  tokens.forEach((token, at) => {
    if (token.kind === "symbol") {
      checkSymbol(tokens, at, open, rules);
      return;
    }
    if (token.kind === "hole") {
      if (token.node.kind === "TableNode")
        throw refuseRaw("sql.table(…); name the table with selectFrom, or its columns with sql.ref(…)");
      const name = token.node.kind === "IdentifierNode" ? (token.node as IdentifierNode).name : undefined;
      if (name !== undefined && isCall(tokens, at)) checkCall(name);
      return;
    }
    if (token.kind !== "word" && token.kind !== "name") return;
    if (isCall(tokens, at)) checkCall(token.text);
    else if (isTableName(token.text, names) && tokens[at + 1]?.text !== ".") {
      throw refuseRaw(
        `the table name "${token.text}"; write the table's part with Kysely (selectFrom, innerJoin, …), and a column of that name with sql.ref("table.column")`,
      );
    }
    if (token.kind === "word") checkWord(tokens, at, open);
  });
  const unclosed = open.at(-1);
  if (unclosed !== undefined)
    throw refuseRaw(
      `an opening ${unclosed.bracket} that is not closed; make each fragment complete in itself`,
    );
}

function checkSymbol(
  tokens: readonly Token[],
  at: number,
  open: { readonly bracket: string; readonly call: string }[],
  rules: FragmentRules,
): void {
  const symbol = (tokens[at] as Token).text;
  if (symbol === "(" || symbol === "[") {
    const before = tokens[at - 1];
    const call = symbol === "(" && (before?.kind === "word" || before?.kind === "name") ? before.text : "";
    open.push({ bracket: symbol, call });
  } else if (symbol === ")" || symbol === "]") {
    if (open.pop()?.bracket !== (symbol === ")" ? "(" : "["))
      throw refuseRaw(`a ${symbol} without its opening; make each fragment complete in itself`);
  } else if (symbol === "," && open.length === 0 && !rules.commas) {
    throw refuseRaw("a comma outside parentheses; give each value as a fragment of its own");
  } else if (symbol === ":" && open.at(-1)?.bracket !== "[") {
    throw refuseRaw("a colon that is no cast (::); give the value as ${value}");
  } else if (symbol === ":" && tokens[at + 1]?.text === "=") {
    throw refuseRaw("an assignment (:=)");
  }
}

function checkWord(
  tokens: readonly Token[],
  at: number,
  open: readonly { readonly bracket: string; readonly call: string }[],
): void {
  const word = (tokens[at] as Token).text;
  // A column's name after its table's: `d.table` is no word of SQL.
  if (REFUSED_WORDS.has(word))
    throw refuseRaw(`the word "${word}"; build that part with Kysely, where the key's filter reaches it`);
  const call = open.at(-1)?.call ?? "";
  const next = tokens[at + 1];
  switch (word) {
    case "from":
      if (!FROM_SYNTAX.has(call) && !isDistinctFrom(tokens, at))
        throw refuseRaw('the word "from"; build that part with Kysely, where the key\'s filter reaches it');
      break;
    case "using":
      if (!USING_SYNTAX.has(call)) throw refuseRaw('the word "using"; build that part with Kysely');
      break;
    case "where":
      if (open.length === 0) throw refuseRaw('the word "where"; add the condition with .where(…)');
      break;
    case "with":
      if (next?.kind !== "word" || !AFTER_WITH.has(next.text))
        throw refuseRaw('the word "with"; build the query with .with(…)');
      break;
    case "replace":
      if (next?.text !== "(") throw refuseRaw('the word "replace" that is no function call');
      break;
    case "in":
      // SQLite reads `x in name` as a query of the table `name`.
      if (call !== "position" && next?.text !== "(" && !(next?.kind === "hole" && isList(next.node))) {
        throw refuseRaw(
          'the word "in" without a list in parentheses; write in (…), or .where(column, "in", values)',
        );
      }
      break;
  }
}

const isDistinctFrom = (tokens: readonly Token[], at: number): boolean => {
  const before = tokens[at - 2]?.text;
  return (
    tokens[at - 1]?.text === "distinct" &&
    (before === "is" || (before === "not" && tokens[at - 3]?.text === "is"))
  );
};

const isCall = (tokens: readonly Token[], at: number): boolean => tokens[at + 1]?.text === "(";

function checkCall(name: string): void {
  if (isRefusedFunction(name))
    throw refuseRaw(`a call of ${name}(), which can read or change more than the key's rows`);
}

/** Written with parentheses of its own wherever it stands. */
export function isList(node: OperationNode): boolean {
  switch (node.kind) {
    case "SelectQueryNode":
    case "ValueListNode":
    case "PrimitiveValueListNode":
    case "TupleNode":
    case "ParensNode":
      return true;
    default:
      return false;
  }
}

/** The node inside a fragment without text of its own (`sql.ref`, `sql.val`, `typed(…)`), else the node itself. */
export function unwrap(node: OperationNode): OperationNode {
  let outer = node;
  for (;;) {
    const inner = unwrapOnce(outer);
    if (inner === outer) return outer;
    outer = inner;
  }
}

/** One step of `unwrap`: what a fragment without text says beside its node, such as the mark of `typed`, is not passed over. */
export function unwrapOnce(node: OperationNode): OperationNode {
  if (node.kind !== "RawNode") return node;
  const { sqlFragments, parameters } = node as RawNode;
  const written = Math.min(sqlFragments.length, parameters.length);
  if (written !== 1 || sqlFragments.some((fragment) => fragment !== "")) return node;
  return parameters[0] as OperationNode;
}

/** True where the fragment may stand for several columns: `*`, `t.*`. */
export function hasStar(node: RawNode): boolean {
  const tokens = tokenize(node);
  return tokens.some(
    (token, at) =>
      token.text === "*" && (at === 0 || tokens[at - 1]?.text === "." || tokens[at - 1]?.text === ","),
  );
}

/** True if an operand of the list form `x in …` begins with a parenthesis. */
export function beginsWithParenthesis(node: RawNode): boolean {
  const first = tokenize(node)[0];
  return first?.text === "(" || (first?.kind === "hole" && isList(first.node));
}

export function checkModifier(node: RawNode, place: "front" | "end"): void {
  const tokens = tokenize(node);
  const text = tokens.map((token) => (token.kind === "word" ? token.text : "?")).join(" ");
  if ((place === "front" ? FRONT_MODIFIERS : END_MODIFIERS).has(text)) return;
  throw refuseRaw(
    place === "front"
      ? `a modifier after select other than ${[...FRONT_MODIFIERS].join(", ")}`
      : "a modifier at the statement's end that is no row lock (for update, for share, skip locked, nowait); build the rest with Kysely",
  );
}

/** An alias is a name, or where columns may be named too, a name with a list of names. */
export function checkAlias(node: RawNode): void {
  const tokens = tokenize(node);
  const isName = (token: Token | undefined) =>
    token?.kind === "word" ||
    token?.kind === "name" ||
    (token?.kind === "hole" && token.node.kind === "IdentifierNode");
  const good =
    isName(tokens[0]) &&
    tokens
      .slice(1)
      .every(
        (token, index, rest) =>
          isName(token) ||
          (token.text === "(" && index === 0) ||
          (token.text === ")" && index === rest.length - 1) ||
          (token.text === "," && index > 0),
      );
  const listed = tokens.length === 1 || (tokens[1]?.text === "(" && tokens.at(-1)?.text === ")");
  if (!good || !listed) throw refuseRaw('an alias that is no plain name; write .as("name")');
}

interface KnownNames {
  /** Of the schema's tables, in lower case. */
  readonly tables: ReadonlySet<string>;
  /** The fragments that were found harmless. */
  readonly passed: WeakSet<readonly string[]>;
  readonly passedWithCommas: WeakSet<readonly string[]>;
}

const knownNamesOf = new WeakMap<SchemaModel, KnownNames>();

function knownNames(schema: SchemaModel): KnownNames {
  let names = knownNamesOf.get(schema);
  if (names === undefined) {
    const tables = new Set([...schema.tables.keys()].map((name) => name.toLowerCase()));
    names = { tables, passed: new WeakSet(), passedWithCommas: new WeakSet() };
    knownNamesOf.set(schema, names);
  }
  return names;
}

/** Names are compared without regard to case: SQLite finds `DOTS` for `dots`. */
function isTableName(name: string, names: ReadonlySet<string>): boolean {
  return names.has(name) || name.startsWith("tesserae_");
}

/** True where a name is one of the schema's tables or a control table's, whatever its case. */
export function isReservedName(name: string, schema: SchemaModel): boolean {
  return isTableName(name.toLowerCase(), knownNames(schema).tables);
}
