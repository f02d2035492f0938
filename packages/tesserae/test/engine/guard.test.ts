/**
 * The guard's meaning, the same on every engine, from plain SQL: nothing here goes through a session or knows how an engine's triggers are made.
 * How a freeze and the writers race is in `guard-race.test.ts`.
 */
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import { GuardedDatabase } from "./guarded-database.ts";

const STATES_THAT_REFUSE = ["arriving", "frozen", "gone"] as const;

/** Keys of each type in their order: below, low, inside, high, above. */
const KEYS: Readonly<Record<string, readonly [KeyValue, KeyValue, KeyValue, KeyValue, KeyValue]>> = {
  users: [-(2n ** 63n), -5n, 0n, 2n ** 62n, 2n ** 63n - 1n],
  // By code point: capitals before small letters, a prefix before the longer text, the last plane after the private use area.
  blogs: ["", "B", "a", "a ", "\u{1f600}"],
  devices: [
    "00000000-0000-0000-0000-000000000000",
    "0fffffff-ffff-ffff-ffff-ffffffffffff",
    "a0000000-0000-0000-0000-000000000000",
    "a0000000-0000-0000-8000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
  ],
  blobs: [
    new Uint8Array(),
    new Uint8Array([0]),
    new Uint8Array([0, 255]),
    new Uint8Array([39, 92]),
    new Uint8Array([255]),
  ],
};

const opened = (engine: TestEngine) => GuardedDatabase.of(engine);

