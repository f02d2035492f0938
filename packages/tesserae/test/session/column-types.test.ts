/** Which logical types the tree tells for parameters and result columns, and that they are listed in the compiled statement's order. */
import { type RootOperationNode, sql } from "kysely";
import { describe, expect, it } from "vitest";
import { decimal, int, timestamp } from "../../src/schema/column.ts";
import { describeType } from "../../src/schema/logical-type.ts";
import { deriveTypes } from "../../src/session/column-types.ts";
import { filterForTenant } from "../../src/session/tenant-filter.ts";
import { typed, typeSignature } from "../../src/session/typed-expression.ts";
import { notes, scope } from "./notes-schema.ts";
import { type AnyDatabase, type Built, compile, compilers, offline } from "./offline-kysely.ts";

const db: AnyDatabase = offline;

function derive(query: Built) {
  const node = query.toOperationNode() as RootOperationNode;
  const answers = Object.entries(compilers).map(([engine, createQueryCompiler]) => {
    const types = deriveTypes(node, notes.model, { createQueryCompiler });
    const { parameters } = compile(engine as "sqlite", node);
    expect(types.parameters).toHaveLength(parameters.length);
    return {
      parameters: types.parameters.map((type) => (type === undefined ? "?" : describeType(type))).join(" "),
      columns: [...types.columns].map(([name, type]) => `${name}: ${describeType(type)}`).join(", "),
    };
  });
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
  return answers[0] as (typeof answers)[number];
}

const columns = (query: Built) => derive(query).columns;
const parameters = (query: Built) => derive(query).parameters;
const one = (build: (eb: AnyDatabase) => AnyDatabase) =>
  columns(db.selectFrom("sheets").select((eb: AnyDatabase) => build(eb).as("x"))).replace("x: ", "");

