/** The parameters of whole raw statements take the types of the columns they are compared with or written to. */
import { forEachEngine } from "@tesserae/test-support";
import { CompiledQuery, sql } from "kysely";
import { describe, expect, it } from "vitest";
import {
  bigint,
  boolean,
  decimal,
  defineSchema,
  federate,
  federated,
  global,
  json,
  text,
  timestamp,
  typed,
  uuid,
} from "../../src/index.ts";
import { parameterColumns } from "../../src/session/raw-statement.ts";
import { refused } from "../federation/refused.ts";

const schema = defineSchema({
  key: uuid(),
  tables: {
    authors: global({ id: uuid(), name: text(64), seen: timestamp(), title: text(9) }),
    posts: federated("author", {
      id: bigint(),
      author: uuid(),
      title: text(64),
      price: decimal(30, 4),
      open: boolean(),
      at: timestamp(),
      details: json().nullable(),
    }),
    notes: federated("author", { id: bigint(), author: uuid(), at: timestamp(6) }),
  },
});

const ada = "0190a000-0000-7000-8000-00000000000a";
const bob = "0190a000-0000-7000-8000-00000000000b";
const at = new Date("2026-01-01T00:00:00.001Z");
const row = { id: 1n, title: "one", price: "12345678901234567890.5", open: true, at };

forEachEngine((engine) => {
  describe(`a whole raw statement on ${engine.name}`, () => {
    it("finds rows by typed parameters, writes them, and leaves the rest as it is", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      for (const key of [ada, bob]) {
        await fed.tenants.add(key);
        await fed.at(key).insertInto("posts").values(row).execute();
      }
      const all = fed.at(ada).unfiltered();
      const titles = async (query: ReturnType<typeof sql<{ title: string }>>) =>
        (await query.execute(all)).rows.map(({ title }) => title);
      expect(await titles(sql`select title from posts where author = ${ada}`)).toEqual(["one"]);
      expect(await titles(sql`select p.title from posts as p where ${ada} = p.author`)).toEqual(["one"]);
      expect(await titles(sql`select title from posts where author in (${ada}, ${bob})`)).toHaveLength(2);
      expect(await titles(sql`select title from posts where author not in (${ada})`)).toHaveLength(1);
      expect(
        await titles(
          sql`select title from posts where ${sql.ref("posts.author")} = ${ada} and price >= ${"12345678901234567890.5"}
            and open = ${true} and at between ${at} and ${at}`,
        ),
      ).toEqual(["one"]);
      expect(
        await titles(sql`select title from posts where coalesce(author, null) = ${typed(uuid(), ada)}`),
      ).toEqual(["one"]);
      const parameter = engine.name === "postgres" ? "$1" : "?";
      const adopted = CompiledQuery.raw(`select title from posts where author = ${parameter}`, [ada]);
      expect((await all.executeQuery(adopted)).rows).toEqual([{ title: "one" }]);
      const details = engine.name === "postgres" ? sql`${{ a: 1 }}::json` : sql`${{ a: 1 }}`;
      await sql`insert into posts (id, author, title, price, open, at, details) values
        (2, ${ada}, 'two', ${"7.5"}, ${false}, ${at}, ${details})`.execute(all);
      await sql`update posts set price = ${"8.25"}, open = ${true} where author = ${ada} and id = ${2n}`.execute(
        all,
      );
      expect(
        await fed.at(ada).selectFrom("posts").selectAll().where("id", "=", 2n).executeTakeFirstOrThrow(),
      ).toEqual({ ...row, id: 2n, author: ada, title: "two", price: "8.2500", details: { a: 1 } });
      const wrong = await refused("VALUE_INVALID", () =>
        sql`update posts set price = ${"x"} where author = ${ada}`.execute(all),
      );
      expect(wrong.message).toMatch(/^Column "price" of table "posts": /);
      await fed.close();
    });

    it("does the same on main, and keeps apart from a built one of the same text", async () => {
      await using databases = await engine.databases(1);
      const fed = await federate({ schema, main: databases.urls[0] as string });
      await fed.schema.apply();
      await sql`insert into authors (id, name, seen, title) values (${ada}, ${"ada"}, ${at}, ${"Dr"})`.execute(
        fed.main,
      );
      const { rows } = await sql`select name from authors where id = ${ada} and seen <= ${at}`.execute(
        fed.main,
      );
      expect(rows).toEqual([{ name: "ada" }]);
      const built = fed.main.selectFrom("authors").select("id").where("id", "=", ada);
      const raw = CompiledQuery.raw(built.compile().sql, [ada]);
      const natural = (await fed.main.executeQuery(raw)).rows;
      expect(natural).toHaveLength(1);
      expect(await built.execute()).toEqual([{ id: ada }]);
      expect((await fed.main.executeQuery(raw)).rows).toEqual(natural);
      await fed.close();
    });
  });
});

