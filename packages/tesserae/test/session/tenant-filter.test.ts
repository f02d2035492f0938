/** What the filter makes of each kind of statement, as SQL text; what it refuses, and how it says so. */
import { type RootOperationNode, sql } from "kysely";
import { describe, expect, it } from "vitest";
import { isTesseraeError } from "../../src/base/errors.ts";
import { checkMainQuery, filterForTenant, isReadOnly } from "../../src/session/tenant-filter.ts";
import { notes, scope } from "./notes-schema.ts";
import { type AnyDatabase, type Built, compile, offline } from "./offline-kysely.ts";

const db: AnyDatabase = offline;

function filtered(query: Built): RootOperationNode {
  return filterForTenant(query.toOperationNode() as RootOperationNode, scope);
}

function text(query: Built, engine: "sqlite" | "mysql" | "postgres" = "postgres"): string {
  return compile(engine, filtered(query)).sql;
}

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isTesseraeError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return "none";
}

const refused = (query: Built) => refusal(() => filtered(query));

describe("reading under the filter", () => {
  it("puts the key before the caller's condition, which stands in parentheses", () => {
    const query = db.selectFrom("dots").selectAll().where("id", "=", 5n);
    expect(text(query)).toBe('select * from "dots" where "dots"."user_id" = $1 and ("id" = $2)');
    expect(text(query, "mysql")).toBe("select * from `dots` where `dots`.`user_id` = ? and (`id` = ?)");
    expect(text(query, "sqlite")).toBe('select * from "dots" where "dots"."user_id" = ? and ("id" = ?)');
    expect(compile("postgres", filtered(query)).parameters).toEqual([1n, 5n]);
    expect(text(db.selectFrom("dots").select("id").where(sql`id = 1 or true`))).toBe(
      'select "id" from "dots" where "dots"."user_id" = $1 and (id = 1 or true)',
    );
  });

  it("filters inner and left joins in ON, and leaves reference tables alone", () => {
    const query = db
      .selectFrom("dots as d")
      .innerJoin("sheets as s", "s.id", "d.sheet_id")
      .leftJoin("dots as e", "e.id", "d.id")
      .leftJoin("themes as t", "t.id", "s.id")
      .select("d.id");
    expect(text(query)).toBe(
      'select "d"."id" from "dots" as "d" inner join "sheets" as "s" on "s"."user_id" = $1 and ("s"."id" = "d"."sheet_id") ' +
        'left join "dots" as "e" on "e"."user_id" = $2 and ("e"."id" = "d"."id") ' +
        'left join "themes" as "t" on "t"."id" = "s"."id" where "d"."user_id" = $3',
    );
  });

  it("puts the conditions before a right join into its ON, and its own table's after it", () => {
    const query = db
      .selectFrom("dots as d")
      .leftJoin("sheets as l", "l.id", "d.sheet_id")
      .rightJoin("sheets as r", "r.id", "d.sheet_id")
      .innerJoin("dots as e", "e.id", "r.id")
      .select("d.id");
    expect(text(query)).toBe(
      'select "d"."id" from "dots" as "d" left join "sheets" as "l" on "l"."user_id" = $1 and ("l"."id" = "d"."sheet_id") ' +
        'right join "sheets" as "r" on "d"."user_id" = $2 and ("r"."id" = "d"."sheet_id") ' +
        'inner join "dots" as "e" on "e"."user_id" = $3 and ("e"."id" = "r"."id") where "r"."user_id" = $4',
    );
  });

  it("derives the tables of full joins", () => {
    const query = db.selectFrom("dots as d").fullJoin("sheets", "sheets.id", "d.sheet_id").select("d.id");
    expect(text(query)).toBe(
      'select "d"."id" from (select * from "dots" where "dots"."user_id" = $1) as "d" ' +
        'full join (select * from "sheets" where "sheets"."user_id" = $2) as "sheets" on "sheets"."id" = "d"."sheet_id"',
    );
  });

  it("filters comma lists, cross and lateral joins", () => {
    expect(text(db.selectFrom(["dots", "sheets as s"]).crossJoin("dots as e").selectAll())).toBe(
      'select * from "dots", "sheets" as "s" cross join "dots" as "e" where "dots"."user_id" = $1 and "s"."user_id" = $2 and "e"."user_id" = $3',
    );
    const lateral = db
      .selectFrom("sheets")
      .innerJoinLateral(
        (eb: AnyDatabase) =>
          eb.selectFrom("dots").select("dots.id").whereRef("dots.sheet_id", "=", "sheets.id").as("l"),
        (join: AnyDatabase) => join.onTrue(),
      )
      .select("l.id");
    expect(text(lateral)).toContain(
      'lateral (select "dots"."id" from "dots" where "dots"."user_id" = $1 and ("dots"."sheet_id" = "sheets"."id"))',
    );
  });

  it("filters subqueries wherever they stand", () => {
    const inner = db.selectFrom("dots").select("id");
    const filteredInner = '(select "id" from "dots" where "dots"."user_id" = $1)';
    const places: Built[] = [
      db.selectNoFrom(inner.as("x")),
      db.selectFrom(inner.as("x")).selectAll(),
      db.selectFrom("themes").select("id").where("id", "in", inner),
      db
        .selectFrom("themes")
        .select("id")
        .where((eb: AnyDatabase) => eb.not(eb.exists(inner))),
      db.selectFrom("themes").select("id").orderBy(inner),
      db.selectFrom("themes").select("id").limit(inner),
      db.selectFrom("themes").select((eb: AnyDatabase) => eb.fn.coalesce(inner, eb.val(1)).as("x")),
      db
        .selectFrom("themes")
        .select((eb: AnyDatabase) => eb.case().when("id", "=", inner).then(1).end().as("x")),
      db.selectFrom("themes").select("id").groupBy("id").having("id", "=", inner),
      db.selectFrom("themes").select(sql`coalesce(${inner}, 1)`.as("x")),
      db.selectFrom("themes").select(sql`(${sql`${inner}`})`.as("x")),
      db
        .selectFrom("themes")
        .innerJoin(inner.as("x"), (join: AnyDatabase) => join.onTrue())
        .selectAll(),
    ];
    for (const query of places) expect(text(query)).toContain(filteredInner);
    expect(text(db.selectFrom("themes").select("id").union(inner))).toBe(
      'select "id" from "themes" union select "id" from "dots" where "dots"."user_id" = $1',
    );
    expect(
      text(
        db
          .with("own", () => inner)
          .selectFrom("own as o")
          .selectAll(),
      ),
    ).toBe('with "own" as (select "id" from "dots" where "dots"."user_id" = $1) select * from "own" as "o"');
  });

  it("keeps the identity of what it does not change", () => {
    const reference = db
      .selectFrom("themes")
      .selectAll()
      .where("id", "in", [1n, 2n])
      .orderBy("id")
      .toOperationNode();
    expect(filterForTenant(reference, scope)).toBe(reference);
    const node = db.selectFrom("dots").selectAll().orderBy("id").toOperationNode();
    const result = filterForTenant(node, scope) as typeof node;
    expect(result.orderBy).toBe(node.orderBy);
    expect(result.from).toBe(node.from);
  });

  it("knows which statements only read", () => {
    const isRead = (query: Built) => isReadOnly(query.toOperationNode());
    expect(isRead(db.selectFrom("dots").selectAll().distinct())).toBe(true);
    expect(
      isRead(
        db
          .with("x", (q: AnyDatabase) => q.selectFrom("dots").select("id"))
          .selectFrom("x")
          .selectAll(),
      ),
    ).toBe(true);
    expect(isRead(db.selectFrom("dots").selectAll().forUpdate())).toBe(false);
    expect(isRead(db.selectFrom("dots").selectAll().modifyEnd(sql`for share`))).toBe(false);
    expect(
      isRead(
        db
          .with("x", (q: AnyDatabase) => q.deleteFrom("dots").returning("id"))
          .selectFrom("x")
          .selectAll(),
      ),
    ).toBe(false);
    expect(isRead(db.deleteFrom("dots"))).toBe(false);
  });
});