describe("result columns", () => {
  it("come from references, stars, aliases, joins and derived tables", () => {
    expect(columns(db.selectFrom("sheets").select(["id", "label as l", "sheets.n"]))).toBe(
      "id: bigint(), l: text(255), n: int()",
    );
    expect(columns(db.selectFrom("themes as t").selectAll())).toBe("id: bigint(), label: text(64), n: int()");
    expect(
      columns(
        db.selectFrom("dots as d").innerJoin("themes as t", "t.id", "d.id").selectAll("t").select("d.seen"),
      ),
    ).toBe("id: bigint(), label: text(64), n: int(), seen: timestamp()");
    expect(
      columns(db.selectFrom(db.selectFrom("dots").select(["exact as e", "open"]).as("x")).selectAll()),
    ).toBe("e: timestamp(6), open: boolean()");
    expect(
      columns(
        db
          .with("c(a, b)", (q: AnyDatabase) => q.selectFrom("dots").select(["weight", "details"]))
          .selectFrom("c")
          .selectAll(),
      ),
    ).toBe("a: double(), b: json()");
    expect(
      columns(
        db
          .withRecursive("tree(id, n)", (q: AnyDatabase) =>
            q
              .selectFrom("dots")
              .select(["id", "n"])
              .unionAll(
                q.selectFrom("tree").innerJoin("dots", "dots.n", "tree.n").select(["tree.id", "tree.n"]),
              ),
          )
          .selectFrom("tree")
          .selectAll(),
      ),
    ).toBe("id: bigint(), n: int()");
    expect(columns(db.selectFrom("sheets").select("n").union(db.selectFrom("sheets").select("id")))).toBe(
      "n: bigint()",
    );
    expect(columns(db.selectFrom("sheets").select("n").union(db.selectFrom("sheets").select("label")))).toBe(
      "",
    );
  });

  it("come from returning", () => {
    expect(columns(db.insertInto("sheets").values({ id: 1n }).returningAll())).toContain(
      "price: decimal(9, 2)",
    );
    expect(columns(db.updateTable("dots as d").set({ n: 1 }).returning(["d.seen", "n as m"]))).toBe(
      "seen: timestamp(), m: int()",
    );
    expect(columns(db.deleteFrom("dots").returning("open"))).toBe("open: boolean()");
  });

  it("come from aggregates and functions", () => {
    expect(one((eb) => eb.fn.countAll())).toBe("bigint()");
    expect(one((eb) => eb.fn.sum("n"))).toBe("bigint()");
    expect(one((eb) => eb.fn.sum("price"))).toBe("decimal(38, 2)");
    expect(one((eb) => eb.fn.avg("n"))).toBe("decimal(38, 4)");
    expect(one((eb) => eb.fn.avg("wide"))).toBe("decimal(38, 8)");
    expect(one((eb) => eb.fn.max("label"))).toBe("text(255)");
    expect(one((eb) => eb.fn.coalesce("n", eb.val(0)))).toBe("int()");
    expect(one((eb) => eb.fn.coalesce(eb.fn.sum("price"), eb.val("0")))).toBe("decimal(38, 2)");
    expect(one((eb) => eb.fn("upper", ["label"]))).toBe("text()");
    expect(one((eb) => eb.fn("length", ["label"]))).toBe("int()");
    expect(one((eb) => eb.fn.countAll().over((over: AnyDatabase) => over.partitionBy("n")))).toBe("bigint()");
    expect(one((eb) => eb.fn.agg("lag", ["price"]).over())).toBe("decimal(9, 2)");
    expect(one((eb) => eb.fn("json_object", ["label"]))).toBe("");
  });

  it("come from operators, cases, casts and scalar subqueries", () => {
    expect(one((eb) => eb("n", ">", 1))).toBe("boolean()");
    expect(one((eb) => eb.exists(eb.selectFrom("dots").select("id")))).toBe("boolean()");
    expect(one((eb) => eb("n", "+", 1))).toBe("int()");
    expect(one((eb) => eb("n", "*", eb.ref("id")))).toBe("bigint()");
    expect(one((eb) => eb("price", "-", "1.00"))).toBe("decimal(38, 2)");
    expect(one((eb) => eb("price", "*", eb.ref("price")))).toBe("decimal(38, 4)");
    expect(one((eb) => eb("n", "/", 2))).toBe("");
    expect(one((eb) => eb("label", "||", "x"))).toBe("text()");
    expect(one((eb) => eb.case().when("n", ">", 1).then(eb.ref("n")).else(eb.ref("id")).end())).toBe(
      "bigint()",
    );
    expect(one((eb) => eb.cast("label", "bigint"))).toBe("bigint()");
    expect(one((eb) => eb.cast("n", "decimal(12, 3)"))).toBe("decimal(12, 3)");
    expect(one((eb) => eb.selectFrom("dots").select("seen").limit(1))).toBe("timestamp()");
    expect(one((eb) => eb.lit(true))).toBe("boolean()");
    expect(one(() => sql`n + 1`)).toBe("");
    expect(one(() => sql.ref("price"))).toBe("decimal(9, 2)");
  });

  it("resolve names from the inside out", () => {
    const query = db
      .selectFrom("sheets")
      .select((eb: AnyDatabase) =>
        eb.selectFrom("dots").select("sheets.price").whereRef("dots.sheet_id", "=", "sheets.id").as("x"),
      );
    expect(columns(query)).toBe("x: decimal(9, 2)");
  });
});

