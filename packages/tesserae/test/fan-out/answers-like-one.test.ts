/** Single questions whose answer was another one than a single database's once, held against one. */
import { forEachEngine } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bigint, date, decimal, defineSchema, federated, int, timestamp, typed } from "../../src/index.ts";
import { type Built, offline } from "../session/offline-kysely.ts";
import { WholeAndShards } from "./whole-and-shards.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: {
    dots: federated("owner", {
      id: bigint(),
      owner: bigint(),
      kind: int(),
      n: int(),
      worth: decimal(9, 5),
      day: date(),
      created: timestamp(),
    }),
  },
});

/** Kinds 1, 2 and 3 have 200, 201 and 3 rows, one of them 1 and the others 0: averages of which the first two are equal in four digits, and of which none has an end. */
const dots = [200, 201, 3].flatMap((count, kind) =>
  Array.from({ length: count }, (_, index) => ({
    id: BigInt(kind * 1_000 + index),
    owner: BigInt((index % 3) + 1),
    kind: kind + 1,
    n: index === 0 ? 1 : 0,
    worth: index === 0 ? "2.00000" : "0.00000",
    day: `2024-0${kind + 1}-31`.replace("02-31", "02-29"),
    created: new Date(Date.UTC(2024, kind, 28, 23, 59)),
  })),
);

forEachEngine((engine) => {
  let databases: WholeAndShards;

  beforeAll(async () => {
    databases = await WholeAndShards.of(engine, model, 3);
    await databases.fill({ dots }, (key) => Number(key));
  });
  afterAll(() => databases[Symbol.asyncDispose]());

  async function expectSame(query: Built, rows: number): Promise<void> {
    const node = query.toOperationNode();
    const [whole, merged] = [await databases.whole(node), await databases.merged(node)];
    expect(whole).toHaveLength(rows);
    expect(merged).toEqual(whole);
  }

  test("groups by month are written alike for every engine", async () => {
    for (const column of ["day", "created"]) {
      const month = () =>
        typed(
          int(),
          sql`cast(replace(substr(cast(${sql.ref(column)} as char(10)), 1, 7), '-', '') as decimal(6, 0))`,
        );
      const query = offline
        .selectFrom("dots")
        .groupBy(month())
        .select((eb) => [month().as("month"), eb.fn.countAll().as("dots")])
        .orderBy("month");
      await expectSame(query, 3);
      expect(await databases.merged(query.toOperationNode())).toEqual([
        { month: 202401, dots: 200n },
        { month: 202402, dots: 201n },
        { month: 202403, dots: 3n },
      ]);
    }
  });

  test("an average is the same value wherever it is computed with", async () => {
    const kinds = offline.selectFrom("dots").select("kind").groupBy("kind");
    await expectSame(
      kinds
        .select((eb) => [eb.fn.avg("n").as("a"), eb.fn.avg("worth").as("b")])
        .orderBy("a")
        .orderBy("kind", "desc"),
      3,
    );
    await expectSame(
      kinds.having((eb) => eb.fn.avg("n"), ">", "0.3333"),
      0,
    );
    await expectSame(
      kinds.having((eb) => eb.fn.avg("n"), "=", "0.3333"),
      1,
    );
    const ofKeys = offline
      .selectFrom("dots")
      .select((eb) => ["owner", "kind", eb.fn.avg("n").as("a")])
      .groupBy(["owner", "kind"]);
    await expectSame(
      offline.selectFrom(ofKeys.as("x")).select((eb) => [eb.fn.sum("a").as("s"), eb.fn.avg("a").as("m")]),
      1,
    );
    if (engine.name === "sqlite") return;
    await expectSame(
      kinds.select((eb) => eb(eb.fn.avg<string>("n"), "*", eb.fn.count<string>("n")).as("a")).orderBy("kind"),
      3,
    );
    await expectSame(
      kinds.select((eb) => eb.fn.coalesce(eb.fn.avg("n"), eb.fn.avg("worth")).as("a")).orderBy("kind"),
      3,
    );
  });

  test("a key's sum beyond 64 bits is refused", async () => {
    const node = offline
      .selectFrom("dots")
      .select((eb) => ["owner", eb.fn.sum(eb("id", "*", 4_000_000_000_000_000n as never)).as("s")])
      .groupBy("owner")
      .toOperationNode();
    await expect(databases.whole(node)).rejects.toThrow(/beyond 64 bits|integer overflow/);
    await expect(databases.merged(node)).rejects.toThrow(/beyond 64 bits|integer overflow/);
  });
});