describe("writing under the filter", () => {
  it("bounds updates and deletes, with their further sources", () => {
    expect(text(db.updateTable("dots").set({ n: 1 }).where(sql`true or true`))).toBe(
      'update "dots" set "n" = $1 where "dots"."user_id" = $2 and (true or true)',
    );
    expect(
      text(db.updateTable("dots as d").set({ n: 1 }).from("sheets as s").whereRef("s.id", "=", "d.sheet_id")),
    ).toBe(
      'update "dots" as "d" set "n" = $1 from "sheets" as "s" where "d"."user_id" = $2 and "s"."user_id" = $3 and ("s"."id" = "d"."sheet_id")',
    );
    expect(text(db.updateTable(["dots", "sheets"]).set("dots.n", 1), "mysql")).toBe(
      "update `dots`, `sheets` set `dots`.`n` = ? where `dots`.`user_id` = ? and `sheets`.`user_id` = ?",
    );
    expect(text(db.deleteFrom("dots").using("sheets").whereRef("sheets.id", "=", "dots.sheet_id"))).toBe(
      'delete from "dots" using "sheets" where "dots"."user_id" = $1 and "sheets"."user_id" = $2 and ("sheets"."id" = "dots"."sheet_id")',
    );
    expect(
      text(db.deleteFrom("dots").using("dots").innerJoin("sheets", "sheets.id", "dots.sheet_id"), "mysql"),
    ).toBe(
      "delete from `dots` using `dots` inner join `sheets` on `sheets`.`user_id` = ? and (`sheets`.`id` = `dots`.`sheet_id`) where `dots`.`user_id` = ?",
    );
    expect(
      text(db.deleteFrom("dots").using("dots").rightJoin("sheets", "sheets.id", "dots.sheet_id"), "mysql"),
    ).toBe(
      "delete from `dots` using `dots` right join (select * from `sheets` where `sheets`.`user_id` = ?) as `sheets` on `sheets`.`id` = `dots`.`sheet_id` where `dots`.`user_id` = ?",
    );
    expect(
      text(
        db
          .with("gone", (q: AnyDatabase) => q.deleteFrom("dots").returning("id"))
          .selectFrom("gone")
          .selectAll(),
      ),
    ).toBe(
      'with "gone" as (delete from "dots" where "dots"."user_id" = $1 returning "id") select * from "gone"',
    );
  });

  it("fills the distribution column of inserted rows", () => {
    expect(
      text(
        db.insertInto("dots").values([
          { id: 1n, label: "a" },
          { id: 2n, label: "b" },
        ]),
      ),
    ).toBe('insert into "dots" ("user_id", "id", "label") values ($1, $2, $3), ($4, $5, $6)');
    const mixed = db.insertInto("dots").values([{ id: 1n, user_id: 1n }, { id: sql`2` }]);
    expect(text(mixed)).toBe('insert into "dots" ("id", "user_id") values ($1, $2), (2, $3)');
    expect(text(mixed, "sqlite")).toBe('insert into "dots" ("id", "user_id") values (?, ?), (2, ?)');
    expect(text(db.insertInto("dots").defaultValues())).toBe('insert into "dots" ("user_id") values ($1)');
    expect(text(db.replaceInto("dots").values({ id: 1n }), "mysql")).toBe(
      "replace into `dots` (`user_id`, `id`) values (?, ?)",
    );
  });

  it("gives the key to the rows of a query", () => {
    const rows = db.selectFrom("sheets").select(["id", "label"]).orderBy(sql`1`);
    const insert = db.insertInto("dots").columns(["id", "label"]);
    expect(text(insert.expression(rows))).toBe(
      'insert into "dots" ("id", "label", "user_id") select "id", "label", $1 from "sheets" where "sheets"."user_id" = $2 order by 1',
    );
    expect(text(insert.expression(rows.distinct()))).toBe(
      'insert into "dots" ("id", "label", "user_id") with "tesserae_rows"("id", "label") as (select distinct "id", "label" from "sheets" where "sheets"."user_id" = $1 order by 1) ' +
        'select "id", "label", $2 from "tesserae_rows" where 1 = 1',
    );
    const named = db.insertInto("dots").columns(["id", "user_id"]);
    expect(text(named.expression(db.selectFrom("sheets as s").select(["s.id", "s.user_id"])))).toBe(
      'insert into "dots" ("id", "user_id") select "s"."id", "s"."user_id" from "sheets" as "s" where "s"."user_id" = $1',
    );
    expect(refused(named.expression(db.selectFrom("sheets").select(["id", sql.lit(2).as("k")])))).toMatch(
      /^KEY_MISMATCH .*Leave the column out/,
    );
    expect(refused(named.expression(db.selectFrom("sheets").select(["user_id", "id"])))).toMatch(
      /^KEY_MISMATCH/,
    );
    expect(
      refused(named.expression(db.selectFrom("sheets").select(["id", sql`user_id + 1`.as("k")]))),
    ).toMatch(/^KEY_MISMATCH/);
    expect(refused(insert.expression(db.selectFrom("sheets").selectAll()))).toMatch(
      /^INSERT_SELECT_COLUMNS .*Select each column by name/,
    );
    expect(refused(insert.expression(db.selectFrom("sheets").select("id")))).toMatch(
      /^INSERT_SELECT_COLUMNS/,
    );
    expect(refused(insert.expression(db.selectFrom("sheets").select(["id", sql`label, 2`.as("k")])))).toMatch(
      /^RAW_REFUSED .*comma/,
    );
    expect(refused(db.insertInto("dots").expression(rows))).toMatch(/^INSERT_SELECT_COLUMNS .*\.columns/);
  });

  it("refuses rows of another key, and columns that are none", () => {
    expect(refused(db.insertInto("dots").values({ id: 1n, user_id: 2n }))).toBe(
      'KEY_MISMATCH The insert into "dots" gives its distribution column "user_id" another value than the session\'s key. Leave the column out, it fills itself; rows of another key are inserted with fed.at(thatKey).',
    );
    expect(refused(db.insertInto("dots").values({ id: sql`1`, user_id: sql`1 + 1` }))).toMatch(
      /^KEY_MISMATCH/,
    );
    expect(refused(db.insertInto("dots").values({ id: 1n, USER_ID: 2n }))).toMatch(/^COLUMN_UNKNOWN/);
    expect(refused(db.updateTable("dots").set({ rowid: 2n }))).toMatch(/^COLUMN_UNKNOWN/);
    expect(refused(db.insertInto("dots").values({ id: sql`1, 2`, label: "x" }))).toMatch(/^RAW_REFUSED/);
  });

  it("puts the key into the target of a conflict", () => {
    const insert = db.insertInto("dots").values({ id: 1n });
    expect(
      text(insert.onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ label: "x", user_id: 1n }))),
    ).toBe(
      'insert into "dots" ("user_id", "id") values ($1, $2) on conflict ("user_id", "id") do update set "label" = $3',
    );
    expect(text(insert.onConflict((oc: AnyDatabase) => oc.columns(["id", "user_id"]).doNothing()))).toContain(
      'on conflict ("id", "user_id") do nothing',
    );
    const touch = insert.onDuplicateKeyUpdate({ user_id: (eb: AnyDatabase) => eb.ref("dots.user_id") });
    expect(text(touch, "mysql")).toBe(
      "insert into `dots` (`user_id`, `id`) values (?, ?) on duplicate key update `user_id` = `dots`.`user_id`",
    );
    expect(refused(insert.onDuplicateKeyUpdate({ user_id: 2n }))).toMatch(/^KEY_IMMUTABLE/);
    expect(
      refused(insert.onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ user_id: 2n }))),
    ).toMatch(/^KEY_IMMUTABLE/);
  });

  it("never changes a key", () => {
    expect(refused(db.updateTable("dots").set({ user_id: 2n }))).toMatch(
      /^KEY_IMMUTABLE .*fed\.at\(otherKey\)/,
    );
    expect(refused(db.updateTable("dots").set({ user_id: sql`user_id` }))).toMatch(/^KEY_IMMUTABLE/);
    expect(refused(db.updateTable("dots").set({ user_id: (eb: AnyDatabase) => eb.ref("id") }))).toMatch(
      /^KEY_IMMUTABLE/,
    );
    expect(text(db.updateTable("dots").set({ user_id: 1n, n: 2 }))).toBe(
      'update "dots" set "n" = $1 where "dots"."user_id" = $2',
    );
    expect(refused(db.updateTable("dots").set(sql`user_id`, 2n))).toMatch(/^RAW_REFUSED/);
  });
});

