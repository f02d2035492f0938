/** What queries are taken apart into: the shard's statement, and how the answer is made of the shards' rows. */
import { type Expression, type SqlBool, sql } from "kysely";
import { describe, expect, test } from "vitest";
import type { FanOutPlan } from "../../src/fan-out/fan-out-plan.ts";
import { int } from "../../src/schema/column.ts";
import { typed } from "../../src/session/typed-expression.ts";
import { type AnyDatabase, offline as db } from "../session/offline-kysely.ts";
import { planned, shardSql } from "./planned.ts";

const dots = () => db.selectFrom("dots as d");
const sortedBy = (plan: FanOutPlan) =>
  plan.sorted.map(
    ({ column, descending, nullsFirst }) =>
      `${column}${descending ? " desc" : ""}${nullsFirst ? " nulls first" : " nulls last"}`,
  );
const names = (plan: FanOutPlan) => plan.output.map(({ name }) => name);

describe("rows", () => {
  test("are selected under names of their own, and come out under their own", () => {
    const query = dots().select(["d.id", "d.label as text"]).where("n", ">", 3);
    expect(shardSql(query)).toBe("select d.id as c0, d.label as c1 from dots as d where n > ?");
    const plan = planned(query);
    expect(names(plan)).toEqual(["id", "text"]);
    expect(plan.columns.map(({ type }) => type?.kind)).toEqual(["bigint", "text"]);
    expect(plan).toMatchObject({
      combine: { kind: "rows" },
      sorted: [],
      order: [],
      offset: 0,
      shards: "all",
    });
  });

  test("all columns are written out; of two of one name the later one's value is kept", () => {
    const plan = planned(
      db
        .selectFrom("sheets")
        .innerJoin("themes", "themes.id", "sheets.id")
        .selectAll("sheets")
        .select("themes.n"),
    );
    expect(names(plan)).toEqual(["id", "user_id", "label", "n", "price", "wide"]);
    expect(plan.output[3]?.value).toMatchObject({ column: 6 });
    expect(plan.columns).toHaveLength(7);
  });

  test("what they are ordered by and do not select is selected behind them", () => {
    const query = dots().select("id").orderBy("seen", "desc").orderBy("id").limit(10).offset(5);
    expect(shardSql(query)).toBe("select id as c0, seen as c1 from dots as d order by c1 desc, c0 limit ?");
    const plan = planned(query);
    expect(names(plan)).toEqual(["id"]);
    expect(sortedBy(plan)).toEqual(["1 desc nulls last", "0 nulls first"]);
    expect(plan).toMatchObject({ offset: 5, limit: 10 });
    expect(plan.statement.limit).toMatchObject({ limit: { value: 15 } });
  });

  test("an offset without a limit leaves all rows to be asked for", () => {
    const plan = planned(dots().select("id").orderBy("id").offset(3));
    expect(plan).toMatchObject({ offset: 3, limit: undefined });
    expect(plan.statement.limit).toBeUndefined();
    expect(plan.statement.offset).toBeUndefined();
  });

  test("a name in ORDER BY is the result's first", () => {
    const query = dots().select(["id as label", "label as id"]).orderBy("label");
    expect(sortedBy(planned(query))).toEqual(["0 nulls first"]);
    expect(sortedBy(planned(dots().select("id as x").orderBy("d.id")))).toEqual(["0 nulls first"]);
  });

  test("an expression that is selected is the one it is ordered by", () => {
    const lower = (eb: AnyDatabase) => eb.fn("lower", ["d.label"]);
    const plan = planned(
      dots()
        .select((eb) => lower(eb).as("l"))
        .orderBy((eb) => lower(eb)),
    );
    expect(plan.columns).toHaveLength(1);
    expect(sortedBy(plan)).toEqual(["0 nulls first"]);
  });

  test("a limit may be a bigint, null or behind typed()", () => {
    expect(planned(dots().select("id").limit(7n)).limit).toBe(7);
    expect(planned(dots().select("id").limit(null)).limit).toBeUndefined();
    expect(
      planned(
        dots()
          .select("id")
          .limit(typed(int(), 4) as Expression<number>),
      ).limit,
    ).toBe(4);
  });

  test("columns of unknown type are handed on", () => {
    const plan = planned(dots().select(["details", sql<string>`details -> 'a'`.as("a")]));
    expect(plan.columns.map(({ type }) => type?.kind)).toEqual(["json", undefined]);
  });
});

