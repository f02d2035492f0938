/** A guard that somebody dropped is made again by the next apply, with its table or alone. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { bigint, defineSchema, federate, federated, int, text } from "../../src/index.ts";
import { refused } from "../federation/refused.ts";

const notes = { id: bigint(), user_id: bigint(), body: text(20) };
const schema = defineSchema({ key: bigint(), tables: { notes: federated("user_id", notes) } });
const wider = defineSchema({
  key: bigint(),
  tables: { notes: federated("user_id", { ...notes, stars: int().default(3) }) },
});

forEachEngine((engine) => {
  describe(`a dropped guard on ${engine.name}`, () => {
    it("comes back after its trigger or its table was dropped by hand", async () => {
      await using databases = await engine.databases(1);
      const main = databases.urls[0] as string;
      const fed = await federate({ schema, main });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      await fed.at(1n).insertInto("notes").values({ id: 1n, body: "first" }).execute();
      const here = fed.at(1n).unfiltered();
      const nobodys = () =>
        sql`insert into notes (id, user_id, body) values (9, 99, 'nobody lives here')`.execute(here);
      await refused("GUARD_REFUSED", nobodys);

      const onTable = engine.name === "postgres" ? " on notes" : "";
      await sql.raw(`drop trigger tesserae_guard_notes_insert${onTable}`).execute(here);
      expect((await fed.schema.apply()).created).toMatchObject([{ kind: "guard", table: "notes" }]);
      await refused("GUARD_REFUSED", nobodys);
      await fed.close();

      // The way in which docs/schema.md changes a table by hand.
      const changed = await federate({ schema: wider, main });
      const run = (text: string) => sql.raw(text).execute(changed.at(1n).unfiltered());
      await refused("SCHEMA_CHANGED", () => changed.schema.apply());
      await run("create table notes_before as select * from notes");
      await run("drop table notes");
      await run("delete from tesserae_meta where name = 'table:notes'");
      expect((await changed.schema.apply()).created.map(({ kind }) => kind)).toEqual(["table", "guard"]);
      await run("insert into notes (id, user_id, body) select id, user_id, body from notes_before");
      expect(await changed.at(1n).selectFrom("notes").select(["id", "stars"]).execute()).toEqual([
        { id: 1n, stars: 3 },
      ]);
      await refused("GUARD_REFUSED", () =>
        run("insert into notes (id, user_id, body) values (9, 99, 'still nobody')"),
      );
      await changed.close();
    });
  });
});
