/** How a SQLite database is named, and that two names of one are one. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { sqlite } from "../../../src/engine/sqlite/engine.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "tesserae-sqlite-")));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the address", () => {
  const path = join(folder, "dots.db");

  test.each([
    path,
    relative(process.cwd(), path),
    `sqlite:${path}`,
    `sqlite://${path}`,
    `file:${path}`,
    pathToFileURL(path).href,
    join(folder, "nowhere", "..", "dots.db"),
  ])("%s is the file's absolute path", (text) => {
    expect(sqlite(text).address).toEqual({
      identity: `sqlite:${path}`,
      server: `sqlite:${path}`,
      display: `sqlite:${path}`,
    });
  });

  test("follows links, also of the folder of a file that is not there yet", () => {
    mkdirSync(join(folder, "real"));
    symlinkSync(join(folder, "real"), join(folder, "link"));
    expect(sqlite(join(folder, "link", "x", "dots.db")).address.identity).toBe(
      `sqlite:${join(folder, "real", "x", "dots.db")}`,
    );
  });

  test("takes variables from the environment", () => {
    process.env["TESSERAE_TEST_FOLDER"] = folder;
    expect(sqlite("${TESSERAE_TEST_FOLDER}/dots.db").address.identity).toBe(`sqlite:${path}`);
    expect(() => sqlite("${TESSERAE_TEST_UNSET}/dots.db")).toThrow(
      expect.objectContaining({ code: "CONFIG_ENV_MISSING" }),
    );
  });

  test.each(["", "  ", "sqlite:", "sqlite://", "file:", "file:dots.db?mode=ro", "file://elsewhere/dots.db"])(
    "%j is refused",
    (text) => {
      expect(() => sqlite(text)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    },
  );

  test("refuses options that are none", () => {
    for (const options of [
      { synchronous: "sometimes" as never },
      { cacheKib: 1.5 },
      { lockTimeoutMs: Number.NaN },
    ]) {
      expect(() => sqlite({ path, ...options })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    }
  });

  test("has its control database beside it", () => {
    expect(sqlite(path).control().address.identity).toBe(`sqlite:${join(folder, "dots.control.db")}`);
    expect(sqlite(join(folder, "a.b", "plain")).control().address.identity).toBe(
      `sqlite:${join(folder, "a.b", "plain.control.db")}`,
    );
    const control = sqlite(path).control();
    expect(control.control()).toBe(control);
  });
});

describe("a database in memory", () => {
  test("is one for each engine, with a control database of its own", () => {
    const [first, second] = [sqlite(":memory:"), sqlite("sqlite::memory:")];
    expect(
      new Set([first, second, first.control(), second.control()].map((engine) => engine.address.identity))
        .size,
    ).toBe(4);
    expect(first.control()).toBe(first.control());
  });

  test("is the same data however often it is opened", async () => {
    const engine = sqlite(":memory:");
    const [first, second] = [engine.open(POOL_DEFAULTS), engine.open(POOL_DEFAULTS)];
    await first.run({ sql: "create table t (id INTEGER primary key)", parameters: [] });
    await second.run({ sql: "insert into t values (1)", parameters: [] });
    await first.close();
    await second.close();
    const third = engine.open(POOL_DEFAULTS);
    expect((await third.run({ sql: "select id from t", parameters: [], readOnly: true })).rows).toEqual([
      { id: 1n },
    ]);
    await third.close();
  });

  test("keeps readers waiting while a transaction is open, of another pool too", async () => {
    const engine = sqlite(":memory:");
    const [first, second] = [
      engine.open(POOL_DEFAULTS),
      engine.open({ ...POOL_DEFAULTS, acquireTimeoutMs: 50 }),
    ];
    await first.run({ sql: "create table t (id INTEGER primary key)", parameters: [] });
    const writer = await first.acquire();
    await writer.begin();
    await writer.run({ sql: "insert into t values (1)", parameters: [] });
    const read = first.run({ sql: "select id from t", parameters: [], readOnly: true });
    await expect(
      second.run({ sql: "select id from t", parameters: [], readOnly: true }),
    ).rejects.toMatchObject({ code: "CONNECTION_LIMIT" });
    await writer.rollback();
    writer.release();
    expect((await read).rows).toEqual([]);
    const reader = await first.acquire({ mode: "read" });
    await reader.begin({ readOnly: true });
    await expect(reader.run({ sql: "insert into t values (1)", parameters: [] })).rejects.toThrow(/readonly/);
    await reader.commit();
    reader.release();
    await second.run({ sql: "insert into t values (2)", parameters: [] });
    await Promise.all([first.close(), second.close()]);
  });
});
