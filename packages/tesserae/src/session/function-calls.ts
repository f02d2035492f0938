/**
 * Whether a select's text calls what may write. The engines do not say which function does; so all do that are not known to compute alone, and of a text that cannot be
 * read for sure it is assumed. Who is taken for a writer and is none pays with the round trips of a transaction, and only where the primary plays its replicas.
 */
import type { EngineName } from "../engine/contract.ts";
import { readStatement, type StatementToken } from "./raw-statement-tokens.ts";

/** Words that stand before a bracket and call nothing, types among them, and functions that all engines have. */
const HARMLESS = new Set(
  (
    "select from where and or not in is as on any all some exists between like by having when then else values using over filter group within distinct union except intersect " +
    "limit offset join materialized interval partition array row " +
    "char character varying varchar nvarchar decimal numeric float double time timestamp datetime bit binary varbinary " +
    "count sum avg min max coalesce nullif ifnull cast convert extract lower upper length char_length octet_length trim ltrim rtrim substr substring replace concat concat_ws " +
    "abs round floor ceil ceiling mod greatest least now date year month day " +
    "row_number rank dense_rank lag lead first_value last_value ntile " +
    "string_agg group_concat array_agg json_agg jsonb_agg json_arrayagg json_build_object jsonb_build_object json_object json_array json_extract to_json to_jsonb " +
    "tesserae_decimal_avg tesserae_decimal_sum"
  ).split(" "),
);

export function mayWrite(sql: string, engine: EngineName): boolean {
  const tokens = readStatement(sql, engine);
  if (tokens === undefined) return true;
  return tokens.some(({ kind, text }, index) => {
    // SELECT … INTO makes a table, or a file.
    if (kind === "word" && text === "into") return true;
    return kind === "symbol" && text === "(" && calls(tokens[index - 1], tokens[index - 2]);
  });
}

function calls(called: StatementToken | undefined, before: StatementToken | undefined): boolean {
  if (called?.kind === "name") return true;
  if (called?.kind !== "word") return false;
  // A function of a schema of one's own may have any name.
  return !HARMLESS.has(called.text) || before?.text === ".";
}
