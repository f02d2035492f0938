import { forEachEngine } from "@tesserae/test-support";
import { describe, expect, test } from "vitest";
import { hashChooser, type ShardChooser } from "../../src/directory/choosers.ts";
import { DirectoryRows } from "../../src/directory/directory-rows.ts";
import { bigint, bytes, type Column, text, uuid } from "../../src/schema/column.ts";
import { defineSchema } from "../../src/schema/define-schema.ts";
import type { KeyValue } from "../../src/schema/logical-type.ts";
import { federated } from "../../src/schema/table.ts";
import { Installation, notesSchema } from "./installation.ts";

const always = (shard: number): ShardChooser => ({ pickShard: () => shard });
const untyped = (column: unknown) => column as Column<KeyValue>;

forEachEngine((engine) => {
  describe(`tenants on ${engine.name}`, () => {
    test("add gives a shard once, and the guard lets the key write there alone", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls);
      await here.create();
      const place = await here.tenants.add(7n, { shard: 2 });
      expect(place).toEqual({ key: 7n, shard: 2, epoch: 1n, state: "active", by: "point" });
      expect(await here.tenants.add(7n)).toEqual(place);
      expect(await here.tenants.where(7n)).toEqual(place);
      expect(await here.directory.locate(7n)).toMatchObject({ shard: 2, epoch: 1n });
      await here.addNote(2, 7n, 1);
      await expect(here.addNote(1, 7n, 1)).rejects.toThrow(/TESSERAE_GUARD:no_residence/);
      await expect(here.tenants.add(7n, { shard: 1 })).rejects.toMatchObject({
        code: "TENANT_ELSEWHERE",
        shard: 2,
        key: "7",
      });
      await expect(here.tenants.add(8n, { shard: 3 })).rejects.toMatchObject({
        code: "SHARD_UNKNOWN",
        shard: 3,
      });
      await expect(here.tenants.where(8n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await expect(here.tenants.add(null as never)).rejects.toMatchObject({ code: "KEY_NULL" });
      await expect(here.tenants.add("7" as never)).rejects.toMatchObject({ code: "KEY_TYPE" });
    });

    test("the chooser places new keys; counts and lists tell where", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls);
      await here.create();
      for (let key = 1n; key <= 9n; key++) await here.tenants.add(key);
      expect(Object.fromEntries(await here.tenants.count())).toEqual({ 1: 5, 2: 4 });
      await here.tenants.remove(5n);
      const all = [];
      for await (const place of here.tenants.list()) all.push(place.key);
      expect(all).toEqual([1n, 2n, 3n, 4n, 6n, 7n, 8n, 9n]);
      const some = [];
      for await (const place of here.tenants.list({ after: 3n, limit: 3 })) some.push(place.key);
      expect(some).toEqual([4n, 6n, 7n]);
      const first = await here.tenants.page({ limit: 5 });
      expect(first.next).toBe(6n);
      const second = await here.tenants.page({ limit: 5, after: first.next });
      expect([second.tenants.length, second.next]).toEqual([3, undefined]);
      const onTwo = [];
      for await (const place of here.tenants.list({ shard: 2 })) onTwo.push(place.key);
      expect(onTwo).toEqual([2n, 4n, 6n, 8n]);
      await expect(here.tenants.page({ limit: 0 })).rejects.toMatchObject({ code: "VALUE_INVALID" });
      await expect(here.tenants.page({ shard: 9 })).rejects.toMatchObject({ code: "SHARD_UNKNOWN" });
    });

    test.each([
      ["text", untyped(text(8)), ["", "Ada", "ada", "ada ", "𝄞"]],
      [
        "uuid",
        untyped(uuid()),
        [
          "00000000-0000-0000-0000-000000000000",
          "0190a3b2-0000-7000-8000-00000000000f",
          "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
      ],
      [
        "bytes",
        untyped(bytes(4)),
        [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0, 0), Uint8Array.of(255)],
      ],
      ["bigint", untyped(bigint()), [-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n]],
    ] as [string, Column<KeyValue>, KeyValue[]][])(
      "keys of type %s are told apart, ordered, removed and served by ranges",
      async (_name, column, keys) => {
        await using databases = await engine.databases(3);
        await using here = await Installation.at(databases.urls, {
          schema: notesSchema(column),
          chooser: hashChooser(),
        });
        await here.create();
        for (const key of keys) await here.tenants.add(key, { shard: 1 });
        const listed = [];
        for await (const { key } of here.tenants.list()) listed.push(key);
        expect(listed).toEqual(keys);
        for (const key of keys) await here.tenants.remove(key, { rows: "delete" });
        await here.tenants.addRange({}, { shard: 2 });
        for (const key of keys) {
          await expect(here.directory.locate(key)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
          expect(await here.tenants.add(key)).toMatchObject({ shard: 2, epoch: 2n, by: "point" });
        }
      },
    );

    test("a removed key keeps its epoch, refuses everything, and comes back empty with a higher one", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await here.tenants.add(7n, { shard: 1 });
      await here.directory.locate(7n);
      await here.tenants.remove(7n);
      await here.tenants.remove(7n);
      expect(await here.tenants.where(7n)).toMatchObject({ state: "removed", epoch: 1n });
      await expect(here.directory.locate(7n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await expect(here.addNote(1, 7n, 1)).rejects.toThrow(/TESSERAE_GUARD:not_here/);
      expect(await here.tenants.add(7n, { shard: 2 })).toMatchObject({ shard: 2, epoch: 2n });
      await here.addNote(2, 7n, 1);
      await expect(here.addNote(1, 7n, 2)).rejects.toThrow(/TESSERAE_GUARD:not_here/);
      await expect(here.tenants.remove(99n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
    });

    test("remove refuses a key with rows and changes nothing; told to, it deletes them all and no one else's", async () => {
      await using databases = await engine.databases(2);
      await using here = await Installation.at(databases.urls, { purgeBatchRows: 7 });
      await here.create();
      for (const key of [1n, 2n]) {
        await here.tenants.add(key);
        for (let id = 1; id <= 30; id++) await here.addNote(1, key, id);
        for (let id = 1; id <= 20; id++)
          await here.onShard(1, "insert into tags (owner, id, note_id, label) values (?, ?, ?, ?)", [
            key,
            BigInt(id),
            BigInt(id % 5) + 1n,
            "x",
          ]);
        // A chain, a row that refers to itself, and branches.
        for (let id = 1; id <= 25; id++)
          await here.onShard(1, "insert into folders (owner, id, parent_id) values (?, ?, ?)", [
            key,
            BigInt(id),
            id === 1 ? null : id < 12 ? BigInt(id - 1) : 3n,
          ]);
        await here.onShard(1, "update folders set parent_id = 1 where id = 1 and owner = ?", [key]);
      }
      const before = await here.tenants.where(1n);
      await expect(here.tenants.remove(1n)).rejects.toMatchObject({
        code: "TENANT_NOT_EMPTY",
        shard: 1,
        table: "notes",
      });
      expect(await here.tenants.where(1n)).toEqual(before);
      await here.addNote(1, 1n, 99);
      await here.tenants.remove(1n, { rows: "delete" });
      expect([
        await here.count(1, "notes"),
        await here.count(1, "tags"),
        await here.count(1, "folders"),
      ]).toEqual([30, 20, 25]);
      expect((await here.onShard(1, "select * from notes where owner = ?", [1n])).rows).toEqual([]);
      expect(await here.tenants.where(2n)).toMatchObject({ state: "active" });
    });

    test("rows that refer to each other in a circle are deleted too, whether the reference may be null or not", async () => {
      const id = () => ({ id: bigint(), owner: bigint() });
      const links = federated("owner", { ...id(), next_id: bigint().references("links") });
      const hens = federated("owner", { ...id(), egg_id: bigint().nullable().references("eggs") });
      const eggs = federated("owner", { ...id(), hen_id: bigint().references("hens") });
      // Tables that refer to each other can be created on SQLite alone so far: elsewhere the first one's reference finds no table.
      const tables = engine.name === "sqlite" ? { links, hens, eggs } : { links };
      await using databases = await engine.databases(2);
      await using here = await Installation.at(databases.urls, {
        schema: defineSchema({ key: bigint(), tables }).model,
        purgeBatchRows: 3,
      });
      await here.create();
      await here.tenants.add(1n);
      const insert = (table: string, columns: string, values: bigint[]) =>
        here.onShard(
          1,
          `insert into ${table} (owner, ${columns}) values (?, ${values.map(() => "?").join(", ")})`,
          [1n, ...values],
        );
      for (let i = 1n; i <= 12n; i++)
        await insert("links", "id, next_id", [i, i === 1n || i === 7n ? i : i - 1n]);
      await here.onShard(1, "update links set next_id = 4 where owner = ? and id = 1", [1n]);
      if (engine.name === "sqlite") {
        for (let i = 1n; i <= 7n; i++) await insert("hens", "id", [i]);
        for (let i = 1n; i <= 7n; i++) await insert("eggs", "id, hen_id", [i, 8n - i]);
        await here.onShard(1, "update hens set egg_id = id where owner = ?", [1n]);
      }
      await here.tenants.remove(1n, { rows: "delete" });
      for (const table of Object.keys(tables)) expect(await here.count(1, table)).toBe(0);
    });

    test("a table whose primary key is long, or the key alone, is emptied too", async () => {
      const { model: schema } = defineSchema({
        key: bigint(),
        tables: {
          profiles: federated("owner", { owner: bigint(), body: text(20) }, { primaryKey: ["owner"] }),
          marks: federated(
            "owner",
            { owner: bigint(), a: uuid(), b: text(5), c: bytes(3) },
            { primaryKey: ["owner", "a", "b", "c"] },
          ),
        },
      });
      await using databases = await engine.databases(2);
      await using here = await Installation.at(databases.urls, { schema, purgeBatchRows: 2 });
      await here.create();
      await here.tenants.add(1n);
      await here.onShard(1, "insert into profiles (owner, body) values (?, ?)", [1n, "x"]);
      const { dialect } = here.main.engine;
      const uuids = dialect.codec({ kind: "uuid" });
      const blobs = dialect.codec({ kind: "bytes", length: 3 });
      for (let i = 0; i < 7; i++) {
        await here.onShard(1, "insert into marks (owner, a, b, c) values (?, ?, ?, ?)", [
          1n,
          uuids.encode(`0190a3b2-0000-7000-8000-00000000000${i % 3}`),
          `é${i}`,
          blobs.encode(Uint8Array.of(0, i)),
        ]);
      }
      await here.tenants.remove(1n, { rows: "delete" });
      expect([await here.count(1, "profiles"), await here.count(1, "marks")]).toEqual([0, 0]);
    });
  });

  describe(`ranges of keys on ${engine.name}`, () => {
    test("serve every key in them; a key that is added there stays with its range", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls, { chooser: always(2) });
      await here.create();
      const range = await here.tenants.addRange({ low: 0n, high: 100n }, { shard: 1 });
      expect(range).toEqual({ low: 0n, high: 100n, shard: 1, epoch: 1n, state: "active" });
      expect(await here.tenants.addRange({ low: 0n, high: 100n }, { shard: 1 })).toEqual(range);
      await here.tenants.addRange({ low: 100n }, { shard: 2 });
      await here.tenants.addRange({ high: -10n }, { shard: 2 });
      expect(await here.directory.locate(99n)).toMatchObject({ shard: 1 });
      expect(await here.directory.locate(100n)).toMatchObject({ shard: 2 });
      expect(await here.directory.locate(-(2n ** 63n))).toMatchObject({ shard: 2 });
      await expect(here.directory.locate(-5n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      expect(await here.tenants.add(50n)).toMatchObject({ shard: 1, by: "range" });
      await expect(here.tenants.add(50n, { shard: 2 })).rejects.toMatchObject({
        code: "TENANT_ELSEWHERE",
        shard: 1,
      });
      await here.addNote(1, 50n, 1);
      await expect(here.addNote(2, 50n, 1)).rejects.toThrow(/TESSERAE_GUARD/);
      expect((await here.tenants.ranges()).map(({ high }) => high)).toEqual([-10n, 100n, null]);
    });

    test("do not overlap each other, nor keys that have a place of their own", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await here.tenants.addRange({ low: 10n, high: 20n }, { shard: 1 });
      for (const range of [
        { low: 19n, high: 30n },
        { low: 0n, high: 11n },
        { low: 12n, high: 13n },
        { low: 0n },
        {},
        { low: 10n, high: 21n },
      ]) {
        await expect(here.tenants.addRange(range, { shard: 1 })).rejects.toMatchObject({
          code: "RANGE_OVERLAP",
        });
      }
      await expect(here.tenants.addRange({ low: 10n, high: 20n }, { shard: 2 })).rejects.toMatchObject({
        code: "RANGE_OVERLAP",
      });
      await expect(here.tenants.addRange({ low: 5n, high: 5n }, { shard: 1 })).rejects.toMatchObject({
        code: "RANGE_INVALID",
      });
      await here.tenants.add(40n);
      await expect(here.tenants.addRange({ low: 30n, high: 50n }, { shard: 1 })).rejects.toMatchObject({
        code: "RANGE_OVERLAP",
        key: "40",
      });
      await here.tenants.addRange({ low: 20n, high: 40n }, { shard: 1 });
    });

    test("a key of a range can be removed alone, and comes back on the range's shard", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls, { chooser: always(2) });
      await here.create();
      await here.tenants.addRange({ low: 0n, high: 100n }, { shard: 1 });
      await here.addNote(1, 5n, 1);
      await here.addNote(1, 6n, 1);
      await expect(here.tenants.remove(5n)).rejects.toMatchObject({ code: "TENANT_NOT_EMPTY" });
      await here.tenants.remove(5n, { rows: "delete" });
      await expect(here.directory.locate(5n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await expect(here.addNote(1, 5n, 2)).rejects.toThrow(/TESSERAE_GUARD:not_here/);
      await here.addNote(1, 6n, 2);
      await expect(here.tenants.add(5n, { shard: 2 })).rejects.toMatchObject({ code: "TENANT_ELSEWHERE" });
      expect(await here.tenants.add(5n)).toMatchObject({ shard: 1, epoch: 3n, by: "point" });
      await here.addNote(1, 5n, 2);
    });

    test("keys removed before a range came stay removed, in the directory and for the guard", async () => {
      await using databases = await engine.databases(3);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await here.tenants.add(5n, { shard: 1 });
      await here.tenants.remove(5n);
      await here.tenants.addRange({ low: 0n, high: 10n }, { shard: 2 });
      await expect(here.directory.locate(5n)).rejects.toMatchObject({ code: "KEY_UNKNOWN" });
      await expect(here.addNote(2, 5n, 1)).rejects.toThrow(/TESSERAE_GUARD:not_here/);
      await here.addNote(2, 6n, 1);
      expect(await here.tenants.add(5n)).toMatchObject({ shard: 2, epoch: 2n });
      await here.addNote(2, 5n, 1);
    });
  });

  describe(`a main that was restored from an older state, on ${engine.name}`, () => {
    test("a later epoch on the shard is a conflict, not overwritten", async () => {
      await using databases = await engine.databases(2);
      await using here = await Installation.at(databases.urls);
      await here.create();
      for (let i = 0; i < 3; i++) {
        await here.tenants.add(7n);
        await here.tenants.remove(7n);
      }
      await here.control.run("delete from tesserae_directory_default", []);
      await expect(here.tenants.add(7n)).rejects.toMatchObject({
        code: "RESIDENCE_CONFLICT",
        shard: 1,
        key: "7",
      });
    });

    test("a larger token alone is passed over", async () => {
      await using databases = await engine.databases(2);
      await using here = await Installation.at(databases.urls);
      await here.create();
      await here.tenants.add(7n);
      await here.onShard(1, "update tesserae_residence_default set token = 50");
      await here.tenants.remove(7n);
      const [row] = [await new DirectoryRows(here.control, here.federation).find(here.control, "p", 7n)];
      expect(row).toMatchObject({ state: "removed", token: 51n });
    });
  });
});
