/** Statements that join a transaction which somebody else opened: what they write is claimed all the same. */
import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bigint,
  defineSchema,
  type Federation,
  federate,
  federated,
  MultiTenantShardChooser,
  text,
} from "../../src/index.ts";

const schema = defineSchema({
  federations: { users: bigint(), blogs: bigint() },
  tables: {
    people: federated(
      "user_id",
      { id: bigint(), user_id: bigint(), email: text(64).unique() },
      { federation: "users" },
    ),
    posts: federated(
      "blog_id",
      { id: bigint(), blog_id: bigint(), slug: text(64).unique() },
      { federation: "blogs" },
    ),
  },
});

const TAKEN = { code: "CONSTRAINT_UNIQUE" };

forEachEngine((engine) => {
  describe(`lookups in joined transactions on ${engine.name}`, () => {
    let fed: Federation<typeof schema>;
    let cleanUp: () => Promise<void>;

    beforeAll(async () => {
      const databases = await engine.databases(3, { servers: 2 });
      const [main, one, two] = databases.urls as [string, string, string];
      fed = await federate({ schema, main, shards: { 1: one, 2: two } });
      cleanUp = async () => {
        await fed.close();
        await databases.cleanUp();
      };
      await fed.schema.apply();
      for (const name of ["users", "blogs"] as const)
        for (const key of [1n, 2n, 3n]) await fed.in(name).tenants.add(key, { shard: key === 2n ? 2 : 1 });
    });

    afterAll(() => cleanUp?.());

    const user = (key: bigint) => fed.in("users").at(key);
    const blog = (key: bigint) => fed.in("blogs").at(key);
    const person = (key: bigint, id: bigint, email: string) =>
      user(key).insertInto("people").values({ id, email }).execute();

    test("of another federation on the same shard", async () => {
      await user(1n)
        .transaction()
        .execute(async () => {
          await blog(1n).insertInto("posts").values({ id: 1n, slug: "first" }).execute();
        });
      await expect(
        blog(2n).insertInto("posts").values({ id: 1n, slug: "first" }).execute(),
      ).rejects.toMatchObject(TAKEN);
      expect(await fed.find("posts", { slug: "first" })).toMatchObject({ blog_id: 1n });
    });

    test("of a shard that was chosen without the directory", async () => {
      await using manager = fed.in("users").shardManager({ chooser: MultiTenantShardChooser });
      await manager.selectShard(1);
      await manager.transaction(() => person(1n, 2n, "by the shard"));
      await expect(person(2n, 2n, "by the shard")).rejects.toMatchObject(TAKEN);
      expect(await fed.find("people", { email: "by the shard" })).toMatchObject({ user_id: 1n });
    });

    test("of two keys, where one takes what the other has left behind", async () => {
      await person(3n, 3n, "left behind");
      await user(3n).deleteFrom("people").where("id", "=", 3n).execute();
      await user(3n)
        .transaction()
        .execute(async () => {
          await person(3n, 4n, "another");
          await person(1n, 4n, "left behind");
        });
      expect(await fed.find("people", { email: "left behind" })).toMatchObject({ user_id: 1n });
      await expect(
        user(1n)
          .transaction()
          .execute(async () => {
            await person(1n, 5n, "both");
            await person(3n, 5n, "both");
          }),
      ).rejects.toMatchObject(TAKEN);
    });

    test("with a signal, as a stream, and on a connection that is kept: under the key that writes", async () => {
      const insert = (id: bigint, email: string) => user(3n).insertInto("people").values({ id, email });
      await user(1n)
        .transaction()
        .execute(async () => {
          await insert(20n, "signal").execute({ signal: new AbortController().signal });
          await user(3n)
            .connection()
            .execute((db) => db.insertInto("people").values({ id: 21n, email: "kept" }).execute());
          const stream = user(3n)
            .updateTable("people")
            .set({ email: "streamed" })
            .where("id", "=", 20n)
            .returningAll();
          if (engine.name !== "mysql") for await (const row of stream.stream()) expect(row.user_id).toBe(3n);
        });
      const emails = engine.name === "mysql" ? ["signal", "kept"] : ["kept", "streamed"];
      for (const email of emails) expect(await fed.lookups.keyOf("people", { email }), email).toBe(3n);
    });

    test("with savepoints whose names are one name for some engines", async () => {
      const transaction = await user(1n).startTransaction().execute();
      const outer = await transaction.savepoint("A").execute();
      await outer.insertInto("people").values({ id: 6n, email: "between" }).execute();
      const inner = await outer.savepoint("a").execute();
      await inner.insertInto("people").values({ id: 7n, email: "behind" }).execute();
      await inner.rollbackToSavepoint("A").execute();
      await transaction.commit().execute();
      const there = await user(1n).selectFrom("people").where("id", "=", 6n).select("email").execute();
      const second = person(2n, 6n, "between");
      if (there.length > 0) await expect(second).rejects.toMatchObject(TAKEN);
      else await second;
    });
  });
});
