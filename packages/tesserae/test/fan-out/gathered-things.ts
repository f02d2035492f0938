/** A federation of things of every type, and the same rows in one PostgreSQL database, which knows the right answers. */
import { type FreshDatabases, freshDatabases, type TestEngine } from "@tesserae/test-support";
import pg from "pg";
import {
  bigint,
  boolean,
  bytes,
  date,
  decimal,
  defineSchema,
  double,
  type Federation,
  federate,
  federated,
  global,
  int,
  json,
  text,
  timestamp,
  uuid,
} from "../../src/index.ts";

export const thingsSchema = defineSchema({
  key: bigint(),
  tables: {
    users: global({ id: bigint(), name: text(64), nick: text(20).caseInsensitive() }),
    things: federated("user_id", {
      id: bigint(),
      user_id: bigint(),
      n: int(),
      big: bigint(),
      d: decimal(9, 6),
      w: decimal(38, 10),
      f: double(),
      b: boolean(),
      t: text(100),
      j: json().nullable(),
      t3: timestamp(),
      t6: timestamp(6),
      day: date(),
      u: uuid(),
      raw: bytes(100),
      maybe: int().nullable(),
    }),
  },
});

export type ThingsFederation = Federation<typeof thingsSchema>;

const USERS = 9;
const THINGS_EACH = 12;
const WORDS = ["", "a", "a ", "B", "Ä", "z", "é", "Ａ", "😀", "it's"];

/** By arithmetic alone, so that every federation gets the same. */
function thing(user: number, index: number) {
  const id = user * 100 + index;
  const mixed = (id * 7919) % 1000;
  return {
    id: BigInt(id),
    n: mixed - 500,
    big: 2n ** 62n + BigInt(mixed),
    d: `${mixed % 2 === 0 ? "-" : ""}${mixed}.00000${mixed % 7}`,
    w: `${mixed}1234567890123456789.1234567891`,
    f: mixed / 8 + 0.1,
    b: mixed % 3 === 0,
    t: WORDS[mixed % WORDS.length] as string,
    j: mixed % 4 === 0 ? null : { mixed, list: [1.5, "ü", null] },
    t3: new Date(Date.UTC(1900 + (mixed % 200), 1, 28, 23, 59, 59, mixed)),
    t6: `19${60 + (mixed % 20)}-12-31T23:59:59.${String(999_999 - mixed).padStart(6, "0")}Z`,
    day: `${String(1 + mixed * 9).padStart(4, "0")}-02-28`,
    u: `${((mixed * 37) % 256).toString(16).padStart(2, "0")}000000-0000-4000-8000-${String(id).padStart(12, "0")}`,
    raw: new Uint8Array([(mixed * 37) % 256, 0, index]),
    maybe: mixed % 5 === 0 ? null : mixed % 5,
  };
}

async function fill(fed: ThingsFederation, shards: number): Promise<void> {
  await fed.schema.apply();
  for (let user = 1; user <= USERS; user++) {
    const key = BigInt(user);
    await fed.main
      .insertInto("users")
      .values({ id: key, name: `user ${user}`, nick: user % 2 === 0 ? "EVEN" : "odd" })
      .execute();
    await fed.tenants.add(key, shards === 0 ? {} : { shard: 1 + (user % shards) });
    const things = Array.from({ length: THINGS_EACH }, (_, index) => thing(user, index));
    await fed.at(key).insertInto("things").values(things).execute();
  }
}

export interface OpenedThings extends AsyncDisposable {
  readonly fed: ThingsFederation;
  readonly databases: FreshDatabases;
}

export async function openThings(engine: TestEngine, shards: number): Promise<OpenedThings> {
  const databases = await engine.databases(shards + 1, { servers: 2 });
  const [main, ...rest] = databases.urls as [string, ...string[]];
  const numbered = Object.fromEntries(rest.map((url, index) => [index + 1, url]));
  const fed = await federate({
    schema: thingsSchema,
    main,
    ...(shards === 0 ? {} : { shards: numbered }),
  });
  await fill(fed, shards);
  return {
    fed,
    databases,
    async [Symbol.asyncDispose]() {
      await fed.close();
      await databases.cleanUp();
    },
  };
}

export interface Oracle extends AsyncDisposable {
  /** Rows as `shown` gives them. */
  ask(sql: string): Promise<Record<string, string | null>[]>;
}

export async function openOracle(): Promise<Oracle> {
  const databases = await freshDatabases("postgres", 1);
  const [url] = databases.urls as [string];
  const fed = await federate({ schema: thingsSchema, main: url });
  await fill(fed, 0);
  await fed.close();
  const client = new pg.Client({
    connectionString: url,
    types: { getTypeParser: () => (value: string | Buffer) => String(value) } as pg.CustomTypesConfig,
  });
  await client.connect();
  await client.query("set timezone = 'UTC'");
  return {
    async ask(sql) {
      const { rows } = await client.query<Record<string, string | null>>(sql);
      return rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, shownText(value)])),
      );
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await databases.cleanUp();
    },
  };
}

const MOMENT = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/;

/** PostgreSQL's text of a value, in the form in which values are compared here. */
function shownText(value: string | null): string | null {
  if (value === null) return null;
  const moment = MOMENT.exec(value);
  if (moment !== null) return `${moment[1]}T${moment[2]}.${(moment[3] ?? "").padEnd(6, "0")}Z`;
  return value.startsWith("{") ? JSON.stringify(JSON.parse(value)) : value;
}

/** A logical value in the same form. */
export function shown(value: unknown): string | null {
  if (value === null) return null;
  if (typeof value === "boolean") return value ? "t" : "f";
  if (value instanceof Date) return value.toISOString().replace("Z", "000Z");
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString("hex")}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export function shownRows(rows: readonly Record<string, unknown>[]): Record<string, string | null>[] {
  return rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, shown(value)])),
  );
}
