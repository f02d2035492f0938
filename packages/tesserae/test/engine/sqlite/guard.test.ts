/** What is particular to SQLite's guard: a plain SQL prompt, REPLACE, the mover's row, and the log's form. The rest is in the shared suite. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Database, type Engine, POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { shardControlTables } from "../../../src/engine/control-tables.ts";
import { sqlite } from "../../../src/engine/sqlite/engine.ts";
import {
  bigint,
  boolean,
  bytes,
  date,
  decimal,
  double,
  int,
  text,
  timestamp,
  uuid,
} from "../../../src/schema/column.ts";
import { defineSchema } from "../../../src/schema/define-schema.ts";
import { federated } from "../../../src/schema/table.ts";

const { model } = defineSchema({
  key: bigint(),
  tables: {
    sheets: federated(
      "user_id",
      { id: bigint(), user_id: bigint(), label: text(20) },
      { unique: [["user_id", "label"]] },
    ),
    kinds: federated(
      "user_id",
      {
        user_id: bigint(),
        a: int(),
        b: decimal(9, 6),
        c: decimal(38, 10),
        d: double(),
        e: boolean(),
        f: text(10),
        g: timestamp(),
        h: date(),
        i: uuid(),
        j: bytes(5),
      },
      { primaryKey: ["user_id", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] },
    ),
  },
});

let folder: string;
let engine: Engine;
let database: Database;
let prompt: DatabaseSync;

const run = (sql: string, ...parameters: unknown[]) => database.run({ sql, parameters });
const logged = async () =>
  (await run("select table_name, primary_key from tesserae_log_default order by id")).rows.map(
    (row) => `${row["table_name"]} ${row["primary_key"]}`,
  );

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tesserae-sqlite-"));
  engine = sqlite(join(folder, "dots.db"));
  database = engine.open(POOL_DEFAULTS);
  const tables = [...model.tables.values()];
  const federation = model.federations.get("default")!;
  const statements = [
    ...shardControlTables([federation]).flatMap((table) => engine.dialect.createTable(table)),
    ...tables.flatMap((table) => engine.dialect.createTable(table)),
    ...tables.flatMap((table) => engine.dialect.createGuard(table, federation)),
  ];
  // Twice: the second time does nothing.
  for (const sql of [...statements, ...statements])
    await database.run({ sql, parameters: [], prepare: false });
  await run(
    "insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('p', 1, null, 1, 'here', 0), ('p', 2, null, 1, 'leaving', 7)",
  );
  await run(
    "insert into tesserae_residence_default (kind, low, high, epoch, state, token) values ('r', 10, 20, 1, 'here', 0), ('r', 20, 30, 1, 'leaving', 8), ('p', 15, null, 1, 'gone', 9), ('r', 50, null, 1, 'here', 0)",
  );
  prompt = new DatabaseSync(join(folder, "dots.db"));
});

afterEach(async () => {
  prompt.close();
  await database.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("a plain SQL prompt", () => {
  test.each([
    [1, undefined],
    [2, undefined],
    [10, undefined],
    [19, undefined],
    [15, "not_here"],
    [20, undefined],
    [30, "no_residence"],
    [3, "no_residence"],
    [-5, "no_residence"],
    [1e15, undefined],
  ])("writes key %d or is refused: %s", (key, reason) => {
    const insert = () =>
      prompt.prepare("insert into sheets (id, user_id, label) values (1, ?, 'a')").run(BigInt(key));
    if (reason === undefined) expect(insert().changes).toBe(1);
    else expect(insert).toThrow(`TESSERAE_GUARD:${reason}:sheets:${key}`);
  });

  test("meets the guard when it ignores, updates or replaces what is there", () => {
    prompt.exec("insert into sheets (id, user_id, label) values (1, 2, 'a'), (1, 1, 'a')");
    prompt.exec("update tesserae_residence_default set state = 'gone' where low = 2");
    for (const sql of [
      "insert into sheets (id, user_id, label) values (1, 2, 'a') on conflict do nothing",
      "insert or ignore into sheets (id, user_id, label) values (1, 2, 'a')",
      "replace into sheets (id, user_id, label) values (1, 2, 'a')",
      "insert into sheets (id, user_id, label) values (1, 2, 'a') on conflict do update set label = 'b'",
      "update sheets set label = 'b'",
      "delete from sheets",
    ]) {
      expect(() => prompt.exec(sql), sql).toThrow("TESSERAE_GUARD:not_here:sheets:2");
    }
    expect(() => prompt.exec("update sheets set user_id = 10 where user_id = 1")).toThrow(
      "TESSERAE_GUARD:key_change:sheets:1",
    );
    expect(() => prompt.exec("update or replace sheets set user_id = 2 where user_id = 1")).toThrow(
      "TESSERAE_GUARD:key_change:sheets:1",
    );
    expect(prompt.prepare("select count(*) as n from sheets").get()).toMatchObject({ n: 2 });
  });

  test("has the rows logged that REPLACE deletes behind the triggers' back", async () => {
    prompt.exec("insert into sheets (id, user_id, label) values (1, 2, 'a'), (2, 2, 'b'), (3, 2, 'c')");
    await run("delete from tesserae_log_default");
    prompt.exec("replace into sheets (id, user_id, label) values (4, 2, 'a')");
    expect((await logged()).sort()).toEqual(["sheets [2,1]", "sheets [2,4]"]);
    await run("delete from tesserae_log_default");
    prompt.exec("update or replace sheets set label = 'c' where id = 2");
    expect(new Set(await logged())).toEqual(new Set(["sheets [2,2]", "sheets [2,3]"]));
  });
});

describe("the mover", () => {
  async function asMover(token: bigint, sql: string): Promise<unknown> {
    const { open, close } = engine.dialect.passGuard(token);
    const connection = await database.acquire();
    await connection.begin();
    try {
      for (const statement of [...open, sql, ...close])
        await connection.run({ sql: statement, parameters: [], prepare: false });
      await connection.commit();
      return undefined;
    } catch (error) {
      return error;
    } finally {
      connection.release();
    }
  }

  test("writes under its own token alone, and logs nothing", async () => {
    expect(await asMover(9n, "insert into sheets (id, user_id, label) values (1, 15, 'a')")).toBeUndefined();
    expect(await asMover(7n, "insert into sheets (id, user_id, label) values (1, 2, 'a')")).toBeUndefined();
    expect(await asMover(8n, "insert into sheets (id, user_id, label) values (1, 21, 'a')")).toBeUndefined();
    expect(await logged()).toEqual([]);
    expect(
      engine.dialect.classify(
        await asMover(8n, "insert into sheets (id, user_id, label) values (2, 15, 'a')"),
      ),
    ).toMatchObject({
      code: "GUARD_REFUSED",
      guard: { reason: "not_here", table: "sheets", key: "15" },
    });
    expect(
      engine.dialect.classify(await asMover(9n, "update sheets set user_id = 1 where user_id = 15")),
    ).toMatchObject({ guard: { reason: "key_change" } });
    // Afterwards the guard stands as before.
    await expect(run("delete from sheets where user_id = 15")).rejects.toThrow(
      "TESSERAE_GUARD:not_here:sheets:15",
    );
    expect((await run("select * from tesserae_mover")).rows).toEqual([]);
  });
});

test("the log holds the primary key of every type as JSON", async () => {
  const values = {
    a: -5,
    b: "-1.5",
    c: "-12345678901234567890.125",
    d: 0.1,
    e: true,
    f: 'it\'s "x"',
    g: new Date("1969-12-31T23:59:59.999Z"),
    h: "2024-02-29",
    i: "01234567-89ab-cdef-0123-456789abcdef",
    j: new Uint8Array([0, 255]),
  };
  const columns = model.tables.get("kinds")!.column;
  const encoded = Object.entries(values).map(([name, value]) =>
    engine.dialect.codec(columns.get(name)!.type).encode(value),
  );
  await run(
    `insert into kinds (user_id, ${Object.keys(values).join(", ")}) values (2, ${encoded.map(() => "?").join(", ")})`,
    ...encoded,
  );
  const [row] = (await run("select primary_key from tesserae_log_default")).rows;
  expect(JSON.parse(row?.["primary_key"] as string)).toEqual([
    2,
    -5,
    "-1.500000",
    "-12345678901234567890.1250000000",
    0.1,
    true,
    'it\'s "x"',
    "1969-12-31T23:59:59.999Z",
    "2024-02-29",
    "01234567-89ab-cdef-0123-456789abcdef",
    "00ff",
  ]);
});

test("a failed row takes its whole statement back, and leaves the transaction as it was", async () => {
  const connection = await database.acquire();
  await connection.begin();
  await connection.run({ sql: "insert into sheets (id, user_id, label) values (1, 1, 'a')", parameters: [] });
  await expect(
    connection.run({
      sql: "insert into sheets (id, user_id, label) values (2, 1, 'b'), (1, 3, 'c')",
      parameters: [],
    }),
  ).rejects.toThrow("no_residence");
  await connection.commit();
  connection.release();
  expect((await run("select id from sheets")).rows).toEqual([{ id: 1n }]);
});
