/** A refused value's error says where the value stands. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, it } from "vitest";
import { bigint, text } from "../../src/index.ts";
import { addUser, openDots } from "../federation/dots-federation.ts";
import { refused } from "../federation/refused.ts";

forEachEngine((engine) => {
  describe(`a refused value on ${engine.name}`, () => {
    it("is named by column or parameter", async () => {
      await using opened = await openDots(engine, 0);
      const { fed } = opened;
      const ada = await addUser(fed, "ada");
      const inserted = await refused("VALUE_INVALID", () =>
        fed
          .at(ada.id)
          .insertInto("sheets")
          .values([
            { id: 801n, label: "fine" },
            { id: 802n, label: "x".repeat(256) },
          ])
          .execute(),
      );
      expect(inserted.message).toBe(
        'Column "label" of table "sheets": Expected at most 255 characters; got 256.',
      );
      expect(inserted).toMatchObject({ table: "sheets", column: "label" });
      const compared = await refused("VALUE_INVALID", () =>
        fed
          .at(ada.id)
          .selectFrom("sheets")
          .where("id", "=", 1 as never)
          .selectAll()
          .execute(),
      );
      expect(compared.message).toMatch(/^Column "id" of table "sheets": Expected a bigint/);
      const query = fed.prepare({ id: bigint(), label: text(9) }, (db, p) =>
        db.updateTable("sheets").set({ label: p.label }).where("id", "=", p.id),
      );
      const prepared = await refused("VALUE_INVALID", () =>
        query.at(ada.id, { id: 1 as never, label: "fine" }),
      );
      expect(prepared.message).toMatch(/^Parameter "id" of the prepared query: Expected a bigint/);
      expect(prepared.key).toBe(String(ada.id));
    });
  });
});
