import { forEachEngine } from "@tesserae/test-support";
import { CamelCasePlugin, CompiledQuery, sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bigint, decimal, text, timestamp } from "../../src/index.ts";
import { addDot, addUser, type OpenedFederation, openDots } from "./dots-federation.ts";
import { refused } from "./refused.ts";

const dotsIds = bigint();
const labels = text(255);

forEachEngine((engine) => {
  describe.each([
    ["poor man's", 0],
    ["two shards", 2],
  ])(`sessions on ${engine.name}, %s`, (_, shards) => {
    let opened: OpenedFederation;
    let ada: { id: bigint; sheet: bigint };
    let bob: { id: bigint; sheet: bigint };
    const far = shards === 2;

    beforeAll(async () => {
      opened = await openDots(engine, shards);
      ada = await addUser(opened.fed, "ada", 1);
      bob = await addUser(opened.fed, "bob", far ? 2 : 1);
      await addDot(opened.fed, ada, "37.774900", "-122.419400");
      await addDot(opened.fed, bob, "52.520000", "13.405000");
    });

    afterAll(async () => {
      await opened?.[Symbol.asyncDispose]();
    });

    it("gives each key its own rows, and the key fills itself", async () => {
      const { fed } = opened;
      const dots = await fed.at(ada.id).selectFrom("dots").selectAll().execute();
      expect(dots).toHaveLength(1);
      expect(dots[0]).toMatchObject({
        user_id: ada.id,
        lat: "37.774900",
        lon: "-122.419400",
        hits: 0,
        open: true,
        details: null,
      });
      expect(dots[0]?.created).toBeInstanceOf(Date);
      const others = await fed
        .at(bob.id)
        .selectFrom("dots")
        .where("user_id", "=", ada.id)
        .selectAll()
        .execute();
      expect(others).toEqual([]);
    });

    it("refuses another key's value on insert and any change of it", async () => {
      const { fed } = opened;
      const row = { id: 1n, label: "stolen" };
      await refused("KEY_MISMATCH", () =>
        fed
          .at(ada.id)
          .insertInto("sheets")
          .values({ ...row, user_id: bob.id })
          .execute(),
      );
      await refused("KEY_IMMUTABLE", () =>
        fed
          .at(ada.id)
          .updateTable("sheets")
          .set({ user_id: bob.id } as never)
          .execute(),
      );
    });

    it("names what is wrong with a key", async () => {
      const { fed } = opened;
      await refused("KEY_UNKNOWN", () => fed.at(987654321n).selectFrom("dots").selectAll().execute());
      await refused("KEY_NULL", () => fed.at(null as never));
      await refused("KEY_TYPE", () => fed.at("1" as never));
      await refused("KEY_TYPE", () => fed.at(2n ** 63n));
      await refused("SHARD_UNKNOWN", () => fed.tenants.add(987654321n, { shard: 99 }));
      await refused("KEY_UNKNOWN", () =>
        fed.at(987654321n).insertInto("sheets").values({ id: 1n, label: "x" }).execute(),
      );
    });

    it("refuses tables of other clusters, whole raw statements and other schemas", async () => {
      const { fed } = opened;
      await refused("TABLE_NOT_HERE", () =>
        fed
          .at(ada.id)
          .selectFrom("users" as never)
          .selectAll()
          .execute(),
      );
      await refused("TABLE_NOT_HERE", () =>
        fed.main
          .selectFrom("dots" as never)
          .selectAll()
          .execute(),
      );
      await refused("RAW_REFUSED", () => sql`select * from dots`.execute(fed.at(ada.id)));
      await refused("RAW_REFUSED", () =>
        fed.at(ada.id).executeQuery(CompiledQuery.raw("select * from dots")),
      );
      await refused("TABLE_NOT_HERE", () =>
        fed.at(ada.id).withSchema("public").selectFrom("dots").selectAll().execute(),
      );
    });

    it("keeps the filter without plugins, and refuses another tenant's compiled query", async () => {
      const { fed } = opened;
      const bare = fed.at(ada.id).withoutPlugins();
      expect(await bare.selectFrom("dots").select("user_id").execute()).toEqual([{ user_id: ada.id }]);
      const query = fed.at(bob.id).selectFrom("dots").select("user_id").compile();
      expect((await fed.at(bob.id).executeQuery(query)).rows).toEqual([{ user_id: bob.id }]);
      await refused("QUERY_OF_OTHER_SESSION", () => fed.at(ada.id).executeQuery(query));
      const forged = { ...query, parameters: query.parameters };
      const { rows } = await fed.at(ada.id).executeQuery(forged);
      expect(rows.filter((row) => (row as { user_id: bigint }).user_id === bob.id)).toEqual([]);
    });

    it("gives the filter away to nobody who reaches for the connection", async () => {
      const { fed } = opened;
      const executor = fed.at(ada.id).getExecutor();
      await refused("RAW_REFUSED", () =>
        executor.provideConnection((connection) =>
          connection.executeQuery(CompiledQuery.raw("select * from dots")),
        ),
      );
    });

    it("lets plugins work over the filter", async () => {
      const { fed } = opened;
      const camel = fed.at(ada.id).withPlugin(new CamelCasePlugin());
      const rows = await camel.selectFrom("dots").selectAll().execute();
      expect(rows).toHaveLength(1);
      expect(rows[0]).toHaveProperty("sheetId", ada.sheet);
      const id = await fed.tickets.next("sheets");
      await camel.insertInto("sheets").values({ id, label: "camel" }).execute();
      await camel.updateTable("sheets").set({ label: "hump" }).where("id", "=", id).execute();
      const [deleted] = await camel.deleteFrom("sheets").where("label", "=", "hump").execute();
      expect(deleted?.numDeletedRows).toBe(1n);
    });

    it("passes raw statements unfiltered when asked", async () => {
      const { fed } = opened;
      const { rows } = await sql<{ n: bigint }>`select count(*) as n from dots`.execute(
        fed.at(ada.id).unfiltered(),
      );
      expect(rows[0]?.n).toBe(far ? 1n : 2n);
      const main = await sql<{ n: bigint }>`select count(*) as n from users`.execute(fed.main);
      expect(main.rows[0]?.n).toBe(2n);
    });

    it("commits and rolls back, and a savepoint", async () => {
      const { fed } = opened;
      await fed
        .at(ada.id)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("dots").set({ hits: 5 }).execute();
        });
      const failing = fed
        .at(ada.id)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("dots").set({ hits: 6 }).execute();
          throw new Error("changed my mind");
        });
      await expect(failing).rejects.toThrow("changed my mind");
      const hits = () => fed.at(ada.id).selectFrom("dots").select("hits").executeTakeFirstOrThrow();
      expect(await hits()).toEqual({ hits: 5 });
      const tx = await fed.at(ada.id).startTransaction().execute();
      const saved = await tx.savepoint("before").execute();
      await saved.updateTable("dots").set({ hits: 7 }).execute();
      await saved.rollbackToSavepoint("before").execute();
      await tx.commit().execute();
      expect(await hits()).toEqual({ hits: 5 });
    });

    it("joins statements of the same shard inside a transaction, and refuses others", async () => {
      const { fed } = opened;
      const clara = await addUser(fed, `clara-${engine.name}-${shards}`, 1);
      const failing = fed
        .at(ada.id)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("dots").set({ hits: 50 }).execute();
          expect(await fed.at(ada.id).selectFrom("dots").select("hits").execute()).toEqual([{ hits: 50 }]);
          const other = () => fed.at(clara.id).updateTable("sheets").set({ label: "changed" }).execute();
          // With one database every key is on it today; that must not be what the application is built on.
          if (far) await other();
          else await refused("TRANSACTION_OTHER_KEY", other);
          throw new Error("roll back");
        });
      await expect(failing).rejects.toThrow("roll back");
      expect(await fed.at(clara.id).selectFrom("sheets").select("label").executeTakeFirst()).not.toEqual({
        label: "changed",
      });
      await refused("TRANSACTION_OTHER_SHARD", () =>
        fed
          .at(ada.id)
          .transaction()
          .execute(() => fed.main.selectFrom("users").selectAll().execute()),
      );
      await refused("TRANSACTION_NESTED", () =>
        fed
          .at(ada.id)
          .transaction()
          .execute(() =>
            fed
              .at(ada.id)
              .transaction()
              .execute(async () => 1),
          ),
      );
      if (far) {
        await refused("TRANSACTION_OTHER_SHARD", () =>
          fed
            .at(ada.id)
            .transaction()
            .execute(() => fed.at(bob.id).selectFrom("dots").selectAll().execute()),
        );
      }
      await refused("TRANSACTION_OTHER_SHARD", () =>
        fed.main.transaction().execute(() => fed.at(ada.id).selectFrom("dots").selectAll().execute()),
      );
    });

    it("takes tickets inside a transaction without sharing its fate", async () => {
      const { fed } = opened;
      let taken = 0n;
      const failing = fed
        .at(ada.id)
        .transaction()
        .execute(async () => {
          taken = await fed.tickets.next("dots");
          throw new Error("roll back");
        });
      await expect(failing).rejects.toThrow("roll back");
      expect(await fed.tickets.next("dots")).toBeGreaterThan(taken);
    });

    it("prepares once and binds often", async () => {
      const { fed } = opened;
      const since = fed.prepare({ since: timestamp(), south: decimal(9, 6) }, (db, p) =>
        db
          .selectFrom("dots")
          .select(["user_id", "lat"])
          .where("created", ">", p.since)
          .where("lat", ">", p.south),
      );
      const past = new Date(Date.now() - 3_600_000);
      expect(await since.at(ada.id, { since: past, south: "-90.000000" })).toEqual([
        { user_id: ada.id, lat: "37.774900" },
      ]);
      expect(await since.at(bob.id, { since: past, south: "-90.000000" })).toEqual([
        { user_id: bob.id, lat: "52.520000" },
      ]);
      expect(await since.at(bob.id, { since: new Date(Date.now() + 3_600_000), south: "0" })).toEqual([]);
      await refused("PARAMETER_MISSING", () => since.at(bob.id, { since: past } as never));
      await refused("VALUE_INVALID", () => since.at(bob.id, { since: "yesterday" as never, south: "0" }));
      await refused("PREPARE_RUNS_NOTHING", () =>
        fed.prepare((db) => db.selectFrom("dots").selectAll().execute() as never),
      );
      const hit = fed.prepare((db) => db.updateTable("dots").set((eb) => ({ hits: eb("hits", "+", 1) })));
      const [result] = await hit.at(ada.id);
      expect(result?.numUpdatedRows).toBe(1n);
      const label = fed.prepare({ id: dotsIds, label: labels }, (db, p) =>
        db.insertInto("sheets").values({ id: p.id, label: p.label }),
      );
      const id = await fed.tickets.next("sheets");
      await label.at(bob.id, { id, label: "prepared" });
      expect(
        await fed.at(bob.id).selectFrom("sheets").where("id", "=", id).select(["user_id", "label"]).execute(),
      ).toEqual([{ user_id: bob.id, label: "prepared" }]);
    });

    it("runs prepared queries inside the open transaction", async () => {
      const { fed } = opened;
      const hits = fed.prepare((db) => db.selectFrom("dots").select("hits"));
      await fed
        .at(ada.id)
        .transaction()
        .execute(async (tx) => {
          await tx.updateTable("dots").set({ hits: 77 }).execute();
          expect(await hits.at(ada.id)).toEqual([{ hits: 77 }]);
          await tx.updateTable("dots").set({ hits: 5 }).execute();
        });
    });

    it("streams rows in chunks and stops early", async () => {
      const { fed } = opened;
      const many = await addUser(fed, `many-${engine.name}-${shards}`, 1);
      const ids = await fed.tickets.take("dots", 250);
      await fed
        .at(many.id)
        .insertInto("dots")
        .values(
          ids.map((id, index) => ({
            id,
            sheet_id: many.sheet,
            lat: "1.000000",
            lon: `${index % 180}.${String(index).padStart(6, "0")}`,
          })),
        )
        .execute();
      let seen = 0;
      for await (const row of fed
        .at(many.id)
        .selectFrom("dots")
        .select(["id", "created"])
        .orderBy("id")
        .stream(50)) {
        expect(typeof row.id).toBe("bigint");
        if (++seen === 120) break;
      }
      expect(seen).toBe(120);
      expect(
        await fed
          .at(many.id)
          .selectFrom("dots")
          .select((eb) => eb.fn.countAll<bigint>().as("n"))
          .executeTakeFirstOrThrow(),
      ).toEqual({ n: 250n });
    });

    it("reads from main as its own replica, and refuses writes there", async () => {
      const { fed } = opened;
      expect((await fed.replica.selectFrom("users").select("name").execute()).length).toBeGreaterThanOrEqual(
        2,
      );
      await refused("REPLICA_READ_ONLY", () =>
        fed.replica.insertInto("users").values({ id: 999n, name: "x" }).execute(),
      );
      expect(await fed.at(ada.id).replica.selectFrom("dots").select("user_id").execute()).toEqual([
        { user_id: ada.id },
      ]);
      await refused("REPLICA_READ_ONLY", () => fed.at(ada.id).replica.deleteFrom("dots").execute());
    });

    it("publishes reference tables to the shards, where they are read-only", async () => {
      const { fed } = opened;
      await fed.main
        .insertInto("themes")
        .values([
          { id: 1n, label: "plain" },
          { id: 2n, label: "dark" },
        ])
        .execute();
      await fed.references.publish();
      expect(await fed.at(ada.id).selectFrom("themes").selectAll().orderBy("id").execute()).toHaveLength(2);
      await fed.at(ada.id).updateTable("sheets").set({ theme_id: 2n }).execute();
      await fed.main.updateTable("themes").set({ label: "darker" }).where("id", "=", 2n).execute();
      await fed.main.deleteFrom("themes").where("id", "=", 1n).execute();
      await fed.references.publish("themes");
      const joined = await fed
        .at(ada.id)
        .selectFrom("sheets")
        .innerJoin("themes", "themes.id", "sheets.theme_id")
        .select("themes.label")
        .execute();
      expect(joined[0]).toEqual({ label: "darker" });
      expect(await fed.at(bob.id).selectFrom("themes").select("id").execute()).toEqual([{ id: 2n }]);
      await refused("REFERENCE_READ_ONLY", () =>
        fed
          .at(ada.id)
          .insertInto("themes")
          .values({ id: 3n, label: "x" } as never)
          .execute(),
      );
    });

    it("applies a second time without doing anything", async () => {
      expect(await opened.fed.schema.apply()).toEqual({ created: [] });
    });

    it("names place and cause in an error of the database", async () => {
      const { fed } = opened;
      const twice = () =>
        fed.at(ada.id).insertInto("sheets").values({ id: ada.sheet, label: "again" }).execute();
      await refused("CONSTRAINT_UNIQUE", twice);
      const error = await twice().catch((failure: unknown) => failure);
      expect(error).toMatchObject({
        cluster: "shards",
        shard: 1,
        federation: "default",
        key: String(ada.id),
        retryable: false,
      });
      expect((error as Error).cause).toBeInstanceOf(Error);
    });
  });
});
