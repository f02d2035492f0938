/** What a gathering may not do: take more than it was given, outlive its caller's patience, leave anything behind, or reach beyond its sources. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freshDatabases } from "@tesserae/test-support";
import { sql } from "kysely";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { decimal, type GatherOptions, type GatherSource, isTesseraeError, typed } from "../../src/index.ts";
import { type OpenedThings, openThings } from "./gathered-things.ts";

const MIB = 1024 * 1024;
let opened: OpenedThings;
/** Where every temporary folder of this file's gatherings is made. */
const folder = mkdtempSync(join(tmpdir(), "tesserae-gather-test-"));
const temporary = process.env["TMPDIR"];

beforeAll(async () => {
  opened = await openThings(
    { name: "sqlite", databases: (count, options) => freshDatabases("sqlite", count, options) },
    0,
  );
  process.env["TMPDIR"] = folder;
});
afterEach(() => {
  expect(readdirSync(folder)).toEqual([]);
});
afterAll(async () => {
  if (temporary === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporary;
  rmSync(folder, { recursive: true });
  await opened[Symbol.asyncDispose]();
});

const selected = () => opened.fed.at(1n).selectFrom("things").select(["id", "n", "t"]);

/** A query of the federation that gives other rows than are there: as many as one likes, at once. */
function rowsOf(rows: () => AsyncGenerator<unknown>): GatherSource {
  return { toOperationNode: () => selected().toOperationNode(), stream: rows };
}

/** 240 characters that do not compress well, in no order. */
function noise(index: number): string {
  const digest = createHash("sha512").update(`${index}`).digest("hex");
  return digest + digest.slice(8, 120);
}

function manyRows(count: number, onRow?: (index: number) => void): GatherSource {
  return rowsOf(async function* () {
    for (let index = 0; index < count; index++) {
      onRow?.(index);
      yield { id: BigInt(index), n: index % 1000, t: noise(index) };
    }
  });
}

/** Not the answer, which may be long: the error, or undefined. */
async function failureOf(asked: PromiseLike<unknown>): Promise<unknown> {
  try {
    await asked;
    return undefined;
  } catch (error) {
    return error;
  }
}

async function codeOf(asked: PromiseLike<unknown>): Promise<string> {
  const failure = await failureOf(asked);
  if (failure === undefined) return "none";
  if (isTesseraeError(failure)) return failure.code;
  throw failure;
}

/** Never ends by itself. */
const ENDLESS =
  "select count(*) as c from range(10000000000) a, range(10000000000) b where a.range * b.range = -1";

describe("memory", () => {
  test("300,000 rows of 80 MB are joined and sorted in 128 MiB, beyond which a private folder is used", {
    timeout: 60_000,
  }, async () => {
    const rows = manyRows(300_000);
    const asked = opened.fed.gather<{ id: bigint; t: string; folder: string }>(
      { a: rows, b: manyRows(1000) },
      "select a.id, a.t, current_setting('temp_directory') as folder from a join b on a.n = b.id order by a.t",
      [],
      { memoryLimitBytes: 128 * MIB },
    );
    let count = 0n;
    let last = "";
    let sum = 0n;
    let spilled: string[] = [];
    for await (const row of asked.stream()) {
      if (count % 50_000n === 0n) spilled = [...spilled, ...readdirSync(row.folder)];
      count += 1n;
      if (row.t <= last) throw new Error(`${row.t} after ${last}`);
      last = row.t;
      sum += row.id;
    }
    expect([count, sum]).toEqual([300_000n, (299_999n * 300_000n) / 2n]);
    expect(spilled.length).toBeGreaterThan(0);
  });

  test.each<[string, number, GatherOptions, RegExp]>([
    ["rows", 1000, { rowsMax: 999 }, /More than 999 rows.*source "rows"/],
    [
      "memory and temporary space",
      160_000,
      { memoryLimitBytes: 32 * MIB, spillLimitBytes: MIB },
      /spillLimitBytes/,
    ],
    ["rows of the answer", 1000, { resultRowsMax: 10 }, /more than 10 rows.*stream\(\)/],
    ["memory, with SQLite", 160_000, { engine: "sqlite", memoryLimitBytes: 32 * MIB }, /memoryLimitBytes/],
  ])("more %s than allowed are refused", async (_, rows, options, message) => {
    const asked = opened.fed.gather({ rows: manyRows(rows) }, "select * from rows", [], options);
    expect(await failureOf(asked)).toMatchObject({
      code: "GATHER_TOO_LARGE",
      message: expect.stringMatching(message),
    });
  });
});

describe("an end", () => {
  test("by deadline, in the embedded engine", async () => {
    const asked = opened.fed.gather({ rows: selected() }, ENDLESS, [], { deadlineMs: 300 });
    expect(await codeOf(asked)).toBe("GATHER_DEADLINE");
  });

  test("by deadline, while a source gives nothing", async () => {
    const silent = rowsOf(async function* () {
      yield { id: 1n, n: 1, t: "" };
      await new Promise(() => {});
    });
    expect(await codeOf(opened.fed.gather({ silent }, "select 1 as one", [], { deadlineMs: 100 }))).toBe(
      "GATHER_DEADLINE",
    );
  });

  test.each([0, 50])("by a signal, %i ms after the rows are there: its reason is the error", async (ms) => {
    const caller = new AbortController();
    const reason = new Error("the user went away");
    const source = rowsOf(async function* () {
      yield { id: 1n, n: 1, t: "" };
      setTimeout(() => caller.abort(reason), ms);
    });
    const asked = opened.fed.gather({ source }, ENDLESS, [], { signal: caller.signal });
    expect(await failureOf(asked)).toBe(reason);
  });

  test("by a signal between two rows of a stream", async () => {
    const caller = new AbortController();
    const stream = opened.fed
      .gather({ rows: manyRows(10_000) }, "select * from rows", [], { signal: caller.signal })
      .stream();
    const read = async () => {
      for await (const _ of stream) caller.abort(new Error("enough"));
    };
    await expect(read()).rejects.toThrow("enough");
  });

  test("by a source's error, which is the error; the other sources are not read", async () => {
    const failing = rowsOf(async function* () {
      yield { id: 1n, n: 1, t: "" };
      throw new Error("the shard is gone");
    });
    let read = 0;
    const asked = opened.fed.gather({ failing, rows: manyRows(10, () => read++) }, "select 1 as one");
    await expect(asked.execute()).rejects.toThrow("the shard is gone");
    expect(read).toBe(0);
  });
});

describe("the SQL", () => {
  test.each([
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/hostname')",
    "select * from '/etc/passwd'",
    "select * from glob('/*')",
    "select * from read_parquet('https://example.org/x.parquet')",
    "copy rows to '/tmp/rows.csv'",
    "attach '/tmp/other.db'",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "create table x (i integer)",
    "insert into rows values (1, 1, '')",
    "drop table rows",
    "select 1 as one; drop table rows",
    "explain select 1",
    "selec 1",
    "select * from nowhere",
    "",
  ])("%s is refused before anything is read", async (text) => {
    let read = 0;
    expect(await codeOf(opened.fed.gather({ rows: manyRows(1, () => read++) }, text))).toBe("GATHER_SQL");
    expect(read).toBe(0);
  });

  test.each([
    "attach '/tmp/other.db' as other",
    "delete from rows",
    "with x as (select 1) delete from rows",
    "pragma query_only = 0",
    "select load_extension('x')",
    "vacuum into '/tmp/other.db'",
    "explain select 1",
  ])("on SQLite %s is refused, too", async (text) => {
    const asked = opened.fed.gather({ rows: selected() }, text, [], { engine: "sqlite" });
    expect(await codeOf(asked)).toBe("GATHER_SQL");
    expect(existsSync("/tmp/other.db")).toBe(false);
  });

  test.each([
    ["select id, n as id from rows", /two columns "id"/],
    ["select interval 1 day as d", /INTERVAL.*Cast it/],
    ["select $1 as x, $2 as y", /\$2, …\): 2\. Given: 1\./],
  ])("%s is refused with the reason", async (text, message) => {
    const parameters = text.includes("$") ? [1] : [];
    expect(await failureOf(opened.fed.gather({ rows: selected() }, text, parameters))).toMatchObject({
      code: "GATHER_SQL",
      message: expect.stringMatching(message),
    });
  });

  test.each(["duckdb", "sqlite"] as const)(
    "on %s an unknown table is answered with those of the schema",
    async (engine) => {
      const asked = opened.fed.gather("select count(*) as n from nowhere", [], { engine });
      expect(await failureOf(asked)).toMatchObject({
        code: "GATHER_SQL",
        message: expect.stringMatching(/[.!?] The tables of the schema are: .*things/),
      });
    },
  );

  test("sees a statement planned for full tables, not for the empty ones it was checked on", async () => {
    const things = opened.fed.at(1n).selectFrom("things").selectAll();
    const [first] = await opened.fed.gather({ things }, "select * from things order by id limit 1");
    expect(first).toEqual(await things.orderBy("id").executeTakeFirst());
  });
});

