/** Queries whose text says something that their tree does not: each shard would do it for itself, and none of it would be put together. */
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { bigint, int, timestamp } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated } from "../../src/schema/table.ts";
import { type AnyDatabase, type Built, offline as db } from "../session/offline-kysely.ts";
import { planned } from "./planned.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    dots: federated("owner", {
      id: bigint(),
      owner: bigint(),
      n: int(),
      seen: timestamp(),
      exact: timestamp(6),
    }),
  },
}).model;

const dots = (): AnyDatabase => db.selectFrom("dots");
const renamed = (name: string) =>
  db.selectFrom(
    dots()
      .select([`id as ${name}`, "n", "owner"])
      .as("x"),
  );
const count = (eb: AnyDatabase) => eb.fn.countAll().as("c");

const REFUSED: Readonly<Record<string, readonly (readonly [query: () => Built, message: RegExp])[]>> = {
  "raw text that goes on with another part of the query": [
    [() => dots().select(sql`distinct n`.as("n")), /the word "distinct"/],
    [() => dots().select("n").where(sql`n > 0 limit 1`), /the word "limit"/],
    [() => dots().select("n").where(sql`n > 0 offset 1`), /the word "offset"/],
    [() => dots().select("n").where(sql`n > 0 group by n`), /the word "group"/],
    [() => dots().select("n").where(sql`n > 0 order by n`), /the word "order"/],
  ],
  "calls of a name that is put into raw text": [
    [() => dots().select(sql`${sql.id("random")}()`.as("r")), /not known to give the same value/],
    [() => dots().select(sql`${sql.ref("random")}()`.as("r")), /not known to give the same value/],
  ],
  "arms whose end the engine reads as the whole's": [
    [
      () =>
        dots()
          .select("n")
          .union(dots().select("n").unionAll(dots().select("n"))),
      /behind union has a set operation.*without parentheses/,
    ],
    [() => dots().select("n").unionAll(dots().select("n").orderBy("n")), /an order/],
    [
      () =>
        dots()
          .select(["owner", "n"])
          .unionAll(
            dots()
              .select((eb: AnyDatabase) => ["owner", eb.fn.max("n").as("n")])
              .groupBy("owner")
              .having("n", ">", 1),
          ),
      /means a column of the result/,
    ],
  ],
  "names of the shards' own columns": [
    [() => renamed("tesserae_0").select(["n", count]).groupBy("n"), /source "x" has a name/],
    [() => db.selectFrom("dots as TESSERAE_1").select(["n", count]).groupBy("n"), /source "TESSERAE_1"/],
  ],
  "distinct on a name of the result": [
    [() => dots().distinctOn("owner").select(["n as owner", "id"]), /means a column of the result/],
  ],
  "moments of two precisions, which SQLite keeps in two forms": [
    [() => dots().select("seen as v").union(dots().select("exact as v")), /type the query does not tell/],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => [eb.fn.coalesce("seen", "exact").as("v"), count(eb)])
          .groupBy("v"),
      /type the query does not tell/,
    ],
  ],
};

for (const [what, cases] of Object.entries(REFUSED)) {
  describe(what, () => {
    cases.forEach(([query, message], index) => {
      test(`${index + 1}: ${message.source}`, () => {
        let error: unknown;
        try {
          planned(query(), "postgres", schema, "default");
        } catch (raised) {
          error = raised;
        }
        expect(isTesseraeError(error, "FAN_OUT_UNSUPPORTED"), String(error)).toBe(true);
        expect((error as Error).message).toMatch(message);
      });
    });
  });
}

test("what only looks like it passes", () => {
  const passes = (query: Built) => expect(() => planned(query, "postgres", schema, "default")).not.toThrow();
  passes(dots().select("n").where(sql`n is distinct from 1`));
  passes(renamed("tesserae").select(["n", count]).groupBy("n"));
  passes(
    dots()
      .select("n")
      .union((eb: AnyDatabase) => eb.parens(dots().select("n").unionAll(dots().select("n")))),
  );
  passes(dots().distinctOn("dots.owner").select(["n as owner", "id"]));
});
