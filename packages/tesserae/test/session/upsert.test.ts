/** One upsert for every engine: what passes means the same on all of them, the rest is refused. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import {
  bigint,
  decimal,
  defineSchema,
  federate,
  federated,
  global,
  int,
  text,
  timestamp,
} from "../../src/index.ts";
import { addUser, openDots } from "../federation/dots-federation.ts";
import { refused } from "../federation/refused.ts";
import type { AnyDatabase } from "./offline-kysely.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    words: global({ id: bigint(), word: text(20).unique(), uses: int() }),
    counters: global(
      { name: text(20), uses: int(), price: decimal(9, 2), at: timestamp() },
      { primaryKey: ["name"] },
    ),
    tallies: federated("user_id", {
      id: bigint(),
      user_id: bigint(),
      uses: int(),
      before: int(),
      label: text(20),
    }),
  },
});

forEachEngine((engine) => {
  describe(`onConflict on ${engine.name}`, () => {
    it("updates or passes over the row of the same key, and counts it once", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      await fed.tenants.add(2n);
      const put = (key: bigint, rows: readonly { id: bigint; uses: number }[]) =>
        fed
          .at(key)
          .insertInto("tallies")
          .values(rows.map((row) => ({ ...row, before: 0, label: `${key}` })))
          .onConflict((oc) =>
            oc.column("id").doUpdateSet((eb) => ({
              uses: eb("uses", "+", eb.ref("excluded.uses")),
              before: eb.ref("tallies.uses"),
              label: "again",
            })),
          )
          .executeTakeFirstOrThrow();
      const first = await put(1n, [{ id: 1n, uses: 5 }]);
      expect(first.numInsertedOrUpdatedRows).toBe(1n);
      await put(2n, [{ id: 1n, uses: 70 }]);
      const second = await put(1n, [
        { id: 1n, uses: 2 },
        { id: 2n, uses: 9 },
      ]);
      expect(second.numInsertedOrUpdatedRows).toBe(2n);
      const rows = (key: bigint) =>
        fed.at(key).selectFrom("tallies").select(["id", "uses", "before", "label"]).orderBy("id").execute();
      expect(await rows(1n)).toEqual([
        { id: 1n, uses: 7, before: 5, label: "again" },
        { id: 2n, uses: 9, before: 0, label: "1" },
      ]);
      expect(await rows(2n)).toEqual([{ id: 1n, uses: 70, before: 0, label: "2" }]);
      const nothing = { id: 1n, uses: 1, before: 1, label: "no" };
      await fed
        .at(1n)
        .insertInto("tallies")
        .values(nothing)
        .onConflict((oc) => oc.column("id").doNothing())
        .execute();
      await fed
        .at(1n)
        .insertInto("tallies")
        .values(nothing)
        .onConflict((oc) => oc.doNothing())
        .execute();
      expect(await rows(1n)).toMatchObject([{ uses: 7 }, { uses: 9 }]);
      const prepared = fed.prepare({ id: bigint(), uses: int() }, (db, p) =>
        db
          .insertInto("tallies")
          .values({ id: p.id, uses: p.uses, before: 0, label: "p" })
          .onConflict((oc) =>
            oc.columns(["user_id", "id"]).doUpdateSet((eb) => ({ uses: eb.ref("excluded.uses") })),
          ),
      );
      const [result] = await prepared.at(1n, { id: 1n, uses: 100 });
      expect(result?.numInsertedOrUpdatedRows).toBe(1n);
      expect(await rows(1n)).toMatchObject([{ uses: 100, before: 5 }, { uses: 9 }]);
      const returned = await fed
        .at(1n)
        .insertInto("tallies")
        .values(nothing)
        .onConflict((oc) => oc.column("id").doUpdateSet({ label: "returned" }))
        .returning(["id", "label"])
        .execute();
      expect(returned).toEqual([{ id: 1n, label: "returned" }]);
      await fed.close();
    });

    it("works on main, with values of each type", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      const at = new Date("2026-01-01T00:00:00.001Z");
      const row = { name: "a", uses: 1, price: "1.50", at };
      for (const price of ["1.50", "2.50"]) {
        const { numInsertedOrUpdatedRows } = await fed.main
          .insertInto("counters")
          .values({ ...row, price })
          .onConflict((oc) =>
            oc.column("name").doUpdateSet((eb) => ({
              price: eb.ref("excluded.price"),
              at: new Date(0),
              uses: sql<number>`${eb.ref("counters.uses")} + ${1}`,
            })),
          )
          .executeTakeFirstOrThrow();
        expect(numInsertedOrUpdatedRows).toBe(1n);
      }
      expect(await fed.main.selectFrom("counters").selectAll().execute()).toEqual([
        { name: "a", uses: 2, price: "2.50", at: new Date(0) },
      ]);
      const select = await fed.main
        .insertInto("counters")
        .columns(["name", "uses", "price", "at"])
        .expression((eb) =>
          eb
            .selectFrom("counters as c")
            .select(["c.name", "c.uses", "c.price", "c.at"])
            .where("c.uses", ">", 0),
        )
        .onConflict((oc) => oc.column("name").doUpdateSet({ uses: 50 }))
        .execute();
      expect(select).toHaveLength(1);
      expect(await fed.main.selectFrom("counters").select("uses").execute()).toEqual([{ uses: 50 }]);
      await fed.close();
    });

    it("is refused where the engine has no exact form", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      const main: AnyDatabase = fed.main;
      const word = main.insertInto("words").values({ id: 1n, word: "a", uses: 1 });
      const counter = main.insertInto("counters").values({ name: "a", uses: 1, price: "1", at: new Date(0) });
      if (engine.name === "mysql") {
        const refusals: [RegExp, AnyDatabase][] = [
          [/another unique key, \(word\)/, word.onConflict((oc: AnyDatabase) => oc.column("id").doUpdateSet({ uses: 2 }))],
          [/Leave the target out/, word.onConflict((oc: AnyDatabase) => oc.column("word").doNothing())],
          [/\(uses\) as a conflict's target/, word.onConflict((oc: AnyDatabase) => oc.column("uses").doNothing())],
          [/without the conflict's columns/, word.onConflict((oc: AnyDatabase) => oc.doUpdateSet({ uses: 2 }))],
          [/a condition on the update/, counter.onConflict((oc: AnyDatabase) => oc.column("name").doUpdateSet({ uses: 2 }).where("counters.uses", "<", 2))],
          [/constraint's name/, counter.onConflict((oc: AnyDatabase) => oc.constraint("x").doNothing())],
          [/"excluded" in raw SQL/, counter.onConflict((oc: AnyDatabase) => oc.column("name").doUpdateSet({ uses: sql`excluded.uses` }))],
          [/with returning/, counter.onConflict((oc: AnyDatabase) => oc.doNothing()).returning("uses")],
          [/each other's columns/, fed.at(1n).insertInto("tallies").values({ id: 1n, uses: 1, before: 1, label: "" }).onConflict((oc) =>
            oc.column("id").doUpdateSet((eb) => ({ uses: eb.ref("tallies.before"), before: eb.ref("tallies.uses") })))],
        ]; // biome-ignore format: a table reads better in lines.
        for (const [message, query] of refusals)
          expect((await refused("UPSERT_UNSUPPORTED", () => query.execute())).message).toMatch(message);
        await counter.onDuplicateKeyUpdate({ uses: 2 }).execute();
      } else {
        const error = await refused("UPSERT_UNSUPPORTED", () =>
          counter.onDuplicateKeyUpdate({ uses: 2 }).execute(),
        );
        expect(error.message).toMatch(/onConflict/);
        await counter
          .onConflict((oc: AnyDatabase) => oc.column("name").doUpdateSet({ uses: 2 }).where("uses", "<", 2))
          .execute();
      }
      await word.onConflict((oc: AnyDatabase) => oc.doNothing()).execute();
      await main
        .insertInto("words")
        .values({ id: 2n, word: "a", uses: 1 })
        .onConflict((oc: AnyDatabase) => oc.doNothing())
        .execute();
      expect(await main.selectFrom("words").select("id").execute()).toEqual([{ id: 1n }]);
      await fed.close();
    });

    it("follows the same program in a federation of several servers", async () => {
      await using opened = await openDots(engine, 2);
      const { fed } = opened;
      for (const shard of [1, 2]) {
        const user = await addUser(fed, `user ${shard}`, shard);
        const put = (label: string) =>
          fed
            .at(user.id)
            .insertInto("sheets")
            .values({ id: user.sheet, label })
            .onConflict((oc) => oc.column("id").doUpdateSet((eb) => ({ label: eb.ref("excluded.label") })))
            .executeTakeFirstOrThrow();
        expect((await put("new")).numInsertedOrUpdatedRows).toBe(1n);
        expect((await put("new")).numInsertedOrUpdatedRows).toBe(1n);
        expect(await fed.at(user.id).selectFrom("sheets").select("label").execute()).toEqual([
          { label: "new" },
        ]);
      }
    });
  });
});