describe("a source", () => {
  test.each<[string, () => GatherSource, RegExp]>([
    [
      "without a type",
      () => opened.fed.main.selectFrom("users").select(sql`1`.as("x")) as never,
      /"x" whose type.*typed/,
    ],
    [
      "with a column twice",
      () => opened.fed.main.selectFrom("users").select(["id", "id"]),
      /two columns "id"/,
    ],
    [
      "that was executed",
      () => opened.fed.main.selectFrom("users").select("id").execute() as never,
      /is no query/,
    ],
    ["that writes", () => opened.fed.main.deleteFrom("users").returning("id") as never, /is no select/],
  ])("%s is refused", (_, source, message) => {
    expect(() => opened.fed.gather({ rows: source() }, "select 1 as one")).toThrow(message);
  });

  test("that gives what its type cannot be is refused", async () => {
    const rows = rowsOf(async function* () {
      yield { id: 1n, n: 1.5, t: "" };
    });
    const asked = opened.fed.gather({ rows }, "select * from rows");
    expect(await failureOf(asked)).toMatchObject({
      code: "VALUE_INVALID",
      table: "rows",
      column: "n",
    });
  });

  test("that names its columns otherwise than its query does is refused", async () => {
    const rows = rowsOf(async function* () {
      yield { id: 1n, n: 1, title: "" };
    });
    expect(await codeOf(opened.fed.gather({ rows }, "select * from rows"))).toBe("GATHER_SOURCE");
  });
});