test("two expressions are one only if their parentheses are", () => {
  const sum = (eb: AnyDatabase) => eb("n", "+", "sheet_id");
  const query = dots()
    .select((eb: AnyDatabase) => [eb(sum(eb), "*", 2).as("a"), eb(eb.parens(sum(eb)), "*", 2).as("b")])
    .orderBy((eb: AnyDatabase) => eb(eb.parens(sum(eb)), "*", 2));
  expect(sortedBy(planned(query))).toEqual(["1 nulls first"]);
});

describe("null in an order", () => {
  const by = (change: (order: AnyDatabase) => AnyDatabase) => dots().select("id").orderBy("n", change);

  test("is where the engine puts it, and the plan says where", () => {
    expect(sortedBy(planned(dots().select("n").orderBy("n"), "sqlite"))).toEqual(["0 nulls first"]);
    expect(sortedBy(planned(dots().select("n").orderBy("n"), "mysql"))).toEqual(["0 nulls first"]);
    expect(sortedBy(planned(dots().select("n").orderBy("n"), "postgres"))).toEqual(["0 nulls last"]);
    expect(sortedBy(planned(dots().select("n").orderBy("n", "desc"), "postgres"))).toEqual([
      "0 desc nulls first",
    ]);
    expect(sortedBy(planned(dots().select("n").orderBy("n", "desc"), "mysql"))).toEqual([
      "0 desc nulls last",
    ]);
  });

  test("is asked for in each engine's way", () => {
    const last = by((order) => order.asc().nullsLast());
    expect(shardSql(last, "sqlite")).toContain("order by c1 nulls last");
    expect(shardSql(last, "postgres")).toMatch(/order by c1$/);
    expect(shardSql(last, "mysql")).toContain("order by `c1` is null, `c1`");
    expect(sortedBy(planned(last, "mysql"))).toEqual(["1 nulls last"]);
    const first = by((order) => order.desc().nullsFirst());
    expect(shardSql(first, "mysql")).toContain("order by `c1` is null desc, `c1` desc");
    expect(
      shardSql(
        by((order) => order.asc().nullsFirst()),
        "postgres",
      ),
    ).toContain("order by c1 nulls first");
  });
});

