/** Raw statements of SQLite that name decimal columns: those that store and compare pass, those that compute do not. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { bigint, decimal, defineSchema, federate, global } from "../../src/index.ts";
import { refused } from "../federation/refused.ts";

const schema = defineSchema({
  key: bigint(),
  tables: { prices: global({ id: bigint(), price: decimal(9, 2) }) },
});

forEachEngine((engine) => {
  describe(`raw statements with decimals on ${engine.name}`, () => {
    it("pass where nothing is computed", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await sql`insert into prices (id, price) values (1, 2.5)`.execute(fed.main);
      await sql`insert into prices (id, price) select id + 1, price from prices`.execute(fed.main);
      expect(await fed.main.selectFrom("prices").select("price").where("id", "=", 2n).execute()).toEqual([
        { price: "2.50" },
      ]);
      if (engine.name === "sqlite")
        await refused("DECIMAL_ARITHMETIC", () => sql`select price * 2 from prices`.execute(fed.main));
      await fed.close();
    });
  });
});