describe("parameterColumns", () => {
  const columns = (text: string, engine: "sqlite" | "mysql" | "postgres" = "sqlite") =>
    [...parameterColumns(text, schema.model, engine)].map(
      ([index, { table, column }]) => `${index} ${table.name}.${column.name}`,
    );

  it.each([
    ["select * from posts where (author = ?) and title <> ?", ["0 posts.author", "1 posts.title"]],
    [
      "select * from posts p join notes n on n.id = p.id where n.at > ? and p.at > ?",
      ["0 notes.at", "1 posts.at"],
    ],
    ["select * from posts, notes where author = ?", ["0 posts.author"]],
    ["with mine as (select * from posts where author = ?) select * from mine", ["0 posts.author"]],
    ["select extract(year from at) from posts where author = ?", ["0 posts.author"]],
    ["-- a ? in a comment\nselect '?' /* ? */ from posts where author = ?", ["0 posts.author"]],
    ["insert into posts (author, id) values (?, ? + 1), (lower(?), ?)", ["0 posts.author", "3 posts.id"]],
    [
      "insert into posts (author) values (?) on conflict (id) do update set title = ?, at = excluded.at where excluded.at > ?",
      ["0 posts.author", "1 posts.title", "2 posts.at"],
    ],
    [
      "delete from posts where author between ? and ? or id not in (1, ?)",
      ["0 posts.author", "1 posts.author", "2 posts.id"],
    ],
  ])("tells those of %s", (statement, expected) => {
    expect(columns(statement)).toEqual(expected);
  });

  it.each([
    "select * from posts, notes where at > ?",
    "select lower(author) as author from posts where author = ?",
    "select max(at) at from posts having at > ?",
    "select * from posts join legacy on true where author = ?",
    "select * from legacy.posts where author = ?",
    "select * from posts where author || title = ?",
    "select * from posts where author = ? || 'x'",
    "select * from posts where lower(author) = ?",
    "select * from posts where author = ?1",
    "select * from posts where author = :author",
    "select * from posts where id in (select ?)",
    "select * from posts where (author, id) = (?, ?)",
    "with posts as (select 1 as id) select * from posts where author = ?",
    "select * from posts limit ?",
  ])("tells nothing of %s", (statement) => {
    expect(columns(statement)).toEqual([]);
  });

  it("reads each engine's own text", () => {
    expect(columns("select * from posts where author = $2 and id = $1", "postgres")).toEqual([
      "1 posts.author",
      "0 posts.id",
    ]);
    expect(columns("select * from posts where author = $1 or title = $1", "postgres")).toEqual([]);
    expect(columns("select * from posts where title = $$?$$ and author = $1", "postgres")).toEqual([]);
    expect(columns("select `at` from `posts` where title = 'it\\'s ?' and `author` = ?", "mysql")).toEqual([
      "0 posts.author",
    ]);
    expect(columns('select * from posts where title = "?" and author = ? # ?', "mysql")).toEqual([
      "0 posts.author",
    ]);
    expect(columns("select /*! ? */ * from posts where author = ?", "mysql")).toEqual([]);
  });
});
