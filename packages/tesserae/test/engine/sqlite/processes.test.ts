/** Several processes on one file: nothing is lost, and nobody's process stands still while another one writes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Database, POOL_DEFAULTS } from "../../../src/engine/contract.ts";
import { type SqliteOptions, sqlite } from "../../../src/engine/sqlite/engine.ts";

let folder: string;
let file: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tesserae-sqlite-"));
  file = join(folder, "dots.db");
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
});

interface Other {
  readonly child: ChildProcess;
  /** What it says at its point. */
  said(): Promise<Record<string, unknown>>;
  readonly ended: Promise<number | null>;
}

function start(task: "write" | "hold", name: string, count: number): Other {
  const script = join(import.meta.dirname, "another-process.ts");
  const child = spawn(
    process.execPath,
    [
      "--conditions=tesserae-source",
      "--disable-warning=ExperimentalWarning",
      script,
      file,
      task,
      name,
      String(count),
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  children.push(child);
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  return {
    child,
    said: async () => JSON.parse((await lines.next()).value ?? "null"),
    ended: once(child, "exit").then(([code]) => code as number | null),
  };
}

function open(options: Partial<SqliteOptions> = {}): Database {
  return sqlite({ path: file, synchronous: "normal", ...options }).open(POOL_DEFAULTS);
}

test("processes that make the file and write to it at the same time lose nothing", async () => {
  const names = ["a", "b", "c"];
  const others = names.map((name) => start("write", name, 100));
  const said = await Promise.all(others.map((other) => other.said()));
  expect(await Promise.all(others.map((other) => other.ended))).toEqual([0, 0, 0]);
  const database = open();
  const { rows } = await database.run({ sql: "select value from counter", parameters: [], readOnly: true });
  expect(rows).toEqual([{ value: 300n }]);
  const log = await database.run({
    sql: "select who, count(distinct number) n from log group by who order by who",
    parameters: [],
    readOnly: true,
  });
  expect(log.rows).toEqual(names.map((who) => ({ who, n: 100n })));
  await database.close();
  // Waiting for a lock inside SQLite would stop a process for as long as it waits.
  for (const { longestPauseMs } of said) expect(longestPauseMs).toBeLessThan(500);
}, 60_000);

test("a write waits for another process's transaction, and this process goes on meanwhile", async () => {
  const database = open();
  await database.run({ sql: "create table log (who TEXT, number INTEGER) strict", parameters: [] });
  const other = start("hold", "other", 400);
  await other.said();
  let turns = 0;
  const timer = setInterval(() => turns++, 5);
  const begun = performance.now();
  const write = database.run({ sql: "insert into log values ('me', 1)", parameters: [] });
  const read = await database.run({ sql: "select * from log", parameters: [], readOnly: true });
  expect(read.rows).toEqual([]);
  expect((await write).affectedRows).toBe(1n);
  clearInterval(timer);
  expect(performance.now() - begun).toBeGreaterThan(100);
  expect(turns).toBeGreaterThan(10);
  await other.ended;
  await database.close();
});

test("a lock that is not given back in time is LOCK_TIMEOUT, in a statement and at the begin", async () => {
  const database = open({ lockTimeoutMs: 50 });
  const { dialect } = database.engine;
  await database.run({ sql: "create table log (who TEXT, number INTEGER) strict", parameters: [] });
  const other = start("hold", "other", 60_000);
  await other.said();
  const statement = await database
    .run({ sql: "insert into log values ('me', 1)", parameters: [] })
    .catch((error: unknown) => error);
  expect(dialect.classify(statement)).toMatchObject({ code: "LOCK_TIMEOUT", fatal: false });
  const connection = await database.acquire();
  const begin = await connection.begin().catch((error: unknown) => error);
  expect(dialect.classify(begin)).toMatchObject({ code: "LOCK_TIMEOUT", fatal: false });
  connection.release();
  await database.close();
});

test("a process that is killed in its transaction leaves neither rows nor a lock behind", async () => {
  const database = open();
  await database.run({ sql: "create table log (who TEXT, number INTEGER) strict", parameters: [] });
  const other = start("hold", "other", 60_000);
  await other.said();
  other.child.kill("SIGKILL");
  await other.ended;
  await database.run({ sql: "insert into log values ('me', 1)", parameters: [] });
  const { rows } = await database.run({ sql: "select who from log", parameters: [], readOnly: true });
  expect(rows).toEqual([{ who: "me" }]);
  await database.close();
});
