/**
 * The functions that a query over several shards may call. What is not known here may be an aggregate, read tables, or give another value on each shard (a clock, a random
 * number), and is refused.
 */

/** One value from a row's values, the same wherever and whenever it is computed. */
const SCALAR: ReadonlySet<string> = new Set(
  (
    "abs acos asin atan atan2 ceil ceiling cos cot degrees exp floor ln log log10 log2 mod pi pow power radians round sign sin sqrt tan trunc truncate greatest least coalesce ifnull nullif nvl if iif " +
    "lower upper lcase ucase trim ltrim rtrim btrim concat concat_ws replace substr substring substring_index left right lpad rpad repeat reverse initcap length char_length character_length octet_length " +
    "bit_length instr strpos position locate ascii chr char unicode hex unhex md5 sha1 sha2 split_part translate starts_with printf format regexp_replace regexp_like regexp_substr regexp_instr regexp_count quote to_hex " +
    "date year month day dayofmonth dayofweek dayofyear week weekday quarter hour minute second microsecond extract date_trunc date_part date_format datediff timestampdiff date_add date_sub last_day " +
    "strftime julianday to_char to_date to_timestamp unix_timestamp from_unixtime make_date " +
    "json_extract json_value json_unquote json_type json_valid json_array_length json_length json_contains json_extract_path json_extract_path_text json_typeof jsonb_typeof jsonb_array_length jsonb_extract_path_text " +
    "json_build_object jsonb_build_object json_build_array json_object json_array json_quote cast convert encode decode to_base64 from_base64 typeof " +
    "st_distance_sphere"
  ).split(" "),
);

/** Their value is computed from the words' operands alone; written with a parenthesis behind them. */
const WORDS: ReadonlySet<string> = new Set(
  (
    "and or not in is like ilike between when then else case end interval any all array row values escape distinct " +
    "decimal numeric varchar char character varying binary varbinary text integer int bigint float double real precision date time timestamp datetime signed unsigned json boolean uuid bytea"
  ).split(" "),
);

const AGGREGATE: ReadonlySet<string> = new Set(
  (
    "count sum avg min max total any_value string_agg group_concat array_agg json_agg jsonb_agg json_object_agg jsonb_object_agg json_arrayagg json_objectagg json_group_array json_group_object " +
    "bool_and bool_or every bit_and bit_or bit_xor std stddev stddev_pop stddev_samp variance var_pop var_samp corr covar_pop covar_samp regr_slope regr_intercept regr_r2 percentile_cont percentile_disc mode median"
  ).split(" "),
);

const WINDOW: ReadonlySet<string> = new Set(
  "row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value".split(
    " ",
  ),
);

/** Words without a parenthesis whose value each shard has for itself. */
const CLOCKS: ReadonlySet<string> = new Set(
  "current_timestamp current_date current_time localtime localtimestamp current_user session_user user current_role current_catalog current_schema".split(
    " ",
  ),
);

/** With fewer arguments these give the present moment, or a new value each time. */
export function argumentsMin(name: string): number {
  if (name === "pi") return 0;
  return name === "strftime" ? 2 : 1;
}

export const isAggregate = (name: string): boolean => AGGREGATE.has(name);
export const isWindowFunction = (name: string): boolean => WINDOW.has(name);
export const isScalar = (name: string): boolean => SCALAR.has(name);
export const mayPrecedeParenthesis = (word: string): boolean => WORDS.has(word) || SCALAR.has(word);
export const isClock = (word: string): boolean => CLOCKS.has(word);
