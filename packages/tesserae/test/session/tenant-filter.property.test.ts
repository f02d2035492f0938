/**
 * The filter's promise, on random statements: under the filter a database with two tenants behaves as one that holds only the first tenant's rows
 * behaves without the filter. There the distribution column fills itself by a default, and `id` alone is unique.
 */
import type { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import type { RootOperationNode } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filterForTenant } from "../../src/session/tenant-filter.ts";
import { scope } from "./notes-schema.ts";
import { type Built, compile, offline } from "./offline-kysely.ts";
import { type Features, RandomQuery } from "./random-query.ts";
import { inTransaction, openNotes, rowsOf, run } from "./two-databases.ts";

const SQLITE: Features = {
  joins: ["innerJoin", "leftJoin", "rightJoin", "fullJoin", "crossJoin"],
  lateral: false,
  intersect: true,
  upsert: "on conflict",
  insertOrReplace: true,
  updateFrom: true,
  deleteUsing: undefined,
  returning: { insert: true, update: true, delete: true },
  selfReference: true,
  withBeforeWrites: true,
  correlatedDerived: true,
};

const seed = Number(process.env["TESSERAE_TEST_SEED"] ?? Date.now() & 0x7fffffff);
const runs = Number(process.env["TESSERAE_TEST_RUNS"] ?? 1500);

describe("the tenant filter on random statements", () => {
  let both: DatabaseSync;
  let own: DatabaseSync;
  const met = { rows: 0, statements: 0, errors: new Map<string, number>() };

  beforeAll(() => {
    console.info(`seed ${seed}, ${runs} runs (TESSERAE_TEST_SEED and TESSERAE_TEST_RUNS repeat them)`);
    both = openNotes([1, 2], false);
    own = openNotes([1], true);
  });
  afterAll(() => {
    both.close();
    own.close();
  });

  const numbers = fc.array(fc.nat(1000), { minLength: 10, maxLength: 160, size: "max" });

  /** Runs a statement filtered on both tenants' database and unfiltered on the first one's own, and takes it back. */
  function compare(build: (query: RandomQuery) => Built, draws: readonly number[]): void {
    const node = build(new RandomQuery(offline, draws, SQLITE)).toOperationNode() as RootOperationNode;
    const filtered = filterForTenant(node, scope);
    const text = compile("sqlite", filtered).sql;
    const others = rowsOf(both, "user_id = 2");
    inTransaction([both, own], () => {
      const seen = run(both, filtered);
      const expected = run(own, node);
      if (expected.error !== undefined)
        met.errors.set(expected.error, (met.errors.get(expected.error) ?? 0) + 1);
      met.rows += expected.rows?.length ?? 0;
      met.statements++;
      expect({ text, failed: seen.error !== undefined, rows: seen.rows }).toEqual({
        text,
        failed: expected.error !== undefined,
        rows: expected.rows,
      });
      expect(rowsOf(both, "user_id = 1"), text).toEqual(rowsOf(own, "1 = 1"));
      expect(rowsOf(both, "user_id <> 1"), text).toEqual(others);
    });
  }

  it("shows a select only this tenant's rows, and all that it should show", () => {
    fc.assert(
      fc.property(numbers, (draws) => compare((query) => query.select(), draws)),
      { seed, numRuns: runs },
    );
    report();
  });

  it("lets a write touch only this tenant's rows, and all that it should touch", () => {
    fc.assert(
      fc.property(numbers, (draws) => compare((query) => query.statement(), draws)),
      { seed, numRuns: runs },
    );
    report();
  });

  /** A generator whose statements mostly fail, or find nothing, would show nothing. */
  function report(): void {
    const failed = [...met.errors.values()].reduce((sum, count) => sum + count, 0);
    if (process.env["TESSERAE_TEST_VERBOSE"]) console.info(met);
    expect(failed).toBeLessThan(met.statements / 4);
    expect(met.rows).toBeGreaterThan(met.statements);
  }
});
