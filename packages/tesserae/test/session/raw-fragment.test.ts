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
import { TRICKS } from "./raw-tricks.ts";
import { inTransaction, openNotes, rowsOf, run, SECRET } from "./two-databases.ts";

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
