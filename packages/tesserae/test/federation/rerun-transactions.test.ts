/** Transactions of a key that is cut over: what runs again, what does not, and that each has its effects once. */
import { forEachEngine } from "@tesserae/test-support";
import { CamelCasePlugin, type Transaction, type TransactionBuilder } from "kysely";
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { TesseraeError } from "../../src/index.ts";
import { MovingFederation, residenceLookup, sheetInsert } from "./moving-federation.ts";
import { sentTo } from "./observed-engine.ts";
import { refused } from "./refused.ts";

type Sessions = ReturnType<MovingFederation["fed"]["at"]>;
type Tx = Sessions extends { transaction(): TransactionBuilder<infer DB> } ? Transaction<DB> : never;

forEachEngine((engine) => {
  describe(`transactions of a key that is cut over, on ${engine.name}`, () => {
    let moving: MovingFederation;
    let nextKey = 1n;
    let nextId = 1n;
    const newKey = () => moving.addKey(nextKey++);
    const insert = (tx: Pick<Tx, "insertInto">, label: string) =>
      tx.insertInto("sheets").values({ id: nextId++, label }).execute();

    beforeAll(async () => {
      moving = await MovingFederation.open(engine);
    });
    afterAll(async () => {
      await moving?.[Symbol.asyncDispose]();
    });

    it("are rolled back whole and run again at the other shard", async () => {
      const key = await newKey();
      let runs = 0;
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      const running = moving.fed
        .at(key)
        .transaction()
        .setIsolationLevel("read committed")
        .execute(async (tx) => {
          runs++;
          expect(await tx.selectFrom("sheets").select("label").execute()).toEqual([]);
          await insert(tx, `first of run ${runs}`);
          // A session of the same key joins the transaction, and shares its fate.
          await insert(moving.fed.at(key), `second of run ${runs}`);
          return runs;
        });
      await looked;
      await moving.cutOver(key);
      expect(await running).toBe(2);
      expect(runs).toBe(2);
      expect(await moving.labels(1, key)).toEqual([]);
      expect(await moving.labels(2, key)).toEqual(["first of run 2", "second of run 2"]);
    });

    it("lose what they wrote before the refusal, also of another key", async () => {
      const key = await newKey();
      const other = await newKey();
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      const running = moving.fed
        .at(key)
        .transaction()
        .execute(async (tx) => {
          await insert(moving.fed.at(other), "of the other key");
          await insert(tx, "of the key");
        });
      await looked;
      expect(await moving.labels(1, other)).toEqual([]);
      await moving.setResidence(1, key, "here");
      await running;
      expect(await moving.labels(1, other)).toEqual(["of the other key"]);
      expect(await moving.labels(1, key)).toEqual(["of the key"]);
    });

    it.each<[string, (session: Sessions) => Pick<Sessions, "transaction">]>([
      ["unfiltered", (session) => session.unfiltered()],
      ["with a plugin", (session) => session.withPlugin(new CamelCasePlugin()) as never],
      ["without plugins", (session) => session.withoutPlugins()],
      ["of other types", (session) => session.$extendTables<Record<never, never>>() as never],
    ])("run again in a session %s", async (_, derive) => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const looked = moving.observer.reached(residenceLookup(1), 2);
      let runs = 0;
      const running = derive(moving.fed.at(key))
        .transaction()
        .execute(async (tx) => {
          runs++;
          const row = { id: nextId++, user_id: key, label: "derived" };
          await tx.insertInto("sheets").values(row).execute();
        });
      await looked;
      await moving.cutOver(key);
      await running;
      expect(runs).toBe(2);
      expect(await moving.labels(2, key)).toEqual(["derived"]);
    });

    it("run again at once where the residence was replaced under them", async () => {
      const key = await newKey();
      moving.observer.forget();
      moving.observer.once("before", sheetInsert(1), () => {
        throw new TesseraeError("GUARD_REFUSED", "replaced", { reason: "residence_changed" });
      });
      let runs = 0;
      await moving.fed
        .at(key)
        .transaction()
        .execute(async (tx) => {
          runs++;
          await insert(tx, "again");
        });
      expect(runs).toBe(2);
      expect(moving.observer.count(residenceLookup(1))).toBe(0);
      expect(await moving.labels(1, key)).toEqual(["again"]);
    });

    it("that wrote before the freeze finish on the source: the freeze waits for them", async () => {
      const key = await newKey();
      let runs = 0;
      let freezing: Promise<void> | undefined;
      await moving.fed
        .at(key)
        .transaction()
        .execute(async (tx) => {
          runs++;
          await insert(tx, "before");
          freezing = moving.setResidence(1, key, "frozen");
          await insert(tx, "after");
        });
      await freezing;
      expect(runs).toBe(1);
      expect(await moving.labels(1, key)).toEqual(["before", "after"]);
    });

    it("do not run again when the closure kept the refusal to itself", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      let runs = 0;
      const running = moving.fed
        .at(key)
        .transaction()
        .execute(async (tx) => {
          runs++;
          await refused("GUARD_REFUSED", () => insert(tx, "kept"));
          return "done";
        });
      // PostgreSQL has given up the transaction with the statement.
      if (engine.name === "postgres") await refused("QUERY_FAILED", () => running);
      else expect(await running).toBe("done");
      expect(runs).toBe(1);
    });

    it("do not run again for other errors, or for a refusal that is not their own", async () => {
      const key = await newKey();
      const frozen = await newKey();
      const runs = { unique: 0, foreign: 0, wrapped: 0 };
      const transaction = () => moving.fed.at(key).transaction();
      await refused("CONSTRAINT_UNIQUE", () =>
        transaction().execute(async (tx) => {
          runs.unique++;
          const row = { id: 7_000n, label: "twice" };
          await tx.insertInto("sheets").values(row).execute();
          await tx.insertInto("sheets").values(row).execute();
        }),
      );
      await refused("GUARD_REFUSED", () =>
        transaction().execute(async () => {
          runs.foreign++;
          throw new TesseraeError("GUARD_REFUSED", "somebody else's", { reason: "not_here" });
        }),
      );
      await moving.setResidence(1, frozen, "frozen");
      await expect(
        moving.fed
          .at(frozen)
          .transaction()
          .execute(async (tx) => {
            runs.wrapped++;
            await insert(tx, "x").catch((cause: unknown) => {
              throw new Error("mine", { cause });
            });
          }),
      ).rejects.toThrow("mine");
      expect(runs).toEqual({ unique: 1, foreign: 1, wrapped: 1 });
    });

    it.each([
      ["CONNECTION_LOST", "after"],
      ["GUARD_REFUSED", "before"],
    ] as const)("do not run again once the commit was sent: %s %s it", async (code, when) => {
      const key = await newKey();
      let runs = 0;
      await refused(code, () =>
        moving.fed
          .at(key)
          .transaction()
          .execute(async (tx) => {
            runs++;
            await insert(tx, "once");
            moving.observer.once(when, sentTo("shard 1", /^commit$/), () => {
              throw new TesseraeError(code, "the answer was lost");
            });
          }),
      );
      expect(runs).toBe(1);
      expect(await moving.labels(1, key)).toEqual(when === "after" ? ["once"] : []);
    });

    it("without a closure do not run again", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      const tx = await moving.fed.at(key).startTransaction().execute();
      const error = await refused("GUARD_REFUSED", () => insert(tx, "x"));
      expect(error).toMatchObject({ reason: "not_here", retryable: true });
      await tx.rollback().execute();
    });

    it("on a connection that is held do not run again", async () => {
      const key = await newKey();
      await moving.setResidence(1, key, "frozen");
      let runs = 0;
      await refused("GUARD_REFUSED", () =>
        moving.fed
          .at(key)
          .connection()
          .execute((db) =>
            db.transaction().execute(async (tx) => {
              runs++;
              await insert(tx, "x");
            }),
          ),
      );
      expect(runs).toBe(1);
    });

    it("keep Kysely's types", () => {
      const builder = moving.fed
        .at(1n)
        .transaction()
        .setAccessMode("read only")
        .setIsolationLevel("snapshot");
      expectTypeOf(builder.execute<bigint>).returns.resolves.toEqualTypeOf<bigint>();
      expectTypeOf(
        moving.fed.at(1n).$pickTables<"sheets">().selectFrom("sheets").selectAll().execute,
      ).returns.resolves.items.toHaveProperty("label");
      const without = moving.fed.at(1n).$omitTables<"dots">();
      // @ts-expect-error: the table was left out.
      expect(() => without.selectFrom("dots")).not.toThrow();
    });
  });

  describe(`the end of a transaction's wait, on ${engine.name}`, () => {
    it("is the refusal when the time is up", async () => {
      await using moving = await MovingFederation.open(engine, { moves: { writeWaitMs: 100 } });
      const key = await moving.addKey(1n);
      await moving.setResidence(1, key, "frozen");
      let runs = 0;
      const error = await refused("GUARD_REFUSED", () =>
        moving.fed
          .at(key)
          .transaction()
          .execute(async (tx) => {
            runs++;
            await tx.insertInto("sheets").values({ id: 1n, label: "x" }).execute();
          }),
      );
      expect(error).toMatchObject({ reason: "not_here", retryable: true });
      // A look said each time that it would be in vain.
      expect(runs).toBe(1);
    });

    it("is the first refusal where re-runs are off", async () => {
      await using moving = await MovingFederation.open(engine, { moves: { rerunTransactions: false } });
      const key = await moving.addKey(1n);
      await moving.move(key);
      let runs = 0;
      const run = () =>
        moving.fed
          .at(key)
          .transaction()
          .execute(async (tx) => {
            runs++;
            await tx.insertInto("sheets").values({ id: 1n, label: "x" }).execute();
          });
      await refused("GUARD_REFUSED", run);
      expect(runs).toBe(1);
      // Single statements follow all the same, and with them the route of what comes after.
      await moving.fed.at(key).insertInto("sheets").values({ id: 2n, label: "y" }).execute();
      await run();
      expect(await moving.labels(2, key)).toEqual(["x", "y"]);
    });
  });
});
