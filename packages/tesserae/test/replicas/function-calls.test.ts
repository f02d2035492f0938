/** Which selects pay for a transaction where a primary plays its replicas: those that call what is not known to compute alone. */
import { expect, test } from "vitest";
import { mayWrite } from "../../src/session/function-calls.ts";

test.each([
  'select "name" from "users" where "id" in ($1, $2) and ("name" = $3 or exists (select 1))',
  'select count(*) as "n", coalesce(max("hits"), 0), row_number() over (partition by "id") from "dots"',
  `select cast("lat" as decimal(9, 6)), 'bump()' from "dots" order by lower("label")`,
])("nothing in %s may write", (sql) => {
  expect(mayWrite(sql, "postgres")).toBe(false);
});

test.each([
  'select bump() from "users"',
  'select "bump" () from "users"',
  'select public.lower("name") from "users"',
  'select /* */ bump/* */(1) from "users"',
  'select "name" into copy from "users"',
  "select e'\\'' || bump()",
])("%s may write", (sql) => {
  expect(mayWrite(sql, "postgres")).toBe(true);
});
