/** What reads see of a key that moves: as the lease allows, or strictly. */
import { forEachEngine } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TesseraeError } from "../../src/index.ts";
import { DIRECTORY_LOOKUP, MovingFederation, residenceLookup } from "./moving-federation.ts";
import { sentTo } from "./observed-engine.ts";
import { refused } from "./refused.ts";

const sheetSelect = sentTo("shard 1", /^select .* from .sheets/);

forEachEngine((engine) => {
  describe(`reads of a key that moves, on ${engine.name}`, () => {
    let moving: MovingFederation;
    let nextKey = 1n;
    let nextId = 1n;

    /** A key with the sheet "old" on shard 1 and, past the guard's eyes, the sheet "new" on shard 2. */
    async function newKey(): Promise<bigint> {
      const key = await moving.addKey(nextKey++);
      await moving.fed.at(key).insertInto("sheets").values({ id: nextId++, label: "old" }).execute();
      await moving.setResidence(2, key, "here");
      await moving.onShard(2, `insert into sheets (id, user_id, label) values (${nextId++}, ${key}, 'new')`);
      await moving.setResidence(2, key, "arriving");
      moving.observer.forget();
      return key;
    }
    const strict = (key: bigint) => moving.fed.at(key, { consistency: "strict" });
    const read = async (session: Pick<ReturnType<typeof strict>, "selectFrom">) =>
      (await session.selectFrom("sheets").select("label").execute()).map(({ label }) => label);

    beforeAll(async () => {
      moving = await MovingFederation.open(engine);
    });
    afterAll(async () => {
      await moving?.[Symbol.asyncDispose]();
    });

    it("are as old as the lease, or strict where that is asked for", async () => {
      const key = await newKey();
      await moving.move(key);
      expect(await read(moving.fed.at(key))).toEqual(["old"]);
      expect(await read(strict(key))).toEqual(["new"]);
      // The strict one has brought the news.
      expect(await read(moving.fed.at(key))).toEqual(["new"]);
    });

    it("with a signal are made once again where the connection was lost", async () => {
      const key = await newKey();
      const lose = () => {
        throw new TesseraeError("CONNECTION_LOST", "The connection was lost.");
      };
      const { signal } = new AbortController();
      const labels = () => moving.fed.at(key).selectFrom("sheets").select("label").execute({ signal });
      moving.observer.once("before", sheetSelect, lose);
      expect(await labels()).toEqual([{ label: "old" }]);
      const more = moving.observer.always(sheetSelect, lose);
      moving.observer.forget();
      await refused("CONNECTION_LOST", labels);
      more();
      expect(moving.observer.count(sheetSelect)).toBe(2);
    });

    it("ask main nothing while the key stays where it is", async () => {
      const key = await newKey();
      expect(await read(strict(key))).toEqual(["old"]);
      await moving.setResidence(1, key, "leaving");
      expect(await read(strict(key))).toEqual(["old"]);
      expect(moving.observer.count(residenceLookup(1))).toBe(2);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(0);
    });

    it("ask main where the residence lies on both sides of the commit", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      expect(await read(strict(key))).toEqual(["old"]);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(1);
      await moving.setDirectory(key, 2, 2n);
      expect(await read(strict(key))).toEqual(["new"]);
      // Arriving, and main's own answer.
      expect(await read(strict(key))).toEqual(["new"]);
      expect(moving.observer.count(sheetSelect)).toBe(2);
    });

    it("share their questions to main, however many they are", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const reads = Array.from({ length: 100 }, () => read(strict(key)));
      expect(new Set((await Promise.all(reads)).flat())).toEqual(new Set(["old"]));
      // How many share one depends on when their answers come.
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBeLessThan(100);
    });

    it("are made again when the key was cut over while they ran", async () => {
      const key = await newKey();
      moving.observer.once("after", sheetSelect, () => moving.move(key));
      expect(await read(strict(key))).toEqual(["new"]);
      expect(moving.observer.count(sheetSelect)).toBe(1);
    });

    it("are made again when the key came back meanwhile: the epoch tells", async () => {
      const key = await newKey();
      moving.observer.once("after", sheetSelect, async () => {
        await moving.move(key);
        await moving.setResidence(2, key, "frozen", 2n);
        await moving.setDirectory(key, 1, 3n);
        await moving.setResidence(1, key, "here", 3n);
        await moving.onShard(1, `update sheets set label = 'back' where user_id = ${key}`);
      });
      expect(await read(strict(key))).toEqual(["back"]);
    });

    it("that lock rows are strict, too", async () => {
      const key = await newKey();
      await moving.move(key);
      const locking = strict(key).selectFrom("sheets").select("label");
      // SQLite's transactions lock the whole database.
      const rows = await (engine.name === "sqlite" ? locking : locking.forUpdate()).execute();
      expect(rows).toEqual([{ label: "new" }]);
    });

    it("are refused where shard and directory contradict each other", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "gone");
      await refused("RESIDENCE_CONFLICT", () => read(strict(key)));
      await moving.deleteResidence(1, key);
      await refused("RESIDENCE_CONFLICT", () => read(strict(key)));
    });

    it("of a key that a range serves have the range's residence", async () => {
      const low = 1_000_000n + nextKey++ * 100n;
      await moving.fed.tenants.addRange({ low, high: low + 50n }, { shard: 1 });
      const key = low + 7n;
      await moving.fed.at(key).insertInto("sheets").values({ id: nextId++, label: "ranged" }).execute();
      moving.observer.forget();
      expect(await read(strict(key))).toEqual(["ranged"]);
      expect(moving.observer.count(residenceLookup(1))).toBe(1);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(0);
    });

    it("in a transaction are asked for before its commit, and run again", async () => {
      const key = await newKey();
      const seen: unknown[] = [];
      const transaction = () =>
        strict(key)
          .transaction()
          .execute(async (tx) => {
            seen.push(await read(tx));
            seen.push(await read(tx));
          });
      await transaction();
      expect(moving.observer.count(residenceLookup(1))).toBe(1);
      await moving.move(key);
      await transaction();
      expect(seen).toEqual([["old"], ["old"], ["old"], ["old"], ["new"], ["new"]]);
    });

    it("without a closure are refused at the commit", async () => {
      const key = await newKey();
      await moving.move(key);
      const tx = await strict(key).startTransaction().execute();
      expect(await read(tx)).toEqual(["old"]);
      const error = await refused("READ_STALE", () => tx.commit().execute());
      expect(error.retryable).toBe(true);
      await tx.rollback().execute();
    });

    it("that join a transaction make it strict", async () => {
      const key = await newKey();
      const host = await moving.addKey(nextKey++);
      await moving.move(key);
      const seen: unknown[] = [];
      // The joined key is found on the other shard when the closure runs again, and no transaction spans both.
      await refused("TRANSACTION_OTHER_SHARD", () =>
        moving.fed
          .at(host)
          .transaction()
          .execute(async () => seen.push(await read(strict(key)))),
      );
      expect(seen).toEqual([["old"]]);
    });

    it("on a connection that is held are refused when the key has moved", async () => {
      const key = await newKey();
      await moving.move(key);
      await refused("READ_STALE", () => strict(key).connection().execute(read));
      expect(await strict(key).connection().execute(read)).toEqual(["new"]);
    });

    it("by a stream are of one snapshot, which was the key's home", async () => {
      const key = await newKey();
      const stream = async () => {
        const labels: string[] = [];
        for await (const { label } of strict(key).selectFrom("sheets").select("label").stream(1))
          labels.push(label);
        return labels;
      };
      expect(await stream()).toEqual(["old"]);
      await moving.move(key);
      expect(await stream()).toEqual(["new"]);
      expect(await stream()).toEqual(["new"]);
    });

    it("by a stream that is left early give their connection back", async () => {
      const key = await newKey();
      for await (const { label } of strict(key).selectFrom("sheets").select("label").stream(1)) {
        expect(label).toBe("old");
        break;
      }
      expect(moving.fed.status().shards[0]?.pool.inUse).toBe(0);
    });
  });

  describe(`a federation of strict reads, on ${engine.name}`, () => {
    it("has strict sessions and prepared queries, and may ask for less", async () => {
      await using moving = await MovingFederation.open(engine, { consistency: "strict" });
      const key = await moving.addKey(1n);
      await moving.fed.at(key).insertInto("sheets").values({ id: 1n, label: "old" }).execute();
      const prepared = moving.fed.prepare((db) => db.selectFrom("sheets").select("label"));
      expect(await prepared.at(key)).toEqual([{ label: "old" }]);
      await moving.move(key);
      const lax = moving.fed.at(key, { consistency: "lease" });
      expect(await lax.selectFrom("sheets").select("label").execute()).toEqual([{ label: "old" }]);
      expect(await prepared.at(key)).toEqual([]);
      expect(await moving.fed.at(key).selectFrom("sheets").select("label").execute()).toEqual([]);
      await refused("CONFIG_INVALID", () => moving.fed.at(key, { consistency: "eventual" as never }));
    });

    it("needs main only where the residence does not tell", async () => {
      await using moving = await MovingFederation.open(engine, { consistency: "strict" });
      const key = await moving.addKey(1n);
      moving.observer.always(DIRECTORY_LOOKUP, () => {
        throw new TesseraeError("CONNECT_FAILED", "main is away");
      });
      const read = () => moving.fed.at(key).selectFrom("sheets").select("label").execute();
      expect(await read()).toEqual([]);
      await moving.setResidence(1, key, "frozen");
      await refused("CONNECT_FAILED", read);
    });
  });
});