describe("what a key's session cannot name", () => {
  it("refuses tables that do not live with the key", () => {
    expect(refused(db.selectFrom("accounts").selectAll())).toMatch(
      /^TABLE_NOT_HERE .*fed\.main\.selectFrom\("accounts"\)/,
    );
    expect(refused(db.selectFrom("posts").selectAll())).toMatch(
      /^TABLE_NOT_HERE .*fed\.in\("blogs"\)\.at\(key\)/,
    );
    expect(refused(db.selectFrom("nowhere").selectAll())).toMatch(/^TABLE_NOT_HERE .*defineSchema/);
    expect(refused(db.selectFrom("DOTS").selectAll())).toMatch(/^TABLE_NOT_HERE/);
    expect(refused(db.selectFrom("tesserae_meta").selectAll())).toMatch(/^TABLE_NOT_HERE/);
    expect(refused(db.withSchema("public").selectFrom("dots").selectAll())).toMatch(
      /^TABLE_NOT_HERE .*Name the table alone/,
    );
    expect(refused(db.selectFrom("pg_catalog.pg_class").selectAll())).toMatch(/^TABLE_NOT_HERE/);
    expect(
      refused(db.selectFrom("dots").innerJoin("accounts", "accounts.id", "dots.id").selectAll()),
    ).toMatch(/^TABLE_NOT_HERE/);
  });

  it("refuses to write reference tables and CTEs", () => {
    expect(refused(db.updateTable("themes").set({ n: 1 }))).toMatch(/^REFERENCE_READ_ONLY .*fed\.main/);
    expect(refused(db.insertInto("themes").values({ id: 1n }))).toMatch(/^REFERENCE_READ_ONLY/);
    expect(refused(db.deleteFrom("themes"))).toMatch(/^REFERENCE_READ_ONLY/);
    expect(refused(db.updateTable(["dots", "themes"]).set("themes.n", 1))).toMatch(/^REFERENCE_READ_ONLY/);
    expect(refused(db.updateTable(["dots", "themes"]).set("n", 1))).toMatch(/^STATEMENT_REFUSED .*alias/);
    expect(
      refused(db.with("x", (q: AnyDatabase) => q.selectFrom("dots").select("id")).deleteFrom("x")),
    ).toMatch(/^TABLE_NOT_HERE/);
  });

  it("keeps the names of CTEs apart from tables", () => {
    const themes = (q: AnyDatabase) => q.selectFrom("themes").select("id");
    expect(refused(db.with("dots", themes).selectFrom("dots").selectAll())).toMatch(
      /^STATEMENT_REFUSED .*another name/,
    );
    expect(refused(db.with("Accounts", themes).selectFrom("Accounts").selectAll())).toMatch(
      /^STATEMENT_REFUSED/,
    );
    // Before it is complete, or outside its query, a CTE's name would be a table's.
    expect(
      refused(
        db
          .with("a", (q: AnyDatabase) => q.selectFrom("b").selectAll())
          .with("b", themes)
          .selectFrom("a")
          .selectAll(),
      ),
    ).toMatch(/^TABLE_NOT_HERE/);
    expect(
      refused(
        db
          .with("a", (q: AnyDatabase) => q.selectFrom("a").selectAll())
          .selectFrom("a")
          .selectAll(),
      ),
    ).toMatch(/^TABLE_NOT_HERE/);
    const inside = db.with("a", themes).selectFrom("a").select("id");
    expect(refused(db.selectFrom([inside.as("x"), "a"]).selectAll())).toMatch(/^TABLE_NOT_HERE/);
    expect(refused(db.selectFrom(["dots as x", "sheets as X"]).selectAll())).toMatch(
      /^STATEMENT_REFUSED .*alias/,
    );
  });

  it("refuses whole raw statements, DDL and merges", () => {
    expect(refused({ toOperationNode: () => sql`select 1`.toOperationNode() })).toMatch(
      /^RAW_REFUSED .*unfiltered/,
    );
    expect(refused(db.schema.dropTable("dots"))).toMatch(/^STATEMENT_REFUSED .*fed\.schema\.apply/);
    expect(refused(db.schema.createTable("x").addColumn("id", "integer"))).toMatch(/^STATEMENT_REFUSED/);
    expect(
      refused(db.mergeInto("dots").using("sheets", "sheets.id", "dots.id").whenMatched().thenDelete()),
    ).toMatch(/^STATEMENT_REFUSED .*onConflict/);
  });

  it("refuses an unknown node or property, as a later Kysely may bring", () => {
    const node = db.selectFrom("dots").selectAll().toOperationNode();
    expect(refusal(() => filterForTenant({ ...node, sample: { kind: "RawNode" } }, scope))).toMatch(
      /^STATEMENT_REFUSED .*sample/,
    );
    expect(
      refusal(() =>
        filterForTenant(
          { ...node, where: { kind: "WhereNode", where: { kind: "NewNode" } } } as never,
          scope,
        ),
      ),
    ).toMatch(/^STATEMENT_REFUSED/);
  });

  it("lets fragments through that hold no query", () => {
    const fine = [
      "count(*) filter (where n > 1)", "lower(label) || '!'", "case when n in (1, 2) then 'x' else 'y' end", "extract(year from seen)", "cast(n as varchar(10))", "seen at time zone 'UTC'",
      "cast(seen as timestamp with time zone)", "position('a' in label)", "trim(both ' ' from label)", "n is not distinct from 3", "dots.n + 1", "row_number() over (partition by label order by n desc)", "details -> 'a'",
      "array[1, 2]", "label like 'it''s%'", "interval '1 day'", "coalesce(n, 0)::text", "replace(label, 'a', 'b')", "nullif(n, 0)",
    ]; // biome-ignore format: a list of fragments reads better in lines.
    for (const fragment of fine)
      expect(text(db.selectFrom("dots").select(sql.raw(fragment).as("x")))).toContain(fragment);
    expect(text(db.selectFrom("dots").selectAll().modifyEnd(sql`for update skip locked`))).toMatch(
      /for update skip locked$/,
    );
    expect(text(db.selectFrom("dots").select("id").forUpdate("dots"))).toMatch(/for update of "dots"$/);
    expect(text(db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn.toJson("dots").as("x")))).toContain(
      'to_json("dots")',
    );
  });

  it("parenthesises a minus before a sign, which would be a comment", () => {
    const negated = db.updateTable("dots").set((eb: AnyDatabase) => ({ n: eb.neg(eb.neg("n")) }));
    expect(text(negated)).toBe('update "dots" set "n" = -(-"n") where "dots"."user_id" = $1');
    expect(text(db.updateTable("dots").set((eb: AnyDatabase) => ({ n: eb.neg(eb.lit(-1)) })))).toContain(
      "-(-1)",
    );
  });
});

