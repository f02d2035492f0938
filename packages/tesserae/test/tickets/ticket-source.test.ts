import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { POOL_DEFAULTS } from "../../src/engine/contract.ts";
import { ticketServerTables } from "../../src/engine/control-tables.ts";
import { TableTicketSource } from "../../src/tickets/table-ticket-source.ts";
import type { TicketSequence } from "../../src/tickets/ticket-source.ts";
import { Tickets } from "../../src/tickets/tickets.ts";
import { engineAt, OpenDatabase } from "../engine/open-database.ts";

const dots: TicketSequence = { name: "dots", start: 1n, max: 2n ** 63n - 2n };
const sheets: TicketSequence = { name: "sheets", start: 1n, max: 2n ** 31n - 1n };

forEachEngine((engine) => {
  describe(`ticket counters on ${engine.name}`, () => {
    test("first use makes the row, whoever is first; sequences are independent", async () => {
      await using db = await OpenDatabase.of(engine);
      await db.createTables(...ticketServerTables());
      const source = new TableTicketSource(db.database);
      const blocks = await Promise.all(Array.from({ length: 8 }, () => source.lease(dots, 100)));
      expect(blocks.map(({ first }) => first).toSorted((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 8 }, (_, i) => BigInt(i * 100 + 1)),
      );
      expect(await source.lease({ ...sheets, start: 500n }, 10)).toEqual({
        first: 500n,
        count: 10,
        step: 1n,
      });
      expect(await source.lease({ ...sheets, start: 1n }, 10)).toMatchObject({ first: 510n });
    });

    test("a sequence ends at its bound with an error, gives what is left, and never wraps", async () => {
      await using db = await OpenDatabase.of(engine);
      await db.createTables(...ticketServerTables());
      for (const [name, max] of [
        ["narrow", 2n ** 31n - 1n],
        ["wide", 2n ** 63n - 2n],
      ] as const) {
        const sequence = { name, max, start: max - 4n };
        const tickets = new Tickets({
          source: new TableTicketSource(db.database),
          sequences: new Map([[name, sequence]]),
          ticketBlockIds: 3,
        });
        const ids: bigint[] = [];
        for (let i = 0; i < 5; i++) ids.push(await tickets.next(name));
        expect(ids).toEqual([max - 4n, max - 3n, max - 2n, max - 1n, max]);
        await expect(tickets.next(name)).rejects.toMatchObject({
          code: "TICKET_SEQUENCE_EXHAUSTED",
          cluster: "tickets",
        });
        await expect(tickets.take(name, 2)).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
      }
    });

    test("take gives the last ids of a sequence to those who ask for no more", async () => {
      await using db = await OpenDatabase.of(engine);
      await db.createTables(...ticketServerTables());
      const short = { name: "short", start: 1n, max: 5n };
      const tickets = new Tickets({
        source: new TableTicketSource(db.database),
        sequences: new Map([["short", short]]),
      });
      await expect(tickets.take("short", 6)).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
      expect(await tickets.take("short", 5)).toEqual([1n, 2n, 3n, 4n, 5n]);
    });

    test("a caller's transaction that is rolled back gives no id out twice, nor does it hold others up", async () => {
      await using db = await OpenDatabase.of(engine);
      // The counters are where the engine keeps control state: for SQLite a file of its own.
      const control = db.engine.control().open({ ...POOL_DEFAULTS, connectionsMax: 3 });
      try {
        for (const sql of ticketServerTables().flatMap((table) => db.engine.dialect.createTable(table)))
          await control.run({ sql, parameters: [], prepare: false });
        const tickets = new Tickets({
          source: new TableTicketSource(control),
          sequences: new Map([["dots", dots]]),
          ticketBlockIds: 1,
        });
        await db.execute(["create table written (id integer)"]);
        const connection = await db.database.acquire();
        await connection.begin();
        await db.run("insert into written values (1)", [], connection);
        const inside = [await tickets.next("dots"), await tickets.next("dots"), await tickets.next("dots")];
        await connection.rollback();
        connection.release();
        const after = [await tickets.next("dots"), await tickets.next("dots")];
        expect(new Set([...inside, ...after]).size).toBe(5);
        await tickets.close();
      } finally {
        await control.close();
      }
    });

    test("several processes, some killed while they take: no id twice", async () => {
      await using databases = await engine.databases(1);
      const url = databases.urls[0] as string;
      const database = (await engineAt(url)).open(POOL_DEFAULTS);
      for (const sql of ticketServerTables().flatMap((table) => database.engine.dialect.createTable(table)))
        await database.run({ sql, parameters: [], prepare: false });
      await database.close();
      const taken: string[] = [];
      const start = (blockIds: number) => {
        const child = spawn(
          process.execPath,
          [
            "--conditions=tesserae-source",
            "--disable-warning=ExperimentalWarning",
            join(import.meta.dirname, "take-ids.child.ts"),
            url,
            String(blockIds),
          ],
          {
            stdio: ["ignore", "pipe", "inherit"],
          },
        );
        let text = "";
        child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        const ended = once(child, "close").then(() => {
          // A line that the kill cut off was never used by anyone.
          taken.push(
            ...text
              .slice(0, text.lastIndexOf("\n") + 1)
              .trimEnd()
              .split("\n")
              .filter(Boolean),
          );
        });
        return { child, ended, started: once(child.stdout, "data") };
      };
      const first = [start(5), start(50), start(1000)];
      await Promise.all(first.map(({ started }) => started));
      await new Promise((resolve) => setTimeout(resolve, 300));
      kill(first[0]?.child);
      kill(first[1]?.child);
      const second = [start(5), start(20)];
      await Promise.all(second.map(({ started }) => started));
      await new Promise((resolve) => setTimeout(resolve, 300));
      for (const { child } of [...first, ...second]) kill(child);
      await Promise.all([...first, ...second].map(({ ended }) => ended));
      expect(taken.length).toBeGreaterThan(500);
      expect(new Set(taken).size).toBe(taken.length);
    });
  });
});

function kill(child: ChildProcess | undefined): void {
  child?.kill("SIGKILL");
}
