/** The harness without moves: writers, ledger, faults of network and servers; and that the check finds what it is there to find. */
import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ChaosSite, ENGINE_PLANS, type EnginePlan, ServerFarm } from "./chaos-site.ts";
import { type LedgerContents, readLedgers } from "./ledger.ts";
import { checkSite, readSite, type SiteContents } from "./site-check.ts";

const KEYS = ["1", "2"];

forEachEngine((engine) => {
  describe(`the ledger and its check, on ${engine.name}`, () => {
    const farm = new ServerFarm();
    let site: ChaosSite;

    beforeAll(async () => {
      const plan = ENGINE_PLANS.find(({ name }) => name === engine.name) as EnginePlan;
      site = await ChaosSite.open(plan, farm);
      await site.fed.tenants.add(1n, { shard: 1 });
      await site.fed.tenants.add(2n, { shard: 2 });
    });

    afterAll(async () => {
      await site?.[Symbol.asyncDispose]();
      await farm[Symbol.asyncDispose]();
    });

    const check = async () => checkSite(await readSite(site.addresses), readLedgers(site.ledgerFolder));

    test("holds for writers of which one is killed", async () => {
      const writers = [site.start("writers"), site.start("writers")] as const;
      for (const writer of writers) await writer.ready();
      await Promise.all(
        writers.map((writer, seed) => writer.ask({ verb: "write", keys: KEYS, seed, pauseMs: 2 })),
      );
      await expect
        .poll(() => readLedgers(site.ledgerFolder).counts.acknowledged, { timeout: 20_000 })
        .toBeGreaterThan(150);
      await writers[1].kill();
      await writers[0].ask({ verb: "stopWriting" });
      const ledger = readLedgers(site.ledgerFolder);
      expect(ledger.counts.refused).toBe(0);
      expect(ledger.counts.unknown).toBeLessThanOrEqual(KEYS.length);
      expect(await check()).toEqual([]);
    });

    test.skipIf(engine.name === "sqlite")("holds across a bad network", async () => {
      const writer = await site.start("writers").ready();
      await writer.ask({ verb: "write", keys: KEYS, seed: 7, pauseMs: 2 });
      const written = async (more: number) => {
        const { acknowledged } = readLedgers(site.ledgerFolder).counts;
        await expect
          .poll(() => readLedgers(site.ledgerFolder).counts.acknowledged, { timeout: 20_000 })
          .toBeGreaterThan(acknowledged + more);
      };
      for (const place of ["source", "target"] as const) {
        await written(10);
        site.proxy("writers", place).drop();
        await written(10);
        site.proxy("writers", place).swallow();
        await new Promise((resolve) => setTimeout(resolve, 50));
        site.heal();
        await written(10);
        site.proxy("writers", place).refuse();
        site.proxy("writers", place).drop();
        await new Promise((resolve) => setTimeout(resolve, 50));
        site.heal();
      }
      await written(10);
      await writer.ask({ verb: "stopWriting" });
      expect(await check()).toEqual([]);
    });

    test.skipIf(engine.name === "sqlite")("holds when servers are killed", async () => {
      const writer = await site.start("writers").ready();
      await writer.ask({ verb: "write", keys: KEYS, seed: 8, pauseMs: 2 });
      for (const place of ["source", "main"] as const) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        await site.server(place).kill();
        await site.server(place).restart();
      }
      await writer.ask({ verb: "stopWriting" });
      await writer.ask({ verb: "writeSome", keys: KEYS, seed: 9, writes: 1 });
      expect(await check()).toEqual([]);
    });

    test("finds what is wrong", async () => {
      const contents = await readSite(site.addresses);
      const ledger = readLedgers(site.ledgerFolder);
      const open = new Set(
        ledger.open.flatMap(({ changes }) => changes.map(({ table, key, id }) => `${table} ${key}/${id}`)),
      );
      const problems = (broken: Partial<SiteContents>, with_: Partial<LedgerContents> = {}) =>
        checkSite({ ...contents, ...broken }, { ...ledger, ...with_ });
      expect(problems({})).toEqual([]);
      const [first, second] = contents.shards as [SiteContents["shards"][0], SiteContents["shards"][0]];
      const [name, row] = [...first.rows].find(([each]) => !open.has(each)) as [
        string,
        { owner: bigint; text: string },
      ];

      const withFirst = (rows: ReadonlyMap<string, { owner: bigint; text: string }>) =>
        problems({ shards: [{ ...first, rows }, second] });
      const without = new Map(first.rows);
      without.delete(name);
      expect(withFirst(without)).toEqual([expect.stringMatching(`^${name} is absent; `)]);
      expect(withFirst(new Map([...first.rows, [name, { ...row, text: "[]" }]]))).toEqual([
        expect.stringMatching(`^${name.replace("/", "\\/")} is \\[\\]; `),
      ]);
      expect(withFirst(new Map([...first.rows, ["items 1/5", row]]))).toEqual([
        "items 1/5 is there, and nobody wrote it",
      ]);
      expect(
        problems({ shards: [first, { ...second, rows: new Map([...second.rows, [name, row]]) }] }),
      ).toEqual([`${name} is on shard 2; its key lives on shard 1`]);

      const half = {
        name: "w 1 (test)",
        operation: "test",
        outcome: "unknown" as const,
        changes: [
          { table: "items" as const, key: "1", id: "5", before: null, after: "x" },
          { table: "items" as const, key: "1", id: "6", before: null, after: "y" },
        ],
      };
      const halves = new Map([...first.rows, ["items 1/5", { owner: 1n, text: "x" }]]);
      expect(
        problems({ shards: [{ ...first, rows: halves }, second] }, { open: [...ledger.open, half] }),
      ).toEqual([expect.stringContaining("neither there nor not")]);
      halves.set("items 1/6", { owner: 1n, text: "y" });
      expect(
        problems({ shards: [{ ...first, rows: halves }, second] }, { open: [...ledger.open, half] }),
      ).toEqual([]);

      const [residence] = first.residences as [SiteContents["shards"][0]["residences"][0]];
      for (const wrong of [{ epoch: residence.epoch + 1n }, { state: "frozen" }, { state: "leaving" }]) {
        const residences = [{ ...residence, ...wrong }];
        expect(problems({ shards: [{ ...first, residences }, second] }).length).toBeGreaterThan(0);
      }
      expect(problems({ shards: [{ ...first, residences: [] }, second] })).toEqual([
        "key 1 lives on shard 1, which does not serve it",
      ]);
      expect(
        problems({ shards: [first, { ...second, residences: [...second.residences, residence] }] }),
      ).toEqual([expect.stringContaining("the directory has nothing there")]);
      expect(problems({ shards: [{ ...first, logEntries: 1 }, second] })).toHaveLength(1);
      expect(problems({ moves: ["move 1"] })).toEqual(["move 1"]);
      expect(problems({}, { strange: ["seen"] })).toEqual(["seen"]);
    });
  });
});
