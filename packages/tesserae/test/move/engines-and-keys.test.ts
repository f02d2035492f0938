/**
 * Moves between engines: values of every type at their extremes, and keys of every type. Main is shard 1 as well, as in an installation that has grown out
 * of one database; its one schema has several federations.
 */
import { ENGINE_NAMES, whyUnavailable } from "@tesserae/test-support";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/contract.ts";
import type { KeyValue } from "../../src/index.ts";
import { bigint, bytes, defineSchema, federate, federated, json, text, uuid } from "../../src/index.ts";
import { Column } from "../../src/schema/column.ts";
import { engineAt } from "../engine/open-database.ts";
import { VALUE_KINDS } from "../engine/value-kinds.ts";
import { LEASE_MS, QUICK } from "./albums.ts";
import { SiteDatabases } from "./move-sites.ts";

/** Each engine is main once. */
const INSTALLATIONS = ENGINE_NAMES.map((main) => ({
  name: `main on ${main}`,
  main,
  shards: [main, ...ENGINE_NAMES.filter((name) => name !== main)],
}));

const extremes = Object.fromEntries(
  VALUE_KINDS.map(({ type }, index) => [
    `v${index}`,
    new Column<unknown, true, true>({
      type,
      nullable: true,
      default: undefined,
      unique: false,
      id: undefined,
      references: undefined,
    }),
  ]),
);
const note = { id: bigint(), body: text(40), details: json().nullable() };

const schema = defineSchema({
  federations: { users: bigint(), blogs: text(60), devices: uuid(), blobs: bytes(20) },
  tables: {
    kinds: federated("user_id", { user_id: bigint(), id: bigint(), ...extremes }, { federation: "users" }),
    blog_notes: federated("blog", { blog: text(60), ...note }, { federation: "blogs" }),
    device_notes: federated("device", { device: uuid(), ...note }, { federation: "devices" }),
    blob_notes: federated("blob", { blob: bytes(20), ...note }, { federation: "blobs" }),
  },
});

/** A row for each extreme, and one of nulls. JSON null is SQL's null to Kysely, and left to the transfer's own tests. */
function extremeRows(): Record<string, unknown>[] {
  const rows = Math.max(...VALUE_KINDS.map((kind) => kind.extremes.length));
  const at = (row: number) => VALUE_KINDS.map(({ extremes: values }) => values[row % values.length]);
  const named = (values: readonly unknown[]) =>
    Object.fromEntries(values.map((value, index) => [`v${index}`, value]));
  return [
    ...Array.from({ length: rows }, (_, row) => ({ id: BigInt(row), ...named(at(row)) })),
    { id: -1n, ...named(VALUE_KINDS.map(() => null)) },
  ];
}

/** Every directed pair of the three shards, one move after the other. */
const TOUR = [2, 3, 1, 3, 2, 1] as const;

/** What a key is moved with, whatever its type. */
interface KeyCase {
  readonly federation: "blogs" | "devices" | "blobs";
  readonly table: "blog_notes" | "device_notes" | "blob_notes";
  readonly keys: readonly KeyValue[];
}

const KEY_CASES: readonly KeyCase[] = [
  {
    federation: "blogs",
    table: "blog_notes",
    keys: ["", " ", "a", "A", "a ", "ä", "a\u0308", "'%_\\", "\u{10ffff}", "x".repeat(60)],
  },
  {
    federation: "devices",
    table: "device_notes",
    keys: [
      "00000000-0000-0000-0000-000000000000",
      "0fffffff-0000-1000-8000-000000000001",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ],
  },
  {
    federation: "blobs",
    table: "blob_notes",
    keys: [[], [0], [0, 255], [39, 92, 63], [255], new Array(20).fill(255)].map(
      (list) => new Uint8Array(list),
    ),
  },
];

const missing = ENGINE_NAMES.map(whyUnavailable).find((reason) => reason !== undefined);