describe("parameters", () => {
  it("take the type of what they are compared with, without its limits", () => {
    expect(
      parameters(db.selectFrom("sheets").select("id").where("label", "=", "x").where("price", ">", "1")),
    ).toBe("text() decimal(15, 2)");
    expect(
      parameters(
        db.selectFrom("dots as d").select("id").where("d.seen", "in", [1, 2]).where("exact", "<", "x"),
      ),
    ).toBe("timestamp() timestamp() timestamp(6)");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where((eb: AnyDatabase) => eb.between("id", 1n, 2n)),
      ),
    ).toBe("bigint() bigint()");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where((eb: AnyDatabase) => eb(eb.refTuple("id", "seen"), "in", [eb.tuple(1n, 2)])),
      ),
    ).toBe("bigint() timestamp()");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where((eb: AnyDatabase) => eb(eb.val(1n), "=", eb.ref("id"))),
      ),
    ).toBe("bigint()");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where((eb: AnyDatabase) => eb(eb.fn.coalesce("seen", eb.val(1)), ">", 2)),
      ),
    ).toBe("timestamp() timestamp()");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("label")
          .groupBy("label")
          .having((eb: AnyDatabase) => eb.fn.max("seen"), ">", 1),
      ),
    ).toBe("timestamp()");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where("seen", "in", db.selectFrom("dots").select("seen").where("open", "=", true)),
      ),
    ).toBe("boolean()");
    expect(
      parameters(
        db.selectFrom(db.selectFrom("dots").select("open as o").as("x")).selectAll().where("o", "=", true),
      ),
    ).toBe("boolean()");
    expect(parameters(db.selectFrom("dots").select("id").where("label", "like", "x%").limit(5))).toBe(
      "text() ?",
    );
  });

  it("take the column's own type where they are stored", () => {
    const rows = db.insertInto("sheets").values([
      { id: 1n, price: "1" },
      { id: sql`2`, price: "2" },
    ]);
    expect(
      parameters(
        rows.onConflict((oc: AnyDatabase) =>
          oc.column("id").doUpdateSet({ price: "3" }).where("sheets.n", ">", 4),
        ),
      ),
    ).toBe("bigint() decimal(9, 2) decimal(9, 2) decimal(9, 2) int()");
    expect(
      parameters(
        db
          .updateTable("dots")
          .set({ open: true, seen: 1, n: (eb: AnyDatabase) => eb("n", "+", 1) })
          .where("id", "=", 1n),
      ),
    ).toBe("boolean() timestamp() int() bigint()");
    expect(parameters(db.updateTable("dots as d").set("d.open", true))).toBe("boolean()");
    expect(
      parameters(
        db
          .insertInto("sheets")
          .columns(["id", "price"])
          .expression(db.selectFrom("dots").select((eb: AnyDatabase) => ["id", eb.val("1").as("p")])),
      ),
    ).toBe("decimal(9, 2)");
  });

  it("are each listed at their place, also when one expression stands at two", () => {
    const query = db
      .selectFrom("dots")
      .select("id")
      .where((eb: AnyDatabase) => {
        const shared = eb.val("2026-01-01T00:00:00Z");
        return eb.and([eb("seen", ">", shared), eb("exact", ">", shared), eb("label", "=", shared)]);
      });
    expect(parameters(query)).toBe("timestamp() timestamp(6) text()");
  });

  it("are told by comparisons in raw fragments", () => {
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where(sql`seen > ${1} and ${2} <= dots.exact and lower(label) = ${"x"}`),
      ),
    ).toBe("timestamp() timestamp(6) ?");
    expect(
      parameters(
        db
          .selectFrom("dots")
          .select("id")
          .where(sql`${sql.ref("open")} = ${true}`),
      ),
    ).toBe("boolean()");
  });

  it("are typed in the filter's own conditions", () => {
    const filtered = filterForTenant(
      db.selectFrom("dots").select("id").where("open", "=", true).toOperationNode(),
      scope,
    );
    expect(parameters({ toOperationNode: () => filtered })).toBe("bigint() boolean()");
  });
});

describe("typed()", () => {
  it("names the type of a result and of a value", () => {
    const query = db
      .selectFrom("dots")
      .select(typed(decimal(9, 2), sql`round(n / 3, 2)`).as("third"))
      .where((eb: AnyDatabase) => eb(sql`lower(label)`, "=", typed(timestamp(), eb.val(1))));
    expect(derive(query)).toEqual({ columns: "third: decimal(9, 2)", parameters: "timestamp()" });
    expect(compile("postgres", query.toOperationNode()).sql).toBe(
      'select round(n / 3, 2) as "third" from "dots" where lower(label) = $1',
    );
    expect(typeSignature(query.toOperationNode())).toBe("decimal(9, 2),timestamp()");
  });

  it("keeps its mark when the filter or a plugin copies the tree", () => {
    const query = db
      .selectFrom("dots")
      .select((eb: AnyDatabase) => typed(int(), eb.selectFrom("dots").select(sql`max(n)`.as("m"))).as("x"));
    const filtered = filterForTenant(query.toOperationNode(), scope);
    expect(columns({ toOperationNode: () => filtered })).toBe("x: int()");
    expect(columns({ toOperationNode: () => structuredCloneOf(filtered) })).toBe("x: int()");
  });
});

/** As Kysely's OperationNodeTransformer copies: every node anew, leaf values as they are. */
function structuredCloneOf(node: AnyDatabase): AnyDatabase {
  if (node.kind === "ValueNode") return node;
  return Object.fromEntries(
    Object.entries(node).map(([name, value]) => [
      name,
      Array.isArray(value)
        ? value.map((item) => (typeof item === "object" ? structuredCloneOf(item) : item))
        : typeof value === "object" && value !== null
          ? structuredCloneOf(value)
          : value,
    ]),
  );
}
