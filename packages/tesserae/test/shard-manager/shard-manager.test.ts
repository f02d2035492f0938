/** The shard manager: selecting, filtering, transactions, and what must not happen to the selection when something fails. */
import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { federate, isTesseraeError, MultiTenantShardChooser, type ShardManager } from "../../src/index.ts";
import {
  addUser,
  type DotsFederation,
  dotsSchema,
  type OpenedFederation,
  openDots,
} from "../federation/dots-federation.ts";
import { refused } from "../federation/refused.ts";

forEachEngine((engine) => {
  describe(`the shard manager on ${engine.name}`, () => {
    let opened: OpenedFederation;
    let fed: DotsFederation;
    /** Ada and Bea on shard 1, Cem on shard 2, each with a sheet. */
    let ada: bigint;
    let bea: bigint;
    let cem: bigint;

    beforeAll(async () => {
      opened = await openDots(engine, 2);
      fed = opened.fed;
      ada = (await addUser(fed, "ada", 1)).id;
      bea = (await addUser(fed, "bea", 1)).id;
      cem = (await addUser(fed, "cem", 2)).id;
    });
    afterAll(() => opened?.[Symbol.asyncDispose]());

    // biome-ignore lint/suspicious/noExplicitAny: of any tables.
    const labels = async (manager: ShardManager<any, any>) =>
      (await manager.query("select label from sheets order by label")).map(({ label }) => label);

    it("selects a shard by a key, and main", async () => {
      await using manager = fed.shardManager();
      expect(manager.getCurrentDistributionValue()).toBeUndefined();
      expect((await manager.query("select name from users where id = ?", [ada]))[0]).toEqual({ name: "ada" });
      await manager.selectShard(cem);
      expect(manager.getCurrentDistributionValue()).toBe(cem);
      expect(await labels(manager)).toEqual(["cem's"]);
      await manager.selectShard(ada);
      expect(await labels(manager)).toEqual(["ada's", "bea's"]);
      await manager.selectGlobal();
      expect(manager.getCurrentDistributionValue()).toBeUndefined();
      expect(
        await manager.db.selectFrom("users").select("name").where("id", "=", bea).execute(),
      ).toHaveLength(1);
    });

    it("takes a whole number, a bigint and digits for one shard", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(ada);
      await manager.beginTransaction();
      await manager.selectShard(`${ada}`);
      await manager.selectShard(Number(ada));
      expect(manager.getCurrentDistributionValue()).toBe(ada);
      await manager.rollback();
      await manager.selectShard(`${cem}`);
      expect(manager.getCurrentDistributionValue()).toBe(cem);
      expect(await labels(manager)).toEqual(["cem's"]);
    });

    it("reads parameters written with ? wherever the engine has another form", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(ada);
      const rows = await manager.query(
        "select label, '?' as mark from sheets /* really? */ where user_id = ? and label <> ?",
        [ada, "it's ?"],
      );
      expect(rows).toEqual([{ label: "ada's", mark: "?" }]);
      const wrong = await refused("VALUE_INVALID", () =>
        manager.query("select label from sheets where id = ?", [1, 2]),
      );
      expect(wrong.message).toContain("(?): 1. Given: 2.");
    });

    it("keeps the selection when the key is unknown, is none, or the shard is", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(cem);
      await refused("KEY_UNKNOWN", () => manager.selectShard(999_999n));
      await refused("KEY_TYPE", () => manager.selectShard("1; drop table sheets"));
      await refused("KEY_NULL", () => manager.selectShard(null as never));
      expect(manager.getCurrentDistributionValue()).toBe(cem);
      expect(await labels(manager)).toEqual(["cem's"]);

      await using byNumber = fed.shardManager({ chooser: MultiTenantShardChooser });
      await byNumber.selectShard(2);
      for (const none of [0, 7, -1]) await refused("SHARD_UNKNOWN", () => byNumber.selectShard(none));
      expect(byNumber.getCurrentDistributionValue()).toBe(2n);
      expect(await labels(byNumber)).toEqual(["cem's"]);
    });

    it("asks choosers by class and by instance instead of the directory", async () => {
      for (const chooser of [MultiTenantShardChooser, new MultiTenantShardChooser()]) {
        await using manager = fed.shardManager({ chooser });
        await manager.selectShard("1");
        expect(await labels(manager)).toEqual(["ada's", "bea's"]);
        await refused("CHOOSER_INVALID", () => manager.setFilteringEnabled(true));
      }
      await refused("CHOOSER_INVALID", () => fed.shardManager({ chooser: {} as never }));
      await refused("CHOOSER_INVALID", () => fed.shardManager({ chooser: Date as never }));
    });

    it("switches no shard while a transaction is open", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(ada);
      await manager.beginTransaction();
      const refusal = await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.selectShard(cem));
      expect(refusal.message).toContain("shard 1 to shard 2");
      await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.selectGlobal());
      await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.queryAll("select 1 as one"));
      await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.setFilteringEnabled(true));
      await refused("TRANSACTION_NESTED", () => manager.beginTransaction());
      await refused("KEY_UNKNOWN", () => manager.selectShard(999_999n));
      expect(manager.getCurrentDistributionValue()).toBe(ada);
      await manager.execute("update sheets set label = ? where user_id = ?", ["changed", ada]);
      // Another key of the same shard.
      await manager.selectShard(bea);
      expect(await labels(manager)).toEqual(["bea's", "changed"]);
      await manager.rollback();
      expect(manager.isTransactionActive()).toBe(false);
      expect(await labels(manager)).toEqual(["ada's", "bea's"]);
      await refused("TRANSACTION_NONE", () => manager.commit());
      await manager.selectShard(cem);
    });

    it("commits, and rolls back what a closure throws", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(cem);
      const rename = (label: string) => manager.execute("update sheets set label = ?", [label]);
      await manager.beginTransaction();
      expect(await rename("one")).toBe(1n);
      await manager.commit();
      await expect(
        manager.transaction(async () => {
          await rename("two");
          await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.selectShard(ada));
          await refused("TRANSACTION_NONE", () => manager.commit());
          throw new Error("no");
        }),
      ).rejects.toThrow("no");
      expect(await labels(manager)).toEqual(["one"]);
      await manager.transaction(async (db) => {
        await db.updateTable("sheets").set({ label: "cem's" }).execute();
        expect(await labels(manager)).toEqual(["cem's"]);
      });
      expect(await labels(manager)).toEqual(["cem's"]);
    });

    it("rolls back and selects main when it is closed in a transaction", async () => {
      const manager = fed.shardManager();
      await manager.selectShard(cem);
      await manager.beginTransaction();
      await manager.execute("update sheets set label = 'lost'");
      await manager.close();
      expect(manager.isTransactionActive()).toBe(false);
      expect(manager.getCurrentDistributionValue()).toBeUndefined();
      await manager.selectShard(cem);
      expect(await labels(manager)).toEqual(["cem's"]);
      await refused("TRANSACTION_NONE", () =>
        manager.transaction(async (db) => {
          await db.updateTable("sheets").set({ label: "lost" }).execute();
          await manager.close();
        }),
      );
      await manager.selectShard(cem);
      expect(await labels(manager)).toEqual(["cem's"]);
      await manager.close();
    });

    it("filters by the selected key, and refuses raw SQL then", async () => {
      await using manager = fed.shardManager({ filtering: true });
      await manager.selectShard(ada);
      const read = () => manager.db.selectFrom("sheets").select("label").orderBy("label").execute();
      expect(await read()).toEqual([{ label: "ada's" }]);
      const refusal = await refused("RAW_REFUSED", () => manager.query("select label from sheets"));
      expect(refusal.message).toContain("setFilteringEnabled(false)");
      const id = await fed.tickets.next("sheets");
      await manager.db.insertInto("sheets").values({ id, label: "mine" }).execute();
      await manager.selectShard(bea);
      expect(
        (await manager.db.deleteFrom("sheets").where("id", "=", id).executeTakeFirst()).numDeletedRows,
      ).toBe(0n);
      await manager.beginTransaction();
      // The transaction's statements are bound to Bea's key.
      await refused("SHARD_SWITCH_IN_TRANSACTION", () => manager.selectShard(ada));
      expect(await read()).toEqual([{ label: "bea's" }]);
      await manager.rollback();
      await manager.selectShard(ada);
      await manager.db.deleteFrom("sheets").where("id", "=", id).execute();
      manager.setFilteringEnabled(false);
      expect(manager.isFilteringEnabled()).toBe(false);
      expect(await read()).toHaveLength(2);
      // Main's tables know no key.
      manager.setFilteringEnabled(true);
      await manager.selectGlobal();
      expect(await manager.query("select name from users where id = ?", [ada])).toEqual([{ name: "ada" }]);
    });

    it("keeps two requests apart, and the calls of one in their order", async () => {
      const [one, two] = [fed.shardManager(), fed.shardManager()];
      await Promise.all([one.selectShard(ada), two.selectShard(cem)]);
      await one.beginTransaction();
      await two.selectShard(bea);
      await two.selectShard(cem);
      expect(await labels(two)).toEqual(["cem's"]);
      expect(one.getCurrentDistributionValue()).toBe(ada);
      await two.close();
      expect(one.isTransactionActive()).toBe(true);
      await one.rollback();

      const last = await Promise.allSettled([
        one.selectShard(cem),
        one.selectShard(999_999n),
        one.selectShard(ada),
      ]);
      expect(last.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(one.getCurrentDistributionValue()).toBe(ada);
      // A switch that was called before the transaction comes before it; one after it is refused.
      const [, , late] = await Promise.allSettled([
        one.selectShard(cem),
        one.beginTransaction(),
        one.selectShard(ada),
      ]);
      expect(late.status === "rejected" && isTesseraeError(late.reason, "SHARD_SWITCH_IN_TRANSACTION")).toBe(
        true,
      );
      expect(await labels(one)).toEqual(["cem's"]);
      await one.close();
    });

    it("asks every shard, whatever is selected", async () => {
      await using manager = fed.shardManager({ filtering: true });
      await manager.selectShard(cem);
      const rows = await manager.queryAll("select label from sheets order by label");
      expect(rows).toEqual([{ label: "ada's" }, { label: "bea's" }, { label: "cem's" }]);
      expect(
        await manager.queryAll("select label from sheets where user_id in (?, ?)", [ada, cem], {
          shardColumn: "shard",
        }),
      ).toEqual([
        { label: "ada's", shard: 1 },
        { label: "cem's", shard: 2 },
      ]);
      expect(manager.getCurrentDistributionValue()).toBe(cem);
    });

    it("names the shard that fails a queryAll, which changes nothing", async () => {
      await using manager = fed.shardManager();
      await manager.selectShard(ada);
      await using byNumber = fed.shardManager({ chooser: MultiTenantShardChooser });
      await byNumber.selectShard(2);
      await byNumber.execute("create table only_here (n integer)");
      await byNumber.selectShard(1);
      const failure = await refused("QUERY_FAILED", () => manager.queryAll("select n from only_here"));
      expect(failure.shard).toBe(1);
      expect(failure.message).toContain("It was shard 1 that failed");
      expect(manager.getCurrentDistributionValue()).toBe(ada);
      expect(await labels(manager)).toEqual(["ada's", "bea's"]);
      await byNumber.selectShard(2);
      await byNumber.execute("drop table only_here");
    });

    it("writes on every shard only when it is told to", async () => {
      await using manager = fed.shardManager();
      const update = "update sheets set theme_id = null where theme_id is null";
      const refusal = await refused("FAN_OUT_READ_ONLY", () => manager.queryAll(update));
      expect(refusal.message).toContain("{ write: true }");
      expect(refusal.retryable).toBe(false);
      // Found out by the database alone.
      const table = "create table never_made (n integer)";
      const late = await refused("FAN_OUT_READ_ONLY", () => manager.queryAll(table));
      expect(late).toMatchObject({ retryable: false, message: expect.stringContaining("{ write: true }") });
      expect(await manager.queryAll(update, [], { write: true })).toEqual([]);
    });

    it("refuses options that do not exist", async () => {
      await using manager = fed.shardManager();
      const misspelt = { shardColum: "shard" } as object;
      const refusal = await refused("CONFIG_INVALID", () =>
        manager.queryAll("select 1 as one", [], misspelt),
      );
      expect(refusal.message).toContain('"shardColum"');
      await refused("CONFIG_INVALID", async () => fed.shardManager({ filter: true } as object));
    });

    it("keeps the selection when the next shard cannot be reached", async () => {
      const lame = await federate({
        ...opened.config,
        schema: dotsSchema,
        shards: { 1: opened.databases.urls[1] as string, 2: unreachable(opened.databases.urls[2] as string) },
        pool: { connectTimeoutMs: 2_000 },
        failover: { waitMs: 0 },
        budget: { serverConnectionsMax: 10_000 },
      });
      try {
        const manager = lame.shardManager();
        await manager.selectShard(ada);
        await expect(manager.selectShard(cem)).rejects.toSatisfy(isTesseraeError);
        expect(manager.getCurrentDistributionValue()).toBe(ada);
        expect(await labels(manager)).toEqual(["ada's", "bea's"]);
        const failure = await manager.queryAll("select label from sheets").catch((error: unknown) => error);
        expect(isTesseraeError(failure) && failure.shard).toBe(2);
        expect(await labels(manager)).toEqual(["ada's", "bea's"]);
        await manager.close();
      } finally {
        await lame.close();
      }
    });
  });
});

/** The same kind of database where nothing is. */
function unreachable(url: string): string {
  if (url.startsWith("sqlite:") || !url.includes("://")) return `${url}-missing/none.db`;
  const parsed = new URL(url);
  parsed.hostname = "127.0.0.1";
  parsed.port = "1";
  for (const name of ["socketPath", "host"]) parsed.searchParams.delete(name);
  return parsed.href;
}