describe("sources", () => {
  test("federated tables are joined on the key, in ON or in WHERE", () => {
    for (const query of [
      dots().innerJoin("sheets as s", "s.user_id", "d.user_id"),
      dots().leftJoin("sheets as s", (join) =>
        join.onRef("s.user_id", "=", "d.user_id").onRef("s.id", "=", "d.sheet_id"),
      ),
      dots().fullJoin("sheets as s", "s.user_id", "d.user_id"),
      dots().rightJoin("sheets as s", (join) => join.onRef("d.user_id", "=", "s.user_id").on("d.n", ">", 1)),
      dots().crossJoin("sheets as s").whereRef("s.user_id", "=", "d.user_id"),
      db.selectFrom(["dots as d", "sheets as s"]).whereRef("s.user_id", "=", "d.user_id"),
      dots()
        .crossJoin("sheets as s")
        .innerJoin("dots as e", (join) =>
          join.onRef("e.user_id", "=", "d.user_id").onRef("e.user_id", "=", "s.user_id"),
        ),
    ])
      expect(planned(query.select("d.id")).combine.kind).toBe("rows");
  });

  test("reference tables are joined with anything, and keep no unmatched rows", () => {
    const byTheme = (eb: AnyDatabase) => eb.onRef("t.n", "=", "d.n");
    expect(planned(dots().innerJoin("themes as t", byTheme).select("d.id")).shards).toBe("all");
    expect(planned(dots().leftJoin("themes as t", byTheme).select("d.id")).shards).toBe("all");
    expect(planned(db.selectFrom("themes as t").rightJoin("dots as d", byTheme).select("d.id")).shards).toBe(
      "all",
    );
  });

  test("a query over reference tables alone is any one shard's", () => {
    const query = db
      .selectFrom("themes")
      .select(["id", "label"])
      .where("n", ">", 1)
      .groupBy(["id", "label"])
      .limit(3);
    const plan = planned(query);
    expect(plan).toMatchObject({ shards: "one", limit: undefined, combine: { kind: "rows" } });
    expect(plan.statement.limit).toBeDefined();
  });

  test("derived tables and CTEs carry the key", () => {
    const perUser = (from: AnyDatabase) =>
      from
        .selectFrom("dots")
        .select((eb: AnyDatabase) => ["user_id as u", eb.fn.countAll().as("c")])
        .groupBy("user_id");
    const derived = db
      .selectFrom("sheets as s")
      .innerJoin(perUser(db).as("x"), "x.u", "s.user_id")
      .select("x.c");
    const cte = db.with("x", perUser).selectFrom("x").select("c").orderBy("c", "desc").limit(2);
    expect(planned(derived).columns[0]?.type?.kind).toBe("bigint");
    expect(sortedBy(planned(cte))).toEqual(["0 desc nulls last"]);
  });

  test("a recursive query stays with its row's key", () => {
    const tree = db
      .withRecursive("tree", (from) =>
        from
          .selectFrom("dots")
          .select(["user_id", "id"])
          .where("sheet_id", "is", null)
          .unionAll(
            from
              .selectFrom("dots as d")
              .innerJoin("tree", (join) =>
                join.onRef("tree.user_id", "=", "d.user_id").onRef("tree.id", "=", "d.sheet_id"),
              )
              .select(["d.user_id", "d.id"]),
          ),
      )
      .selectFrom("tree")
      .select("id");
    expect(planned(tree).combine.kind).toBe("rows");
  });

  test("a lateral source is bound to the row's key, and may then take its first rows", () => {
    const first = (eb: AnyDatabase) =>
      eb
        .selectFrom("sheets as s")
        .select("s.label")
        .whereRef("s.user_id", "=", "d.user_id")
        .orderBy("s.id")
        .limit(1)
        .as("x");
    const query = (dots() as AnyDatabase)
      .leftJoinLateral(first, (join: AnyDatabase) => join.onTrue())
      .select(["d.id", "x.label"])
      .orderBy("x.label");
    expect(sortedBy(planned(query, "postgres"))).toEqual(["1 nulls last"]);
  });

  test("subqueries are bound to the row's key", () => {
    const own = (eb: AnyDatabase) => eb.selectFrom("sheets as s").whereRef("s.user_id", "=", "d.user_id");
    for (const condition of [
      (eb: AnyDatabase) => eb.exists(own(eb).select("s.id")),
      (eb: AnyDatabase) =>
        eb(
          own(eb).select((sub: AnyDatabase) => sub.fn.countAll().as("c")),
          ">",
          1n,
        ),
      (eb: AnyDatabase) => eb("d.n", "in", own(eb).select("s.n").orderBy("s.n").limit(2)),
      (eb: AnyDatabase) => eb("d.user_id", "not in", eb.selectFrom("sheets").select("user_id")),
      (eb: AnyDatabase) =>
        eb(eb.refTuple("d.user_id", "d.sheet_id"), "in", eb.selectFrom("sheets").select(["user_id", "id"])),
      (eb: AnyDatabase) => eb("d.n", "in", eb.selectFrom("themes").select("n")),
      (eb: AnyDatabase) =>
        eb.exists(
          eb
            .selectFrom("themes as t")
            .leftJoin("sheets as s", (join: AnyDatabase) =>
              join.onRef("s.user_id", "=", "d.user_id").onRef("s.n", "=", "t.n"),
            )
            .select("s.id"),
        ),
    ])
      expect(
        planned(
          dots()
            .select("d.id")
            .where(condition as () => Expression<SqlBool>),
        ).shards,
      ).toBe("all");
  });
});

