/** What a mover's transactions may ask for: foreign keys that are not checked, and a short wait for a lock. */
import { forEachEngine, startPostgres, whyUnavailable } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { type Connection, POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { asMover } from "../../src/engine/mover.ts";
import { bigint } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import { global } from "../../src/schema/table.ts";
import { GuardedDatabase } from "./guarded-database.ts";
import { engineAt, OpenDatabase } from "./open-database.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: {
    parents: global({ id: bigint() }),
    children: global({ id: bigint(), parent_id: bigint().references("parents", { onDelete: "cascade" }) }),
  },
});

async function codeOf(open: OpenDatabase, work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "passed",
    (error: unknown) => open.engine.dialect.classify(error).code,
  );
}

forEachEngine((engine) => {
  describe(`a mover's transaction on ${engine.name}`, () => {
    test("checks no foreign key and cascades nothing, and the next one does both", async () => {
      // One connection: what comes next has the same one.
      await using open = await OpenDatabase.of(engine, { connectionsMax: 1 });
      await open.createTables(...model.tables.values());
      await expectUnchecked(open);
    });

    test("has foreign keys unchecked whichever way it ends, and leaves them checked", async () => {
      await using open = await OpenDatabase.of(engine, { connectionsMax: 1 });
      await open.createTables(...model.tables.values());
      for (const end of ["commit", "rollback", "release", "broken"] as const) {
        const connection = await open.database.acquire();
        await connection.begin({ references: "unchecked" });
        await open.run("insert into children (id, parent_id) values (1, 99)", [], connection);
        if (end === "commit") await connection.commit();
        if (end === "rollback") await connection.rollback();
        connection.release(end === "broken");
        const later = await open.database.acquire();
        await later.begin();
        const orphan = open.run("insert into children (id, parent_id) values (2, 99)", [], later);
        expect(await codeOf(open, orphan), end).toBe("CONSTRAINT_FOREIGN_KEY");
        await later.rollback();
        later.release();
        await open.run("delete from children");
      }
    });

    test("gives up the wait for a lock in less than a second", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      const { open } = guarded;
      if (!open.engine.dialect.capabilities.concurrentWriters) return;
      await guarded.setResidence("users", { low: 1n, state: "here" });
      const lock = open.statement(
        "select state from tesserae_residence_users where kind = 'p' and low = 1 for update",
      );
      const holder = await open.database.acquire();
      await holder.begin();
      await holder.run(lock);
      const waiter = await open.database.acquire();
      await waiter.begin();
      const since = performance.now();
      expect(await codeOf(open, waiter.run({ ...lock, lockWaitMs: 150 }))).toBe("LOCK_TIMEOUT");
      const waited = performance.now() - since;
      expect(waited).toBeGreaterThan(120);
      expect(waited).toBeLessThan(900);
      await waiter.rollback();
      await holder.commit();
      // The connection goes on, and a lock that is free is taken.
      await waiter.begin();
      expect((await waiter.run({ ...lock, lockWaitMs: 150 })).rows).toEqual([{ state: "here" }]);
      expect(await open.column("select 1 as one", waiter)).toHaveLength(1);
      await waiter.commit();
      for (const connection of [holder, waiter]) connection.release();
    });

    test("passes the guard with many rows a statement, of several keys", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      for (const low of [1n, 2n]) await guarded.setResidence("users", { low, state: "arriving", token: 5n });
      await guarded.setResidence("users", { low: 3n, state: "arriving", token: 6n });
      const { open } = guarded;
      const { dialect } = open.engine;
      const connection = await open.database.acquire();
      const rows = (...keys: bigint[]) =>
        `insert into users_notes (user_id, id) values ${keys.map((key, n) => `(${key}, ${n + 1})`).join(", ")}`;
      await connection.begin();
      await asMover(connection, { dialect, token: 5n }, () =>
        open.run(rows(1n, 1n, 2n, 1n, 2n), [], connection),
      );
      await connection.commit();
      expect(await guarded.ids("users")).toHaveLength(5);
      expect(await guarded.log("users")).toEqual([]);
      await connection.begin();
      await guarded.expectRefused(
        asMover(connection, { dialect, token: 5n }, () => open.run(rows(2n, 3n), [], connection)),
        { reason: "not_here", key: "3" },
      );
      await connection.rollback();
      connection.release();
      await guarded.expectRefused(guarded.insert("users", 1n, 9n), { reason: "not_here" });
    });
  });
});

/** An orphan gets in, a parent goes without its children, and afterwards the same connection refuses and cascades again. */
async function expectUnchecked(open: OpenDatabase): Promise<void> {
  const { dialect } = open.engine;
  await open.execute([
    "insert into parents (id) values (1), (2)",
    "insert into children (id, parent_id) values (1, 1), (2, 2)",
  ]);
  const connection: Connection = await open.database.acquire();
  expect(await dialect.mayUncheckReferences(connection)).toBe(true);
  await connection.begin({ isolation: "read committed", references: "unchecked" });
  await open.run("insert into children (id, parent_id) values (3, 99)", [], connection);
  await open.run("delete from parents where id = 1", [], connection);
  expect(await open.column("select count(*) from children", connection)).toEqual([3n]);
  await connection.commit();
  expect(
    await codeOf(open, open.run("insert into children (id, parent_id) values (4, 99)", [], connection)),
  ).toBe("CONSTRAINT_FOREIGN_KEY");
  await open.run("delete from parents where id = 2", [], connection);
  expect(await open.column("select count(*) from children", connection)).toEqual([2n]);
  connection.release();
}

describe.skipIf(whyUnavailable("postgres") !== undefined)("PostgreSQL's right to uncheck references", () => {
  // A server of its own: the right is one of the whole server.
  test("is asked for and, without it, the transaction does not begin", { timeout: 60_000 }, async () => {
    await using server = await startPostgres();
    const url = await server.createDatabase();
    const application = (await engineAt(url)).open({ ...POOL_DEFAULTS, connectionsMax: 1 });
    const superuser = (await engineAt(server.adminUrl())).open({ ...POOL_DEFAULTS, connectionsMax: 1 });
    const change = (verb: string) =>
      superuser.run({ sql: `${verb} "${server.user}"`, parameters: [], prepare: false });
    try {
      const { dialect } = application.engine;
      await change("revoke set on parameter session_replication_role from");
      const connection = await application.acquire();
      expect(await dialect.mayUncheckReferences(connection)).toBe(false);
      await expect(connection.begin({ references: "unchecked" })).rejects.toThrow(/permission denied/);
      // No transaction is left open.
      await connection.begin();
      await connection.commit();
      await change("grant set on parameter session_replication_role to");
      expect(await dialect.mayUncheckReferences(connection)).toBe(true);
      await connection.begin({ references: "unchecked" });
      await connection.rollback();
      connection.release();
    } finally {
      await application.close();
      await superuser.close();
    }
  });
});
