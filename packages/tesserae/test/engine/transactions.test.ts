/** Transactions on every engine: all or nothing, savepoints, and what other connections see meanwhile. */
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { Connection } from "../../src/engine/contract.ts";
import { controlColumn, controlTable } from "../../src/engine/control-tables.ts";
import { OpenDatabase } from "./open-database.ts";

const notes = controlTable(
  "notes",
  [
    controlColumn("id", { kind: "int" }),
    controlColumn("body", { kind: "text", length: 50, caseInsensitive: false }),
  ],
  ["id"],
);

async function openNotes(engine: TestEngine): Promise<OpenDatabase> {
  const open = await OpenDatabase.of(engine);
  await open.createTables(notes);
  return open;
}

const insert = (open: OpenDatabase, id: number, on?: Connection) =>
  open.run("insert into notes (id, body) values (?, ?)", [id, `note ${id}`], on);
const idsOf = async (open: OpenDatabase, on?: Connection) =>
  (await open.column("select id from notes order by id", on)).map(Number);

forEachEngine((engine) => {
  describe(`transactions on ${engine.name}`, () => {
    test("a commit keeps every change, a rollback none", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      await insert(open, 2, connection);
      await connection.commit();
      await connection.begin();
      await insert(open, 3, connection);
      await open.run("delete from notes where id = 1", [], connection);
      expect(await idsOf(open, connection)).toEqual([2, 3]);
      await connection.rollback();
      connection.release();
      expect(await idsOf(open)).toEqual([1, 2]);
    });

    test("tells the affected rows: matched, not only altered", async () => {
      await using open = await openNotes(engine);
      expect(
        (await open.run("insert into notes (id, body) values (1, 'a'), (2, 'b'), (3, 'c')")).affectedRows,
      ).toBe(3n);
      expect((await open.run("update notes set body = 'a' where id <= 2")).affectedRows).toBe(2n);
      expect((await open.run("delete from notes where id > 7")).affectedRows).toBe(0n);
      expect((await open.run("select id from notes")).affectedRows).toBeUndefined();
    });

    test("others see nothing of a transaction before its commit", async () => {
      await using open = await openNotes(engine);
      const writer = await open.database.acquire();
      const reader = await open.database.acquire({ mode: "read" });
      await writer.begin();
      await insert(open, 1, writer);
      expect(await idsOf(open, reader)).toEqual([]);
      const outside = await open.database.run({ ...open.statement("select id from notes"), readOnly: true });
      expect(outside.rows).toEqual([]);
      const other = open.openAgain();
      expect((await other.run({ ...open.statement("select id from notes"), readOnly: true })).rows).toEqual(
        [],
      );
      await writer.commit();
      expect(await idsOf(open, reader)).toEqual([1]);
      writer.release();
      reader.release();
    });

    test("a repeatable read sees one moment", async () => {
      await using open = await openNotes(engine);
      const reader = await open.database.acquire({ mode: "read" });
      await reader.begin({ readOnly: true, isolation: "repeatable read" });
      expect(await idsOf(open, reader)).toEqual([]);
      await insert(open, 1);
      expect(await idsOf(open, reader)).toEqual([]);
      await reader.commit();
      expect(await idsOf(open, reader)).toEqual([1]);
      reader.release();
    });

    test("a read-only transaction refuses to write, and the connection writes again afterwards", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin({ readOnly: true });
      const error = await insert(open, 1, connection).catch((refusal: unknown) => refusal);
      expect(open.engine.dialect.classify(error)).toMatchObject({ code: "SERVER_READ_ONLY", fatal: false });
      await connection.rollback();
      await insert(open, 1, connection);
      connection.release();
      expect(await idsOf(open)).toEqual([1]);
    });

    test("a savepoint takes back what came after it, and no more", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      await connection.savepoint("first");
      await insert(open, 2, connection);
      await connection.savepoint("second");
      await insert(open, 3, connection);
      await connection.rollbackToSavepoint("second");
      await insert(open, 4, connection);
      await connection.releaseSavepoint("second");
      expect(await idsOf(open, connection)).toEqual([1, 2, 4]);
      await connection.rollbackToSavepoint("first");
      await connection.commit();
      connection.release();
      expect(await idsOf(open)).toEqual([1]);
    });

    test("a savepoint saves the transaction from a failed statement", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      await connection.savepoint("attempt");
      await expect(insert(open, 1, connection)).rejects.toSatisfy(
        (error) => open.engine.dialect.classify(error).code === "CONSTRAINT_UNIQUE",
      );
      await connection.rollbackToSavepoint("attempt");
      await insert(open, 2, connection);
      await connection.commit();
      connection.release();
      expect(await idsOf(open)).toEqual([1, 2]);
    });

    test("a release with an open transaction rolls it back", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      connection.release();
      connection.release();
      // Whoever gets the connection next is in no transaction of the one before.
      const next = await open.database.acquire();
      await insert(open, 2, next);
      next.release();
      expect(await idsOf(open)).toEqual([2]);
    });

    test("a broken connection's transaction is rolled back too", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      await insert(open, 1, connection);
      connection.release(true);
      await insert(open, 2);
      expect(await idsOf(open)).toEqual([2]);
    });

    test("two writers of one row go one after the other", async () => {
      await using open = await openNotes(engine);
      await insert(open, 1);
      const add = async (text: string) => {
        const connection = await open.database.acquire();
        await connection.begin({ isolation: "read committed" });
        // Written out: PostgreSQL cannot tell the type of a parameter of concat().
        await open.run(`update notes set body = concat(body, '${text}') where id = 1`, [], connection);
        await connection.commit();
        connection.release();
      };
      await Promise.all(["a", "b", "c", "d"].map(add));
      const [body] = await open.column("select body from notes");
      expect([...String(body).slice("note 1".length)].sort()).toEqual(["a", "b", "c", "d"]);
    });

    test("a stream inside a transaction sees the transaction's own rows", async () => {
      await using open = await openNotes(engine);
      const connection = await open.database.acquire();
      await connection.begin();
      for (let id = 1; id <= 25; id++) await insert(open, id, connection);
      const sizes: number[] = [];
      for await (const chunk of connection.stream(open.statement("select id from notes order by id"), 10))
        sizes.push(chunk.length);
      expect(sizes).toEqual([10, 10, 5]);
      for await (const chunk of connection.stream(open.statement("select id from notes order by id"), 10)) {
        expect(Number(chunk[0]?.["id"])).toBe(1);
        break;
      }
      // The cursor was closed early: the transaction goes on.
      await insert(open, 26, connection);
      await connection.commit();
      connection.release();
      expect(await idsOf(open)).toHaveLength(26);
    });

    test("changes of tables are undone with the transaction, where the engine says so", async () => {
      await using open = await openNotes(engine);
      if (!open.engine.dialect.capabilities.transactionalDdl) return;
      const other = controlTable("others", [controlColumn("id", { kind: "int" })], ["id"]);
      const connection = await open.database.acquire();
      await connection.begin();
      for (const sql of open.engine.dialect.createTable(other))
        await connection.run({ sql, parameters: [], prepare: false });
      await connection.rollback();
      connection.release();
      expect(await open.column(open.engine.dialect.listTablesSql)).toEqual(["notes"]);
    });
  });
});
