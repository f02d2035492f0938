/** Every place of a built query where a raw fragment, or a text from outside, can stand. */
import { type RawBuilder, sql } from "kysely";
import { type AnyDatabase, type Built, offline } from "./offline-kysely.ts";

const db: AnyDatabase = offline;

/** Places of a raw fragment. */
export const rawPositions: Readonly<Record<string, (raw: RawBuilder<AnyDatabase>) => Built>> = {
  selection: (raw) => db.selectFrom("dots").select(["id", raw.as("x")]),
  "selection, first": (raw) => db.selectFrom("dots").select([raw.as("x"), "id"]),
  "selection without from": (raw) => db.selectNoFrom(raw.as("x")),
  "selection, not named": (raw) => db.selectFrom("dots").select(raw as never),
  "distinct on": (raw) => db.selectFrom("dots").distinctOn(raw).select("id"),
  where: (raw) => db.selectFrom("dots").select("id").where(raw),
  "where, beside another": (raw) => db.selectFrom("dots").select("id").where("id", ">", 0).where(raw),
  "where, without a federated table": (raw) => db.selectFrom("themes").select("id").where(raw),
  "left operand": (raw) => db.selectFrom("dots").select("id").where(raw, "=", 1),
  "right operand": (raw) => db.selectFrom("dots").select("id").where("id", "=", raw),
  operator: (raw) => db.selectFrom("dots").select("id").where("id", raw, 1),
  in: (raw) => db.selectFrom("dots").select("id").where("id", "in", raw),
  "in, wrapped": (raw) => db.selectFrom("dots").select("id").where("id", "in", sql`${raw}`),
  negated: (raw) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.neg(raw).as("x")),
  "negated in update": (raw) => db.updateTable("dots").set((eb: AnyDatabase) => ({ n: eb.neg(raw) })),
  not: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb.not(raw)),
  exists: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb.exists(raw)),
  "operand of ?": (raw) =>
    db
      .updateTable("dots")
      .set({ n: (eb: AnyDatabase) => eb(raw, "?", raw) })
      .where("id", "in", [1, 2]),
  parenthesised: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb.parens(raw)),
  "join on": (raw) =>
    db
      .selectFrom("dots")
      .innerJoin("sheets", (join: AnyDatabase) => join.on(raw))
      .select("dots.id"),
  "join on, with a reference table": (raw) =>
    db
      .selectFrom("dots")
      .innerJoin("themes", (join: AnyDatabase) => join.on(raw))
      .select("dots.id"),
  "left join on": (raw) =>
    db
      .selectFrom("dots")
      .leftJoin("sheets", (join: AnyDatabase) => join.on(raw))
      .selectAll(),
  "right join on": (raw) =>
    db
      .selectFrom("dots")
      .rightJoin("sheets", (join: AnyDatabase) => join.on(raw))
      .selectAll(),
  "join on in an update": (raw) =>
    db
      .updateTable("dots")
      .set({ n: 1 })
      .from("themes")
      .innerJoin("themes as t", (join: AnyDatabase) => join.on(raw)),
  "order by": (raw) => db.selectFrom("dots").select("id").orderBy(raw),
  "order direction": (raw) => db.selectFrom("dots").select("id").orderBy("id", raw),
  "order by of a union": (raw) =>
    db.selectFrom("dots").select("id").union(db.selectFrom("sheets").select("id")).orderBy(raw),
  "group by": (raw) =>
    db
      .selectFrom("dots")
      .select((eb: AnyDatabase) => eb.fn.countAll().as("c"))
      .groupBy(raw),
  having: (raw) =>
    db
      .selectFrom("dots")
      .select((eb: AnyDatabase) => eb.fn.countAll().as("c"))
      .groupBy("label")
      .having(raw),
  limit: (raw) => db.selectFrom("dots").select("id").limit(raw),
  offset: (raw) => db.selectFrom("dots").select("id").limit(5).offset(raw),
  "function argument": (raw) =>
    db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn("coalesce", [raw, "label"]).as("x")),
  "aggregate argument": (raw) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn.max(raw).as("x")),
  "aggregate filter": (raw) =>
    db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn.countAll().filterWhere(raw).as("x")),
  "aggregate order": (raw) =>
    db
      .selectFrom("dots")
      .select((eb: AnyDatabase) => eb.fn.agg("group_concat", ["label"]).orderBy(raw).as("x")),
  "window partition": (raw) =>
    db.selectFrom("dots").select((eb: AnyDatabase) =>
      eb.fn
        .countAll()
        .over((over: AnyDatabase) => over.partitionBy(raw))
        .as("x"),
    ),
  "cast type": (raw) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.cast("label", raw).as("x")),
  case: (raw) =>
    db.selectFrom("dots").select((eb: AnyDatabase) => eb.case().when(raw).then(raw).else(raw).end().as("x")),
  between: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb.between("id", raw, raw)),
  tuple: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb(eb.refTuple("id", "n"), "in", [eb.tuple(raw, 1)])),
  collation: (raw) =>
    db
      .selectFrom("dots")
      .select("id")
      .orderBy("label", (ob: AnyDatabase) => ob.collate(raw as never)),
  "front modifier": (raw) => db.selectFrom("dots").modifyFront(raw).select("id"),
  "end modifier": (raw) => db.selectFrom("dots").select("id").modifyEnd(raw),
  "end modifier of an update": (raw) => db.updateTable("dots").set({ n: 1 }).modifyEnd(raw),
  "end modifier of a delete": (raw) => db.deleteFrom("dots").where("id", "=", 1).modifyEnd(raw),
  "end modifier of an insert": (raw) => db.insertInto("dots").values({ id: 90, label: "x" }).modifyEnd(raw),
  from: (raw) => db.selectFrom(raw.as("x")).selectAll(),
  "from, beside a table": (raw) => db.selectFrom(["dots", raw.as("x")]).selectAll(),
  join: (raw) =>
    db
      .selectFrom("dots")
      .innerJoin(raw.as("x"), (join: AnyDatabase) => join.onTrue())
      .selectAll(),
  cte: (raw) =>
    db
      .with("x", () => raw)
      .selectFrom("x")
      .selectAll(),
  union: (raw) => db.selectFrom("dots").select("label").unionAll(raw),
  "update value": (raw) => db.updateTable("dots").set({ label: raw }),
  "update value, in an expression": (raw) =>
    db.updateTable("dots").set((eb: AnyDatabase) => ({ n: eb("n", "+", raw) })),
  "update value, before another": (raw) => db.updateTable("dots").set({ label: raw, n: 1 }),
  "update value, with a list after": (raw) =>
    db.updateTable("dots").set({ n: raw }).where("user_id", "in", [2, 2, 2]).where("id", "in", [2, 1, 1]),
  "update column": (raw) => db.updateTable("dots").set(raw, 5),
  "update where": (raw) => db.updateTable("dots").set({ n: 1 }).where(raw),
  "update returning": (raw) => db.updateTable("dots").set({ n: 1 }).returning(raw.as("x")),
  "update from": (raw) => db.updateTable("dots").set({ n: 1 }).from(raw.as("x")),
  "delete where": (raw) => db.deleteFrom("dots").where(raw),
  "delete returning": (raw) => db.deleteFrom("dots").where("id", "=", 1).returning(raw.as("x")),
  "delete using": (raw) => db.deleteFrom("dots").using(raw.as("x")),
  "insert value": (raw) => db.insertInto("dots").values({ id: 90, label: raw }),
  "insert value, first": (raw) => db.insertInto("dots").values({ id: raw, label: "x" }),
  "insert value, for the key": (raw) => db.insertInto("dots").values({ id: 90, label: "x", user_id: raw }),
  "insert value, before the key": (raw) => db.insertInto("dots").values({ id: raw, user_id: 1n, label: "x" }),
  "insert returning": (raw) => db.insertInto("dots").values({ id: 90, label: "x" }).returning(raw.as("x")),
  "insert expression": (raw) => db.insertInto("dots").columns(["id", "label"]).expression(raw),
  "insert select": (raw) =>
    db
      .insertInto("dots")
      .columns(["id", "label"])
      .expression(db.selectFrom("sheets").select([sql`id + 50`.as("i"), raw.as("x")])),
  "insert select of the key": (raw) =>
    db
      .insertInto("dots")
      .columns(["id", "label", "user_id"])
      .expression(db.selectFrom("sheets").select([sql`id + 50`.as("i"), "label", raw.as("x")])),
  "insert select where": (raw) =>
    db
      .insertInto("dots")
      .columns(["id", "label"])
      .expression(
        db
          .selectFrom("sheets")
          .select([sql`id + 50`.as("i"), "label"])
          .where(raw),
      ),
  "insert select order by": (raw) =>
    db
      .insertInto("dots")
      .columns(["id", "label"])
      .expression(
        db
          .selectFrom("sheets")
          .select([sql`id + 50`.as("i"), "label"])
          .orderBy(raw),
      ),
  "on conflict expression": (raw) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.expression(raw).doNothing()),
  "on conflict update": (raw) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ label: raw })),
  "on conflict update of the key": (raw) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ user_id: raw })),
  "on conflict where": (raw) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ label: "y" }).where(raw)),
  "on conflict target where": (raw) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.column("id").where(raw).doUpdateSet({ label: "y" })),
  alias: (raw) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.ref("label").as(raw)),
  "alias of a subquery": (raw) => db.selectFrom(db.selectFrom("dots").select("id").as(raw)).selectAll(),
  "alias of a table": (raw) => db.selectFrom(sql.table("dots").as(raw)).selectAll(),
  "explain options": (raw) => ({
    toOperationNode: () =>
      ({
        ...db.selectFrom("dots").selectAll().toOperationNode(),
        explain: { kind: "ExplainNode", options: raw.toOperationNode() },
      }) as never,
  }),
  "nested in a fragment": (raw) => db.selectFrom("dots").select("id").where(sql`(${raw})`),
  "nested beside text": (raw) => db.selectFrom("dots").select("id").where(sql`1 = 1 and ${raw}`),
  "nested after in": (raw) => db.selectFrom("dots").select("id").where(sql`id in ${raw}`),
  "after a minus": (raw) => db.updateTable("dots").set({ n: sql`-${raw}` }),
};

