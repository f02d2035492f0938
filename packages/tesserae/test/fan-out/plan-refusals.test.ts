/** Queries that have no exact plan: each is refused with the reason and what to write instead. */
import { RawNode, sql } from "kysely";
import { describe, expect, test } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { bigint, text } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { federated } from "../../src/schema/table.ts";
import { typed } from "../../src/session/typed-expression.ts";
import { type AnyDatabase, type Built, offline as db } from "../session/offline-kysely.ts";
import { planned } from "./planned.ts";

const dots = (): AnyDatabase => db.selectFrom("dots as d");
const sheets = (eb: AnyDatabase): AnyDatabase => eb.selectFrom("sheets as s");
const counted = (eb: AnyDatabase) => eb.fn.countAll();

const REFUSED: Readonly<Record<string, readonly (readonly [query: () => Built, message: RegExp])[]>> = {
  "what is no query over the shards' tables": [
    [() => db.insertInto("dots").values({ id: 1n }), /reads and does not write/],
    [() => db.deleteFrom("dots"), /allowEverywhere/],
    [() => ({ toOperationNode: () => RawNode.createWithSql("select 1") }), /raw statement/],
    [() => db.selectFrom("accounts").selectAll(), /global table "accounts".*fed\.main/],
    [() => db.selectFrom("posts").selectAll(), /federation "blogs".*fed\.in\("blogs"\)/],
    [() => db.selectFrom("nowhere").selectAll(), /no table "nowhere"/],
    [() => dots().selectAll().forUpdate(), /locks no rows/],
    [() => dots().selectAll().fetch(3), /Use limit/],
    [() => dots().selectAll().modifyFront(sql`high_priority`), /modifier/],
    [
      () =>
        db
          .with("x", (q: AnyDatabase) => q.deleteFrom("dots").returning("id"))
          .selectFrom("x")
          .selectAll(),
      /reads and does not write/,
    ],
  ],
  "joins across keys": [
    [
      () => dots().innerJoin("sheets as s", "s.id", "d.sheet_id").selectAll(),
      /"s" is not joined on the distribution key/,
    ],
    [() => dots().crossJoin("sheets as s").selectAll(), /not joined on the distribution key/],
    [
      () =>
        dots()
          .leftJoin("sheets as s", (on: AnyDatabase) => on.on("s.user_id", "=", 1n))
          .selectAll(),
      /not joined/,
    ],
    [
      () =>
        dots()
          .leftJoin("sheets as s", (on: AnyDatabase) =>
            on.on((eb: AnyDatabase) => eb.or([eb("s.user_id", "=", eb.ref("d.user_id")), eb("s.n", "=", 1)])),
          )
          .selectAll(),
      /not joined/,
    ],
    [
      () =>
        dots()
          .innerJoin("sheets as s", (on: AnyDatabase) => on.onRef("s.user_id", ">=", "d.user_id"))
          .selectAll(),
      /not joined/,
    ],
    [
      () =>
        dots()
          .innerJoin("sheets as s", (on: AnyDatabase) => on.on(sql`s.user_id = d.user_id`))
          .selectAll(),
      /not joined/,
    ],
    [
      () => db.selectFrom("themes as t").leftJoin("dots as d", "d.n", "t.n").select("t.id"),
      /left join with "d" keeps rows of a reference table/,
    ],
    [() => dots().rightJoin("themes as t", "d.n", "t.n").select("t.id"), /right join with "t" keeps/],
    [() => dots().fullJoin("themes as t", "d.n", "t.n").select("t.id"), /full join with "t" keeps/],
    // An or that the engine would read as (k = k and n = 1) or …
    [
      () =>
        dots()
          .innerJoin("sheets as s", (on: AnyDatabase) =>
            on.onRef("s.user_id", "=", "d.user_id").on(sql`d.n = 1 or d.n = 2`),
          )
          .select("d.id"),
      /or .*without parentheses/,
    ],
    [
      () =>
        dots()
          .innerJoin("sheets as s", "s.user_id", "d.user_id")
          .where((eb: AnyDatabase) => eb("d.label", "||", "d.label"))
          .select("d.id"),
      /without parentheses/,
    ],
  ],
  "subqueries across keys": [
    [
      () =>
        dots()
          .select("id")
          .where((eb: AnyDatabase) => eb.exists(sheets(eb).select("s.id"))),
      /rows of other keys/,
    ],
    [
      () =>
        dots()
          .select("id")
          .where((eb: AnyDatabase) => eb.exists(sheets(eb).select("s.id").where("s.user_id", "=", 1n))),
      /rows of other keys/,
    ],
    [
      () =>
        dots()
          .select("id")
          .where("d.n", ">", (eb: AnyDatabase) => sheets(eb).select(eb.fn.avg("s.n").as("a"))),
      /run it first/i,
    ],
    [
      () =>
        dots()
          .select("id")
          .where("d.sheet_id", "in", (eb: AnyDatabase) => sheets(eb).select("s.id")),
      /\(key, id\) in/,
    ],
    // The wrong way round.
    [
      () =>
        dots()
          .select("id")
          .where((eb: AnyDatabase) =>
            eb(eb.refTuple("d.sheet_id", "d.user_id"), "in", sheets(eb).select(["s.user_id", "s.id"])),
          ),
      /\(key, id\) in/,
    ],
    [
      () =>
        dots()
          .select("id")
          .where("d.user_id", "in", (eb: AnyDatabase) => sheets(eb).select("s.user_id").limit(3)),
      /limit inside the query/,
    ],
    // Whether null is not in a list depends on whether the list is empty, on all shards.
    [
      () =>
        db
          .selectFrom("sheets as s")
          .leftJoin("dots as d", "d.user_id", "s.user_id")
          .select("s.id")
          .where("d.user_id", "not in", (eb: AnyDatabase) => eb.selectFrom("dots").select("user_id")),
      /rows of other keys/,
    ],
    [
      () =>
        dots()
          .select("id")
          .where("n", "in", (eb: AnyDatabase) => eb.selectFrom("themes").select("n").limit(2)),
      /Give the subquery an order/,
    ],
    [
      () => db.selectFrom(dots().select(["id"]).limit(3).as("x")).select("x.id"),
      /limit inside the query counts rows of several keys/,
    ],
    [
      () =>
        (db as AnyDatabase)
          .selectFrom((eb: AnyDatabase) =>
            dots()
              .select(["label", eb.fn.countAll().as("c")])
              .groupBy("label")
              .as("x"),
          )
          .select("x.c"),
      /Groups or aggregates inside the query/,
    ],
    [
      () => db.selectFrom(dots().select("label").distinct().as("x")).select("x.label"),
      /distinct inside the query/,
    ],
    [
      () =>
        db
          .selectFrom(dots().select("id").unionAll(db.selectFrom("themes").select("id")).as("x"))
          .select("x.id"),
      /arm that reads no federated table/,
    ],
    [
      () =>
        db
          .withRecursive("tree", (q: AnyDatabase) =>
            q
              .selectFrom("dots")
              .select(["user_id", "id"])
              .unionAll(
                q
                  .selectFrom("dots as d")
                  .innerJoin("tree", "tree.id", "d.sheet_id")
                  .select(["d.user_id", "d.id"]),
              ),
          )
          .selectFrom("tree")
          .select("id"),
      /not joined on the distribution key/,
    ],
    [
      () =>
        db
          .withRecursive("tree", (q: AnyDatabase) =>
            q
              .selectFrom("dots")
              .select(["user_id", "id"])
              .unionAll(
                q
                  .selectFrom("dots as d")
                  .innerJoin("tree", "tree.user_id", "d.user_id")
                  .select(["d.id", "d.user_id"]),
              ),
          )
          .selectFrom("tree")
          .select("id"),
      /leaves its row's key/,
    ],
  ],
  "what cannot be compared outside the engine": [
    [() => dots().select("id").orderBy("details"), /ordered by "details", which is JSON/],
    [() => dots().select("id").orderBy(sql`n % 3`), /type the query does not tell.*typed/],
    [
      () => dots().select("id").orderBy(typed(text(), sql`details`)),
      /collation the query does not tell.*number.*fed\.gather/,
    ],
    [
      () =>
        dots()
          .select("id")
          .orderBy((eb: AnyDatabase) =>
            eb.case().when("n", ">", 1).then(sql.lit("a")).else(sql.lit("b")).end(),
          ),
      /collation/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => [eb.cast("n", "text").as("t"), counted(eb).as("c")])
          .groupBy((eb: AnyDatabase) => eb.cast("n", "text")),
      /collation/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => ["details", counted(eb).as("c")])
          .groupBy("details"),
      /JSON/,
    ],
    [() => dots().select("details").distinct(), /"details", which is JSON/],
    [() => dots().select((eb: AnyDatabase) => eb.fn.max("details").as("m")), /max\(\).*JSON/],
    [
      () =>
        dots()
          .select("id")
          .orderBy("label", (order: AnyDatabase) => order.collate("nocase")),
      /names a collation|collation is named/i,
    ],
    [() => dots().select("id").orderBy(sql`1`), /Name the column/],
    [() => dots().select("id").orderBy(sql`n desc`), /second argument/],
    [() => dots().select(["id", "n as x", "label as x"]).orderBy("x"), /more than one column/],
    [
      () =>
        dots()
          .select(["n as label", "id"])
          .orderBy((eb: AnyDatabase) => eb.fn("lower", ["label"])),
      /inside an expression/,
    ],
    [() => dots().select("label").distinct().orderBy("n"), /does not select/],
  ],
  aggregates: [
    [() => dots().select((eb: AnyDatabase) => eb.fn.sum("weight").as("s")), /sum\(\) of doubles/],
    [() => dots().select((eb: AnyDatabase) => eb.fn.avg("weight").as("s")), /avg\(\) of doubles/],
    [() => dots().select((eb: AnyDatabase) => eb.fn.sum("n").distinct().as("s")), /different values/],
    [
      () =>
        dots().select((eb: AnyDatabase) => [
          eb.fn.count("n").distinct().as("a"),
          eb.fn.count("label").distinct().as("b"),
        ]),
      /several columns/,
    ],
    [
      () =>
        dots().select((eb: AnyDatabase) => [
          eb.fn.count("n").distinct().as("a"),
          eb.fn.count("user_id").distinct().as("b"),
        ]),
      /several columns/,
    ],
    [
      () =>
        dots().select((eb: AnyDatabase) => [
          eb.fn.count("user_id").distinct().as("b"),
          eb.fn.count("n").distinct().as("a"),
        ]),
      /several columns/,
    ],
    [
      () => dots().select((eb: AnyDatabase) => eb.fn.agg("string_agg", ["label", sql.lit(",")]).as("s")),
      /string_agg\(\) cannot be put together/,
    ],
    [
      () => dots().select(sql`group_concat(label)`.as("s")),
      /^(?!.*eb\.fn\.group_concat).*aggregate group_concat\(\).*fed\.gather/,
    ],
    [
      () => dots().select((eb: AnyDatabase) => eb.fn("group_concat", ["label"]).as("s")),
      /^(?!.*eb\.fn\.group_concat).*fed\.gather/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => ["label", counted(eb).as("total")])
          .groupBy("label")
          .having("total", ">", 1),
      /write the aggregate instead of its name in the result/,
    ],
    [() => dots().select((eb: AnyDatabase) => eb.fn.agg("stddev", ["n"]).as("s")), /stddev\(\) cannot/],
    [
      () => dots().select((eb: AnyDatabase) => eb.fn("sum", ["n"]).as("s")),
      /as if it were a function of one row/,
    ],
    [
      () => dots().select(["label", "n"]).groupBy("label"),
      /"n" is neither grouped by nor inside an aggregate/,
    ],
    [
      () => dots().select((eb: AnyDatabase) => eb(eb.fn.sum("n"), "/", 2n).as("s")),
      /operator \/ over aggregates/,
    ],
    [() => dots().select((eb: AnyDatabase) => eb.fn("round", [eb.fn.avg("n")]).as("s")), /over aggregates/],
    [() => dots().select((eb: AnyDatabase) => eb(eb(counted(eb), "+", 1n), "*", 2n).as("s")), /eb\.parens/],
    [
      () => dots().select((eb: AnyDatabase) => eb(eb.fn.max("weight"), "-", eb.fn.min("weight")).as("s")),
      /Arithmetic over aggregates/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => ["label", counted(eb).as("c")])
          .groupBy("label")
          .having(sql`count(*) > 1`),
      /raw SQL holds the aggregate count\(\)/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => ["label", "n", counted(eb).as("c")])
          .groupBy(["label", "n"])
          .having((eb: AnyDatabase) => eb.exists(eb.selectFrom("themes").select("id"))),
      /over aggregates/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => [eb.fn.max("n").as("n"), counted(eb).as("c")])
          .groupBy("label")
          .having("n", ">", 1),
      /can mean a column of the result or of a source/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => ["label", counted(eb).as("c")])
          .distinct()
          .groupBy(["label", "n"]),
      /distinct over groups/,
    ],
    [
      () =>
        dots().select((eb: AnyDatabase) =>
          eb.fn
            .countAll()
            .over((over: AnyDatabase) => over.partitionBy("label"))
            .as("c"),
        ),
      /window of count\(\)/,
    ],
    [
      () =>
        dots().select((eb: AnyDatabase) =>
          eb.fn
            .agg("rank")
            .over((over: AnyDatabase) => over.orderBy("n"))
            .as("r"),
        ),
      /Partition it by the distribution column/,
    ],
  ],
  "raw SQL and functions": [
    [
      () => dots().select((eb: AnyDatabase) => eb.fn("date", [sql.lit("now")]).as("d")),
      /'now' is the present moment/,
    ],
    [() => dots().select("id").where(sql`day > date('now')`), /present moment/],
    [() => dots().select("id").where("seen", ">", sql.lit("today")), /'today' is the present moment/],
    [() => dots().select(sql`strftime('%Y')`.as("y")), /strftime\(\) is the present moment/],
    [() => dots().select(sql`uuid()`.as("u")), /uuid\(\) is the present moment|not known/],
    [
      () =>
        dots().select((eb: AnyDatabase) =>
          eb.selectFrom("themes as t").select(eb.fn.max("d.n").as("m")).as("m"),
        ),
      /columns of the query outside/,
    ],
    [
      () =>
        dots()
          .select(["user_id", sql<string>`label`.as("l"), sql`1`.as("one")])
          .groupBy(["user_id", sql`label with rollup`]),
      /rollup/,
    ],
    [
      () =>
        dots()
          .innerJoin("sheets as s", (on: AnyDatabase) =>
            on.on(sql`d.n between 1`).onRef("s.user_id", "=", "d.user_id"),
          )
          .select("d.id"),
      /not complete in itself/,
    ],
    [() => dots().select("id").where(sql`random() < 0.5`), /random\(\) is not known/],
    [
      () => dots().select("id").where("seen", "<", sql`current_timestamp`),
      /current_timestamp, which each shard has for itself/,
    ],
    [
      () => dots().select((eb: AnyDatabase) => eb.fn("my_function", ["n"]).as("m")),
      /my_function\(\) is not known/,
    ],
    [
      () => dots().select((eb: AnyDatabase) => eb.fn.agg("my_aggregate", ["n"]).as("m")),
      /my_aggregate\(\) is not known/,
    ],
    [
      () => dots().select(sql`row_number() over (order by n)`.as("r")),
      /window function|aggregate row_number/,
    ],
    [() => dots().select(sql`public.lower(label)`.as("r")), /lower\(\) is not known/],
    [() => dots().select(sql`n + 1`), /Give it one: \.as/],
    [() => dots().select(sql`*`.as("x")), /selectAll/],
    [() => dots().select(sql`n, label`.as("x")), /holds a list/],
    [() => dots().select("id").where(sql`n = 1 or n = 2`), /without parentheses/],
    [() => dots().select("id").limit(sql`1 + 1`), /plain number/],
  ],
  "set operations": [
    [
      () => dots().select("id").unionAll(db.selectFrom("themes").select("id")),
      /arm that reads no federated table/,
    ],
    [
      () => dots().select("label").except(db.selectFrom("sheets").select("label")),
      /compares rows of several keys/,
    ],
    [
      () =>
        dots()
          .select("label")
          .union(db.selectFrom("sheets").select("label"))
          .unionAll(db.selectFrom("sheets").select("label")),
      /compares rows of several keys/,
    ],
    [
      () => dots().select("label").union(db.selectFrom("sheets").select("price")),
      /type the query does not tell/,
    ],
    [
      () => dots().select("label").unionAll(db.selectFrom("sheets").select("label")).orderBy("d.label"),
      /name of one column/,
    ],
    [
      () =>
        dots()
          .select((eb: AnyDatabase) => counted(eb).as("c"))
          .unionAll(db.selectFrom("sheets").select("n")),
      /Groups or aggregates inside/,
    ],
  ],
};

