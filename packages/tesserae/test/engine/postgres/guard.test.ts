/** What the guard on PostgreSQL has to hold beyond the shared tests: TRUNCATE, savepoints, search paths, rights, concurrent creation. */
import { forEachEngine, runAsAdmin, sharedServer } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { GuardedDatabase, model } from "../guarded-database.ts";

forEachEngine((engine) => {
  if (engine.name !== "postgres") return;
  describe("the guard on PostgreSQL", () => {
    test("refuses TRUNCATE, also as a cascade", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      await guarded.insert("users", 1n, 1n);
      for (const statement of ["truncate users_notes cascade", "truncate users_remarks"]) {
        await expect(guarded.sql(statement)).rejects.toThrow(/TRUNCATE of the federated table .* is refused/);
      }
      expect(await guarded.ids("users")).toEqual([1n]);
    });

    test("asks again after a rollback to a savepoint has given the lock back", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      await connection.savepoint("s");
      await guarded.insert("users", 1n, 1n, connection);
      await connection.rollbackToSavepoint("s");
      // Nobody holds the row now: the freeze does not wait.
      await guarded.setResidence("users", { low: 1n, state: "frozen" });
      await guarded.expectRefused(guarded.insert("users", 1n, 2n, connection), { reason: "not_here" });
      await connection.rollback();

      // Released instead, the savepoint leaves lock and knowledge to the transaction around it.
      await guarded.setResidence("users", { low: 1n, state: "here" });
      await connection.begin();
      await connection.savepoint("s");
      await guarded.insert("users", 1n, 3n, connection);
      await connection.releaseSavepoint("s");
      const freeze = guarded.setResidence("users", { low: 1n, state: "frozen" });
      await guarded.insert("users", 1n, 4n, connection);
      await connection.commit();
      connection.release();
      await freeze;
      expect(await guarded.ids("users")).toEqual([3n, 4n]);
    });

    test("gives nothing back in a procedure that catches the error of a part", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      await guarded.setResidence("users", { low: 1n, state: "here" });
      const connection = await guarded.open.database.acquire();
      await connection.begin();
      await guarded.sql(
        "do $$ begin insert into users_notes (user_id, id) values (1, 1); raise 'undone'; exception when raise_exception then null; end $$",
        [],
        connection,
      );
      await guarded.setResidence("users", { low: 1n, state: "gone" });
      await guarded.expectRefused(guarded.insert("users", 1n, 2n, connection), { reason: "not_here" });
      await connection.rollback();
      connection.release();
    });

    test("looks at its own tables and operators, whatever the search path says", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      await guarded.setResidence("users", { low: 1n, state: "gone" });
      const connection = await guarded.open.database.acquire();
      for (const statement of [
        "create temp table tesserae_residence_users as select * from tesserae_residence_users",
        "update pg_temp.tesserae_residence_users set state = 'here'",
        "create schema evil",
        "create function evil.always(text, text) returns boolean language sql as 'select true'",
        "create operator evil.= (leftarg = text, rightarg = text, function = evil.always)",
        "set search_path = pg_temp, evil, public, pg_catalog",
      ])
        await guarded.sql(statement, [], connection);
      await guarded.expectRefused(guarded.insert("users", 1n, 1n, connection), { reason: "not_here" });
      connection.release(true);
    });

    test("locks the residence for a role that may not write it", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      await guarded.setResidence("users", { low: 1n, state: "leaving" });
      const server = await sharedServer("postgres");
      const role = `writer_${process.pid}`;
      await runAsAdmin(server, [`create role ${role}`, `grant ${role} to ${server.user}`]);
      const connection = await guarded.open.database.acquire();
      try {
        await guarded.sql(`grant insert on users_notes to ${role}`, [], connection);
        await guarded.sql(`set role ${role}`, [], connection);
        await guarded.insert("users", 1n, 1n, connection);
        const thaw = guarded.sql("update tesserae_residence_users set state = 'here'", [], connection);
        await expect(thaw).rejects.toThrow(/permission denied/);
        expect(await guarded.log("users")).toHaveLength(1);
      } finally {
        await guarded.sql("reset role", [], connection);
        await guarded.sql(`revoke all on users_notes from ${role}`, [], connection);
        connection.release();
        await runAsAdmin(server, [`drop role ${role}`]);
      }
    });

    test("is made by several processes at the same moment", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      const { dialect } = guarded.open.engine;
      const tables = [...model.tables.values()];
      for (const table of [...tables].reverse()) await guarded.open.execute(dialect.dropTable(table.name));
      const apply = async () => {
        const database = guarded.open.openAgain({ ...POOL_DEFAULTS, connectionsMax: 1 });
        for (const table of tables) {
          const federation = model.federations.get(table.federation as string);
          const statements = [
            ...dialect.createTable(table),
            ...(federation === undefined ? [] : dialect.createGuard(table, federation)),
          ];
          for (const sql of statements) await database.run({ sql, parameters: [], prepare: false });
        }
      };
      await Promise.all(Array.from({ length: 6 }, apply));
      await guarded.expectRefused(guarded.insert("users", 1n, 1n), { reason: "no_residence" });
    });

    test("goes with its table, functions and all", async () => {
      await using guarded = await GuardedDatabase.of(engine);
      const functions = "select proname from pg_proc where proname like 'tesserae_guard_blobs_notes%'";
      expect(await guarded.open.column(functions)).toHaveLength(4);
      for (let i = 0; i < 2; i++)
        await guarded.open.execute(guarded.open.engine.dialect.dropTable("blobs_notes"));
      expect(await guarded.open.column(functions)).toHaveLength(0);
    });
  });
});
