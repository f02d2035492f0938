/** `typed` names the type of an expression that the tree does not tell, on its way in and out. */
import { forEachEngine } from "@tesserae/test-support";
import { type Expression, sql } from "kysely";
import { describe, expect, it } from "vitest";
import { bigint, decimal, timestamp, typed } from "../../src/index.ts";
import { addDot, addUser, openDots } from "../federation/dots-federation.ts";

forEachEngine((engine) => {
  describe(`typed on ${engine.name}`, () => {
    it("decodes a raw expression, and one with a filtered query inside", async () => {
      await using opened = await openDots(engine, 0);
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      const bob = await addUser(fed, "bob");
      await addDot(fed, ada, "1.500000", "2.000000");
      await addDot(fed, bob, "9.500000", "2.000000");
      const row = await fed
        .at(ada.id)
        .selectFrom("dots")
        .select((eb) => [
          typed(timestamp(), sql`max(created)`).as("latest"),
          typed(decimal(9, 6), sql`max(lat)`).as("north"),
          typed(
            bigint(),
            sql`coalesce(${eb.selectFrom("sheets").select((inner) => inner.fn.countAll().as("n")) as Expression<unknown>}, 0)`,
          ).as("sheets"),
        ])
        .executeTakeFirstOrThrow();
      expect(row.latest).toBeInstanceOf(Date);
      expect(row).toMatchObject({ north: "1.500000", sheets: 1n });
    });
  });
});