describe("keys", () => {
  const keys = (query: Parameters<typeof planned>[0]) => planned(query).keys;

  test("are those that the conditions name", () => {
    expect(keys(dots().select("id"))).toBeUndefined();
    expect(keys(dots().select("id").where("user_id", "=", 3n))).toEqual([3n]);
    expect(keys(dots().select("id").where("user_id", "in", [1n, 2n, 1n]))).toEqual([1n, 2n]);
    expect(
      keys(dots().select("id").where("user_id", "in", [1n, 2n]).where("d.user_id", "in", [2n, 3n])),
    ).toEqual([2n]);
    expect(
      keys(
        dots()
          .select("id")
          .where((eb) => eb.or([eb("user_id", "=", 1n), eb("user_id", "=", 7n)])),
      ),
    ).toEqual([1n, 7n]);
    expect(
      keys(
        dots()
          .select("id")
          .where((eb) => eb.or([eb("user_id", "=", 1n), eb("n", "=", 7)])),
      ),
    ).toBeUndefined();
    expect(keys(dots().select("id").where("user_id", "=", null))).toEqual([]);
    expect(
      keys(
        dots()
          .select("id")
          .where((eb) => eb.not(eb("user_id", "=", 1n))),
      ),
    ).toBeUndefined();
  });

  test("also through a join, a derived table, and the arms of a union", () => {
    const joined = dots().innerJoin("sheets as s", "s.user_id", "d.user_id").where("s.user_id", "=", 4n);
    expect(keys(joined.select("d.id"))).toEqual([4n]);
    const inner = db.selectFrom("dots").select(["user_id", "id"]).where("user_id", "=", 5n);
    expect(keys(db.selectFrom(inner.as("x")).select("x.id"))).toEqual([5n]);
    const kept = db.selectFrom(inner.as("x")).rightJoin("sheets as s", "s.user_id", "x.user_id");
    expect(keys(kept.select("s.id"))).toBeUndefined();
    const arm = (key: bigint) => db.selectFrom("dots").select("id").where("user_id", "=", key);
    expect(keys(arm(1n).unionAll(arm(2n)))).toEqual([1n, 2n]);
    expect(keys(arm(1n).unionAll(db.selectFrom("dots").select("id")))).toBeUndefined();
  });
});

describe("distinct", () => {
  test("merges equal rows: the order goes on with all columns, and the limit is the shards' too", () => {
    const query = dots().select(["n", "label"]).distinct().orderBy("label", "desc").limit(4);
    expect(shardSql(query)).toBe(
      "select distinct n as c0, label as c1 from dots as d order by c1 desc, c0 limit 4",
    );
    expect(planned(query)).toMatchObject({ combine: { kind: "distinct" }, order: [] });
  });

  test("with the key, rows of different shards are different", () => {
    expect(planned(dots().select(["user_id", "label"]).distinct()).combine.kind).toBe("rows");
    const nullable = db.selectFrom("sheets as s").leftJoin("dots as d", "d.user_id", "s.user_id");
    expect(planned(nullable.select("d.user_id").distinct()).combine.kind).toBe("distinct");
    expect(
      planned(nullable.where("d.user_id", "is not", null).select("d.user_id").distinct()).combine.kind,
    ).toBe("rows");
  });
});

