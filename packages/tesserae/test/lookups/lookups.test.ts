/** Rows that are found without their key, and values that no two keys may have. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bigint, bytes, defineSchema, federate, federated, text, uuid } from "../../src/index.ts";
import { type LookupSite, openLookupSite } from "./lookup-site.ts";

forEachEngine((engine) => {
  describe.each([
    ["poor man's", 0],
    ["two shards", 2],
  ])(`lookups on ${engine.name}, %s`, (_, shards) => {
    let site: LookupSite;

    beforeAll(async () => {
      site = await openLookupSite(engine, shards);
    });

    afterAll(async () => {
      await site?.[Symbol.asyncDispose]();
    });

    const person = (key: bigint, id: bigint, email: string | null) =>
      site.fed.at(key).insertInto("people").values({ id, email }).execute();

    it("finds a row by its id or a unique column, typed, and undefined for none", async () => {
      const { fed } = site;
      await fed
        .at(1n)
        .insertInto("dots")
        .values([
          { id: 11n, label: "a" },
          { id: 12n, label: "b" },
        ])
        .execute();
      const dot = await fed.find("dots", 12n);
      expect(dot).toEqual({ id: 12n, user_id: 1n, label: "b" });
      expect(dot?.label?.length).toBe(1);
      expect(await fed.find("dots", 13n)).toBeUndefined();
      await person(2n, 1n, "ada@example.org");
      expect(await fed.find("people", { email: "ada@example.org" })).toMatchObject({
        user_id: 2n,
        visits: 0,
      });
      await expect(fed.find("people", 1n)).rejects.toMatchObject({ code: "LOOKUP_UNKNOWN" });
      await expect(fed.find("notes", 1n)).rejects.toMatchObject({ code: "LOOKUP_UNKNOWN" });
    });

    it("refuses a value that another key has, by the caller's key alone", async () => {
      await person(1n, 20n, "taken@example.org");
      const refused = person(2n, 20n, "taken@example.org");
      await expect(refused).rejects.toMatchObject({
        code: "CONSTRAINT_UNIQUE",
        table: "people",
        column: "email",
        key: "2",
      });
      await expect(refused).rejects.not.toThrow(/\b1\b/);
      expect(await site.fed.at(2n).selectFrom("people").where("id", "=", 20n).selectAll().execute()).toEqual(
        [],
      );
      // The same within the key is the shard's own to refuse.
      await expect(person(1n, 21n, "taken@example.org")).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
      await expect(person(3n, 21n, "taken@example.org")).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
      await expect(
        site.fed.at(2n).insertInto("dots").values({ id: 11n, label: "natural id, twice" }).execute(),
      ).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE", table: "dots", column: "id" });
    });

    it("lets a value go with its row, and with its key", async () => {
      const { fed } = site;
      await person(1n, 30n, "free@example.org");
      await fed.at(1n).deleteFrom("people").where("id", "=", 30n).execute();
      expect(await fed.find("people", { email: "free@example.org" })).toBeUndefined();
      await person(2n, 30n, "free@example.org");
      await fed
        .at(2n)
        .updateTable("people")
        .set({ email: "other@example.org" })
        .where("id", "=", 30n)
        .execute();
      await person(3n, 30n, "free@example.org");
      await expect(person(1n, 31n, "other@example.org")).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
      await fed.tenants.add(77n);
      await person(77n, 1n, "gone@example.org");
      await fed.tenants.remove(77n, { rows: "delete" });
      expect(await fed.find("people", { email: "gone@example.org" })).toBeUndefined();
      await person(1n, 32n, "gone@example.org");
      expect(await fed.find("people", { email: "gone@example.org" })).toMatchObject({ user_id: 1n });
    });

    it("claims in transactions what they commit, and nothing else", async () => {
      const { fed } = site;
      await expect(
        fed
          .at(1n)
          .transaction()
          .execute(async (tx) => {
            await tx.insertInto("people").values({ id: 40n, email: "back@example.org" }).execute();
            throw new Error("rolled back");
          }),
      ).rejects.toThrow("rolled back");
      expect(await fed.lookups.keyOf("people", { email: "back@example.org" })).toBeUndefined();
      await person(2n, 40n, "back@example.org");
      const transaction = await fed.at(1n).startTransaction().execute();
      await transaction.insertInto("people").values({ id: 41n, email: "kept@example.org" }).execute();
      const saved = await transaction.savepoint("before").execute();
      await saved.insertInto("people").values({ id: 42n, email: "back@example.org" }).execute();
      await saved.rollbackToSavepoint("before").execute();
      await transaction.commit().execute();
      expect(await fed.find("people", { email: "kept@example.org" })).toMatchObject({ user_id: 1n });
      await expect(
        fed
          .at(3n)
          .transaction()
          .execute(async (tx) => {
            await tx.insertInto("notes").values({ id: 1n, body: "with it" }).execute();
            await tx.insertInto("people").values({ id: 43n, email: "kept@example.org" }).execute();
          }),
      ).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE", key: "3" });
      expect(await fed.at(3n).selectFrom("notes").selectAll().execute()).toEqual([]);
    });

    it("claims what prepared queries, upserts, streams and pinned connections write", async () => {
      const { fed } = site;
      const add = fed.prepare({ id: bigint(), email: text(64) }, (db, p) =>
        db.insertInto("people").values({ id: p.id, email: p.email }),
      );
      await add.at(1n, { id: 50n, email: "prepared@example.org" });
      await expect(add.at(2n, { id: 50n, email: "prepared@example.org" })).rejects.toMatchObject({
        code: "CONSTRAINT_UNIQUE",
      });
      const upsert = (key: bigint, email: string) =>
        fed
          .at(key)
          .insertInto("dots")
          .values({ id: 51n, label: email })
          .onConflict((oc) => oc.column("id").doUpdateSet((eb) => ({ label: eb.ref("excluded.label") })))
          .execute();
      await upsert(2n, "first");
      await upsert(2n, "second");
      expect(await fed.find("dots", 51n)).toMatchObject({ label: "second", user_id: 2n });
      await expect(upsert(1n, "third")).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
      const streamed = fed.at(4n).insertInto("people").values({ id: 52n, email: "streamed@example.org" });
      for await (const row of streamed.returning("id").stream()) expect(row.id).toBe(52n);
      await fed
        .at(4n)
        .connection()
        .execute(async (db) => {
          await db.insertInto("people").values({ id: 53n, email: "pinned@example.org" }).execute();
        });
      for (const email of ["streamed@example.org", "pinned@example.org"]) {
        expect(await fed.find("people", { email })).toMatchObject({ user_id: 4n });
        await expect(person(1n, 54n, email)).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
      }
    });

    it("refuses what it cannot see, and leaves alone what is no lookup's", async () => {
      const { fed } = site;
      const unknown = { code: "LOOKUP_VALUE_UNKNOWN", table: "people" };
      await expect(
        fed.at(1n).updateTable("people").set({ email: sql<string>`lower('A')` }).execute(),
      ).rejects.toMatchObject(unknown);
      await expect(
        fed
          .at(1n)
          .insertInto("people")
          .columns(["id", "email"])
          .expression((eb) => eb.selectFrom("people").select([sql<bigint>`id + 100`.as("id"), "email"]))
          .execute(),
      ).rejects.toMatchObject(unknown);
      const open = fed.at(1n).unfiltered();
      await expect(
        sql`insert into people (user_id, id, email) values (1, 900, 'raw')`.execute(open),
      ).rejects.toMatchObject(unknown);
      await expect(sql`update people set email = 'raw' where id = 1`.execute(open)).rejects.toMatchObject(
        unknown,
      );
      await expect(
        open.insertInto("people").values({ user_id: 1n, id: 901n, email: "built" }).execute(),
      ).rejects.toMatchObject(unknown);
      for (const text of [
        "update people set /* the name */ email = 'raw' where id = 1",
        "update people set visits = case when ' where ' = '' then 1 else 2 end, people.email = 'raw' where id = 1",
        "explain analyze insert into people (user_id, id, email) values (1, 900, 'raw')",
      ])
        await expect(sql.raw(text).execute(open)).rejects.toMatchObject(unknown);
      for (const hidden of [
        open.updateTable("people").set(sql`email`, "raw"),
        open.updateTable("people").set({ visits: sql<number>`1, email = 'raw'` }),
      ])
        await expect(hidden.execute()).rejects.toMatchObject(unknown);
      await sql`update people set visits = visits + 1 where email = 'nobody'`.execute(open);
      await sql`update people set visits = coalesce(visits, (email = 'nobody')${sql.raw(engine.name === "postgres" ? "::int" : "")}) where (email) = 'nobody'`.execute(
        open,
      );
      await fed
        .at(1n)
        .updateTable("people")
        .set((eb) => ({ visits: eb("visits", "+", 1) }))
        .execute();
      await fed
        .at(1n)
        .insertInto("people")
        .values([{ id: 60n, email: null }, { id: 61n }])
        .execute();
      await fed.at(2n).insertInto("people").values({ id: 60n, email: null }).execute();
    });
  });

  describe(`lookups on ${engine.name}, of other types`, () => {
    it("finds and refuses in one range, by names without case, UUIDs and bytes, many at once", async () => {
      await using databases = await engine.databases(1);
      const schema = defineSchema({
        key: text(20),
        tables: {
          members: federated(
            "team",
            {
              id: uuid(),
              team: text(20),
              nick: text(20).caseInsensitive().unique(),
              badge: bytes(4).nullable().unique(),
            },
            { lookup: ["id"] },
          ),
        },
      });
      await using fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      // Both keys' writers share one residence, the range's.
      await fed.tenants.addRange({}, { shard: 1 });
      const id = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
      const add = (team: string, number: number, nick: string, badge: Uint8Array | null = null) =>
        fed
          .at(team)
          .insertInto("members")
          .values({ id: id(number).toUpperCase(), nick, badge })
          .execute();
      await add("red", 1, "Ada", new Uint8Array([1, 2]));
      const taken = { code: "CONSTRAINT_UNIQUE", table: "members", key: '"blue"' };
      await expect(add("blue", 2, "aDA")).rejects.toMatchObject({ ...taken, column: "nick" });
      await expect(add("blue", 1, "Bob")).rejects.toMatchObject({ ...taken, column: "id" });
      await expect(add("blue", 3, "Cyd", new Uint8Array([1, 2]))).rejects.toMatchObject({
        ...taken,
        column: "badge",
      });
      expect(await fed.find("members", id(1))).toMatchObject({ team: "red", nick: "Ada" });
      expect(await fed.find("members", { nick: "ADA" })).toMatchObject({ id: id(1) });
      expect(await fed.find("members", { badge: new Uint8Array([1, 2]) })).toMatchObject({ team: "red" });
      const many = Array.from({ length: 520 }, (_, index) => ({ id: id(index + 100), nick: `n${index}` }));
      await fed.at("red").insertInto("members").values(many).execute();
      await fed.at("red").deleteFrom("members").where("id", "<", id(130)).execute();
      await fed.at("blue").insertInto("members").values(many.slice(0, 30)).execute();
      expect(await fed.find("members", id(129))).toMatchObject({ team: "blue" });
      expect(await fed.find("members", id(130))).toMatchObject({ team: "red" });
      await expect(
        fed.at("blue").insertInto("members").values(many.slice(28, 33)).execute(),
      ).rejects.toMatchObject({ code: "CONSTRAINT_UNIQUE" });
    });
  });
});
