import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterEach, describe, expect, it } from "vitest";
import {
  bigint,
  bytes,
  defineSchema,
  type FederationConfig,
  federate,
  federated,
  global,
  rangeChooser,
  tenantIsShard,
  text,
  uuid,
  uuidv7,
} from "../../src/index.ts";
import { addDot, addUser, dotsSchema, openDots } from "./dots-federation.ts";
import { refused } from "./refused.ts";

/** What a test opened, closed after it, last first. */
const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

async function open<C extends FederationConfig>(config: C) {
  const fed = await federate(config as C & FederationConfig<C["schema"]>);
  opened.push(() => fed.close());
  return fed;
}

const notes = { id: bigint().ticket(), user_id: bigint(), body: text(100) };
const notesSchema = defineSchema({ key: bigint(), tables: { notes: federated("user_id", notes) } });

forEachEngine((engine) => {
  const fresh = async (count: number) => {
    const databases = await engine.databases(count, { servers: 2 });
    opened.push(() => databases.cleanUp());
    return databases.urls as [string, ...string[]];
  };

  describe(`federate on ${engine.name}`, () => {
    it("grows from one database to more, and every key stays where it is", async () => {
      const [main, second] = (await fresh(2)) as [string, string];
      const before = await federate({ schema: dotsSchema, main });
      await before.schema.apply();
      const ada = await addUser(before, "ada");
      await addDot(before, ada, "1.000000", "2.000000");
      await before.close();
      const after = await open({ schema: dotsSchema, main, shards: { 1: "main", 2: second } });
      const { created } = await after.schema.apply();
      expect(created.every((piece) => piece.shard === 2)).toBe(true);
      expect(created.length).toBeGreaterThan(0);
      const bob = await addUser(after, "bob");
      expect((await after.tenants.where(ada.id)).shard).toBe(1);
      expect((await after.tenants.where(bob.id)).shard).toBe(2);
      expect(await after.at(ada.id).selectFrom("dots").select("lat").execute()).toEqual([
        { lat: "1.000000" },
      ]);
      await addDot(after, bob, "3.000000", "4.000000");
      const { rows } = await sql<{ n: bigint }>`select count(*) as n from dots`.execute(
        after.at(bob.id).unfiltered(),
      );
      expect(rows).toEqual([{ n: 1n }]);
    });

    it("places keys on their first use when asked, once for a burst", async () => {
      await using dots = await openDots(engine, 2, { placement: "onFirstUse", chooser: tenantIsShard() });
      const { fed } = dots;
      await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          fed
            .at(2n)
            .insertInto("sheets")
            .values({ id: BigInt(index), label: "x" })
            .execute(),
        ),
      );
      expect(await fed.tenants.where(2n)).toMatchObject({ shard: 2, state: "active" });
      expect(await fed.at(2n).selectFrom("sheets").select("id").execute()).toHaveLength(8);
      await fed.tenants.remove(2n, { rows: "delete" });
      await refused("KEY_UNKNOWN", () =>
        fed.at(2n).insertInto("sheets").values({ id: 9n, label: "late" }).execute(),
      );
      expect(await fed.tenants.where(2n)).toMatchObject({ state: "removed" });
      await refused("SHARD_UNKNOWN", () => fed.at(3n).selectFrom("sheets").selectAll().execute());
    });

    it("serves ranges of keys, and a point wins over the range around it", async () => {
      await using dots = await openDots(engine, 2);
      const { fed } = dots;
      await fed.tenants.addRange({ low: 1n, high: 1000n }, { shard: 1 });
      await fed.tenants.addRange({ low: 1000n, high: null }, { shard: 2 });
      for (const key of [1n, 999n, 1000n, 2n ** 62n]) {
        await fed
          .at(key)
          .insertInto("sheets")
          .values({ id: 1n, label: `of ${key}` })
          .execute();
      }
      expect((await fed.tenants.where(999n)).shard).toBe(1);
      expect((await fed.tenants.where(1000n)).shard).toBe(2);
      await refused("KEY_UNKNOWN", () =>
        fed.at(0n).insertInto("sheets").values({ id: 1n, label: "x" }).execute(),
      );
    });

    it("keeps several federations apart, whatever their keys are", async () => {
      const schema = defineSchema({
        federations: { users: bigint(), blogs: uuid(), sites: text(50), files: bytes(16) },
        tables: {
          posts: federated(
            "blog_id",
            { id: uuid().uuidv7(), blog_id: uuid(), title: text(50) },
            { federation: "blogs" },
          ),
          notes: federated("user_id", notes, { federation: "users" }),
          pages: federated("site", { id: bigint(), site: text(50) }, { federation: "sites" }),
          chunks: federated("hash", { id: bigint(), hash: bytes(16) }, { federation: "files" }),
        },
      });
      const [main, a, b] = (await fresh(3)) as [string, string, string];
      const fed = await open({
        schema,
        main,
        shards: { 1: a, 2: b },
        chooser: { sites: rangeChooser([{ below: "m", shard: 1 }, { shard: 2 }]) },
      });
      await fed.schema.apply();
      const blog = uuidv7();
      await fed.in("blogs").tenants.add(blog);
      await fed.in("blogs").at(blog).insertInto("posts").values({ id: uuidv7(), title: "first" }).execute();
      expect(
        await fed.in("blogs").at(blog.toUpperCase()).selectFrom("posts").select("blog_id").execute(),
      ).toEqual([{ blog_id: blog }]);
      for (const site of ["a", "a ", "A", "zoë", "𝄞"]) {
        await fed.in("sites").tenants.add(site);
        await fed.in("sites").at(site).insertInto("pages").values({ id: 1n }).execute();
      }
      expect((await fed.in("sites").tenants.where("a")).shard).toBe(1);
      expect((await fed.in("sites").tenants.where("𝄞")).shard).toBe(2);
      expect(await fed.in("sites").at("a ").selectFrom("pages").selectAll().execute()).toEqual([
        { id: 1n, site: "a " },
      ]);
      const hash = new Uint8Array([0, 255, 0, 1]);
      await fed.in("files").tenants.add(hash);
      await fed.in("files").at(hash).insertInto("chunks").values({ id: 7n }).execute();
      expect(await fed.in("files").at(hash).selectFrom("chunks").selectAll().execute()).toEqual([
        { id: 7n, hash },
      ]);
      await refused("TABLE_NOT_HERE", () =>
        fed
          .in("users")
          .at(1n)
          .selectFrom("posts" as never)
          .selectAll()
          .execute(),
      );
      await refused("FEDERATION_UNKNOWN", () => fed.in("nobody" as "users"));
      await refused("FEDERATION_UNKNOWN", () => fed.at(1n as never));
    });

    it("follows a key that another process took away and put elsewhere", async () => {
      await using dots = await openDots(engine, 2);
      const other = await open({ ...dots.config });
      const ada = await addUser(dots.fed, "ada", 1);
      expect(await other.at(ada.id).selectFrom("sheets").select("label").execute()).toHaveLength(1);
      await dots.fed.tenants.remove(ada.id, { rows: "delete" });
      await dots.fed.tenants.add(ada.id, { shard: 2 });
      // The other one still has the old shard in its cache: the guard refuses the write there, and it goes where the key lives now.
      await other.at(ada.id).insertInto("sheets").values({ id: 500n, label: "on the new shard" }).execute();
      const { rows } = await sql<{ n: bigint }>`select count(*) as n from sheets where id = 500`.execute(
        dots.fed.at(ada.id).unfiltered(),
      );
      expect(rows).toEqual([{ n: 1n }]);
      await dots.fed.tenants.remove(ada.id, { rows: "delete" });
      await refused("KEY_UNKNOWN", () =>
        other.at(ada.id).insertInto("sheets").values({ id: 501n, label: "x" }).execute(),
      );
    });

    it("refuses a key's row on a shard where it does not live, in plain SQL", async () => {
      await using dots = await openDots(engine, 2);
      const ada = await addUser(dots.fed, "ada", 1);
      const bob = await addUser(dots.fed, "bob", 2);
      const onShard2 = dots.fed.at(bob.id).unfiltered();
      const error = await refused("GUARD_REFUSED", () =>
        sql`insert into sheets (id, user_id, label) values (900, ${ada.id}, 'stray')`.execute(onShard2),
      );
      expect(error.message).toContain("sheets");
      await refused("GUARD_REFUSED", () =>
        sql`update sheets set user_id = ${ada.id} where id = ${bob.sheet}`.execute(onShard2),
      );
    });

    it("knows which database is which shard, and serves nobody from the wrong one", async () => {
      const [main, a, b] = (await fresh(3)) as [string, string, string];
      const right = await open({ schema: dotsSchema, main, shards: { 1: a, 2: b } });
      await right.schema.apply();
      const ada = await addUser(right, "ada", 1);
      const swapped = await open({ schema: dotsSchema, main, shards: { 1: b, 2: a } });
      await refused("SHARD_IDENTITY", () => swapped.at(ada.id).selectFrom("sheets").selectAll().execute());
      await refused("SHARD_IDENTITY", () => swapped.tenants.remove(ada.id, { rows: "delete" }));
      await refused("SHARD_IDENTITY", () => swapped.schema.apply());
      expect((await swapped.probe()).find(({ name }) => name === "shard 1")?.error).toContain(
        "SHARD_IDENTITY",
      );
      const lost = await open({ schema: dotsSchema, main });
      await refused("SHARD_IDENTITY", () => lost.schema.apply());
      expect((await right.tenants.where(ada.id)).state).toBe("active");
      expect(await right.at(ada.id).selectFrom("sheets").select("id").execute()).toEqual([{ id: ada.sheet }]);
    });

    it("refuses an empty database for a number that has keys", async () => {
      const [main, next] = (await fresh(2)) as [string, string];
      const before = await open({ schema: dotsSchema, main });
      await before.schema.apply();
      const ada = await addUser(before, "ada");
      const after = await open({ schema: dotsSchema, main, shards: { 1: next } });
      expect((await refused("SHARD_IDENTITY", () => after.schema.apply())).message).toContain('1: "main"');
      await refused("SCHEMA_NOT_APPLIED", () => after.at(ada.id).selectFrom("sheets").selectAll().execute());
    });

    it("refuses work on several databases inside a transaction at once", async () => {
      await using dots = await openDots(engine, 0);
      const { fed } = dots;
      await fed.main.transaction().execute(async () => {
        await refused("TRANSACTION_OPEN", () => fed.tenants.add(5n));
        await refused("TRANSACTION_OPEN", () => fed.references.publish());
        await refused("TRANSACTION_OPEN", () => fed.schema.apply());
      });
      await fed.tenants.add(5n);
    });

    it("applies from several processes at once", async () => {
      const [main, a, b] = (await fresh(3)) as [string, string, string];
      const config = { schema: dotsSchema, main, shards: { 1: a, 2: b } };
      const feds = await Promise.all([open(config), open(config), open(config)]);
      await Promise.all(feds.map((fed) => fed.schema.apply()));
      expect(await feds[0]?.schema.apply()).toEqual({ created: [] });
      await addUser(feds[1] as never, "ada", 2);
    });

    it("creates a table that the schema gained, and refuses one that changed or is somebody else's", async () => {
      const [main] = await fresh(1);
      const first = await open({ schema: notesSchema, main });
      await first.schema.apply();
      const grown = defineSchema({
        key: bigint(),
        tables: { notes: federated("user_id", notes), tags: global({ id: bigint() }) },
      });
      const second = await open({ schema: grown, main });
      expect((await second.schema.apply()).created).toEqual([
        { kind: "table", table: "tags", cluster: "main", shard: undefined },
      ]);
      const changed = defineSchema({
        key: bigint(),
        tables: { notes: federated("user_id", { ...notes, body: text(200) }) },
      });
      const third = await open({ schema: changed, main });
      const error = await refused("SCHEMA_CHANGED", () => third.schema.apply());
      expect(error).toMatchObject({ table: "notes", shard: 1 });
      await sql`create table strays (id int)`.execute(first.main);
      const stray = defineSchema({ key: bigint(), tables: { strays: global({ id: bigint() }) } });
      const fourth = await open({ schema: stray, main });
      await refused("SCHEMA_TABLE_EXISTS", () => fourth.schema.apply());
    });

    it("creates tables that refer to each other, and to themselves", async () => {
      const [main] = await fresh(1);
      const user = { id: bigint(), user_id: bigint() };
      const schema = defineSchema({
        key: bigint(),
        tables: {
          albums: federated("user_id", {
            ...user,
            cover: bigint().nullable().references("photos"),
            inside: bigint().nullable().references("albums"),
          }),
          photos: federated("user_id", { ...user, album: bigint().references("albums") }),
        },
      });
      const fed = await open({ schema, main });
      await fed.schema.apply();
      expect(await fed.schema.apply()).toEqual({ created: [] });
      await fed.tenants.add(1n);
      await fed.at(1n).insertInto("albums").values({ id: 1n, cover: null, inside: null }).execute();
      await fed.at(1n).insertInto("photos").values({ id: 7n, album: 1n }).execute();
      await fed.at(1n).updateTable("albums").set({ cover: 7n, inside: 1n }).execute();
      await refused("CONSTRAINT_FOREIGN_KEY", () =>
        fed.at(1n).updateTable("albums").set({ cover: 8n }).execute(),
      );
      await refused("CONSTRAINT_FOREIGN_KEY", () =>
        fed.at(1n).insertInto("photos").values({ id: 9n, album: 2n }).execute(),
      );
      await fed.tenants.remove(1n, { rows: "delete" });
    });

    it("takes up an application that was cut off, and puts back a guard that somebody dropped", async () => {
      const [main] = await fresh(1);
      const fed = await open({ schema: notesSchema, main });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      await sql`update tesserae_meta set value = ${sql.lit("creating ")} || value where name = 'table:notes'`
        .execute(fed.main)
        .catch(async () => {
          await sql`update tesserae_meta set value = concat('creating ', value) where name = 'table:notes'`.execute(
            fed.main,
          );
        });
      expect((await fed.schema.apply()).created).toContainEqual({
        kind: "table",
        table: "notes",
        cluster: "shards",
        shard: 1,
      });
      expect(await fed.schema.apply()).toEqual({ created: [] });
      const listed = {
        sqlite: "select name from sqlite_master where type = 'trigger'",
        mysql:
          "select trigger_name as name from information_schema.triggers where trigger_schema = database()",
        postgres:
          "select distinct trigger_name as name from information_schema.triggers where trigger_schema = current_schema()",
      }[engine.name];
      const { rows } = await sql<{ name: string }>`${sql.raw(listed)}`.execute(fed.main);
      expect(rows.length).toBeGreaterThan(0);
      await sql`${sql.raw(`drop trigger ${rows[0]?.name}${engine.name === "postgres" ? " on notes" : ""}`)}`.execute(
        fed.main,
      );
      expect((await fed.schema.apply()).created).toEqual([
        { kind: "guard", table: "notes", cluster: "shards", shard: 1 },
      ]);
      await refused("GUARD_REFUSED", () =>
        sql`insert into notes (id, user_id, body) values (1, 77, 'x')`.execute(fed.at(1n).unfiltered()),
      );
    });

    it("refuses control tables that a newer library has laid out", async () => {
      const [main] = await fresh(1);
      const writer = await open({ schema: notesSchema, main });
      await writer.schema.apply();
      const control = engine.name === "sqlite" ? main.replace(/\.db$/, ".control.db") : main;
      const newer = await open({ schema: defineSchema({ key: bigint(), tables: {} }), main: control });
      await sql`update tesserae_meta set value = '999' where name = 'control_version'`.execute(newer.main);
      const late = await open({ schema: notesSchema, main });
      await refused("CONTROL_VERSION_NEWER", () => late.tenants.add(1n));
      await refused("CONTROL_VERSION_NEWER", () => late.tickets.next("notes"));
      await refused("CONTROL_VERSION_NEWER", () => late.schema.apply());
    });

    it("says what to do before the schema was applied", async () => {
      const [main] = await fresh(1);
      const fed = await open({ schema: notesSchema, main });
      const error = await refused("SCHEMA_NOT_APPLIED", () => fed.tenants.add(1n));
      expect(error.message).toContain("fed.schema.apply()");
      await refused("SCHEMA_NOT_APPLIED", () => fed.at(1n).selectFrom("notes").selectAll().execute());
    });

    it("takes no more work after close, and closes twice", async () => {
      const [main] = await fresh(1);
      const fed = await federate({ schema: notesSchema, main });
      await fed.schema.apply();
      await fed.tenants.add(1n);
      await fed.close();
      await fed.close();
      await refused("CLOSED", () => fed.at(1n).selectFrom("notes").selectAll().execute());
      await refused("CLOSED", () => fed.tickets.next("notes"));
    });

    it("tells what is configured and what answers, without passwords", async () => {
      await using dots = await openDots(engine, 1);
      await addUser(dots.fed, "ada");
      const probes = await dots.fed.probe();
      expect(probes.map(({ name, tenants, error }) => ({ name, tenants, error }))).toEqual([
        { name: "main", tenants: undefined, error: undefined },
        { name: "control", tenants: undefined, error: undefined },
        { name: "shard 1", tenants: 1, error: undefined },
      ]);
      const status = dots.fed.status();
      expect(status.poorMans).toEqual({ replicas: true, federation: false, tickets: true });
      expect(status.budget.length).toBeGreaterThan(0);
      for (const url of dots.databases.urls) {
        const password = engine.name === "sqlite" ? "" : decodeURIComponent(new URL(url).password);
        if (password !== "") expect(JSON.stringify([status, probes])).not.toContain(password);
      }
    });
  });
});

