/** Texts that try to read, widen or write more than the place where they stand, on one engine or another; and harmless ones beside them. */
export const TRICKS = [
  // Widening a condition
  "1 or 1", "true or user_id = 2", "1) or (1", "1) or 1 --", "1 -- ", "1 /*", "1 # ", "1; delete from dots", "null or 1=1 limit 5",
  // Queries of their own
  "(select label from dots)", "(select max(label) from secrets)", "exists (select 1 from secrets)", "id in dots", "id in secrets", "id in main.secrets", "id in \"secrets\"", "id in `secrets`",
  "id in [secrets]", "id in pragma_table_list", "id in json_each('[1]')", "(values (1))", "(table secrets)", "id in (secrets)", "id not in secrets", "1 union select label from secrets",
  "1 from secrets", "1 from secrets as dots", "label from dots where 1 or 1", "1 as a, label as b", "label as x from secrets --", "*", "dots.*", "count(*)",
  // Joins and commas
  "true, secrets", "true, secrets s", "true join secrets", "true cross join secrets", "true natural join secrets", "true left join dots d2 on 1", "1, label", "id, n desc", "1, user_id = 2", "1, 2, 3",
  // Clauses
  "1 where 1", "1 returning label", "1 limit 1 offset 1", "1 group by label", "1 having 1", "1 window w as ()", "1 order by label", "x on conflict do nothing", "x on conflict (user_id, id) do update set user_id = 2",
  "1 for update", "1 into outfile 'x'", "1 collate nocase", "1 is not distinct from 1", "1 as x", "asc, label", "desc nulls last", "asc limit 2",
  // Lexical
  "'", "\"", "`", "[", "]", "(", ")", "''", "'a' 'b'", "'\\'", "'\\' or 1 --'", "\"\\\" or 1 --\"", "$$a$$", "$1", "?", "? or 1", "?1", ":a", "@a", "@@version", "@a := 1", "{fn now()}", "\u0000", "1\u0000", "\u0001",
  "1\u00a0or\u00a01", "id in\ufeffsecrets", "1\u000bor 1", "['] in (select 1 from secrets) or [']", "[(] or [)]", "[select]", "`(` or `)`", "`'` or 1 or `'`", "\"'\" or 1 or \"'\"", "'\"' or 1 or '\"'", "x'41'", "1from secrets", "1.from secrets",
  "1e", "0x41 or 1", "u&\"d\\0061ta\"", "e'\\' or 1 --'", "--1", "- -1", "-", "+", "1 -", "in", "id in", "not", "or", "case", "",
  // Functions
  "load_extension('x')", "query_to_xml('select 1', true, true, '')", "\"query_to_xml\"('select 1')", "pg_catalog.pg_read_file('x')", "ts_stat('select 1')", "set_config('a', 'b', false)", "dblink('', '')", "load_file('/etc/passwd')",
  "sqlite_compileoption_get(1)", "max(label)", "group_concat(label)", "coalesce(n, 1)", "lower(label)", "replace(label, 'a', 'b')", "replace into secrets", "values (1)", "trim(both 'a' from label)", "extract(day from label)",
  "cast(id as text)", "id::text", "id between 1 and 2", "dots", "dots.label", "sheets.label", "tesserae_meta", "rowid", "user_id", "excluded.label", "default", "null", "2", "user_id = 2", "text", "integer) or (1",
]; // biome-ignore format: a list of tricks reads better in lines.
