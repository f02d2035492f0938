/** `fed.gather` over the shards of each engine gives what one PostgreSQL database with all rows answers. */
import { forEachEngine, whyUnavailable } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { decimal, timestamp, typed } from "../../src/index.ts";
import { type OpenedThings, type Oracle, openOracle, openThings, shownRows } from "./gathered-things.ts";

/** SQL that means the same to DuckDB and PostgreSQL. */
const QUESTIONS = {
  "every value of every type": "select * from things order by id",
  "a join across keys":
    "select a.id as a, b.id as b, u.name, a.d - b.d as difference from things a join things b on a.maybe = b.maybe and a.user_id < b.user_id join users u on u.id = b.user_id where a.d > b.d and a.t6 < b.t6 order by a.id, b.id",
  "windows over all rows":
    "select id, rank() over (order by d desc, id) as place, sum(w) over (order by t, id) as running, lag(t3) over (order by t3, id) as before, ntile(4) over (order by f, id) as quarter from things order by id",
  "groups and exact sums":
    "select b, count(*) as c, count(distinct t) as texts, sum(n) as sn, sum(big) as beyond, sum(d) as sd, sum(w) as sw, min(day) as first, max(t6) as latest, max(n) as n from things group by b order by b",
  "text by code point": "select t, count(*) as c, max(id) as id from things group by t order by t",
  "uuids and bytes by bytes":
    "select row_number() over (order by u) as by_uuid, row_number() over (order by raw, id) as by_bytes, id from things order by id",
  "text without its case where the column says so":
    "select count(*) as c from things join users on users.id = things.user_id where nick = 'even'",
  "all that outer joins, sets and subqueries make of nulls":
    "select u.id, t.maybe, (select count(*) from things x where x.n > t.n) as above from users u left join things t on t.user_id = u.id and t.maybe > 3 union select id, null, null from users order by 1, 2 nulls last, 3 nulls last",
};

const withoutPostgres = whyUnavailable("postgres");

describe.skipIf(withoutPostgres !== undefined)(`against PostgreSQL${withoutPostgres ?? ""}`, () => {
  let oracle: Oracle;
  beforeAll(async () => {
    oracle = await openOracle();
  });
  afterAll(() => oracle?.[Symbol.asyncDispose]());

  forEachEngine((engine) => {
    describe(engine.name, () => {
      let opened: OpenedThings;
      beforeAll(async () => {
        opened = await openThings(engine, 3);
      });
      afterAll(() => opened?.[Symbol.asyncDispose]());

      test.each(Object.entries(QUESTIONS))("%s", async (_, sql) => {
        const { fed } = opened;
        const expected = await oracle.ask(sql);
        expect(expected.length).toBeGreaterThan(0);
        const things = fed.everywhere.selectFrom("things").selectAll();
        const users = fed.main.selectFrom("users").selectAll();
        expect(shownRows(await fed.gather({ things, users }, sql))).toEqual(expected);
        // The short form finds out by itself what is needed.
        expect(shownRows(await fed.gather(sql))).toEqual(expected);
      });

      test("sources are projected, filtered and grouped where they are", async () => {
        const { fed } = opened;
        const sources = {
          mine: fed.at(1n).selectFrom("things").select(["id", "d"]).where("n", ">", 0),
          totals: fed.everywhere
            .selectFrom("things")
            .select((eb) => ["user_id", eb.fn.sum<string>("d").as("total"), eb.fn.countAll<bigint>().as("c")])
            .groupBy("user_id"),
          some_: fed.some([1n, 2n, 5n]).selectFrom("things").select(["id", "t3"]),
        };
        const sql =
          "select (select count(*) from mine) as mine, (select sum(d) from mine) as d, count(*) as users, sum(total) as total, sum(c) as c, (select max(t3) from some_) as t3 from totals";
        const [row] = shownRows(await fed.gather(sources, sql));
        expect([row]).toEqual(
          await oracle.ask(
            "select (select count(*) from things where user_id = 1 and n > 0) as mine, (select sum(d) from things where user_id = 1 and n > 0) as d, (select count(*) from users) as users, sum(d) as total, count(*) as c, (select max(t3) from things where user_id in (1, 2, 5)) as t3 from things",
          ),
        );
      });

      test("the rest can be built, with parameters of the columns' types", async () => {
        const { fed } = opened;
        const gathered = fed
          .gather({
            things: fed.everywhere.selectFrom("things").select(["id", "user_id", "d", "t3", "t6", "u"]),
            users: fed.replica.selectFrom("users").select(["id", "name"]),
          })
          .query((db) =>
            db
              .selectFrom("things as a")
              .innerJoin("things as b", "b.d", "a.d")
              .innerJoin("users", "users.id", "b.user_id")
              .select(["a.id", "users.name", "b.t3"])
              .where("a.d", ">", "0.000001")
              .where("a.t3", "<", new Date("2050-01-01T00:00:00Z"))
              .where("a.t6", ">=", "1961-01-01T00:00:00.000001Z")
              .where("a.u", ">", "10000000-0000-4000-8000-000000000000")
              .orderBy("a.id")
              .orderBy("b.id")
              .limit(20),
          );
        const rows = await gathered;
        expectTypeOf(rows).toEqualTypeOf<{ id: bigint; name: string; t3: Date }[]>();
        const expected = await oracle.ask(
          "select a.id, users.name, b.t3 from things a join things b on b.d = a.d join users on users.id = b.user_id where a.d > 0.000001 and a.t3 < '2050-01-01Z' and a.t6 >= '1961-01-01T00:00:00.000001Z' and a.u > '10000000-0000-4000-8000-000000000000' order by a.id, b.id limit 20",
        );
        expect(expected.length).toBe(20);
        expect(shownRows(rows)).toEqual(expected);
      });

      test("parameters are bound, and streams end early", async () => {
        const { fed } = opened;
        const things = fed.everywhere.selectFrom("things").select(["id", "d", "t3"]);
        const stream = fed
          .gather<{ id: bigint; same: boolean }>(
            { things },
            "select id, d = $1 as same from things where d >= $1 and t3 < $2 order by id",
            [typed(decimal(9, 6), "1.5"), typed(timestamp(), new Date("2090-01-01T00:00:00Z"))],
          )
          .stream();
        const expected = await oracle.ask(
          "select id from things where d >= 1.5 and t3 < '2090-01-01Z' order by id limit 2",
        );
        const seen: string[] = [];
        for await (const { id, same } of stream) {
          seen.push(String(id));
          expect(same).toBe(false);
          if (seen.length === 2) break;
        }
        expect(seen).toEqual(expected.map(({ id }) => id));
      });
    });
  });
});
