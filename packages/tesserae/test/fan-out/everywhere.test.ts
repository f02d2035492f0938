/** `fed.everywhere` and `fed.some` over real federations: planned, run and merged. */
import { forEachEngine, freshDatabases, whyUnavailable } from "@tesserae/test-support";
import { CamelCasePlugin, sql } from "kysely";
import { describe, expect, test } from "vitest";
import { STEADY_INTERNALS } from "../../src/fan-out/steady/steady-points.ts";
import {
  bigint,
  defineSchema,
  type Everywhere,
  type FanOutOptions,
  federate,
  federated,
  isTesseraeError,
  text,
} from "../../src/index.ts";
import { addDot, addUser, openDots } from "../federation/dots-federation.ts";

async function refusal(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (isTesseraeError(error)) return error.code;
    throw error;
  }
  return "nothing";
}

/** Three users with as many dots as their number, on three shards. */
async function threeUsers(fed: Parameters<typeof addUser>[0]) {
  const users = [];
  for (const shard of [1, 2, 3]) {
    const user = await addUser(fed, `user ${shard}`, shard);
    for (let dot = 1; dot <= shard; dot++) await addDot(fed, user, `${shard}.500000`, `${dot}.250000`);
    users.push(user);
  }
  return users as [(typeof users)[0], (typeof users)[0], (typeof users)[0]];
}

