import type { Insertable, Kysely, Selectable, Updateable } from "kysely";
import { describe, expectTypeOf, it } from "vitest";
import {
  bigint,
  decimal,
  defineSchema,
  federated,
  global,
  type Ids,
  int,
  json,
  type KeyOf,
  type MainDatabase,
  reference,
  type ShardDatabase,
  text,
  timestamp,
  uuid,
} from "../../src/index.ts";

const schema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint().ticket(), name: text(64).unique(), created: timestamp().defaultNow() }),
    themes: reference({ id: bigint(), label: text(64) }),
    sheets: federated("user_id", { id: bigint().ticket(), user_id: bigint(), label: text(255) }),
    dots: federated(
      "user_id",
      {
        id: bigint().ticket(),
        user_id: bigint(),
        sheet_id: bigint().references("sheets"),
        lat: decimal(9, 6),
        details: json<{ a: number }>().nullable(),
        seen: timestamp(6),
      },
      { indexes: [["user_id", "seen"]] },
    ),
  },
});
/** An intersection written as one object, so that it compares equal. */
type Flat<T> = { [K in keyof T]: T[K] };
type Main = MainDatabase<typeof schema.$tables>;
type Shard = ShardDatabase<typeof schema.$tables, "default">;

describe("row types", () => {
  it("puts each table into the database of its cluster", () => {
    expectTypeOf<keyof Main>().toEqualTypeOf<"users" | "themes">();
    expectTypeOf<keyof Shard>().toEqualTypeOf<"themes" | "sheets" | "dots">();
  });

  it("infers select, insert and update types", () => {
    expectTypeOf<Flat<Selectable<Shard["dots"]>>>().toEqualTypeOf<{
      id: bigint;
      user_id: bigint;
      sheet_id: bigint;
      lat: string;
      details: { a: number } | null;
      seen: string;
    }>();
    expectTypeOf<Flat<Insertable<Main["users"]>>>().toEqualTypeOf<{
      id: bigint;
      name: string;
      created?: Date | undefined;
    }>();
    expectTypeOf<Flat<Insertable<Shard["sheets"]>>>().toEqualTypeOf<{
      id: bigint;
      user_id?: bigint | undefined;
      label: string;
    }>();
    expectTypeOf<Flat<Updateable<Shard["sheets"]>>>().toEqualTypeOf<{
      id?: bigint | undefined;
      label?: string | undefined;
    }>();
  });

  it("types the key, and several federations", () => {
    expectTypeOf<KeyOf<(typeof schema.$federations)["default"]>>().toEqualTypeOf<bigint>();
    const two = defineSchema({
      federations: { users: bigint(), blogs: uuid() },
      tables: {
        posts: federated("blog_id", { id: uuid().uuidv7(), blog_id: uuid() }, { federation: "blogs" }),
        notes: federated("user_id", { id: bigint(), user_id: bigint() }, { federation: "users" }),
      },
    });
    expectTypeOf<keyof ShardDatabase<typeof two.$tables, "blogs">>().toEqualTypeOf<"posts">();
    expectTypeOf<KeyOf<(typeof two.$federations)["blogs"]>>().toEqualTypeOf<string>();
  });

  it("types ids by their column, and names only tables that have some", () => {
    const counted = defineSchema({
      key: bigint(),
      tables: {
        dots: federated("user_id", { id: bigint().ticket(), user_id: bigint() }),
        sheets: federated("user_id", { id: int().ticket().default(1), user_id: bigint() }),
        links: federated("user_id", { id: uuid().uuidv7(), user_id: bigint() }),
        invoices: global({ id: int().table({ step: 3 }), number: bigint().ticket("n").nullable() }),
        themes: reference({ id: bigint(), label: text(64) }),
        events: global({ id: bigint().autoIncrement() }),
      },
    });
    const check = (ids: Ids<typeof counted.$tables>) => {
      expectTypeOf(ids.next("dots")).toEqualTypeOf<Promise<bigint>>();
      expectTypeOf(ids.take("dots", 2)).toEqualTypeOf<Promise<bigint[]>>();
      expectTypeOf(ids.next("sheets")).toEqualTypeOf<Promise<number>>();
      expectTypeOf(ids.next("links")).toEqualTypeOf<Promise<string>>();
      expectTypeOf(ids.next("dots", { column: "id" })).toEqualTypeOf<Promise<bigint>>();
      expectTypeOf(ids.next("invoices", { column: "id" })).toEqualTypeOf<Promise<number>>();
      expectTypeOf(ids.take("invoices", 2, { column: "number" })).toEqualTypeOf<Promise<bigint[]>>();
      // @ts-expect-error two columns have generated ids: say which
      ids.next("invoices");
      // @ts-expect-error the values of its columns are natural
      ids.next("themes");
      // @ts-expect-error the database gives them
      ids.next("events");
      // @ts-expect-error a column whose values are natural
      ids.next("dots", { column: "user_id" });
      // @ts-expect-error no such table
      ids.take("dot", 3);
    };
    expectTypeOf(check).toBeFunction();
  });

  it("gives Kysely databases in which the other cluster's tables cannot be named", () => {
    const check = (main: Kysely<Main>, shard: Kysely<Shard>) => {
      shard.selectFrom("dots").select(["id", "lat"]);
      main.selectFrom("users").selectAll();
      // @ts-expect-error a federated table is not on main
      main.selectFrom("dots");
      // @ts-expect-error a global table is not on a shard
      shard.selectFrom("users");
      // @ts-expect-error the distribution column never changes
      shard.updateTable("dots").set({ user_id: 1n });
    };
    expectTypeOf(check).toBeFunction();
  });
});
