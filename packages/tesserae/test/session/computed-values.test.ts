/** What the engines compute, as logical values: the same on each of them. */
import { forEachEngine } from "@tesserae/test-support";
import { expressionBuilder } from "kysely";
import { describe, expect, it } from "vitest";
import {
  bigint,
  boolean,
  decimal,
  defineSchema,
  double,
  federate,
  federated,
  int,
  text,
  timestamp,
} from "../../src/index.ts";
import { refused } from "../federation/refused.ts";
import type { AnyDatabase } from "./offline-kysely.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    sales: federated("user_id", {
      id: bigint(),
      user_id: bigint(),
      item: text(20),
      count: int(),
      stock: bigint(),
      price: decimal(9, 2),
      total: decimal(30, 4),
      weight: double(),
      sold: boolean(),
      at: timestamp(),
    }),
  },
});

const ROWS = [
  { id: 1n, item: "a", count: 1, stock: 2n ** 62n, price: "0.10", total: "12345678901234567890.1234", weight: 0.5, sold: true, at: new Date("2026-01-01T00:00:00.001Z") },
  { id: 2n, item: "b", count: 2, stock: -1n, price: "0.20", total: "0.0001", weight: 1.5, sold: false, at: new Date("1960-01-01T00:00:00Z") },
  { id: 3n, item: "b", count: 2, stock: 2n, price: "-1.00", total: "-5.0001", weight: -2, sold: true, at: new Date("2026-01-02T00:00:00Z") },
]; // biome-ignore format: a table reads better in lines.

const eb: AnyDatabase = expressionBuilder();

/** Each expression over the rows above, with its value. */
const COMPUTED: readonly (readonly [string, (builder: AnyDatabase) => AnyDatabase, unknown])[] = [
  ["count(*)", () => eb.fn.countAll(), 3n],
  ["count distinct", () => eb.fn.count("item").distinct(), 2n],
  ["sum of int", () => eb.fn.sum("count"), 5n],
  ["sum of bigint", () => eb.fn.sum("stock"), 2n ** 62n + 1n],
  ["sum of decimal", () => eb.fn.sum("price"), "-0.70"],
  ["sum of wide decimal", () => eb.fn.sum("total"), "12345678901234567885.1234"],
  ["sum of double", () => eb.fn.sum("weight"), 0],
  ["avg of int", () => eb.fn.avg("count"), "1.6667"],
  ["avg of bigint", () => eb.fn.avg("stock"), "1537228672809129301.6667"],
  ["avg of decimal", () => eb.fn.avg("price"), "-0.233333"],
  ["avg of wide decimal", () => eb.fn.avg("total"), "4115226300411522628.37446667"],
  ["avg of double", () => eb.fn.avg("weight"), 0],
  ["max of bigint", () => eb.fn.max("stock"), 2n ** 62n],
  ["min of decimal", () => eb.fn.min("price"), "-1.00"],
  ["max of wide decimal", () => eb.fn.max("total"), "12345678901234567890.1234"],
  ["max of timestamp", () => eb.fn.max("at"), new Date("2026-01-02T00:00:00Z")],
  ["coalesce of a sum", () => eb.fn.coalesce(eb.fn.sum("price"), eb.val("0")), "-0.70"],
  ["coalesce over no rows", () => eb.fn.coalesce(eb.fn.sum("price").filterWhere("id", "=", 9n), eb.val("0")), "0.00"],
  ["avg over no rows", () => eb.fn.avg("price").filterWhere("id", "=", 9n), null],
  ["a comparison", () => eb(eb.fn.max("count"), ">", 1), true],
  ["exists", () => eb.exists(eb.selectFrom("sales as other").select("other.id").where("other.id", "=", 9n)), false],
  ["a literal", () => eb.lit(true), true],
  ["a case", () => eb.case().when(eb.fn.max("count"), ">", 1).then(eb.fn.max("price")).else(eb.fn.min("price")).end(), "0.20"],
  ["addition of ints", () => eb(eb.fn.max("count"), "+", 1), 3],
  ["upper", () => eb.fn("upper", [eb.fn.max("item")]), "B"],
  ["length", () => eb.fn("length", [eb.fn.max("item")]), 1],
  ["a scalar subquery", () => eb.selectFrom("sales as other").select("other.at").where("other.id", "=", 2n), new Date("1960-01-01T00:00:00Z")],
]; // biome-ignore format: a table reads better in lines.

forEachEngine((engine) => {
  describe(`computed values on ${engine.name}`, () => {
    it("are the library's, whatever the driver gives", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      const db: AnyDatabase = fed.at(1n);
      await db.insertInto("sales").values(ROWS).execute();
      const seen: Record<string, unknown> = {};
      for (const [name, build] of COMPUTED) {
        if (engine.name === "mysql" && name.includes("no rows")) continue;
        seen[name] = await db
          .selectFrom("sales")
          .select(build(eb).as("x"))
          .executeTakeFirstOrThrow()
          .then(
            (row: { x: unknown }) => row.x,
            (error: Error) => error.message,
          );
      }
      const expected = COMPUTED.filter(([name]) => engine.name !== "mysql" || !name.includes("no rows"));
      expect(seen).toEqual(Object.fromEntries(expected.map(([name, , value]) => [name, value])));
      await fed.close();
    });

    it("are refused where they would be wrong", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      const db: AnyDatabase = fed.at(1n);
      const rows = [1n, 2n, 3n].map((id) => ({ ...ROWS[0], id }));
      await db.insertInto("sales").values(rows).execute();
      const sum = db.selectFrom("sales").select((builder: AnyDatabase) => builder.fn.sum("stock").as("x"));
      await expect(sum.execute()).rejects.toThrow(/beyond 64 bits|integer overflow/);
      if (engine.name === "sqlite") {
        const doubled = db
          .selectFrom("sales")
          .select((builder: AnyDatabase) => builder("price", "*", 2).as("x"));
        await refused("DECIMAL_ARITHMETIC", () => doubled.execute());
        const distinct = db
          .selectFrom("sales")
          .select((builder: AnyDatabase) => builder.fn.avg("price").distinct().as("x"));
        await refused("DECIMAL_ARITHMETIC", () => distinct.execute());
      }
      await fed.close();
    });
  });
});
