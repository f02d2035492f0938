import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { forEachEngine, type TestEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Federation, federate } from "../../src/index.ts";
import { countedSchema, nearTheEndSchema } from "./counted-schema.ts";

const INT_MAX = 2 ** 31 - 1;

async function open(engine: TestEngine) {
  const databases = await engine.databases(1);
  const url = databases.urls[0] as string;
  const fed = await federate({ schema: countedSchema, main: url });
  await fed.schema.apply();
  return { fed, url, databases };
}

/** Runs processes at once, and gives what they wrote. */
async function runProcesses(count: number, ...parameters: string[]): Promise<string[]> {
  const outputs = await Promise.all(
    Array.from({ length: count }, async () => {
      const child = spawn(
        process.execPath,
        [
          "--conditions=tesserae-source",
          "--disable-warning=ExperimentalWarning",
          join(import.meta.dirname, "take-table-ids.child.ts"),
          ...parameters,
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      const [code] = await once(child, "close");
      expect(code).toBe(0);
      return text.trimEnd().split("\n");
    }),
  );
  return outputs.flat();
}

forEachEngine((engine) => {
  describe(`ids by the schema on ${engine.name}`, () => {
    let fed: Federation<typeof countedSchema>;
    let opened: Awaited<ReturnType<typeof open>>;
    beforeAll(async () => {
      opened = await open(engine);
      fed = opened.fed;
    });
    afterAll(async () => {
      await fed.close();
      await opened.databases[Symbol.asyncDispose]();
    });

    test("have the column's type, by whatever kind the schema says", async () => {
      expect(await fed.ids.next("users")).toBe(1);
      expect(await fed.ids.take("users", 2)).toEqual([2, 3]);
      expect(await fed.ids.next("dots")).toBe(1n);
      expect(await fed.ids.next("links")).toMatch(/^[0-9a-f-]{36}$/);
      expect(new Set(await fed.ids.take("links", 50)).size).toBe(50);
      expect(await fed.ids.next("invoices")).toBe(10);
      expect(await fed.ids.take("invoices", 3)).toEqual([13, 16, 19]);
      expect(await fed.ids.next("invoices")).toBe(22);
      // One sequence, two columns: a bigint and a number.
      expect(await fed.ids.next("orders", { column: "id" })).toBe(1n);
      expect(await fed.ids.next("reminders")).toBe(11);
      expect(await fed.ids.take("orders", 2, { column: "id" })).toEqual([21n, 31n]);
      expect(await fed.ids.next("orders", { column: "number" })).toBe(1);
    });

    test("are refused where the library makes none, with what to do", async () => {
      const ids = fed.ids as unknown as { next(table: string, options?: object): Promise<unknown> };
      for (const [table, options, code, message] of [
        ["themes", undefined, "ID_NATURAL", "Give them in the insert yourself"],
        ["users", { column: "name" }, "ID_NATURAL", ".ticket()"],
        ["events", undefined, "ID_NATURAL", "Leave it out of the insert"],
        ["orders", undefined, "ID_COLUMN_AMBIGUOUS", '{ column: "id" }'],
        ["order", undefined, "VALUE_INVALID", "orders"],
        ["orders", { column: "name" }, "VALUE_INVALID", "number"],
      ] as const)
        await expect(ids.next(table, options)).rejects.toMatchObject({
          code,
          message: expect.stringContaining(message),
        });
      await expect(fed.ids.take("links", 0)).rejects.toMatchObject({ code: "VALUE_INVALID" });
    });

    test("a caller's rollback gives none of a table sequence back, nor does its transaction wait", async () => {
      const before = await fed.ids.next("invoices");
      const inside: number[] = [];
      await fed.main
        .transaction()
        .execute(async (tx) => {
          await tx.insertInto("themes").values({ id: 1n, label: "day" }).execute();
          inside.push(await fed.ids.next("invoices"), ...(await fed.ids.take("invoices", 2)));
          throw new Error("rolled back");
        })
        .catch(() => {});
      expect(inside).toEqual([before + 3, before + 6, before + 9]);
      expect(await fed.ids.next("invoices")).toBe(before + 12);
    });

    test("several processes take each id of a table sequence once, with none between, whatever the step", async () => {
      const first = (await fed.ids.next("invoices")) + 3;
      const firstOrder = (await fed.ids.next("orders", { column: "id" })) + 10n;
      const lines = await runProcesses(3, opened.url, "60");
      const numbers = (what: string) =>
        lines
          .filter((line) => line.startsWith(what))
          .map((line) => Number(line.slice(what.length + 1)))
          .toSorted((a, b) => a - b);
      expect(numbers("invoice")).toEqual(Array.from({ length: 180 }, (_, i) => first + 3 * i));
      expect(numbers("order")).toEqual(Array.from({ length: 45 }, (_, i) => Number(firstOrder) + 10 * i));
    }, 60_000);

    test("processes that lease blocks and processes that take one by one never give the same id", async () => {
      const main = opened.url;
      await using single = await federate({ schema: countedSchema, main, ticketing: { mode: "single" } });
      await using mixed = await federate({
        schema: countedSchema,
        main,
        ticketing: { blockIds: 7, sequences: { users: { mode: "single" } } },
      });
      const taken: (bigint | number)[] = [];
      for (let i = 0; i < 15; i++) {
        const at = await Promise.all([
          ...[fed, single, mixed].map(({ ids }) => ids.next("dots")),
          ...[fed, single, mixed].map(({ ids }) => ids.next("users")),
          mixed.ids.take("dots", 9),
        ]);
        taken.push(...at.flat().map((id) => (typeof id === "number" ? -id : id)));
      }
      expect(new Set(taken).size).toBe(15 * 15);
    });

    test("a sequence begins and ends in order: at its column's last id it gives what is left", async () => {
      await using databases = await engine.databases(1);
      await using ended = await federate({
        schema: nearTheEndSchema,
        main: databases.urls[0] as string,
        ticketing: { sequences: { few: { start: BigInt(INT_MAX) } } },
      });
      await ended.schema.apply();
      // Exact beyond 2^53, for the first one and for those after it.
      expect(await ended.ids.next("high")).toBe(2n ** 62n + 1n);
      expect(await ended.ids.next("high")).toBe(2n ** 62n + 4n);
      expect(await ended.ids.take("high", 2)).toEqual([2n ** 62n + 7n, 2n ** 62n + 10n]);
      // Whoever is first makes the counter, and the others find it.
      const firstOnes = await Promise.all(Array.from({ length: 12 }, () => ended.ids.next("fresh")));
      expect(firstOnes.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => 1 + 3 * i));
      expect(await ended.ids.take("narrow", 2)).toEqual([INT_MAX - 7, INT_MAX - 4]);
      await expect(ended.ids.take("narrow", 2)).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
      expect(await ended.ids.next("narrow")).toBe(INT_MAX - 1);
      await expect(ended.ids.next("narrow")).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
      const tickets = { code: "TICKET_SEQUENCE_EXHAUSTED", cluster: "tickets" };
      expect(await ended.ids.next("few")).toBe(INT_MAX);
      await expect(ended.ids.next("few")).rejects.toMatchObject(tickets);
      expect(await ended.ids.next("wide")).toBe(2n ** 63n - 3n);
      await expect(ended.ids.next("wide")).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
      await expect(ended.ids.next("wide")).rejects.toMatchObject({ code: "TICKET_SEQUENCE_EXHAUSTED" });
    });
  });
});
