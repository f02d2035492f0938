/** The words and functions by which a fragment of SQL could reach rows on its own, and those that are fine where they stand. */

/** Words that begin or continue a statement, a query or a join. Most are reserved on every engine, so that no bare column has such a name. */
// biome-ignore format: a list of words reads better in lines.
export const REFUSED_WORDS: ReadonlySet<string> = new Set([
  "select", "union", "intersect", "except", "table", "insert", "delete", "update", "merge", "into", "join", "straight_join",
  "natural", "lateral", "tablesample", "procedure", "returning", "outfile", "dumpfile", "attach", "detach", "pragma",
  "xmltable", "json_table",
]);

/** `from` is a separator in these functions' own syntax. */
export const FROM_SYNTAX: ReadonlySet<string> = new Set([
  "extract",
  "trim",
  "substring",
  "overlay",
  "position",
  "substr",
  "mid",
]);

/** `using` names a character set in these. */
export const USING_SYNTAX: ReadonlySet<string> = new Set(["convert", "char"]);

/** What may follow `with` where it begins no query: `timestamp with time zone`, `group by x with rollup`, … */
export const AFTER_WITH: ReadonlySet<string> = new Set([
  "time",
  "rollup",
  "ordinality",
  "ties",
  "query",
  "unique",
  "without",
]);

/**
 * Functions that run SQL given as text, read tables or files by name, or change the session's settings. A schema's own functions
 * are not known here: what they read is theirs to answer for.
 */
const REFUSED_FUNCTION =
  /^(?:pg_(?!typeof$|column_size$|sleep$|advisory_|try_advisory_|client_encoding$|is_in_recovery$|snapshot_|current_)|lo_|lowrite$|loread$|dblink|postgres_fdw|query_to_xml|table_to_xml|schema_to_xml|database_to_xml|cursor_to_xml|ts_stat$|ts_rewrite$|set_config$|setval$|crosstab|connectby|xpath_table|get_raw_page|heap_page|load_|sys_|readfile$|writefile$|edit$|eval$|sqlite_|pragma_|fts\d|tesserae_(?!decimal_))/;

const FUNCTION_NAME = /^(?:[A-Za-z_]\w*\.)?[A-Za-z_]\w*$/;

export function isRefusedFunction(name: string): boolean {
  return REFUSED_FUNCTION.test(name.toLowerCase());
}

/** A function's name as `eb.fn(name)` takes it: the compiler writes it as it is. */
export function isFunctionName(name: string): boolean {
  return FUNCTION_NAME.test(name);
}

/** Functions that may stand in FROM: they make rows of their arguments and read no table. */
// biome-ignore format: a list of words reads better in lines.
export const ROW_FUNCTIONS: ReadonlySet<string> = new Set([
  "generate_series", "generate_subscripts", "unnest", "regexp_matches", "regexp_split_to_table", "string_to_table",
  "json_each", "json_tree", "jsonb_each", "json_each_text", "jsonb_each_text", "json_object_keys", "jsonb_object_keys",
  "json_array_elements", "json_array_elements_text", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_path_query",
]);

/** Raw modifiers after `select`. */
// biome-ignore format: a list of words reads better in lines.
export const FRONT_MODIFIERS: ReadonlySet<string> = new Set([
  "all", "distinct", "distinctrow", "high_priority", "sql_no_cache", "sql_small_result", "sql_big_result", "sql_buffer_result",
]);

/** Raw modifiers at a statement's end: row locks, nothing that names a table or a condition. */
export const END_MODIFIERS: ReadonlySet<string> = new Set(
  ["for update", "for no key update", "for share", "for key share", "lock in share mode"]
    .flatMap((lock) => [lock, `${lock} nowait`, `${lock} skip locked`, `${lock} wait`])
    .concat("nowait", "skip locked"),
);

// biome-ignore format: a list of words reads better in lines.
export const EXPLAIN_WORDS: ReadonlySet<string> = new Set([
  "analyze", "verbose", "costs", "settings", "buffers", "wal", "timing", "summary", "memory", "serialize", "generic_plan",
  "on", "off", "true", "false", "none", "text", "binary", "extended", "partitions", "query", "plan",
]);

/** The operators the compiler may write; it writes an operator's text as it is. Kysely's `#` is not among them: on MariaDB it begins a comment, which would hide the rest. */
// biome-ignore format: a list of words reads better in lines.
export const OPERATORS: ReadonlySet<string> = new Set([
  "=", "==", "!=", "<>", ">", ">=", "<", "<=", "in", "not in", "is", "is not", "like", "not like", "match", "ilike", "not ilike",
  "@>", "<@", "^@", "&&", "?", "?&", "?|", "!<", "!>", "<=>", "!~", "~", "~*", "!~*", "@@", "@@@", "!!", "<->", "regexp",
  "is distinct from", "is not distinct from", "+", "-", "*", "/", "%", "^", "&", "|", "<<", ">>", "||", "->", "->>", "->$",
  "->>$", "not", "exists", "not exists", "between", "between symmetric",
]);