describe("SQLite instead of DuckDB", () => {
  test("answers with the types of plain columns, and what is computed as SQLite has it", async () => {
    const things = opened.fed
      .at(1n)
      .selectFrom("things")
      .select(["id", "b", "t", "j", "t3", "t6", "day", "u", "raw", "maybe", "f", "big"]);
    const text = "select *, rank() over (order by t) as place from things where t3 < $1 order by id";
    const parameters = [new Date("2090-01-01T00:00:00Z")];
    const here = await opened.fed.gather({ things }, text, parameters, { engine: "sqlite" });
    expect(here.length).toBeGreaterThan(0);
    expect(here).toEqual(await opened.fed.gather({ things }, text, parameters));
  });

  test("takes no decimals, which it would compute in binary fractions", async () => {
    const things = opened.fed.at(1n).selectFrom("things").select(["id", "d"]);
    const asked = opened.fed.gather({ things }, "select sum(d) as d from things", [], { engine: "sqlite" });
    expect(await failureOf(asked)).toMatchObject({
      code: "GATHER_SOURCE",
      message: expect.stringContaining("decimal(9, 6)"),
    });
  });
});

test("options and parameters that are none are refused", () => {
  const { fed } = opened;
  const gather = (options: object) => fed.gather({ rows: selected() }, "select 1 as one", [], options);
  expect(() => gather({ memoryLimit: 1 })).toThrow('no option "memoryLimit"');
  expect(() => gather({ memoryLimitBytes: MIB })).toThrow("at least");
  expect(() => gather({ threads: 0 })).toThrow("whole number from 1");
  expect(() => gather({ engine: "postgres" })).toThrow('"duckdb" or "sqlite"');
  expect(() => fed.gather({ rows: selected() }, "select 1 as one", { rowsMax: 1 } as never)).toThrow(
    "are a list",
  );
  expect(() => fed.gather({ rows: selected() }, "select $1 as x", [sql`1`])).toThrow("typed(column, value)");
});

test("a parameter of a named type is bound as that type", async () => {
  const { fed } = opened;
  const [row] = await fed.gather(
    { rows: selected() },
    "select $1 as d, $2 as whole, $3 as nothing, $4 as f",
    [typed(decimal(9, 6), "1.5"), 2n ** 62n, null, 0.1],
  );
  expect(row).toEqual({ d: "1.500000", whole: 2n ** 62n, nothing: null, f: 0.1 });
});