describe.skipIf(missing !== undefined).each(INSTALLATIONS)(
  "moves between engines, $name",
  ({ main, shards }) => {
    let databases: SiteDatabases;
    let fed: Awaited<ReturnType<typeof open>>;

    async function open(urls: readonly string[]) {
      const engines = await Promise.all(urls.map(engineAt));
      return federate({
        schema,
        main: engines[0] as Engine,
        shards: Object.fromEntries(engines.map((engine, index) => [index + 1, engine])),
        directory: { leaseMs: LEASE_MS },
      });
    }

    beforeAll(async () => {
      databases = await SiteDatabases.of({ name: "all", main, shards: shards.slice(1) });
      fed = await open(databases.urls);
      await fed.schema.apply();
    });
    afterAll(async () => {
      await fed?.close();
      await databases?.[Symbol.asyncDispose]();
    });

    test.skipIf(main !== ENGINE_NAMES[0])(
      "every type at its extremes crosses every pair of engines unchanged",
      async () => {
        const users = fed.in("users");
        await users.tenants.add(7n, { shard: 1 });
        const rows = extremeRows();
        for (const row of rows)
          await users
            .at(7n)
            .insertInto("kinds")
            .values(row as never)
            .execute();
        const read = () => users.at(7n).selectFrom("kinds").selectAll().orderBy("id").execute();
        const before = await read();
        expect(before).toHaveLength(rows.length);
        const wanted = rows.map((row): Record<string, unknown> => {
          const values = VALUE_KINDS.map(({ normalize = (same: unknown) => same }, index) => {
            const value = row[`v${index}`];
            return [`v${index}`, value === null ? null : normalize(value)];
          });
          return { user_id: 7n, id: row["id"], ...Object.fromEntries(values) };
        });
        expect(before).toEqual(wanted.sort((a, b) => ((a["id"] as bigint) < (b["id"] as bigint) ? -1 : 1)));
        for (const to of TOUR) {
          const status = await users.moves.move(7n, { to, ...QUICK });
          expect(status).toMatchObject({ state: "done", rowsCopied: rows.length, rowsVerified: rows.length });
          expect(await read(), `on shard ${to}`).toEqual(before);
        }
      },
    );

    test.each(KEY_CASES)(
      "keys of $federation, all together and back",
      async ({ federation, table, keys }) => {
        // The keys' types differ; what is asked of them does not.
        const handle = fed.in(federation) as unknown as ReturnType<typeof fed.in<"blogs">>;
        const typed = keys as readonly string[];
        for (const key of typed) {
          await handle.tenants.add(key, { shard: 1 });
          await handle
            .at(key)
            .insertInto(table as "blog_notes")
            .values({ id: 1n, body: "before", details: { b: 1, a: [1.5] } as never })
            .execute();
        }
        let moves = 0;
        for (const to of [2, 3, 1]) {
          const statuses = await handle.moves.move(typed, { to, ...QUICK });
          expect(statuses.map(({ state, keys: count }) => [state, count])).toEqual([["done", keys.length]]);
          moves += 1;
          for (const key of typed) {
            expect(await handle.tenants.where(key)).toMatchObject({ shard: to, epoch: 1n + BigInt(moves) });
            await handle
              .at(key)
              .updateTable(table as "blog_notes")
              .set({ body: `on ${to}` })
              .execute();
            const rows = await handle
              .at(key)
              .selectFrom(table as "blog_notes")
              .select(["id", "body", "details"])
              .execute();
            expect(rows).toEqual([{ id: 1n, body: `on ${to}`, details: { b: 1, a: [1.5] } }]);
          }
        }
      },
    );

    test("ranges of text keys, in the order of code points on every engine", async () => {
      const blogs = fed.in("blogs");
      // Collations differ about these; the order of code points has Z before a, and ä after z.
      const [low, high] = ["range:Z", "range:ä"];
      await blogs.tenants.addRange({ low, high }, { shard: 1 });
      const inside = ["range:Z", "range:Zoo", "range:a", "range:z", "range:z\u{10ffff}"];
      for (const key of inside)
        await blogs.at(key).insertInto("blog_notes").values({ id: 1n, body: key }).execute();
      for (const to of [2, 3, 1]) {
        await blogs.moves.move({ low: "range:a", high: "range:z" }, { to, ...QUICK });
        const homes = await Promise.all(inside.map(async (key) => (await blogs.tenants.where(key)).shard));
        expect(homes).toEqual([1, 1, to, 1, 1]);
        for (const key of inside)
          expect(await blogs.at(key).selectFrom("blog_notes").select("body").execute()).toEqual([
            { body: key },
          ]);
      }
      await expect(blogs.tenants.where(high)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await blogs.merge({ at: "range:a" }, QUICK);
      await blogs.merge({ at: "range:z" }, QUICK);
      await blogs.moves.move({ low, high }, { to: 2, ...QUICK });
      for (const key of inside)
        expect(await blogs.at(key).selectFrom("blog_notes").select("body").execute()).toEqual([
          { body: key },
        ]);
    });
  },
);