forEachEngine((engine) => {
  describe(`everywhere on ${engine.name}`, () => {
    test("answers as one database would", async () => {
      await using opened = await openDots(engine, 3);
      const { fed } = opened;
      const [one, two, three] = await threeUsers(fed);
      const { everywhere } = fed;
      const newest = everywhere
        .selectFrom("dots")
        .select(["user_id", "lon"])
        .orderBy("lat", "desc")
        .orderBy("lon");
      expect(await newest.limit(3).execute()).toEqual([
        { user_id: three.id, lon: "1.250000" },
        { user_id: three.id, lon: "2.250000" },
        { user_id: three.id, lon: "3.250000" },
      ]);
      expect(await newest.offset(5).limit(3).execute()).toEqual([{ user_id: one.id, lon: "1.250000" }]);
      expect(await newest.executeTakeFirst()).toEqual({ user_id: three.id, lon: "1.250000" });
      const streamed = [];
      for await (const { user_id } of newest.stream()) streamed.push(user_id);
      expect(streamed).toEqual([three.id, three.id, three.id, two.id, two.id, one.id]);
      const groups = everywhere
        .selectFrom("dots")
        .select([
          "lon",
          (eb) => eb.fn.countAll<bigint>().as("n"),
          (eb) => eb.fn.sum<string>("lat").as("lats"),
        ])
        .groupBy("lon")
        .orderBy("lon");
      expect(await groups.execute()).toEqual([
        { lon: "1.250000", n: 3n, lats: "7.500000" },
        { lon: "2.250000", n: 2n, lats: "6.000000" },
        { lon: "3.250000", n: 1n, lats: "3.500000" },
      ]);
      const joined = everywhere
        .selectFrom("sheets")
        .innerJoin("dots", (join) =>
          join.onRef("dots.user_id", "=", "sheets.user_id").onRef("dots.sheet_id", "=", "sheets.id"),
        )
        .select(["sheets.label", "dots.lon"])
        .where("dots.lon", ">", "1.5")
        .orderBy("sheets.label")
        .orderBy("dots.lon");
      expect(await joined.execute()).toEqual([
        { label: "user 2's", lon: "2.250000" },
        { label: "user 3's", lon: "2.250000" },
        { label: "user 3's", lon: "3.250000" },
      ]);
      const total = everywhere.selectFrom("dots").select((eb) => eb.fn.countAll<bigint>().as("n"));
      expect(await total.executeTakeFirstOrThrow()).toEqual({ n: 6n });
      // Without replicas the primaries play them.
      expect(await everywhere.using({ replica: true }).executeQuery(total)).toMatchObject({
        rows: [{ n: 6n }],
      });
      const { rows } = await everywhere.using({ shardColumn: "shard" }).run(newest.limit(1));
      expect(rows).toEqual([{ user_id: three.id, lon: "1.250000", shard: 3 }]);
      // The plugins that made the query read its rows, wherever it is run.
      const camel = everywhere.withPlugin(new CamelCasePlugin()) as unknown as Everywhere<{
        dots: { userId: bigint };
      }>;
      const first = camel.selectFrom("dots").select("userId").orderBy("userId").limit(1);
      expect((await everywhere.run(first)).rows).toEqual([{ userId: one.id }]);
    });

    test("looks at signal and deadline also while rows that have come are read", async () => {
      await using opened = await openDots(engine, 3);
      const [one] = await threeUsers(opened.fed);
      for (let dot = 0; dot < 250; dot += 1)
        await addDot(opened.fed, one, "1.000000", (3 + dot / 1_000).toFixed(6));
      const dots = (options: FanOutOptions) =>
        opened.fed.everywhere.using(options).selectFrom("dots").select("lat").limit(400).stream();
      const caller = new AbortController();
      let read = 0;
      const aborted = (async () => {
        for await (const _ of dots({ signal: caller.signal }))
          if (++read === 5) caller.abort(new Error("enough"));
      })();
      await expect(aborted).rejects.toThrow("enough");
      expect(read).toBeLessThanOrEqual(100);
      const late = (async () => {
        for await (const _ of dots({ deadlineMs: 1_000 }))
          if (++read % 100 === 50) await new Promise((resolve) => setTimeout(resolve, 1_000));
      })();
      expect(await refusal(() => late)).toBe("FAN_OUT_DEADLINE");
    });

    test("narrows itself to the shards of its keys", async () => {
      await using opened = await openDots(engine, 3);
      const { fed } = opened;
      const [one, two] = await threeUsers(fed);
      const asked: number[] = [];
      const listening = fed.everywhere.using({
        onShard: ({ shard, kind }) => kind === "began" && asked.push(shard),
      });
      const dots = listening.selectFrom("dots").select("user_id").orderBy("user_id");
      expect(await dots.where("user_id", "=", two.id).execute()).toHaveLength(2);
      expect(asked.splice(0)).toEqual([2]);
      expect(await dots.where("user_id", "in", [one.id, two.id, 999_999n]).execute()).toHaveLength(3);
      expect(asked.splice(0)).toEqual([1, 2]);
      expect(await dots.where("user_id", "=", 999_999n).execute()).toEqual([]);
      const some = fed.some([two.id, one.id, two.id, 999_999n]);
      const theirs = some.selectFrom("dots").select("user_id").orderBy("user_id");
      expect(await theirs.execute()).toEqual([one, two, two].map(({ id }) => ({ user_id: id })));
      const { shards } = await some.run(theirs);
      expect(shards).toEqual([1, 2]);
      // Its keys are the session's, and would be lost on another one.
      for (const other of [fed.some([two.id]), fed.everywhere, fed.some([])])
        expect(await refusal(() => other.run(theirs))).toBe("QUERY_OF_OTHER_SESSION");
      expect(await refusal(() => some.run(fed.at(one.id).selectFrom("dots").select("lat")))).toBe(
        "QUERY_OF_OTHER_SESSION",
      );
      expect(
        await some.selectFrom("dots").select("lat").where("user_id", "=", one.id).execute(),
      ).toHaveLength(1);
      const nobody = fed.some([]);
      expect(await nobody.selectFrom("dots").select("lat").execute()).toEqual([]);
      const count = nobody.selectFrom("dots").select((eb) => eb.fn.countAll<bigint>().as("n"));
      expect(await count.execute()).toEqual([{ n: 0n }]);
      expect(await refusal(() => fed.some([null as never]))).toBe("KEY_NULL");
      expect(await refusal(() => fed.some(two.id as never))).toBe("KEY_TYPE");
      await expect(fed.find("users" as never, 1n as never)).rejects.toMatchObject({
        code: "LOOKUP_UNKNOWN",
        message: expect.stringContaining("fed.main"),
      });
      expect(await refusal(() => fed.some(["x" as never]))).toBe("KEY_TYPE");
    });

    test("reads snapshots where each pool has one connection", async () => {
      await using opened = await openDots(engine, 3);
      await threeUsers(opened.fed);
      const options = { pool: { connectionsMax: 1 }, [STEADY_INTERNALS]: { alwaysCarefully: true } };
      await using fed = await federate({ ...opened.config, ...options });
      const dots = fed.everywhere.selectFrom("dots").select("lon").orderBy("lon");
      const streamed = async () => {
        const rows = [];
        for await (const row of dots.stream()) rows.push(row);
        return rows;
      };
      const ways = [dots, dots.limit(6)].flatMap((query) => [() => query.execute(), streamed]);
      const answers = await Promise.all([...ways, ...ways, ...ways].map((ask) => ask()));
      expect(answers.map(({ length }) => length)).toEqual(answers.map(() => 6));
    });

    test("plays by the same rules on one database", async () => {
      await using opened = await openDots(engine, 0);
      const { fed } = opened;
      const user = await addUser(fed, "ada");
      await addDot(fed, user, "1.5", "2.5");
      const { everywhere } = fed;
      expect(await everywhere.selectFrom("dots").select("lat").execute()).toEqual([{ lat: "1.500000" }]);
      const dots = everywhere.selectFrom("dots").select("lat");
      const inTransaction = fed
        .at(user.id)
        .transaction()
        .execute(() => dots.execute());
      expect(await refusal(() => inTransaction)).toBe("TRANSACTION_OPEN");
      expect(await refusal(() => everywhere.deleteFrom("dots").execute())).toBe("FAN_OUT_READ_ONLY");
      expect(await refusal(() => everywhere.selectFrom("dots").select("lat").forUpdate().execute())).toBe(
        "FAN_OUT_READ_ONLY",
      );
      expect(await refusal(() => everywhere.transaction())).toBe("FAN_OUT_READ_ONLY");
      expect(await refusal(() => everywhere.connection())).toBe("FAN_OUT_READ_ONLY");
      expect(await refusal(() => sql`select 1`.execute(everywhere))).toBe("RAW_REFUSED");
      // A query of one key's session is that key's, and one of no session is planned like a new one.
      expect(
        await refusal(() => everywhere.executeQuery(fed.at(user.id).selectFrom("dots").select("lat"))),
      ).toBe("QUERY_OF_OTHER_SESSION");
      const copied = { ...dots.compile() };
      expect((await everywhere.executeQuery(copied)).rows).toEqual([{ lat: "1.500000" }]);
      expect(await refusal(() => everywhere.using({ mode: "some" as never }))).toBe("CONFIG_INVALID");
      expect(await refusal(() => everywhere.using({ nothing: 1 } as never))).toBe("CONFIG_INVALID");
      const grouped = everywhere.using({ shardColumn: "shard" }).selectFrom("dots").select("lat").distinct();
      expect(await refusal(() => grouped.execute())).toBe("FAN_OUT_UNSUPPORTED");
    });
  });
});