describe("main's check", () => {
  const checked = (query: Built) =>
    refusal(() => checkMainQuery(query.toOperationNode() as RootOperationNode, notes.model));

  it("passes global and reference tables and CTEs, and leaves the statement as it is", () => {
    const query = db
      .with("dots", (q: AnyDatabase) => q.selectFrom("accounts").select("id"))
      .selectFrom("dots")
      .innerJoin("themes as t", "t.id", "dots.id")
      .selectAll();
    const node = query.toOperationNode();
    expect(checkMainQuery(node, notes.model)).toBe(node);
    expect(checked(db.insertInto("themes").values({ id: 1n, label: "x" }))).toBe("none");
    expect(
      checked(db.selectFrom("accounts").select((eb: AnyDatabase) => eb.fn.toJson("accounts").as("x"))),
    ).toBe("none");
    expect(checked(db.insertInto("accounts").values({ id: 1n, name: { kind: "TableNode" } }))).toBe("none");
    expect(
      checked({
        toOperationNode: () => sql`select * from pg_class where relname = ${"x"}`.toOperationNode(),
      }),
    ).toBe("none");
  });

  it("refuses federated tables, unknown ones and DDL", () => {
    expect(checked(db.selectFrom("dots").selectAll())).toMatch(
      /^TABLE_NOT_HERE .*fed\.at\(key\)\.selectFrom\("dots"\)/,
    );
    expect(
      checked(db.selectFrom("accounts").select("id").where("id", "in", db.selectFrom("dots").select("id"))),
    ).toMatch(/^TABLE_NOT_HERE/);
    expect(
      checked(
        db
          .with("dots", (q: AnyDatabase) => q.selectFrom("dots").select("id"))
          .selectFrom("dots")
          .selectAll(),
      ),
    ).toMatch(/^TABLE_NOT_HERE/);
    expect(checked(db.updateTable("accounts").set({ name: "x" }).from("sheets"))).toMatch(/^TABLE_NOT_HERE/);
    expect(checked(db.selectFrom("accounts").select(sql`(select count(*) from dots)`.as("x")))).toMatch(
      /^TABLE_NOT_HERE/,
    );
    expect(checked(db.selectFrom("nowhere").selectAll())).toMatch(/^TABLE_NOT_HERE .*raw SQL/);
    expect(checked(db.schema.createTable("x").addColumn("id", "integer"))).toMatch(
      /^STATEMENT_REFUSED .*fed\.schema\.apply/,
    );
  });
});