describe("groups", () => {
  test("aggregates are put together from their parts, each part asked for once", () => {
    const query = dots()
      .select((eb) => [
        "label",
        eb.fn.countAll().as("c"),
        eb.fn.avg("n").as("a"),
        eb.fn.sum("n").as("s"),
        eb.fn.min("seen").as("first"),
      ])
      .groupBy("label");
    expect(shardSql(query)).toBe(
      "select label as c0, count(*) as c1, sum(n) as c2, count(n) as c3, min(seen) as c4 from dots as d group by c0 order by c0",
    );
    expect(planned(query).combine).toMatchObject({
      kind: "group",
      keys: [0],
      aggregates: [
        { kind: "count", column: 1 },
        { kind: "avg", sum: 2, count: 3, type: { kind: "decimal", scale: 4 } },
        { kind: "sum", column: 2, type: { kind: "bigint" } },
        { kind: "min", column: 4, type: { kind: "timestamp" } },
      ],
    });
  });

  test("without keys there is one group", () => {
    const plan = planned(
      db.selectFrom("sheets").select((eb) => [eb.fn.sum("wide").as("w"), eb.fn.max("price").as("p")]),
    );
    expect(plan.combine).toMatchObject({ kind: "group", keys: [] });
    expect(plan.statement.groupBy).toBeUndefined();
    expect(plan.columns.map(({ type }) => type)).toEqual([
      { kind: "decimal", precision: 38, scale: 4 },
      { kind: "decimal", precision: 9, scale: 2 },
    ]);
  });

  test("different values are counted by grouping by them too", () => {
    const query = dots()
      .select((eb) => ["label", eb.fn.count("n").distinct().as("d"), eb.fn.countAll().as("c")])
      .groupBy("label")
      .orderBy("label")
      .limit(2);
    expect(shardSql(query)).toBe(
      "select label as c0, n as c1, count(*) as c2 from dots as d group by c0, c1 order by c0, c1",
    );
    expect(planned(query).combine).toMatchObject({
      aggregates: [
        { kind: "countDistinct", column: 1 },
        { kind: "count", column: 2 },
      ],
    });
  });

  test("different values are counted where a condition holds, and different keys by each shard", () => {
    const filtered = dots().select((eb) =>
      eb.fn.count("n").distinct().filterWhere("label", "=", "a").as("n"),
    );
    expect(shardSql(filtered)).toBe(
      "select case when label = ? then n end as c0 from dots as d group by c0 order by c0",
    );
    expect(planned(dots().select((eb) => eb.fn.count("user_id").distinct().as("u"))).combine).toMatchObject({
      aggregates: [{ kind: "count", column: 0 }],
    });
  });

  test("an order by the keys is the shards' own, and the limit too where nothing is left to be thrown away", () => {
    const grouped = dots()
      .select((eb) => ["label", "n", eb.fn.countAll().as("c")])
      .groupBy(["label", "n"]);
    const plan = planned(grouped.orderBy("n", "desc").limit(3).offset(1));
    expect(sortedBy(plan)).toEqual(["1 desc nulls last", "0 nulls first"]);
    expect(plan.order).toEqual([]);
    expect(plan.statement.limit).toMatchObject({ limit: { value: 4 } });
    const filtered = planned(
      grouped
        .having((eb) => eb.fn.countAll(), ">", 2n)
        .orderBy("n")
        .limit(3),
    );
    expect(filtered.statement.limit).toBeUndefined();
    expect(filtered.having).toMatchObject({ kind: "comparison", operator: ">", right: { value: 2n } });
  });

  test("an order by an aggregate is the answer's", () => {
    const plan = planned(
      dots()
        .select((eb) => ["label", eb.fn.countAll().as("c")])
        .groupBy("label")
        .orderBy("c", "desc")
        .orderBy("label")
        .limit(3),
    );
    expect(plan.order).toMatchObject([
      { value: { column: 1 }, descending: true, nullsFirst: false },
      { value: { column: 0 }, descending: false },
    ]);
    expect(plan.statement.limit).toBeUndefined();
    expect(plan.limit).toBe(3);
  });

  test("expressions over aggregates are computed from the groups", () => {
    const plan = planned(
      dots().select((eb) => [
        eb.fn.coalesce(eb.fn.sum("n"), eb.val(0n)).as("s"),
        eb(eb.fn.countAll(), "+", 1n).as("x"),
        eb.between(eb.fn.countAll(), 1n, 3n).as("b"),
        eb(eb.fn.max("n"), "is", null).as("none"),
      ]),
    );
    expect(plan.output.map(({ value }) => value.kind)).toEqual(["coalesce", "arithmetic", "and", "isNull"]);
    expect(plan.output[0]?.value).toMatchObject({
      operands: [{ column: 0 }, { value: 0n }],
      type: { kind: "bigint" },
    });
  });

  test("what is made of the keys alone becomes a key", () => {
    const query = dots()
      .select((eb) => ["label", eb.fn("lower", ["label"]).as("low"), eb.fn.countAll().as("c")])
      .groupBy("label");
    expect(shardSql(query)).toBe(
      "select label as c0, lower(label) as c1, count(*) as c2 from dots as d group by c0, c1 order by c0, c1",
    );
  });

  test("an expression with a named type is a key", () => {
    const year = () => typed(int(), sql`extract(year from seen)`);
    const plan = planned(
      dots()
        .select((eb) => [year().as("y"), eb.fn.countAll().as("c")])
        .groupBy(year())
        .orderBy("y"),
    );
    expect(plan.columns[0]?.type?.kind).toBe("int");
    expect(plan.order).toEqual([]);
  });

  test("with the key among what is grouped by, all is the shards' own", () => {
    const query = dots()
      .select((eb) => ["user_id", eb.fn.sum("weight").as("w"), eb.fn.countAll().as("c")])
      .groupBy("user_id")
      .having("c", ">", 3)
      .orderBy("c", "desc")
      .limit(3);
    expect(shardSql(query)).toBe(
      "select user_id as c0, sum(weight) as c1, count(*) as c2 from dots as d group by user_id having (count(*)) > ? order by c2 desc limit 3",
    );
    expect(planned(query).combine.kind).toBe("rows");
  });

  test("a key that an outer join left null is a group of several shards", () => {
    const query = db
      .selectFrom("sheets as s")
      .leftJoin("dots as d", "d.user_id", "s.user_id")
      .select((eb) => ["d.user_id", eb.fn.countAll().as("c")])
      .groupBy("d.user_id");
    expect(planned(query).combine.kind).toBe("group");
  });
});