const several = defineSchema({
  federations: { users: bigint(), blogs: text(64) },
  tables: {
    dots: federated("user_id", { id: bigint(), user_id: bigint() }, { federation: "users" }),
    posts: federated("blog", { id: bigint(), blog: text(64) }, { federation: "blogs" }),
  },
});

test("each federation has its own", async () => {
  await using databases = await freshDatabases("sqlite", 3);
  const [main, one, two] = databases.urls as [string, string, string];
  await using fed = await federate({ schema: several, main, shards: { 1: one, 2: two } });
  await fed.schema.apply();
  await fed.in("blogs").tenants.add("a", { shard: 1 });
  await fed.in("blogs").tenants.add("b", { shard: 2 });
  for (const blog of ["a", "b"])
    await fed.in("blogs").at(blog).insertInto("posts").values({ id: 1n }).execute();
  const { everywhere } = fed.in("blogs");
  expect(await everywhere.selectFrom("posts").select("blog").orderBy("blog").execute()).toEqual([
    { blog: "a" },
    { blog: "b" },
  ]);
  expect(await fed.in("blogs").some(["b"]).selectFrom("posts").select("blog").execute()).toEqual([
    { blog: "b" },
  ]);
});

test.skipIf((["mysql", "postgres"] as const).some((engine) => whyUnavailable(engine) !== undefined))(
  "shards of different engines give one answer",
  async () => {
    await using sqlite = await freshDatabases("sqlite", 2);
    await using mysql = await freshDatabases("mysql", 1);
    await using postgres = await freshDatabases("postgres", 1);
    const { dotsSchema } = await import("../federation/dots-federation.ts");
    const [main, one] = sqlite.urls as [string, string];
    const shards = { 1: one, 2: mysql.urls[0] as string, 3: postgres.urls[0] as string };
    await using fed = await federate({ schema: dotsSchema, main, shards });
    await fed.schema.apply();
    const [one1, two2, three3] = await threeUsers(fed);
    const rows = await fed.everywhere
      .selectFrom("dots")
      .select(["user_id", "lon", "open", "created"])
      .orderBy("lon", "desc")
      .orderBy("user_id")
      .execute();
    expect(rows.map(({ user_id, lon }) => [user_id, lon])).toEqual([
      [three3.id, "3.250000"],
      [two2.id, "2.250000"],
      [three3.id, "2.250000"],
      [one1.id, "1.250000"],
      [two2.id, "1.250000"],
      [three3.id, "1.250000"],
    ]);
    expect(rows.every(({ open, created }) => open === true && created instanceof Date)).toBe(true);
    const sums = fed.everywhere
      .selectFrom("dots")
      .select([(eb) => eb.fn.avg<string>("lat").as("mean"), (eb) => eb.fn.sum<string>("lat").as("total")]);
    expect(await sums.execute()).toMatchObject([{ total: "17.000000" }]);
    // Where null stands is the engines' own: PostgreSQL would cut off what the others give first.
    await fed.main.insertInto("themes").values({ id: 1n, label: "piers" }).execute();
    await fed.references.publish();
    const themed = { id: 1_000_000n, user_id: three3.id, theme_id: 1n, label: "themed" };
    await fed.at(three3.id).insertInto("sheets").values(themed).execute();
    const sheets = fed.everywhere.selectFrom("sheets").select(["theme_id", "user_id"]);
    expect(await sheets.orderBy("theme_id").orderBy("user_id").limit(1).offset(2).execute()).toEqual([
      { theme_id: null, user_id: three3.id },
    ]);
    const themes = fed.everywhere
      .selectFrom("sheets")
      .select(["theme_id", (eb) => eb.fn.countAll<bigint>().as("n")])
      .groupBy("theme_id");
    expect(await themes.execute()).toEqual([
      { theme_id: null, n: 3n },
      { theme_id: 1n, n: 1n },
    ]);
    expect(await themes.orderBy("theme_id", "desc").limit(1).execute()).toEqual([{ theme_id: 1n, n: 1n }]);
    expect(
      await themes
        .orderBy("theme_id", (ob) => ob.asc().nullsLast())
        .limit(1)
        .execute(),
    ).toEqual([{ theme_id: 1n, n: 1n }]);
  },
);
