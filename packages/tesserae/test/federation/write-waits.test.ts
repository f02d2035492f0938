/** Single writes of a key that is cut over: they wait, and land exactly once where the key then takes writes. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bigint, federate, TesseraeError, text } from "../../src/index.ts";
import { engineAt } from "../engine/open-database.ts";
import { dotsSchema } from "./dots-federation.ts";
import { DIRECTORY_LOOKUP, MovingFederation, residenceLookup, sheetInsert } from "./moving-federation.ts";
import { Observer, observedEngine, sentTo } from "./observed-engine.ts";
import { refused } from "./refused.ts";

forEachEngine((engine) => {
  describe(`writes of a key that is cut over, on ${engine.name}`, () => {
    let moving: MovingFederation;
    let nextKey = 1n;
    let nextId = 1n;
    const newKey = () => moving.addKey(nextKey++);
    const insert = (key: bigint, label: string) =>
      moving.fed.at(key).insertInto("sheets").values({ id: nextId++, label });

    beforeAll(async () => {
      moving = await MovingFederation.open(engine);
    });
    afterAll(async () => {
      await moving?.[Symbol.asyncDispose]();
    });

    it("wait while it is frozen, and succeed on the same shard when it thaws", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 3);
      const writing = insert(key, "thawed").execute();
      await looked;
      await moving.setResidence(1, key, "leaving");
      await writing;
      expect(await moving.labels(1, key)).toEqual(["thawed"]);
    });

    it.each([
      ["announced", true],
      ["not announced", false],
    ])("go to the other shard after a cut-over that was %s", async (_, announced) => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      const writing = insert(key, "moved").execute();
      await looked;
      await moving.cutOver(key);
      if (announced) await moving.announce(key);
      await writing;
      expect(await moving.labels(2, key)).toEqual(["moved"]);
      expect(await moving.labels(1, key)).toEqual([]);
    });

    it("do not wait for a key that has moved long ago", async () => {
      const key = await newKey();
      await moving.move(key);
      moving.observer.forget();
      await insert(key, "followed").execute();
      expect(await moving.labels(2, key)).toEqual(["followed"]);
      expect(moving.observer.count(sheetInsert(1))).toBe(1);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(1);
    });

    it("wait at the target too, until it has arrived", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      await moving.setResidence(2, key, "arriving");
      await moving.setDirectory(key, 2, 2n);
      moving.observer.forget();
      const looked = moving.observer.reached(residenceLookup(2), 3);
      const writing = insert(key, "arrived").execute();
      await looked;
      // What would be refused is not even sent.
      expect(moving.observer.count(sheetInsert(2))).toBe(0);
      await moving.setResidence(2, key, "here", 2n);
      await writing;
      expect(await moving.labels(2, key)).toEqual(["arrived"]);
    });

    it("share their look-ups, however many they are", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      moving.observer.forget();
      const refusals = moving.observer.reached(sheetInsert(1), 40);
      const looked = moving.observer.reached(residenceLookup(1), 8);
      const writing = Promise.all(
        Array.from({ length: 40 }, (_, index) => insert(key, `${index}`).execute()),
      );
      await Promise.all([refusals, looked]);
      const looksWhileFrozen = moving.observer.count(residenceLookup(1));
      // Nobody tried again before a look said that it could succeed.
      expect(moving.observer.count(sheetInsert(1))).toBe(40);
      await moving.setResidence(1, key, "here");
      await writing;
      expect(await moving.labels(1, key)).toHaveLength(40);
      expect(moving.observer.count(residenceLookup(1)) - looksWhileFrozen).toBeLessThan(40);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(moving.observer.count(residenceLookup(1)));
    });

    it("run again at once where the residence was replaced under them", async () => {
      const key = await newKey();
      moving.observer.forget();
      moving.observer.once("before", sheetInsert(1), () => {
        throw new TesseraeError("GUARD_REFUSED", "replaced", { reason: "residence_changed" });
      });
      await insert(key, "again").execute();
      expect(await moving.labels(1, key)).toEqual(["again"]);
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(0);
    });

    it("outlast a main that is down for a moment", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      let fails = 0;
      const mainComesBack = moving.observer.always(DIRECTORY_LOOKUP, () => {
        fails++;
        throw new TesseraeError("CONNECTION_LOST", "main is away");
      });
      const looked = moving.observer.reached(DIRECTORY_LOOKUP, 4);
      const writing = insert(key, "patient").execute();
      await looked;
      await moving.cutOver(key);
      mainComesBack();
      await writing;
      expect(fails).toBeGreaterThanOrEqual(3);
      expect(await moving.labels(2, key)).toEqual(["patient"]);
    });

    it("work for prepared queries as well", async () => {
      const key = await newKey();
      const prepared = moving.fed.prepare({ id: bigint(), label: text(255) }, (db, p) =>
        db.insertInto("sheets").values({ id: p.id, label: p.label }),
      );
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      const writing = prepared.at(key, { id: nextId++, label: "prepared" });
      await looked;
      await moving.cutOver(key);
      await writing;
      expect(await moving.labels(2, key)).toEqual(["prepared"]);
    });

    it("end their wait with the signal that they were given", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const controller = new AbortController();
      // Also while main does not answer.
      const answer = Promise.withResolvers<void>();
      const asked = moving.observer.reached(DIRECTORY_LOOKUP, 1);
      moving.observer.once("before", DIRECTORY_LOOKUP, () => answer.promise);
      const writing = insert(key, "aborted").execute({ signal: controller.signal });
      await asked;
      const reason = new Error("the client went away");
      controller.abort(reason);
      await expect(writing).rejects.toBe(reason);
      answer.resolve();
      await moving.setResidence(1, key, "here");
      expect(await moving.labels(1, key)).toEqual([]);
      await expect(insert(key, "late").execute({ signal: controller.signal })).rejects.toBe(reason);
      const other = new AbortController();
      await moving.move(key);
      await insert(key, "with a signal").execute({ signal: other.signal });
      expect(await moving.labels(2, key)).toEqual(["with a signal"]);
    });

    it("are refused for good where shard and directory contradict each other", async () => {
      const key = await newKey();
      await moving.deleteResidence(1, key);
      const error = await refused("GUARD_REFUSED", () => insert(key, "nowhere").execute());
      expect(error).toMatchObject({ reason: "no_residence", retryable: false });
      expect(error.toJSON()).toMatchObject({ reason: "no_residence" });
    });

    it("are not waited for where the key of a row would change", async () => {
      const key = await newKey();
      await insert(key, "mine").execute();
      moving.observer.forget();
      const error = await refused("GUARD_REFUSED", () =>
        sql`update sheets set user_id = 999 where user_id = ${key}`.execute(moving.fed.at(key).unfiltered()),
      );
      expect(error).toMatchObject({ reason: "key_change", retryable: false });
      expect(moving.observer.count(DIRECTORY_LOOKUP)).toBe(0);
    });

    it("that meet no row ask where the key lives, and go there", async () => {
      const key = await newKey();
      await moving.move(key);
      await moving.onShard(2, `insert into sheets (id, user_id, label) values (${nextId}, ${key}, 'new')`);
      const id = nextId++;
      // Another process wrote the row at the new place; on the old one the delete finds nothing and no guard.
      const [result] = await moving.fed.at(key).deleteFrom("sheets").where("id", "=", id).execute();
      expect(result?.numDeletedRows).toBe(1n);
      expect(await moving.labels(2, key)).toEqual([]);
    });
  });

  describe(`the one database of poor man's mode, on ${engine.name}`, () => {
    it("has writes wait as well, and strict reads", async () => {
      await using databases = await engine.databases(1);
      const observer = new Observer();
      const main = observedEngine(await engineAt(databases.urls[0] as string), "main", observer);
      await using fed = await federate({ schema: dotsSchema, main, consistency: "strict" });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      const setState = (state: string) =>
        sql`update tesserae_residence_default set state = ${state} where low = 1`.execute(fed.main);
      await setState("frozen");
      const looked = observer.reached(sentTo("main", /^select .*tesserae_residence_default/), 3);
      const writing = fed.at(1n).insertInto("sheets").values({ id: 1n, label: "one" }).execute();
      await looked;
      const read = () => fed.at(1n).selectFrom("sheets").select("label").execute();
      expect(await read()).toEqual([]);
      await setState("here");
      await writing;
      expect(await read()).toEqual([{ label: "one" }]);
    });
  });

  describe(`the end of a wait, on ${engine.name}`, () => {
    it("is the retryable refusal when the time is up, and says what is with main", async () => {
      await using moving = await MovingFederation.open(engine, { moves: { writeWaitMs: 120 } });
      const key = await moving.addKey(1n);
      await moving.setResidence(1, key, "frozen");
      const insert = () => moving.fed.at(key).insertInto("sheets").values({ id: 1n, label: "x" }).execute();
      const begun = performance.now();
      const error = await refused("GUARD_REFUSED", insert);
      expect(error).toMatchObject({ reason: "not_here", retryable: true, shard: 1, table: "sheets" });
      expect(performance.now() - begun).toBeGreaterThanOrEqual(119);
      // Main does not answer at all.
      const answer = Promise.withResolvers<void>();
      moving.observer.once("before", DIRECTORY_LOOKUP, () => answer.promise);
      expect(await refused("GUARD_REFUSED", insert)).toMatchObject({ reason: "not_here", retryable: true });
      answer.resolve();
      moving.observer.always(DIRECTORY_LOOKUP, () => {
        throw new TesseraeError("CONNECT_FAILED", "main is away");
      });
      const away = await refused("GUARD_REFUSED", insert);
      expect(away.retryable).toBe(true);
      expect(away.message).toContain("CONNECT_FAILED: main is away");
      expect(await moving.labels(1, key)).toEqual([]);
    });

    it("is CLOSED when the federation is closed", async () => {
      await using moving = await MovingFederation.open(engine);
      const key = await moving.addKey(1n);
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      const writing = refused("CLOSED", () =>
        moving.fed.at(key).insertInto("sheets").values({ id: 1n, label: "x" }).execute(),
      );
      await looked;
      await moving.fed.close();
      await writing;
    });
  });
});
