import { describe, expect, test } from "vitest";
import { parameterPlaces } from "../../../src/engine/mysql/parameter-places.ts";

describe("parameterPlaces: 0 anywhere, 1 compared with a column, 2 stored", () => {
  test.each([
    ["select * from `places` where `user_id` = ? and `id` = ?", "11"],
    ["select * from `t` as `a` where `a`.`k` >= ? and `a`.`k` < ? for update", "11"],
    ["select * from t where (a = ? or b <=> ?) order by ?", "110"],
    ["select * from t inner join u on t.k = ? where u.k <> ? limit ?", "110"],
    ["insert into `t` (`a`, `b`) values (?, ?), (?, ?)", "2222"],
    ["insert into t (a, b, c) values (?, null, ?)", "22"],
    ["insert into t (a) values (?) on duplicate key update a = ?, b = values(b) + ?", "200"],
    ["update `t` set `a` = ?, `b` = `b` + ? where `id` = ?", "101"],
    ["delete from `d` where `t`.`k` in (?, ?, ?) and x = ?", "1111"],
    ["update t set a = ? where k = ? returning a", "11"],
  ])("%s", (sql, places) => {
    expect(parameterPlaces(sql).join("")).toBe(places);
  });

  test.each([
    "select ? as x",
    "select a + ? from t",
    "update t set a = ? + 1",
    "select * from t where a + b = ?",
    "select * from t where a - b = ?",
    "select * from t where (a + b) = ?",
    "select * from t where a = -?",
    "select * from t where a = b = ?",
    "select * from t where coalesce(a, ?) is null",
    "insert into t values (now(), abs(?))",
    "insert into t select ? from u",
    "select * from (select a + 1 as c from t) as x where c = ?",
    "select sum(a) as s from t group by b having s = ?",
    "select * from t where a = 'x?' and b = ?",
    'select * from t where a = "x" and b = ?',
    "select * from t where a /* ? */ = ?",
    "select * from t where `a?` = ?",
    "call p(?)",
  ])("is not sure of %s", (sql) => {
    expect(new Set(parameterPlaces(sql))).toEqual(new Set([0]));
  });

  test("has a place for each parameter", () => {
    expect(parameterPlaces("select 1")).toEqual([]);
  });
});
