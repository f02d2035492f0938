/** A stream whose connection is lost ends with an error, at whatever moment that happens: who reads it must never wait for good. */
import { forEachEngine, TcpProxy } from "@tesserae/test-support";
import Cursor from "pg-cursor";
import { describe, expect, test, vi } from "vitest";
import type { Connection, Database } from "../../src/engine/contract.ts";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { engineAt } from "./open-database.ts";

const SQL = "select 1 as n union all select 2 union all select 3";

async function rowsOf(connection: Connection, prepare: boolean): Promise<number> {
  let rows = 0;
  for await (const chunk of connection.stream({ sql: SQL, parameters: [], prepare }, 2)) rows += chunk.length;
  return rows;
}

async function throughProxy(
  urls: readonly string[],
  work: (database: Database, proxy: TcpProxy) => Promise<void>,
): Promise<void> {
  const url = urls[0] as string;
  await using proxy = await TcpProxy.toUrl(url);
  const database = (await engineAt(proxy.url(url))).open(POOL_DEFAULTS);
  try {
    await work(database, proxy);
  } finally {
    await database.close(0);
  }
}

/** The code of the error that the engine's dialect sees in what the work was rejected with. */
async function codeOf(database: Database, work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    (result) => `no error, but ${String(result)}`,
    (reason: unknown) => reason,
  );
  return database.engine.dialect.classify(error).code;
}

forEachEngine((engine) => {
  // A SQLite file has no connection that could be lost.
  describe.skipIf(engine.name === "sqlite")(`streams whose connection is lost on ${engine.name}`, () => {
    for (const prepare of [true, false])
      test(`before the statement is sent, ${prepare ? "prepared" : "as text"}`, async () => {
        const fresh = await engine.databases(1);
        await throughProxy(fresh.urls, async (database, proxy) => {
          const connection = await database.acquire();
          await connection.begin({ isolation: "repeatable read", readOnly: true });
          proxy.drop();
          await vi.waitFor(() => expect(database.stats.open).toBe(0));
          expect(await codeOf(database, rowsOf(connection, prepare))).toBe("CONNECTION_LOST");
          connection.release(true);
        });
        await fresh.cleanUp();
      });

    test("between two pieces", async () => {
      const fresh = await engine.databases(1);
      await throughProxy(fresh.urls, async (database, proxy) => {
        const connection = await database.acquire();
        const work = (async () => {
          const large = { sql: `select 1 as n ${"union all select 1 ".repeat(500)}`, parameters: [] };
          for await (const _ of connection.stream({ ...large, prepare: false }, 2)) proxy.drop();
        })();
        const code = await codeOf(database, work);
        // MariaDB sends all rows at once, and those that have arrived may be given first.
        expect(["CONNECTION_LOST", ...(engine.name === "mysql" ? ["QUERY_FAILED"] : [])]).toContain(code);
        connection.release(true);
      });
      await fresh.cleanUp();
    });
  });

  describe.skipIf(engine.name === "sqlite")(`streams whose statement fails on ${engine.name}`, () => {
    for (const streamWhole of [true, false])
      test(`behind rows that wait to be read, ${streamWhole ? "whole" : "in portions"}`, async () => {
        const fresh = await engine.databases(1);
        const database = (await engineAt(fresh.urls[0] as string)).open(POOL_DEFAULTS);
        const sql =
          engine.name === "mysql"
            ? "select seq, if(seq = 250, (select 1 union select 2), 1) as n from seq_1_to_300"
            : "select 1 / (250 - i) as n from generate_series(1, 300) as i";
        const connection = await database.acquire();
        let rows = 0;
        const read = (async () => {
          for await (const chunk of connection.stream({ sql, parameters: [], streamWhole }, 100))
            rows += chunk.length;
        })();
        await expect(read).rejects.toThrow(engine.name === "mysql" ? "more than 1 row" : "division by zero");
        expect(rows).toBe(200);
        connection.release();
        expect((await database.run({ sql: "select 7 as n", parameters: [] })).rows).toHaveLength(1);
        await database.close();
        await fresh.cleanUp();
      });
  });

  describe.runIf(engine.name === "postgres")("pg-cursor's answers", () => {
    test("the connection is lost between the last row and the end of the statement", async () => {
      const fresh = await engine.databases(1);
      const told = Cursor.prototype as unknown as { handleCommandComplete(message: unknown): void };
      const { handleCommandComplete } = told;
      try {
        await throughProxy(fresh.urls, async (database, proxy) => {
          const connection = await database.acquire();
          let completed = 0;
          told.handleCommandComplete = function (message) {
            completed += 1;
            proxy.stall();
            handleCommandComplete.call(this, message);
            proxy.drop();
          };
          expect(await codeOf(database, rowsOf(connection, true))).toBe("CONNECTION_LOST");
          expect(completed).toBe(1);
          connection.release(true);
        });
      } finally {
        told.handleCommandComplete = handleCommandComplete;
        await fresh.cleanUp();
      }
    });
  });
});