describe("set operations", () => {
  const labels = (table: string) => db.selectFrom(table).select("label");

  test("union all hands on the arms' rows", () => {
    const query = labels("dots").unionAll(labels("sheets")).orderBy("label").limit(3);
    expect(shardSql(query)).toBe(
      "select label as c0 from dots union all select label as c0 from sheets order by c0 limit 3",
    );
    expect(planned(query).combine.kind).toBe("rows");
  });

  test("union merges equal rows, those of reference tables too", () => {
    const plan = planned(labels("dots").union(labels("sheets")).union(labels("themes")));
    expect(plan.combine.kind).toBe("distinct");
    expect(sortedBy(plan)).toEqual(["0 nulls first"]);
  });

  test("with the key in each arm, any set operation is the shards' own", () => {
    const keyed = (table: string) => db.selectFrom(table).select(["user_id", "label"]);
    expect(planned(keyed("dots").except(keyed("sheets"))).combine.kind).toBe("rows");
    expect(planned(keyed("dots").union(keyed("sheets"))).combine.kind).toBe("rows");
  });
});

describe("windows", () => {
  test("within a key are the shards' own", () => {
    const query = dots()
      .select((eb) => [
        "id",
        eb.fn
          .agg<bigint>("row_number")
          .over((over) => over.partitionBy("d.user_id").orderBy("id"))
          .as("r"),
      ])
      .orderBy("r");
    expect(sortedBy(planned(query))).toEqual(["1 nulls first"]);
  });
});
