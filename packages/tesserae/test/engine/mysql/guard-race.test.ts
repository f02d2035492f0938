/**
 * The guard against freezes that race with writers, on MariaDB: a freeze waits for the transactions that have written, and no row of a later moment gets in.
 * Inserts in one statement of many rows go through the guard's memory of the statement's key, so they race too.
 */
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import type { Connection, IsolationLevel } from "../../../src/engine/contract.ts";
import { shardControlTables } from "../../../src/engine/control-tables.ts";
import { bigint, int } from "../../../src/schema/column.ts";
import { defineSchema } from "../../../src/schema/define-schema.ts";
import type { TableModel } from "../../../src/schema/model.ts";
import { federated } from "../../../src/schema/table.ts";
import { OpenDatabase } from "../open-database.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: { entries: federated("owner", { owner: bigint(), id: bigint(), round: int().nullable() }) },
});
const table = model.tables.get("entries") as TableModel;
const federation = [...model.federations.values()][0]!;

const RESIDENCE = "tesserae_residence_default";
const OWNER = 7n;
const ROUNDS = 30;
const WRITERS = 6;

/** What a writer sends: single rows and many, alone and in a transaction with a savepoint that is taken back. */
async function write(
  open: OpenDatabase,
  on: Connection,
  isolation: IsolationLevel,
  id: bigint,
): Promise<void> {
  const insert = (rows: number, from: bigint) => {
    const values = Array.from({ length: rows }, (_, i) => [OWNER, from + BigInt(i)]);
    return open.run(
      `insert into entries (owner, id) values ${values.map(() => "(?, ?)").join(", ")}`,
      values.flat(),
      on,
    );
  };
  switch (Number((id / 100n) % 4n)) {
    case 0:
      await insert(1, id);
      return;
    case 1:
      await insert(20, id);
      return;
    default:
      await on.begin({ isolation });
      await on.savepoint("before");
      await insert(1, id);
      await on.rollbackToSavepoint("before");
      await insert(3, id + 10n);
      await open.run("update entries set round = 0 where owner = ? and id = ?", [OWNER, id + 10n], on);
      await on.commit();
  }
}

async function writeUntil(
  open: OpenDatabase,
  isolation: IsolationLevel,
  writer: number,
  over: () => boolean,
) {
  const connection = await open.database.acquire();
  const { dialect } = open.engine;
  const counts = { written: 0, refused: 0 };
  await connection.run({
    sql: `set session transaction isolation level ${isolation}`,
    parameters: [],
    prepare: false,
  });
  for (let i = 0; !over(); i++) {
    try {
      await write(open, connection, isolation, BigInt(writer * 10_000_000 + i * 100));
      counts.written += 1;
    } catch (error) {
      const { code } = dialect.classify(error);
      expect(["GUARD_REFUSED", "DEADLOCK"]).toContain(code);
      counts.refused += 1;
      await connection.rollback();
    }
  }
  connection.release();
  return counts;
}

/** Freezes, counts twice with a pause between, thaws. */
async function freeze(open: OpenDatabase, kind: "p" | "r"): Promise<void> {
  const mover = await open.database.acquire();
  const setState = async (state: string) => {
    await mover.begin({ isolation: "read committed" });
    await open.run(`update ${RESIDENCE} set state = ? where kind = ? and state <> 'x'`, [state, kind], mover);
    await mover.commit();
  };
  const count = async () => (await open.column("select count(*) from entries", mover))[0];
  await setState("frozen");
  const before = await count();
  await new Promise((resolve) => setTimeout(resolve, 4));
  expect(await count()).toBe(before);
  await setState("here");
  mover.release();
}

forEachEngine((engine) => {
  if (engine.name !== "mysql") return;
  describe("the guard against racing freezes on mysql", () => {
    for (const isolation of ["repeatable read", "read committed"] as const) {
      for (const kind of ["p", "r"] as const) {
        test(`lets no row through a frozen ${kind === "p" ? "point" : "range"} under ${isolation}`, async () => {
          await using open = await OpenDatabase.of(engine);
          await open.createTables(...shardControlTables([federation]), table);
          await open.execute(open.engine.dialect.createGuard(table, federation));
          const low = kind === "p" ? OWNER : -(2n ** 63n);
          await open.run(`insert into ${RESIDENCE} (kind, low, epoch, state) values (?, ?, 1, 'here')`, [
            kind,
            low,
          ]);
          let over = false;
          const writers = Array.from({ length: WRITERS }, (_, writer) =>
            writeUntil(open, isolation, writer, () => over),
          );
          try {
            for (let round = 0; round < ROUNDS; round++) {
              await freeze(open, kind);
              await new Promise((resolve) => setTimeout(resolve, 6));
            }
          } finally {
            over = true;
          }
          const counts = await Promise.all(writers);
          // A race in which one side never ran proves nothing.
          expect(counts.reduce((sum, { written }) => sum + written, 0)).toBeGreaterThan(100);
          expect(counts.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(ROUNDS);
        });
      }
    }

    test("trusts no clock that stands still, in any session", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.createTables(...shardControlTables([federation]), table);
      await open.execute(open.engine.dialect.createGuard(table, federation));
      await open.run(`insert into ${RESIDENCE} (kind, low, epoch, state) values ('p', ?, 1, 'here')`, [
        OWNER,
      ]);
      const connection = await open.database.acquire();
      const execute = (sql: string) => connection.run({ sql, parameters: [], prepare: false });
      // As a SQL prompt, which the engine has not set up.
      await execute("set @tesserae_session = null, timestamp = 1700000000.5");
      await open.run("insert into entries (owner, id) values (?, 1), (?, 2)", [OWNER, OWNER], connection);
      await open.run(`update ${RESIDENCE} set state = 'frozen'`);
      const late = open.run("insert into entries (owner, id) values (?, 3)", [OWNER], connection);
      await expect(late).rejects.toThrow("TESSERAE_GUARD:not_here");
      connection.release(true);
    });

    test("looks again in each statement of a procedure, and in a transaction of its own", async () => {
      await using open = await OpenDatabase.of(engine);
      await open.createTables(...shardControlTables([federation]), table);
      await open.execute(open.engine.dialect.createGuard(table, federation));
      await open.run(`insert into ${RESIDENCE} (kind, low, epoch, state) values ('p', ?, 1, 'here')`, [
        OWNER,
      ]);
      await open.execute([
        `create procedure write_twice() begin
           insert into entries (owner, id) values (7, 1), (7, 2);
           commit;
           update ${RESIDENCE} set state = 'frozen';
           insert into entries (owner, id) values (7, 3);
         end`,
      ]);
      await expect(
        open.database.run({ sql: "call write_twice()", parameters: [], prepare: false }),
      ).rejects.toThrow("TESSERAE_GUARD:not_here");
      expect(await open.column("select id from entries order by id")).toEqual([1n, 2n]);
    });
  });
});
