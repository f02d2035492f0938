/**
 * Raw fragments and texts that try to reach beyond the key. Each trick stands at every place where it can stand: it is refused, or
 * the statement does the same as it would if the other tenant did not exist.
 */
import type { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { type RootOperationNode, sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { filterForTenant } from "../../src/session/tenant-filter.ts";
import { scope } from "./notes-schema.ts";
import { type Built, compile } from "./offline-kysely.ts";
import { rawPositions, textPositions } from "./raw-positions.ts";
import { inTransaction, openNotes, rowsOf, run, SECRET } from "./two-databases.ts";

const TRICKS = [
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

const WORDS = [...new Set(TRICKS.flatMap((trick) => trick.match(/\w+|\W/g) ?? []))];

const seed = Number(process.env["TESSERAE_TEST_SEED"] ?? Date.now() & 0x7fffffff);

describe("raw fragments cannot reach beyond the key", () => {
  let both: DatabaseSync;
  let own: DatabaseSync;
  beforeAll(() => {
    both = openNotes([1, 2], false);
    own = openNotes([1], false);
  });
  afterAll(() => {
    both.close();
    own.close();
  });

  /** True where the statement ran. */
  function check(build: () => Built): boolean {
    let filtered: RootOperationNode;
    try {
      filtered = filterForTenant(build().toOperationNode() as RootOperationNode, scope);
    } catch (error) {
      // Kysely refuses some texts itself, with an Error.
      if (!isTesseraeError(error) && (error as Error).constructor !== Error) throw error;
      return false;
    }
    let ran = false;
    inTransaction([both, own], () => {
      const others = rowsOf(both, "user_id <> 1");
      const seen = run(both, filtered);
      const expected = run(own, filtered);
      const text = seen.rows === undefined ? "" : compile("sqlite", filtered).sql;
      ran = seen.rows !== undefined;
      expect({ text, rows: seen.rows }).toEqual({ text, rows: expected.rows });
      expect(JSON.stringify(seen.rows ?? []), text).not.toContain(SECRET);
      expect(rowsOf(both, "user_id = 1"), text).toEqual(rowsOf(own, "1 = 1"));
      expect(rowsOf(both, "user_id <> 1"), text).toEqual(others);
    });
    return ran;
  }

  for (const [place, build] of Object.entries(rawPositions)) {
    it(`as ${place}`, () => {
      for (const trick of TRICKS) check(() => build(sql.raw(trick)));
    });
  }

  for (const [place, build] of Object.entries(textPositions)) {
    it(`as the text of ${place}`, () => {
      for (const trick of TRICKS) check(() => build(trick));
    });
  }

  it("as random words at random places", () => {
    let ran = 0;
    const places = Object.entries(rawPositions);
    const words = fc.array(fc.constantFrom(...WORDS, " ", " ", "dots", "secrets", "2"), { maxLength: 10 });
    fc.assert(
      fc.property(fc.nat(places.length - 1), words, fc.boolean(), (place, list, spaced) => {
        const [, build] = places[place] as (typeof places)[number];
        if (check(() => build(sql.raw(list.join(spaced ? " " : ""))))) ran++;
      }),
      { seed, numRuns: Number(process.env["TESSERAE_TEST_RUNS"] ?? 3000) },
    );
    console.info(`seed ${seed}: ${ran} of the random statements ran`);
  });
});