/** Places of a text that Kysely quotes, escapes or checks. */
export const textPositions: Readonly<Record<string, (text: string) => Built>> = {
  literal: (text) => db.selectFrom("dots").select(sql.lit(text).as("x")),
  "literal, compared": (text) => db.selectFrom("dots").select("id").where("label", "=", sql.lit(text)),
  identifier: (text) => db.selectFrom("dots").select(sql.id(text).as("x")),
  "identifier after in": (text) =>
    db
      .selectFrom("dots")
      .select("id")
      .where(sql`id in ${sql.id(text)}`),
  "identifiers after in": (text) =>
    db
      .selectFrom("dots")
      .select("id")
      .where(sql`id in ${sql.id("main", text)}`),
  "identifier called": (text) => db.selectFrom("dots").select(sql`${sql.id(text)}(label)`.as("x")),
  reference: (text) => db.selectFrom("dots").select(sql.ref(text).as("x")),
  column: (text) => db.selectFrom("dots").select(text as never),
  "reference in in": (text) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb("id", "in", eb.ref(text))),
  table: (text) => db.selectFrom("dots").select(sql.table(text).as("x")),
  "table of from": (text) => db.selectFrom(text).selectAll(),
  "table alias": (text) => db.selectFrom(`dots as ${text}`).selectAll(),
  "table joined": (text) =>
    db
      .selectFrom("dots")
      .innerJoin(text, (join: AnyDatabase) => join.onTrue())
      .selectAll(),
  "table of an update": (text) => db.updateTable(text).set({ n: 1 }),
  "table of a delete": (text) => db.deleteFrom(text),
  "table of an insert": (text) => db.insertInto(text).values({ id: 91, label: "x" }),
  "cte name": (text) =>
    db
      .with(text, (q: AnyDatabase) => q.selectFrom("themes").select("id"))
      .selectFrom("dots")
      .selectAll(),
  function: (text) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn(text, ["label"]).as("x")),
  aggregate: (text) => db.selectFrom("dots").select((eb: AnyDatabase) => eb.fn.agg(text, ["label"]).as("x")),
  "function of from": (text) => db.selectFrom((eb: AnyDatabase) => eb.fn(text, []).as("x")).selectAll(),
  "function after in": (text) =>
    db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => eb("id", "in", eb.fn(text, []))),
  "update column": (text) => db.updateTable("dots").set({ [text]: 2 }),
  "insert column": (text) => db.insertInto("dots").values({ id: 91, label: "x", [text]: 2 }),
  "insert select column": (text) =>
    db
      .insertInto("dots")
      .columns(["id", "label", text])
      .expression(db.selectFrom("sheets").select([sql`id + 50`.as("i"), "label", sql.lit(2).as("k")])),
  "conflict column": (text) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.column(text).doUpdateSet({ n: 2 })),
  "conflict constraint": (text) =>
    db
      .insertInto("dots")
      .values({ id: 1, label: "x" })
      .onConflict((oc: AnyDatabase) => oc.constraint(text).doUpdateSet({ n: 2 })),
  "json key": (text) =>
    db.selectFrom("dots").select((eb: AnyDatabase) => eb.ref("label", "->>$").key(text).as("x")),
  "explain format": (text) => ({
    toOperationNode: () =>
      ({
        ...db.selectFrom("dots").selectAll().toOperationNode(),
        explain: { kind: "ExplainNode", format: text },
      }) as never,
  }),
};
