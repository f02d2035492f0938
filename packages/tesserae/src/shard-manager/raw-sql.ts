/**
 * Raw SQL as the shard manager takes it: with `?` for parameters on every engine. A text that numbers its parameters (`$1`, SQLite's `?1`) is written for one engine already and goes as
 * it is, as does one without parameters, in which a `?` is an operator.
 */
import { CompiledQuery, type Kysely, type QueryResult, type RawBuilder, sql } from "kysely";
import { TesseraeError } from "../base/errors.ts";
import type { EngineName } from "../engine/contract.ts";

const COMMENTS = String.raw`--[^\n]*|/\*[\s\S]*?\*/`;
/** What is no place for a parameter (strings, quoted names, comments), and the places themselves. */
const PIECES: Readonly<Record<EngineName, RegExp>> = {
  sqlite: new RegExp(
    String.raw`'(?:[^']|'')*'|"(?:[^"]|"")*"|\x60[^\x60]*\x60|\[[^\]]*\]|${COMMENTS}|\?\d*`,
    "g",
  ),
  mysql:
    /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|\x60[^\x60]*\x60|#[^\n]*|--(?=\s|$)[^\n]*|\/\*[\s\S]*?\*\/|\?/g,
  postgres: new RegExp(
    String.raw`[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(\$(?:[A-Za-z_]\w*)?\$)[\s\S]*?\1|${COMMENTS}|\$\d+|\?`,
    "g",
  ),
};

export type RawStatement = RawBuilder<Record<string, unknown>> | CompiledQuery<Record<string, unknown>>;

/** VALUE_INVALID where the text has more or fewer places than there are parameters. */
export function rawStatement(text: string, parameters: readonly unknown[], engine: EngineName): RawStatement {
  const fragments: string[] = [];
  let end = 0;
  let isNumbered = parameters.length === 0;
  for (const { 0: piece, index } of text.matchAll(PIECES[engine])) {
    if (/^[$?]\d+$/.test(piece)) isNumbered = true;
    if (piece !== "?") continue;
    fragments.push(text.slice(end, index));
    end = index + 1;
  }
  if (isNumbered) return CompiledQuery.raw(text, [...parameters]) as CompiledQuery<Record<string, unknown>>;
  if (fragments.length !== parameters.length)
    throw new TesseraeError(
      "VALUE_INVALID",
      `The statement's places for parameters (?): ${fragments.length}. Given: ${parameters.length}.`,
      { sql: text },
    );
  fragments.push(text.slice(end));
  // The values stand in the tree, so that a statement which follows its key to another engine is written anew for that one.
  const template = Object.assign(fragments, { raw: fragments }) as unknown as TemplateStringsArray;
  return sql<Record<string, unknown>>(template, ...parameters);
}

export function runRaw(
  session: Kysely<unknown>,
  statement: RawStatement,
  signal?: AbortSignal,
): Promise<QueryResult<Record<string, unknown>>> {
  const options = signal === undefined ? {} : { signal };
  return "execute" in statement
    ? statement.execute(session, options)
    : session.executeQuery(statement, options);
}
