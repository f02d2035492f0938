/** Tables that are older than their lookups, rows written past the library, and what a sweep leaves. */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { engineFromUrl, poolOptions } from "../../src/configuration.ts";
import { checkControlVersion } from "../../src/directory/control-version.ts";
import { CONTROL_VERSION_WITH_LOOKUPS } from "../../src/engine/control-tables.ts";
import { bigint, defineSchema, type Federation, federate, federated, text } from "../../src/index.ts";

const columns = { id: bigint(), user_id: bigint(), label: text(64) };
const before = defineSchema({ key: bigint(), tables: { dots: federated("user_id", columns) } });
const after = defineSchema({
  key: bigint(),
  tables: { dots: federated("user_id", columns, { lookup: ["id"] }) },
});

forEachEngine((engine) => {
  describe(`lookups that come later, on ${engine.name}`, () => {
    test("know every row after a rebuild, name doubles, and keep older libraries away", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      const [main, one, two] = databases.urls as [string, string, string];
      const shards = { 1: one, 2: two };
      await using old = await federate({ schema: before, main, shards });
      await old.schema.apply();
      for (const key of [1n, 2n]) await old.tenants.add(key, { shard: Number(key) });
      const add = (key: bigint, ...ids: bigint[]) =>
        old
          .at(key)
          .insertInto("dots")
          .values(ids.map((id) => ({ id, label: `dot ${id}` })))
          .execute();
      await add(1n, ...Array.from({ length: 600 }, (_, index) => BigInt(index)));
      await add(2n, 1_000n, 5n);
      await using fed = await federate({ schema: after, main, shards });
      await fed.schema.apply();
      const control = engineFromUrl(main).control().open(poolOptions({}));
      expect(await checkControlVersion(control)).toBe(CONTROL_VERSION_WITH_LOOKUPS);
      await control.close();
      await expect(fed.find("dots", 7n)).rejects.toMatchObject({ code: "LOOKUP_INCOMPLETE", table: "dots" });
      await fed.at(2n).insertInto("dots").values({ id: 1_001n, label: "by itself" }).execute();
      const [first] = await fed.lookups.rebuild("dots");
      expect(first).toMatchObject({ rows: 603, added: 601, complete: false });
      expect(first?.doubles).toEqual([{ value: 5n, keys: [1n, 2n] }]);
      await fed.at(2n).deleteFrom("dots").where("id", "=", 5n).execute();
      expect(await fed.lookups.rebuild("dots")).toMatchObject([{ rows: 602, added: 0, complete: true }]);
      expect(await fed.find("dots", 599n)).toMatchObject({ user_id: 1n });
      expect(await fed.find("dots", 1_000n)).toMatchObject({ user_id: 2n });
      expect(await fed.find("dots", 9_999n)).toBeUndefined();
      await fed.at(1n).deleteFrom("dots").where("id", "<", 100n).execute();
      expect(await fed.lookups.sweep({ olderThanMs: -60_000 })).toMatchObject([
        { checked: 602, confirmed: 502, released: 100, busy: 0 },
      ]);
      expect(await fed.lookups.status()).toEqual([
        { table: "dots", column: "id", complete: true, reserved: 0, confirmed: 502 },
      ]);
    });

    test("are incomplete where a claim was left behind, and again after a schema without them", async () => {
      await using databases = await engine.databases(3, { servers: 2 });
      const [main, one, two] = databases.urls as [string, string, string];
      const open = async (schema: typeof before) => {
        const fed = await federate({ schema, main, shards: { 1: one, 2: two } });
        await fed.schema.apply();
        return fed;
      };
      await using old = await open(before);
      for (const key of [1n, 2n]) await old.tenants.add(key, { shard: Number(key) });
      await old.at(2n).insertInto("dots").values({ id: 1n, label: "old" }).execute();
      await using fed = (await open(after as typeof before)) as unknown as Federation<typeof after>;
      await fed.at(1n).insertInto("dots").values({ id: 1n, label: "new" }).execute();
      await fed.at(1n).deleteFrom("dots").where("id", "=", 1n).execute();
      await expect(fed.find("dots", 1n)).rejects.toMatchObject({ code: "LOOKUP_INCOMPLETE" });
      expect(await fed.lookups.rebuild("dots")).toMatchObject([{ rows: 1, added: 1, complete: true }]);
      expect(await fed.find("dots", 1n)).toMatchObject({ user_id: 2n });
      await using without = await open(before);
      await without.at(1n).insertInto("dots").values({ id: 2n, label: "unheard" }).execute();
      await using again = (await open(after as typeof before)) as unknown as Federation<typeof after>;
      await expect(again.find("dots", 2n)).rejects.toMatchObject({ code: "LOOKUP_INCOMPLETE" });
    });
  });
});
