/** Which tables and columns a select names: never fewer than it needs. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnalyticalEngine } from "../../src/fan-out/gather/analytical-engine.ts";
import { openDuckDb } from "../../src/fan-out/gather/duckdb/duckdb-engine.ts";
import { openSqlite } from "../../src/fan-out/gather/sqlite/sqlite-engine.ts";

const LIMITS = { memoryLimitBytes: 64 * 1024 * 1024, spillLimitBytes: 1024 * 1024, threads: 1 };

const CASES: readonly [sql: string, tables: string, columns: string | "all"][] = [
  ["select id from dots", "dots", "id"],
  ["select count(*) as c from dots", "dots", ""],
  ["SELECT D.LAT FROM Dots AS D", "dots", "lat"],
  ['select "lat" from "dots"', "dots", "lat"],
  ["select * from dots", "dots", "all"],
  ["select d.* from dots d join users u on u.id = d.user_id", "dots users", "all"],
  [
    "select u.name from dots d join users u on u.id = d.user_id where d.lat > 1",
    "dots users",
    "id lat name user_id",
  ],
  ["select name from dots join users using (id)", "dots users", "id name"],
  ["select 1 as one from dots natural join users", "dots users", "all"],
  ["with x as (select lat from dots) select max(lat) as m from x", "dots", "lat"],
  ["select (select max(name) from users) as n from dots order by lon", "dots users", "lon name"],
  ["select id from dots union all select id from users", "dots users", "id"],
  ["select sum(lat) over (partition by user_id order by id) as s from dots", "dots", "id lat user_id"],
  [
    "select id from dots where exists (select 1 from users where users.id = dots.user_id)",
    "dots users",
    "id user_id",
  ],
];

/** What DuckDB alone has. */
const DUCKDB_CASES: typeof CASES = [
  ["select lat * lon as product from dots", "dots", "lat lon"],
  ["from dots", "dots", "all"],
  ["select dots from dots", "dots", "all"],
  ["select x from (select id from dots) x", "dots", "all"],
  ["select columns('l.*') from dots", "dots", "all"],
  ["select a from dots as d(a, b)", "dots", "all"],
  ["select id, lat from dots qualify row_number() over (order by lon) = 1", "dots", "id lat lon"],
  ["select * exclude (id) from dots", "dots", "all"],
  ["select list(lat order by lon) filter (where id > 1) as l from dots group by all", "dots", "id lat lon"],
];

const COLUMNS = ["id", "user_id", "lat", "lon", "name"];
const TABLES = ["dots", "users", "sheets"];

describe.each([
  ["duckdb", openDuckDb, [...CASES, ...DUCKDB_CASES]],
  ["sqlite", openSqlite, CASES],
] as const)("%s", (_, open, cases) => {
  let engine: AnalyticalEngine;
  beforeAll(async () => {
    engine = await open(LIMITS, undefined);
  });
  afterAll(() => engine.close());

  test.each(cases)("%s", async (sql, tables, columns) => {
    const named = await engine.namedParts(sql);
    expect(TABLES.filter((name) => named.tables.has(name)).join(" ")).toBe(tables);
    const found = named.columns;
    const shown = found === undefined ? "all" : COLUMNS.filter((name) => found.has(name)).sort();
    expect(shown).toEqual(columns === "all" ? "all" : columns.split(" ").filter((name) => name !== ""));
  });
});