describe("federate", () => {
  const schema = notesSchema;

  it.each<[string, Partial<FederationConfig>, string]>([
    ["a ticketing option that is none", { ticketing: { timeout: 5 } as never }, "CONFIG_INVALID"],
    ["a deadline of no time", { ticketing: { timeoutMs: 0 } }, "CONFIG_INVALID"],
    ["a start-up check that is none", { ticketing: { startCheck: "none" as never } }, "CONFIG_INVALID"],
    ["a replica of SQLite", { replicas: ["sqlite:copy.db"] }, "CONFIG_REPLICA"],
    ["a replica on another engine", { replicas: ["mysql://app@r1/app"] }, "CONFIG_REPLICA"],
    [
      "a shard's replica on another engine",
      { shards: { 1: { primary: "mysql://app@u1/app", replicas: ["postgres://app@u2/app"] } } },
      "CONFIG_REPLICA",
    ],
    ["an option of replication that is none", { replication: { lagMs: 5 } as never }, "CONFIG_INVALID"],
    ["a fallback that is none", { replication: { fallback: "main" as never } }, "CONFIG_INVALID"],
    ["a lag of half a millisecond", { replication: { maxLagMs: 0.5 } }, "CONFIG_INVALID"],
    ["a URL of no engine", { main: "oracle://x:secret@y/z" }, "CONFIG_TARGET_INVALID"],
    ["a pool of nothing", { pool: { connectionsMax: 0 } }, "CONFIG_INVALID"],
    ["a consistency that is none", { consistency: "eventual" as never }, "CONFIG_INVALID"],
    ["an option of failover that is none", { failover: { wait: 5 } as never }, "CONFIG_INVALID"],
    ["a check without a pause", { failover: { checkMs: 0 } }, "CONFIG_INVALID"],
    [
      "a list of hosts as a replica",
      { main: "mysql://app@m/app", replicas: ["mysql://a,b/app"] },
      "CONFIG_TARGET_INVALID",
    ],
    ["a wait of no time", { moves: { writeWaitMs: 0 } }, "CONFIG_INVALID"],
    ["an option of the pool that is none", { pool: { poolMax: 5 } as never }, "CONFIG_INVALID"],
    ["a pool without connections", { pool: { connectionsMax: 0 } }, "CONFIG_INVALID"],
    ["an option of the directory that is none", { directory: { lease: 5 } as never }, "CONFIG_INVALID"],
    ["an option of the budget that is none", { budget: { serverMax: 5 } as never }, "CONFIG_INVALID"],
    ["a switch that is none", { poorMans: { shards: true } as never }, "CONFIG_INVALID"],
    ["a block that is no object", { replication: 5 as never }, "CONFIG_INVALID"],
    [
      "an option of a shard that is none",
      { shards: { 1: { primary: "main", replica: [] } as never } },
      "CONFIG_INVALID",
    ],
    [
      "an option of a sequence that is none",
      { ticketing: { sequences: { users: { first: 5n } as never } } },
      "CONFIG_INVALID",
    ],
    ["an option of moves that is none", { moves: { waitMs: 5 } as never }, "CONFIG_INVALID"],
    ["a word for a switch", { moves: { rerunTransactions: "no" as never } }, "CONFIG_INVALID"],
    [
      "a budget that is too small",
      { main: "mysql://app@m/app", budget: { processes: 20, serverConnectionsMax: 100 } },
      "CONFIG_BUDGET",
    ],
    [
      "a variable that is not set",
      { main: "mysql://app:${TESSERAE_TEST_UNSET}@m/app" },
      "CONFIG_ENV_MISSING",
    ],
  ])("refuses %s", async (_, config, code) => {
    const error = await refused(code as never, () =>
      federate({ schema, main: "sqlite::memory:", ...config } as FederationConfig),
    );
    expect(error.message).not.toContain("secret");
  });

  it("refuses a cascade where the engine would hide it from the guard", async () => {
    const cascading = defineSchema({
      key: bigint(),
      tables: {
        notes: federated("user_id", notes),
        tags: federated("user_id", {
          id: bigint(),
          user_id: bigint(),
          note: bigint().references("notes", { onDelete: "cascade" }),
        }),
      },
    });
    await refused("SCHEMA_CASCADE", () => federate({ schema: cascading, main: "mysql://app@m/app" }));
    await (await federate({ schema: cascading, main: "sqlite::memory:" })).close();
  });

  it("runs wholly in memory", async () => {
    const fed = await open({ schema, main: "sqlite::memory:" });
    await fed.schema.apply();
    await fed.tenants.add(1n);
    await fed
      .at(1n)
      .insertInto("notes")
      .values({ id: await fed.tickets.next("notes"), body: "kept nowhere" })
      .execute();
    expect(await fed.at(1n).selectFrom("notes").select("body").execute()).toEqual([{ body: "kept nowhere" }]);
  });
});