forEachEngine((engine) => {
  describe(`the guard on ${engine.name}`, () => {
    test("is made a second time without harm, and its triggers are listed", async () => {
      await using guarded = await opened(engine);
      const before = await guarded.open.column(guarded.open.engine.dialect.listTriggersSql);
      expect(before.length).toBeGreaterThanOrEqual(12);
      await guarded.createGuards();
      expect(await guarded.open.column(guarded.open.engine.dialect.listTriggersSql)).toEqual(before);
    });

    test("refuses a key that has no residence", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 2n, state: "here" });
      await guarded.expectRefused(guarded.insert("users", 1n, 1n), {
        reason: "no_residence",
        table: "users_notes",
        key: "1",
      });
      expect(await guarded.ids("users")).toEqual([]);
    });

    test("lets writes of a key pass that lives here, and logs nothing", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      await guarded.insert("users", 1n, 1n);
      await guarded.insert("users", 1n, 2n);
      await guarded.sql("update users_notes set body = 'new' where id = 1");
      await guarded.sql("delete from users_notes where id = 2");
      expect(await guarded.open.column("select body from users_notes")).toEqual(["new"]);
      expect(await guarded.log("users")).toEqual([]);
    });

    for (const state of STATES_THAT_REFUSE) {
      test(`refuses every write in state ${state}`, async () => {
        await using guarded = await opened(engine);
        await guarded.setResidence("users", { low: 1n, state: "here" });
        await guarded.insert("users", 1n, 1n);
        await guarded.setResidence("users", { low: 1n, state });
        const refusal = { reason: "not_here", table: "users_notes", key: "1" } as const;
        await guarded.expectRefused(guarded.insert("users", 1n, 2n), refusal);
        await guarded.expectRefused(guarded.sql("update users_notes set body = 'new'"), refusal);
        await guarded.expectRefused(guarded.sql("delete from users_notes"), refusal);
        expect(await guarded.open.column("select body from users_notes")).toEqual(["note"]);
      });
    }

    test("logs each change in state leaving, in the transaction of the change", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      for (const id of [1n, 2n, 3n]) await guarded.insert("users", 1n, id);
      await guarded.setResidence("users", { low: 1n, state: "leaving" });
      await guarded.insert("users", 1n, 4n);
      await guarded.sql("update users_notes set body = 'new' where id = 1");
      await guarded.sql("delete from users_notes where id = 2");
      // A changed primary key: the old row has gone and the new one has come.
      await guarded.sql("update users_notes set id = 30 where id = 3");
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      await guarded.sql("update users_notes set body = 'undone' where id = 1", [], connection);
      await connection.rollback();
      connection.release();
      expect(await guarded.log("users")).toEqual(
        [4, 1, 2, 3, 30].map((id) => ({ key: 1n, table: "users_notes", primaryKey: [1, id] })),
      );
    });

    test("logs every row of one statement in state leaving", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "leaving" });
      await guarded.sql(
        "insert into users_notes (user_id, id, body) values (1, 1, 'a'), (1, 2, 'b'), (1, 3, 'c')",
      );
      await guarded.sql("update users_notes set body = 'x'");
      expect((await guarded.log("users")).map(({ primaryKey }) => primaryKey[1])).toEqual([1, 2, 3, 1, 2, 3]);
    });

    test("refuses a change of the distribution key, also to a key that lives here", async () => {
      await using guarded = await opened(engine);
      for (const low of [1n, 2n]) await guarded.setResidence("users", { low, state: "here" });
      await guarded.insert("users", 1n, 1n);
      const refusal = { reason: "key_change", table: "users_notes", key: "1" } as const;
      await guarded.expectRefused(guarded.sql("update users_notes set user_id = 2"), refusal);
      expect(await guarded.open.column("select user_id from users_notes")).toEqual(
        [1n].map(String).map(BigInt),
      );
    });

    for (const [federation, [below, low, inside, high, above]] of Object.entries(KEYS)) {
      test(`finds points and ranges of the key type of ${federation}`, async () => {
        await using guarded = await opened(engine);
        await guarded.setResidence(federation, { kind: "r", low, high, state: "here" });
        await guarded.insert(federation, low, 1n);
        await guarded.insert(federation, inside, 2n);
        for (const outside of [below, high, above]) {
          await guarded.expectRefused(guarded.insert(federation, outside, 3n), { reason: "no_residence" });
        }
        // A point wins over the range around it, whichever of the two refuses.
        await guarded.setResidence(federation, { low: inside, state: "gone" });
        await guarded.expectRefused(guarded.insert(federation, inside, 4n), { reason: "not_here" });
        await guarded.setResidence(federation, { low: inside, state: "here" });
        await guarded.setResidence(federation, { kind: "r", low, high, state: "frozen" });
        await guarded.insert(federation, inside, 5n);
        await guarded.expectRefused(guarded.insert(federation, low, 6n), { reason: "not_here" });
        // A range without an upper bound, beside one that ends where it begins.
        await guarded.setResidence(federation, { kind: "r", low: high, high: null, state: "here" });
        await guarded.insert(federation, high, 7n);
        await guarded.insert(federation, above, 8n);
        expect(await guarded.ids(federation)).toEqual([1n, 2n, 5n, 7n, 8n]);
      });
    }

    test("does not take an empty key for one that it has just seen", async () => {
      await using guarded = await opened(engine);
      for (const [federation, known, empty] of [
        ["blogs", "a", ""],
        ["blobs", new Uint8Array([1]), new Uint8Array()],
      ] as const) {
        await guarded.setResidence(federation, { low: known, state: "here" });
        const connection = await guarded.open.database.acquire();
        await guarded.insert(federation, known, 1n, connection);
        await guarded.expectRefused(guarded.insert(federation, empty, 2n, connection), {
          reason: "no_residence",
        });
        connection.release();
      }
    });

    test("says whose key it refuses, whatever is in it", async () => {
      await using guarded = await opened(engine);
      const key = `it's: "a" \\ %s 😀`;
      await guarded.expectRefused(guarded.insert("blogs", key, 1n), {
        reason: "no_residence",
        table: "blogs_notes",
        key,
      });
    });

    test("asks for each key of a transaction, and for each row of a statement", async () => {
      await using guarded = await opened(engine);
      for (const low of [1n, 2n]) await guarded.setResidence("users", { low, state: "here" });
      await guarded.setResidence("users", { low: 3n, state: "gone" });
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      for (const [key, id] of [
        [1n, 1n],
        [2n, 2n],
        [1n, 3n],
        [2n, 4n],
      ] as const)
        await guarded.insert("users", key, id, connection);
      await connection.commit();
      await connection.begin();
      await guarded.insert("users", 1n, 5n, connection);
      await guarded.expectRefused(guarded.insert("users", 3n, 6n, connection), {
        reason: "not_here",
        key: "3",
      });
      await connection.rollback();
      connection.release();
      const mixed =
        "insert into users_notes (user_id, id, body) values (1, 7, ''), (1, 8, ''), (3, 9, ''), (1, 10, '')";
      await guarded.expectRefused(guarded.sql(mixed), { reason: "not_here", key: "3" });
      expect(await guarded.ids("users")).toEqual([1n, 2n, 3n, 4n]);
    });

    test("forgets with the transaction what it knew of a key", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      const connection = await guarded.open.database.acquire();
      for (const end of ["commit", "rollback"] as const) {
        await guarded.setResidence("users", { low: 1n, state: "here" });
        await connection.begin();
        await guarded.insert("users", 1n, 1n, connection);
        await guarded.sql("delete from users_notes where id = 1", [], connection);
        await connection[end]();
        await guarded.setResidence("users", { low: 1n, state: "gone" });
        await guarded.expectRefused(guarded.insert("users", 1n, 2n, connection), { reason: "not_here" });
      }
      connection.release();
      expect(await guarded.ids("users")).toEqual([]);
    });

    test("knows nothing of a key from an earlier statement when one of several keys begins", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      const range = { kind: "r", low: 5n, high: 10n } as const;
      const connection = await guarded.open.database.acquire();
      const all = (text: string) => guarded.sql(text, [], connection);
      for (const state of ["leaving", "gone"] as const) {
        await guarded.setResidence("users", { ...range, state: "here" });
        await all("insert into users_notes (user_id, id) values (1, 1), (7, 2)");
        await all("update users_notes set body = 'here' where user_id = 7");
        await guarded.setResidence("users", { ...range, state });
        const changed = all(`update users_notes set body = '${state}'`);
        if (state === "gone") await guarded.expectRefused(changed, { reason: "not_here", key: "7" });
        else await changed;
        const inserted = all("insert into users_notes (user_id, id) values (1, 3), (7, 4)");
        if (state === "gone") await guarded.expectRefused(inserted, { reason: "not_here", key: "7" });
        else await inserted;
        if (state === "leaving")
          expect((await guarded.log("users")).map(({ primaryKey }) => primaryKey[1])).toEqual([2, 4]);
        await guarded.setResidence("users", { ...range, state: "here" });
        await all("delete from users_notes");
      }
      connection.release();
    });

    test("keeps federations apart, on one shard too", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      await guarded.setResidence("accounts", { low: 1n, state: "gone" });
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      await guarded.insert("users", 1n, 1n, connection);
      await guarded.expectRefused(guarded.insert("accounts", 1n, 2n, connection), {
        reason: "not_here",
        table: "accounts_notes",
      });
      await connection.rollback();
      connection.release();
      expect(await guarded.ids("accounts")).toEqual([]);
    });

    test("lets a mover pass with the residence's token, for its transaction alone, and logs nothing of it", async () => {
      await using guarded = await opened(engine);
      const { passGuard } = guarded.open.engine.dialect;
      await guarded.setResidence("users", { low: 1n, state: "arriving", token: 7n });
      await guarded.setResidence("users", { low: 2n, state: "leaving", token: 7n });
      await guarded.setResidence("users", { low: 3n, state: "arriving", token: 8n });
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      for (const sql of passGuard(7n).open) await guarded.sql(sql, [], connection);
      for (const [key, id] of [
        [1n, 1n],
        [2n, 2n],
        [1n, 3n],
      ] as const)
        await guarded.insert("users", key, id, connection);
      await guarded.sql("update users_notes set body = 'moved' where id = 1", [], connection);
      for (const sql of passGuard(7n).close) await guarded.sql(sql, [], connection);
      await guarded.insert("users", 2n, 4n, connection);
      await connection.commit();
      expect((await guarded.log("users")).map(({ primaryKey }) => primaryKey)).toEqual([[2, 4]]);

      await connection.begin();
      for (const sql of passGuard(7n).open) await guarded.sql(sql, [], connection);
      await guarded.expectRefused(guarded.insert("users", 3n, 5n, connection), {
        reason: "not_here",
        key: "3",
      });
      await connection.rollback();

      await connection.begin();
      for (const sql of passGuard(7n).open) await guarded.sql(sql, [], connection);
      await guarded.insert("users", 1n, 6n, connection);
      for (const sql of passGuard(7n).close) await guarded.sql(sql, [], connection);
      await guarded.expectRefused(guarded.insert("users", 1n, 7n, connection), { reason: "not_here" });
      await connection.rollback();
      await guarded.expectRefused(guarded.insert("users", 1n, 8n, connection), { reason: "not_here" });
      connection.release();
      expect(await guarded.ids("users")).toEqual([1n, 2n, 3n, 4n]);
    });

    test("hears of rows that an upsert inserts or updates", async () => {
      await using guarded = await opened(engine);
      await guarded.setResidence("users", { low: 1n, state: "leaving" });
      const upsert =
        engine.name === "mysql"
          ? "insert into users_notes (user_id, id, body) values (1, 1, 'x') on duplicate key update body = 'y'"
          : "insert into users_notes (user_id, id, body) values (1, 1, 'x') on conflict (user_id, id) do update set body = 'y'";
      await guarded.sql(upsert);
      await guarded.sql(upsert);
      expect(await guarded.open.column("select body from users_notes")).toEqual(["y"]);
      const logged = (await guarded.log("users")).map(({ primaryKey }) => primaryKey[1]);
      expect(logged.length).toBeGreaterThanOrEqual(2);
      expect(new Set(logged)).toEqual(new Set([1]));
      await guarded.setResidence("users", { low: 1n, state: "gone" });
      await guarded.expectRefused(guarded.sql(upsert), { reason: "not_here" });
    });

    test("hears of rows that a cascade deletes, where cascades fire triggers", async () => {
      await using guarded = await opened(engine);
      if (!guarded.open.engine.dialect.capabilities.cascadesFireTriggers) return;
      await guarded.setResidence("users", { low: 1n, state: "here" });
      await guarded.insert("users", 1n, 1n);
      await guarded.sql("insert into users_remarks (user_id, id, note_id) values (1, 10, 1), (1, 11, 1)");
      await guarded.setResidence("users", { low: 1n, state: "leaving" });
      await guarded.sql("delete from users_notes where id = 1");
      const logged = (await guarded.log("users")).map(({ table, primaryKey }) => `${table} ${primaryKey[1]}`);
      expect(logged.sort()).toEqual(["users_notes 1", "users_remarks 10", "users_remarks 11"]);
    });
  });
});