for (const [what, cases] of Object.entries(REFUSED)) {
  describe(what, () => {
    cases.forEach(([query, message], index) => {
      test(`${index + 1}: ${message.source}`, () => {
        let error: unknown;
        try {
          planned(query());
        } catch (raised) {
          error = raised;
        }
        expect(isTesseraeError(error, "FAN_OUT_UNSUPPORTED"), String(error)).toBe(true);
        expect((error as Error).message).toMatch(message);
      });
    });
  });
}

test("text without regard to case is neither ordered nor grouped outside the engine", () => {
  const schema = defineSchema({
    key: bigint(),
    tables: { names: federated("k", { id: bigint(), k: bigint(), name: text(20).caseInsensitive() }) },
  }).model;
  const refused = (query: Built) => () => planned(query, "postgres", schema, "default");
  const all = db.selectFrom("names");
  expect(refused(all.select("id").orderBy("name"))).toThrow(
    /caseInsensitive\(\): its order is the engine's own/,
  );
  expect(refused(all.select("name").distinct())).toThrow(/caseInsensitive/);
  // Whatever the engine itself does with it is right.
  expect(refused(all.select("name").where("name", "=", "A"))).not.toThrow();
  expect(refused(all.select((eb) => ["k", eb.fn.max("name").as("m")]).groupBy("k"))).not.toThrow();
  expect(refused(all.select((eb) => eb.fn("lower", ["name"]).as("l")).orderBy("l"))).toThrow(/collation/);
});
